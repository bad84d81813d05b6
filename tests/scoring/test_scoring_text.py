"""`echostream score --text`: texts are compared under the normalisation of the training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_logs import text_line, write_run

from echostream.cli import main
from echostream.text.normalization import TextNormalization


def scored(folder: Path, *flags: str) -> dict[str, float]:
    line = text_line(0, "The small, Cat sleeps !", [100.0] * 5)
    several = text_line(1, "l'eau", [100.0], reference="L\u2019EAU.\tde l'air")
    write_run(folder, [line, several])
    assert main(["score", str(folder), *flags]) == 0
    quality: dict[str, float] = json.loads((folder / "echostream_scores.json").read_text())[
        "quality"
    ]
    return quality


def test_predictions_and_all_references_are_normalised_and_the_page_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TextNormalization("lower", "drop", "straight").save(tmp_path)
    assert scored(tmp_path / "run")["BLEU"] < 50
    assert "normalised before" not in capsys.readouterr().out
    quality = scored(tmp_path / "run", "--text", str(tmp_path))
    assert quality["BLEU"] == pytest.approx(100)
    assert quality["text"] == {
        "case": "lower", "punctuation": "drop", "apostrophes": "straight", "unicode": "NFC",
    }  # fmt: skip
    assert "normalised before they are compared: case lower, punct" in capsys.readouterr().out


def test_a_folder_without_a_recorded_choice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path), "--text", str(tmp_path)]) == 2
    assert "`--text` must be a folder with text.yaml" in capsys.readouterr().err
