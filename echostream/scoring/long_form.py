"""Scores of unsegmented recordings, by OmniSTEval, with its resegmentation.

The words of a recording are aligned to its reference segments; quality and latency are those of the
segments. Polák et al. 2025 (arXiv 2509.17349).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from echostream.extras import extra
from echostream.scoring.log import INSTANCES_LOG, ScoringError
from echostream.scoring.simulstream_log import detokenizer_config, read_simulstream_log

SIMULEVAL, SIMULSTREAM = "jsonl", "simulstream"  # OmniSTEval's names of the formats


@dataclass(frozen=True)
class Segments:
    """What the recordings should give.

    Args:
        audio_yaml: a list of segments with `wav`, `offset` and `duration` in seconds, YAML or JSON.
        reference: a line for each segment.
        unit: word or char.
        tokenizer: of BLEU, as in sacrebleu.
        language: for the Moses tokenizer in the alignment; None: words are split at spaces.
        simulstream_config: how simulstream makes text of tokens; None: they are words.
    """

    audio_yaml: Path
    reference: Path
    unit: str = "word"
    tokenizer: str = "13a"
    language: str | None = None
    simulstream_config: Path | None = None


@dataclass(frozen=True)
class LongFormScores:
    """The scores of a run; latencies in ms, None without times in the log.

    `*_ca` count the time of computation. Of a log of SimulEval this is the time of each word alone
    (OmniSTEval's `--fix_simuleval_emission_ca`), not the sum since the recording began.
    """

    num_recordings: int
    num_segments: int
    num_empty: int  # segments to which no word is aligned
    bleu: float
    chrf: float
    long_yaal: float | None
    long_yaal_ca: float | None
    long_laal: float | None  # StreamLAAL, with this resegmentation
    long_laal_ca: float | None
    normalized_erasure: float  # words taken back for each word of the final text
    compute_rtf: float | None  # seconds of computation for a second of audio


def score_long_form(log: Path, segments: Segments) -> tuple[LongFormScores, list[dict[str, Any]]]:
    """The scores of a log, and the resegmented text: a value like a line of a log for each segment.

    `log` is an instances.log of SimulEval, or the metrics log of simulstream.

    Raises:
        ScoringError: naming the file that cannot be read or does not fit the others.
        ExtraError: without OmniSTEval, or without simulstream for a log of it.
    """
    with extra("yaal", "a long-form score"):
        from omnisteval.io import load_resegmentation_inputs
        from omnisteval.resegment import resegment
        from omnisteval.scoring import evaluate_instances
    kind = log_format(log)
    by_character = segments.unit == "char"
    given = segments.simulstream_config
    with _faults(log, segments), detokenizer_config(given, segments.unit) as config:
        inputs = load_resegmentation_inputs(
            str(segments.audio_yaml),
            None,
            str(segments.reference),
            str(log),
            hypothesis_format=kind,
            char_level=by_character,
            fix_emission_ca_flag=kind == SIMULEVAL,
            simulstream_config_file=str(config),
        )
        with _in_this_process():
            instances, content = resegment(*inputs, char_level=by_character, lang=segments.language)
        scores, _, _ = evaluate_instances(
            instances, bleu_tokenizer=segments.tokenizer, fix_emission_ca_flag=True
        )
        erasure, rtf = _effort_of(log, kind, config, segments.unit)
    found = LongFormScores(
        num_recordings=len(inputs[1]),
        num_segments=len(content),
        num_empty=sum(not one["prediction"].strip() for one in content),
        bleu=scores["bleu"],
        chrf=scores["chrf"],
        long_yaal=scores.get("long_yaal"),
        long_yaal_ca=scores.get("ca_long_yaal"),
        long_laal=scores.get("long_laal"),
        long_laal_ca=scores.get("ca_long_laal"),
        normalized_erasure=erasure,
        compute_rtf=rtf,
    )
    return found, content


def log_format(log: Path) -> str:
    """The format of a log, from its first line: SIMULEVAL or SIMULSTREAM.

    Raises ScoringError for anything else.
    """
    first = next(iter(_lines(log)), None)
    if isinstance(first, dict) and "prediction" in first:
        return SIMULEVAL
    if isinstance(first, dict) and ("metadata" in first or "generated_tokens" in first):
        return SIMULSTREAM
    raise ScoringError(f"{log} must be {INSTANCES_LOG} of SimulEval or a log of simulstream.")


def _lines(log: Path) -> Iterator[Any]:
    try:
        with open(log, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise ScoringError(f"{log}, line {number}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ScoringError(f"{log} cannot be read: {error}") from error


def _effort_of(log: Path, kind: str, config: Path, unit: str) -> tuple[float, float | None]:
    """Normalized erasure and the real-time factor."""
    if kind == SIMULSTREAM:
        read = read_simulstream_log(log, config, unit)
        return read.normalized_erasure, read.real_time_factor
    # SimulEval has no way to take a word back.
    timed = [line for line in _lines(log) if line.get("elapsed")]
    audio = sum(line.get("source_length", 0.0) for line in timed)
    if not audio:
        return 0.0, None
    return 0.0, sum(line["elapsed"][-1] - line["delays"][-1] for line in timed) / audio


class _SerialPool:
    """Takes the place of OmniSTEval's process pool, which can hang beside the threads of torch."""

    def __enter__(self) -> _SerialPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        return [function(value) for value in values]


@contextmanager
def _in_this_process() -> Iterator[None]:
    from omnisteval import alignment

    logger = logging.getLogger("mosestokenizer")
    pool, level = alignment.Pool, logger.level
    alignment.Pool = _SerialPool
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        alignment.Pool = pool
        logger.setLevel(level)


@contextmanager
def _faults(log: Path, segments: Segments) -> Iterator[None]:
    """Errors of the library with the names of the files."""
    try:
        yield
    except ScoringError:
        raise
    except (AssertionError, ValueError, KeyError, TypeError, OSError, yaml.YAMLError) as error:
        what = f"{error}" if not isinstance(error, KeyError) else f"{error} is missing"
        raise ScoringError(
            f"{log} cannot be scored with {segments.audio_yaml} and {segments.reference}: "
            f"{' '.join(what.split())}"
        ) from error


COLUMNS: Mapping[str, str] = {  # names and formats of a table
    "bleu": "BLEU",
    "chrf": "chrF",
    "long_yaal": "LongYAAL",
    "long_yaal_ca": "LongYAAL_CA",
    "long_laal": "LongLAAL",
    "long_laal_ca": "LongLAAL_CA",
    "normalized_erasure": "NE",
    "compute_rtf": "compute_rtf",
    "num_recordings": "recordings",
    "num_segments": "segments",
    "num_empty": "empty",
}
