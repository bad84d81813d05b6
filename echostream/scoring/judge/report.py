"""The scores of speech by a judge as Markdown, as cells of a table, as JSON and as warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from echostream.scoring.judge.error_rate import MOST_ERRORS, Comparison
from echostream.scoring.judge.silence import AS_PLAYED, STREAMSPEECH, WITHOUT_SILENCE
from echostream.scoring.judge.speech import REFERENCE_SPEECH, SpeechScores
from echostream.scoring.metrics.backlog import BACKLOG_COLUMNS, RunBacklog
from echostream.scoring.metrics.discontinuity import DISCONTINUITY_COLUMNS, Discontinuity
from echostream.scoring.tables import markdown_table

WORD_LATENCY = ("AL", "LAAL", "YAAL", "DAL", "StartOffset", "EndOffset")
_SUFFIXES = {WITHOUT_SILENCE: "", AS_PLAYED: "_as_played", STREAMSPEECH: "_streamspeech_rule"}
_QUALITY = ("ASR_BLEU", "ASR_chrF", "ASR_WER")
SPEECH_COLUMNS = (
    *DISCONTINUITY_COLUMNS,
    *BACKLOG_COLUMNS,
    *(name + suffix for suffix in _SUFFIXES.values() for name in _QUALITY),
    *("ASR_loops", "judge_WER"),
    *(f"{name}_spoken_words" for name in WORD_LATENCY),
)

Runs = Mapping[str, tuple[Discontinuity | None, RunBacklog | None, SpeechScores | None]]


def speech_tables(runs: Runs) -> Iterator[str]:
    """Tables of how speech is played, of its quality and of the latency of its words."""
    gaps = [
        [name, f"{found.total:.1f}", f"{found.average:.1f}", f"{found.number:.2f}"]
        for name, (found, _, _) in runs.items()
        if found is not None
    ]
    if gaps:
        yield "Silence between writes of speech, per utterance:"
        yield markdown_table([["run", *DISCONTINUITY_COLUMNS], *gaps], num_names=1)
    waiting = [
        [name, *(f"{value:.1f}" for value in found)]
        for name, (_, found, _) in runs.items()
        if found is not None
    ]
    if waiting:
        yield "Backlog, speech that is written and not yet played: mean and largest, in ms:"
        yield markdown_table([["run", *BACKLOG_COLUMNS], *waiting], num_names=1)
    judged = {name: speech for name, (_, _, speech) in runs.items() if speech is not None}
    if not judged:
        return
    yield "Speech, transcribed by a judge:"
    quality_rows = [
        [name, version, *(f"{value:.2f}" for value in _quality(found)), str(found.num_looped)]
        for name, speech in judged.items()
        for version, found in _comparisons(speech)
    ]
    header = ["run", "recordings", "ASR-BLEU", "ASR-chrF", "WER", "loops"]
    yield markdown_table([header, *quality_rows])
    latency_rows = [
        [name, str(speech.num_with_words), *(_ms(speech.word_latency[key]) for key in WORD_LATENCY)]
        for name, speech in judged.items()
        if speech.word_latency is not None
    ]
    if latency_rows:
        yield "Latency of the spoken words, each at the end of its sound as it is played:"
        yield markdown_table([["run", "utterances", *WORD_LATENCY], *latency_rows], num_names=1)
    users: dict[str, list[str]] = {}
    for name, speech in judged.items():
        signature = speech.versions[WITHOUT_SILENCE].quality.signatures["BLEU"]
        line = f"judge {speech.judge}; normaliser {speech.normalizer} of both sides; {signature}"
        users.setdefault(line, []).append(name)
    yield "\n".join(f"- {', '.join(names)}: {line}" for line, names in users.items())


def speech_cells(
    gaps: Discontinuity | None, waiting: RunBacklog | None, speech: SpeechScores | None
) -> dict[str, Any]:
    """The values of `SPEECH_COLUMNS` that are known."""
    values: dict[str, Any] = {}
    if gaps is not None:
        values |= zip(DISCONTINUITY_COLUMNS, gaps, strict=True)
    if waiting is not None:
        values |= zip(BACKLOG_COLUMNS, waiting, strict=True)
    if speech is None:
        return values
    for version, found in speech.versions.items():
        names = (name + _SUFFIXES[version] for name in _QUALITY)
        values |= zip(names, _quality(found), strict=True)
    values["ASR_loops"] = speech.versions[WITHOUT_SILENCE].num_looped
    if speech.reference_speech is not None:
        values["judge_WER"] = speech.reference_speech.word_error_rate
    if speech.word_latency is not None:
        values |= {f"{name}_spoken_words": speech.word_latency[name] for name in WORD_LATENCY}
    return values


def speech_json(speech: SpeechScores | None) -> dict[str, Any] | None:
    """Everything about the speech; unknown values are null."""
    if speech is None:
        return None
    latency = speech.word_latency
    return {
        "judge": speech.judge,
        "normalizer": speech.normalizer,
        **{
            version: {
                **dict(zip(_QUALITY, _quality(found), strict=True)),
                "num_utterances": found.num,
                "num_looped": found.num_looped,
                "signatures": found.quality.signatures,
            }
            for version, found in _comparisons(speech)
        },
        "spoken_words": None
        if latency is None
        else {
            "num_utterances": speech.num_with_words,
            **{name: latency[name] for name in WORD_LATENCY},
        },
    }


def warnings_of_judge(speech: SpeechScores | None) -> Iterator[str]:
    """What limits the scores of a judge."""
    if speech is None:
        return
    own = speech.reference_speech
    if own is None:
        yield (
            "the judge's own errors are not known: --asr-judge-reference with recordings of the "
            "reference speech gives them."
        )
    elif not own.word_error_rate <= MOST_ERRORS:
        yield (
            f"this judge has a WER of {own.word_error_rate:.1f} % on the reference speech, over "
            f"{MOST_ERRORS:.0f} %: its scores rank no system."
        )
    num = speech.versions[WITHOUT_SILENCE].num
    if own is not None and own.num < num:
        yield f"the reference speech is of {own.num} utterances, the run of {num}."
    if speech.word_latency is not None:
        yield (
            "the times of spoken words are those of the judge's attention, not measured on the "
            "sound: they compare runs that one judge has transcribed."
        )
    looped = {v: found.num_looped for v, found in _comparisons(speech) if found.num_looped}
    if looped:
        where = ", ".join(f"{number} {version}" for version, number in looped.items())
        yield (
            f"transcripts that repeat themselves or are over twice as long as the reference, where "
            f"they are cut: {where}."
        )


def _comparisons(speech: SpeechScores) -> Iterator[tuple[str, Comparison]]:
    yield from speech.versions.items()
    if speech.reference_speech is not None:
        yield REFERENCE_SPEECH, speech.reference_speech


def _quality(found: Comparison) -> tuple[float, float, float]:
    return found.quality.BLEU, found.quality.chrF, found.word_error_rate


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
