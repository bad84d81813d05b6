"""The recording in golden.json still holds: words, delays, names of weights, public paths."""

from __future__ import annotations

import json
from pathlib import Path

import golden


def test_words_weights_graphs_training_and_public_paths_are_those_of_the_recording(
    exported: Path,
) -> None:
    wanted = json.loads(golden.GOLDEN.read_text(encoding="utf-8"))
    assert golden.differences(golden.record(exported), wanted) == []


def test_every_kind_of_difference_is_found() -> None:
    wanted = {"a": 1, "b": [1, "x"], "c": 1.0}
    assert golden.differences({"a": 1, "b": [1, "x"], "c": 1.00001}, wanted) == []
    for changed in (
        {"a": 2, "b": [1, "x"], "c": 1.0},
        {"a": 1, "b": [1, "y"], "c": 1.0},
        {"a": 1, "b": [1], "c": 1.0},
        {"a": 1, "b": [1, "x"], "c": 1.01},
        {"a": 1, "b": [1, "x"]},
        {**wanted, "d": 0},
    ):
        assert len(golden.differences(changed, wanted)) == 1
