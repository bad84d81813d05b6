"""Lines of instances.log as each build of SimulEval writes them, for the tests of the scorer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REFERENCE = "the small cat sleeps"


def text_line(
    index: int, prediction: str, delays: Sequence[float], compute: float = 10, **changes: Any
) -> dict[str, Any]:
    """An utterance of 4 s with text output; `compute` ms are spent before each unit."""
    logged = {
        "index": index,
        "prediction": prediction,
        "delays": list(delays),
        "elapsed": [delay + compute * (index + 1) for index, delay in enumerate(delays)],
        "prediction_length": len(delays),
        "reference": REFERENCE,
        "source": ["a.wav", "samplerate: 16000 Hz"],
        "source_length": 4000.0,
    }
    return {**logged, **changes}


def fork_line(index: int, pieces: Sequence[str], delays: Sequence[float]) -> dict[str, Any]:
    """What StreamSpeech's copy writes when an agent has written these SentencePiece pieces."""
    return {**text_line(index, "".join(pieces).replace("▁", " "), delays), "metric": {}}


def speech_line(
    index: int, delays: Sequence[float], durations: Sequence[float], **changes: Any
) -> dict[str, Any]:
    """An utterance of 4 s with speech output."""
    intervals: list[list[float]] = []
    end = 0.0
    for delay, duration in zip(delays, durations, strict=True):
        start = max(end, delay)
        intervals.append([start, duration])
        end = start + duration
    logged = {
        "index": index,
        "prediction": f"/out/wavs/{index}_pred.wav",
        "delays": list(delays),
        "durations": list(durations),
        "prediction_offset": delays[0] if delays else 4000.0,
        "elapsed": [],
        "intervals": intervals,
        "prediction_length": sum(durations) / 1000,
        "source_length": 4000.0,
        "reference": REFERENCE,
        "source": "a.wav",
    }
    return {**logged, **changes}


def write_run(folder: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """A run folder with these lines; the path of its log."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instances.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
