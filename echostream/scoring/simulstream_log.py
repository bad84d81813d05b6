"""The metrics log of simulstream, read by simulstream itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from echostream.extras import extra
from echostream.scoring.log import ScoringError


@dataclass(frozen=True)
class Recorded:
    """The final words of a recording; times in ms. Words that were taken back are not in it."""

    name: str
    wav: Path
    words: tuple[str, ...]  # or characters
    delays: tuple[float, ...]
    elapsed: tuple[float, ...]
    source_ms: float


@dataclass(frozen=True)
class SimulstreamLog:
    """A log: its recordings, and simulstream's own statistics of it."""

    recordings: tuple[Recorded, ...]
    normalized_erasure: float
    real_time_factor: float


@contextmanager
def detokenizer_config(given: Path | None, unit: str) -> Iterator[Path]:
    """The file that says how tokens become text: the one given, or a temporary one for words."""
    if given is not None:
        yield given
        return
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump({"detokenizer_type": "simuleval", "latency_unit": unit}, file)
        file.flush()
        yield Path(file.name)


def read_simulstream_log(log: Path, config: Path, unit: str = "word") -> SimulstreamLog:
    """Reads a log; `unit` is word or char.

    Raises:
        ScoringError: naming the file if it cannot be read.
        ExtraError: without simulstream.
    """
    with extra("simulstream", "a log of simulstream"):
        from simulstream.config import yaml_config
        from simulstream.metrics.readers import LogReader
        from simulstream.metrics.stats import NormalizedErasure, RealTimeFactor
    try:
        reader = LogReader(yaml_config(str(config)), str(log), latency_unit=unit)
        outputs = reader.final_outputs_and_latencies()
        has_words = any(output.final_text for output in outputs.values())
        return SimulstreamLog(
            tuple(
                Recorded(
                    name,
                    _wavs(log)[name],
                    tuple(output.text_items(unit)),
                    tuple(1000 * delay for delay in output.ideal_delays),
                    tuple(1000 * delay for delay in output.computational_aware_delays),
                    1000 * reader.outputs_by_audio[name][-1]["total_audio_processed"],
                )
                for name, output in outputs.items()
            ),
            NormalizedErasure().compute(reader) if has_words else 0.0,
            RealTimeFactor().compute(reader),
        )
    except (ValueError, KeyError, TypeError, AssertionError, ArithmeticError, OSError) as error:
        raise ScoringError(f"{log} cannot be read as a log of simulstream: {error}") from error


def _wavs(log: Path) -> dict[str, Path]:
    """The paths of the recordings by their names."""
    found = {}
    with open(log, encoding="utf-8") as file:
        for line in file:
            if line.strip() and "metadata" in (entry := json.loads(line)):
                path = Path(entry["metadata"]["wav_name"])
                found[path.stem] = path
    return found
