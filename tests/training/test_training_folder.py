"""The folder of a run: one process in it, and what happens when it is removed, full or damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_training import tiny_run

from echostream.cli import main
from echostream.config import to_dict
from echostream.files import LOCK, locked
from echostream.model_folder import load_model
from echostream.training.config import TrainConfig
from echostream.training.log import RunLog
from echostream.training.train import train

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of seven steps that nothing has stopped: checkpoints after 3, 6 and 7, two are kept."""
    config = tiny_run(tmp_path_factory.mktemp("finished"))
    train(config)
    return config


@pytest.fixture
def copied(finished: TrainConfig, tmp_path: Path) -> TrainConfig:
    """The configuration of a copy of the finished run, which a test may damage."""
    copytree(finished.output, tmp_path / "run")
    return dataclasses.replace(finished, output=str(tmp_path / "run"))


def at_step(number: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Has something done after step `number`."""
    advance, done = RunLog.advance, []

    def advance_and_act(self: RunLog, loss: float, audio_rate: float) -> None:
        advance(self, loss, audio_rate)
        done.append(loss)
        if len(done) == number:
            act()

    monkeypatch.setattr(RunLog, "advance", advance_and_act)


def command(config: TrainConfig, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(to_dict(config)))
    return ["train", str(path)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def assert_same(found: Path, wanted: Path) -> None:
    a, b = weights(found), weights(wanted)
    assert a.keys() == b.keys()
    assert [name for name in b if not torch.equal(a[name], b[name])] == []


def test_a_run_killed_before_it_removed_its_oldest_checkpoint_ends_with_the_same_weights(
    finished: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(tmp_path)
    unlink = Path.unlink

    def die(self: Path, missing_ok: bool = False) -> None:
        if self.name == "step-0000003.pt":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.setattr(Path, "unlink", unlink)
    folder = tmp_path / "run"
    names = {path.name for path in (folder / "checkpoints").glob("*.pt")}
    assert names == {f"step-000000{step}.pt" for step in (3, 6, 7)}
    train(config)
    assert_same(folder, Path(finished.output))


def test_a_second_training_in_a_folder_ends_with_2_and_names_the_first(
    finished: TrainConfig, tmp_path: Path, capsys: Capture
) -> None:
    folder = Path(finished.output)
    before = sorted(folder.rglob("*"))
    with locked(folder):
        assert main(command(finished, tmp_path / "c.yaml")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"echostream train: another process is still at work in {folder} (process {os.getpid()})"
    )
    assert sorted(folder.rglob("*")) == before


def test_a_training_that_is_killed_outright_leaves_no_lock(tmp_path: Path) -> None:
    """Nor do the processes that made its batches, which live a little longer."""
    config = dataclasses.replace(tiny_run(tmp_path, num_workers=2), steps=100_000)
    arguments = command(config, tmp_path / "c.yaml")
    log = tmp_path / "run" / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", f"from echostream.cli import main; main({arguments})"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not (log.exists() and log.read_bytes()) and time.monotonic() < end:
            time.sleep(0.05)
        with (
            pytest.raises(BlockingIOError, match=f"process {process.pid}"),
            locked(tmp_path / "run"),
        ):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize("removed", [".", "checkpoints", "spm_tgt.model"])
def test_what_is_removed_of_the_folder_while_it_is_trained_in_is_made_anew(
    removed: str,
    finished: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_run(tmp_path)
    path = tmp_path / "run" / removed

    def remove() -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    at_step(2, monkeypatch, remove)  # before the first checkpoint, so that none of two is lost
    load_model(train(config))
    assert_same(tmp_path / "run", Path(finished.output))
    assert f"{tmp_path / 'run'}" in caplog.text and "was removed while the training" in caplog.text
    log = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log if '"train"' in line] == [3, 6, 7]
    train(config)  # and the folder is one that a run goes on in


def test_a_folder_that_another_run_took_after_it_was_removed_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config, taken = tiny_run(tmp_path), []

    def take() -> None:
        shutil.rmtree(config.output)
        taken.append(locked(Path(config.output)))
        taken[0].__enter__()

    at_step(2, monkeypatch, take)
    assert main(command(config, tmp_path / "c.yaml")) == 2
    taken[0].__exit__(None, None, None)
    assert "another process is still at work" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in Path(config.output).iterdir()] == [LOCK]


def test_a_folder_that_cannot_be_made_anew_ends_the_run_with_2_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config = tiny_run(tmp_path)

    def replace() -> None:
        shutil.rmtree(config.output)
        Path(config.output).write_text("a file")

    at_step(2, monkeypatch, replace)
    assert main(command(config, tmp_path / "c.yaml")) == 2
    captured = capsys.readouterr()
    assert config.output in captured.err.splitlines()[-1] and "Traceback" not in captured.err


def test_a_full_disk_ends_the_run_with_2_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config = tiny_run(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(5, monkeypatch, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1])))
    try:
        status = main(command(config, tmp_path / "c.yaml"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert status == 2 and "Traceback" not in captured.err
    assert f"{tmp_path}/run/checkpoints/step-0000006.pt cannot be written" in last
    found = [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert found == ["step-0000003.pt"]


def test_a_model_that_cannot_be_written_is_named(
    copied: TrainConfig, tmp_path: Path, capsys: Capture
) -> None:
    shutil.rmtree(tmp_path / "run" / "model")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        status = main(command(copied, tmp_path / "c.yaml"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    captured = capsys.readouterr()
    assert status == 2 and "Traceback" not in captured.err
    assert f"{tmp_path / 'run' / 'model'} cannot be written" in captured.err.splitlines()[-1]


def test_a_damaged_checkpoint_ends_a_training_with_2_and_advice(
    finished: TrainConfig, copied: TrainConfig, tmp_path: Path, capsys: Capture
) -> None:
    newest = tmp_path / "run" / "checkpoints" / "step-0000007.pt"
    newest.write_bytes(newest.read_bytes()[:5000])
    arguments = command(copied, tmp_path / "c.yaml")
    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{newest} cannot be used" in last
    assert "Remove it, and the run resumes from step-0000006.pt" in last
    newest.unlink()
    assert main(arguments) == 0
    assert_same(tmp_path / "run", Path(finished.output))


def test_a_checkpoint_without_a_position_in_the_data_is_named(
    copied: TrainConfig, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "run" / "checkpoints" / "step-0000007.pt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "places": []}, path)
    assert main(command(copied, tmp_path / "c.yaml")) == 2
    assert f"{path} has 0 positions in the data" in capsys.readouterr().err


def test_half_written_files_of_killed_runs_are_removed(copied: TrainConfig, tmp_path: Path) -> None:
    folders = [tmp_path / "run" / name for name in (".", "model", "checkpoints")]
    for folder in folders:
        (folder / ".tmp-1-half").write_text("half")
    train(copied)
    assert [path for folder in folders for path in folder.glob(".tmp-*")] == []


@pytest.mark.parametrize("output", ["", " "])
def test_an_output_without_a_name_is_refused(output: str, tmp_path: Path, capsys: Capture) -> None:
    arguments = command(tiny_run(tmp_path), tmp_path / "c.yaml")
    assert main([*arguments, "--output", output]) == 2
    assert "`output` must be the folder of the run" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_named(tmp_path: Path, capsys: Capture) -> None:
    config = tiny_run(tmp_path)
    Path(config.output).write_text("mine")
    assert main(command(config, tmp_path / "c.yaml")) == 2
    captured = capsys.readouterr()
    assert config.output in captured.err and "Traceback" not in captured.err
    assert Path(config.output).read_text() == "mine"


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("network", {"decoder_window": 6}, "`decoder_window` must be"),
        ("network", {"max_future_frames": [3]}, "`max_future_frames` must be"),
        ("network", {"tail_ms": -10}, "`tail_ms` must be"),
        ("tokenizer", {"type": "letters"}, "`tokenizer.type` must be one of"),
        ("network", {"encoder": {"embed_dim": 10, "num_heads": 3}}, "`embed_dim` must be"),
        ("data", {"dev_tsv": None}, "`train_tsv` and `dev_tsv` must both be given"),
        ("data", {"dev_tsv": "none.tsv"}, "none.tsv"),
        ("data", {"train_tsv": None, "dev_tsv": None, "grammar": "none.yaml"}, "none.yaml"),
        ("device", "tpu", "`device` must be"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    section: str, values: object, message: str, tmp_path: Path, capsys: Capture
) -> None:
    config = to_dict(tiny_run(tmp_path))
    if isinstance(values, dict):
        values = {**config[section], **values}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**config, section: values}))
    assert main(["train", str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err.splitlines()[-1] and "Traceback" not in captured.err
    assert not Path(config["output"]).exists()
