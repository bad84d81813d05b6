"""Which columns of the installed SimulEval are right, compared with values computed here.

A column is right if it is the metric of the times in the log: without compute in a plain column,
with compute in one whose name ends in `_CA`. Each metric is run by itself, because one that fails
stops all others.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import NamedTuple

from echostream.doctor.probe import (
    REFERENCE,
    SPEECH_MS,
    UNSPACED,
    WORDS,
    CharacterProbe,
    Outcome,
    SpeechProbe,
    TextProbe,
    evaluate,
)
from echostream.scoring.metrics.atd import text_token_delay
from echostream.scoring.metrics.discontinuity import gaps
from echostream.scoring.metrics.quality import make_bleu, quality
from echostream.scoring.metrics.table import COMPUTATION_AWARE, measure, playback_ends
from echostream.scoring.simuleval_scores import SIMULEVAL_TOLERANCE
from echostream.scoring.texts import characters
from echostream.scoring.timeline import Timeline

TIMED = ("AL", "LAAL", "AP", "DAL", "ATD", "StartOffset", "EndOffset", "RTF")
OF_CHUNKS = ("NumChunks",)  # the same with and without compute
OF_SPEECH = ("DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum")
QUALITY = "BLEU"
CHARACTERS = ("AL", "LAAL", "AP", "DAL")  # metrics that are counted in characters
STOPS = "scoring stops with "  # begins the fault of a column that no run can compute


class Column(NamedTuple):
    """One column of a run's scores.tsv, and its fault if it has one."""

    name: str
    computation_aware: bool  # the run was made with that flag
    fault: str | None


def text_columns() -> list[Column]:
    """All columns of runs with text output."""
    columns = []
    for flag in (False, True):
        for metric in (*TIMED, *OF_CHUNKS):
            outcome = evaluate(TextProbe, [metric], flag)
            if metric == TIMED[0]:
                columns.append(Column(QUALITY, flag, _fault_of_quality(outcome)))
            columns += _of_metric(outcome, metric, flag)
    return columns


def speech_columns() -> list[Column]:
    """All latency columns of runs with speech output."""
    return [
        column
        for flag in (False, True)
        for metric in (*TIMED, *OF_CHUNKS, *OF_SPEECH)
        for column in _of_metric(evaluate(SpeechProbe, [metric], flag), metric, flag)
    ]


def log_faults() -> list[str]:
    """The faults of the times in instances.log, from which everything else is computed."""
    faults = []
    text = evaluate(TextProbe, [TIMED[0]], False).utterance
    if text is None or text.delays != tuple(ms for ms, words in WORDS.items() for _ in words):
        faults.append("the delays of text are not the times at which it was written")
    if text is not None and not all(map(operator.lt, text.delays, text.elapsed)):
        faults.append("the times of text with compute do not include compute")
    speech = evaluate(SpeechProbe, [TIMED[0]], False).utterance
    writes = None if speech is None else (speech.delays, speech.durations)
    if writes != (tuple(SPEECH_MS), tuple(SPEECH_MS.values())):
        faults.append("the delays and durations of speech are not those of its writes")
    if speech is None or not speech.elapsed:
        faults.append("speech has no times with compute (`elapsed` is empty)")
    return faults


def character_faults() -> list[str]:
    """The faults of BLEU and latency with `--eval-latency-unit char`, a sentence each."""
    unit = ("--eval-latency-unit", "char")
    faults = []
    spaced = evaluate(TextProbe, CHARACTERS, False, unit)
    if spaced.error is not None:
        return [f"it cannot be used: {spaced.error}"]
    if " " not in spaced.logged.prediction:
        written = " ".join(word for words in WORDS.values() for word in words)
        right = quality([written], [REFERENCE]).BLEU
        faults.append(
            "spaces are removed from the output and not from the reference: BLEU "
            f"{spaced.scores[QUALITY]:.1f} where {right:.1f} is right, unless "
            "`--sacrebleu-tokenizer char` is also given"
        )
    expected = measure([_timeline(spaced, len(characters(REFERENCE)))], None)
    wrong = [name for name in CHARACTERS if not _equal(spaced.scores.get(name), expected[name])]
    if wrong:
        faults.append(
            f"spaces of the reference count as characters, and those of the output do not, in "
            f"{', '.join(wrong)}: `echostream score` counts neither"
        )
    text = "".join(UNSPACED.values())
    unspaced = evaluate(CharacterProbe, CHARACTERS, False, unit, text)
    if unspaced.error is None and not _equal(unspaced.scores.get(QUALITY), 100.0):
        faults.append(
            "the default tokenizer, 13a, takes a sentence without spaces as one word: "
            f"BLEU {unspaced.scores[QUALITY]:.1f} for an output that is the reference. Add "
            "`--sacrebleu-tokenizer char`, zh or ja-mecab; `echostream score` and "
            "`echostream curve` choose char by default"
        )
    missing = evaluate(CharacterProbe, CHARACTERS, False, (*unit, *_missing_tokenizer()), text)
    if _missing_tokenizer() and missing.error is None and QUALITY in missing.scores:
        faults.append(
            f"BLEU is {missing.scores[QUALITY]:.1f}, and the log has the reason, where the "
            f"library of a tokenizer is not installed ({_missing_tokenizer()[1]} here); "
            "`echostream score` ends with 2 and names it"
        )
    return faults


def _missing_tokenizer() -> tuple[str, ...]:
    """The flag for a tokenizer whose library is not installed; empty if both are."""
    for name in ("ja-mecab", "ko-mecab"):
        try:
            make_bleu(name)
        except ValueError:
            return "--sacrebleu-tokenizer", name
    return ()


def _of_metric(outcome: Outcome, metric: str, flag: bool) -> Iterator[Column]:
    yield Column(metric, flag, _fault(outcome, metric, metric))
    if flag and metric in TIMED:
        yield Column(
            metric + COMPUTATION_AWARE, flag, _fault(outcome, metric, metric + COMPUTATION_AWARE)
        )


def _fault(outcome: Outcome, metric: str, column: str) -> str | None:
    if outcome.error is not None:
        return STOPS + outcome.error
    if column not in outcome.scores:
        return "it is not in scores.tsv"
    value = outcome.scores[column]
    expected = _expected(outcome)
    is_speech = outcome.logged.is_speech
    if column != metric and is_speech:
        # The log has no times with compute; only whether compute was counted can be checked.
        return None if value > expected[metric] else "compute is not counted"
    if _equal(value, expected[column]):
        return None
    if column == metric and _equal(value, expected.get(metric + COMPUTATION_AWARE)):
        return (
            f"each has the value with compute, that of its {COMPUTATION_AWARE} column; "
            "leave the flag off, `echostream score` has both"
        )
    if metric == "NumChunks" and not is_speech:
        return "it counts words, not writes"
    if metric == "ATD" and is_speech and _equal(value, text_token_delay(outcome.logged.delays)):
        return "speech is scored as if it were text"
    if metric == "RTF" and is_speech:
        return "the duration of the last write is not counted"
    return f"it is {value:.3f} where the log gives {expected[column]:.3f}"


def _expected(outcome: Outcome) -> dict[str, float]:
    """The value of every column that can be computed from the log."""
    timeline = _timeline(outcome, len((outcome.logged.reference or "").split()))
    values = {name: value for name, value in measure([timeline], None).items() if value is not None}
    values["RTF"] = playback_ends(timeline)[-1] / timeline.source_ms
    if timeline.elapsed:
        values["RTF" + COMPUTATION_AWARE] = timeline.elapsed[-1] / timeline.source_ms
    values["NumChunks"] = len(set(timeline.delays))
    if timeline.durations:
        silences = gaps(timeline)
        values["DiscontinuitySum"] = sum(silences)
        values["DiscontinuityAve"] = sum(silences) / max(1, len(silences))
        values["DiscontinuityNum"] = len(silences)
    return values


def _timeline(outcome: Outcome, reference_units: int) -> Timeline:
    logged = outcome.logged
    return Timeline(
        logged.delays,
        logged.elapsed,
        logged.source_ms,
        reference_units,
        logged.durations or (),
    )


def _fault_of_quality(outcome: Outcome) -> str | None:
    if outcome.error is not None:
        return STOPS + outcome.error
    words = outcome.logged.prediction.split()
    expected = quality([" ".join(words)], [outcome.logged.reference or ""]).BLEU
    value = outcome.scores.get(QUALITY)
    if len(words) != len(outcome.logged.delays):
        return "the words of a prediction run together"
    return None if _equal(value, expected) else f"it is {value}, but sacrebleu gives {expected:.3f}"


def _equal(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and abs(value - other) <= SIMULEVAL_TOLERANCE
