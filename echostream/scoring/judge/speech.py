"""The scores of a run of speech by what a judge transcribes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from types import ModuleType

from echostream.scoring.judge.error_rate import (
    MOST_WORDS,
    Comparison,
    Recording,
    compare,
    read_recordings,
)
from echostream.scoring.judge.recordings import Audio, read_recording, versions_of
from echostream.scoring.judge.silence import VERSIONS, WITHOUT_SILENCE, playing_time, writes_of
from echostream.scoring.judge.store import TRANSCRIPTS, Entry, Key, Store
from echostream.scoring.judge.transcript import Judge, JudgeError, MiscountError, Transcript
from echostream.scoring.log import Utterance
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER
from echostream.scoring.metrics.table import measure
from echostream.scoring.texts import references_of
from echostream.scoring.timeline import Timeline

REFERENCE_SPEECH = "reference speech"
# Recordings that are on disk for a judge at once; a command is started anew for so many.
_BATCH = 256
_ANY_RATE = 1000  # Hz; when a write is played does not depend on it


@dataclass(frozen=True)
class Judging:
    """How the speech of runs is judged."""

    judge: Judge
    normalizer: str  # one of NORMALIZERS
    word_latency: bool = False
    reference_speech: Path | None = None  # a folder of recordings by index, or a list with texts
    tokenizer: str = DEFAULT_TOKENIZER  # of sacrebleu
    # Which of VERSIONS are transcribed; the first one is always among them.
    versions: tuple[str, ...] = VERSIONS
    known: dict[Key, Transcript] = field(default_factory=dict)  # grows: shared by runs


@dataclass(frozen=True)
class SpeechScores:
    """What a judge makes of the speech of a run."""

    judge: str
    normalizer: str
    versions: Mapping[str, Comparison]  # by the names of VERSIONS
    # Of the ends of words as the listener gets them, in ms; None if it was not asked for.
    word_latency: Mapping[str, float | None] | None
    num_with_words: int  # utterances that count in it
    reference_speech: Comparison | None  # the judge's own errors
    num_transcribed: int  # the others were there already


def judge_speech(
    log: Path, utterances: Sequence[Utterance], judging: Judging, omnisteval: ModuleType | None
) -> SpeechScores:
    """Transcribes the speech of a log where that has not been done, and scores it.

    Raises JudgeError if a recording is missing or is not that of the log, if an utterance has no
    reference, and if the judge fails; OSError if the transcripts cannot be written. What has been
    transcribed until then is kept.
    """
    references = {one.index: one.reference for one in utterances if one.reference is not None}
    if len(references) != len(utterances):
        missing = next(one.index for one in utterances if one.reference is None)
        raise JudgeError(f"{log}: utterance {missing} has no reference to compare speech with.")
    own_speech = (
        None
        if judging.reference_speech is None
        else read_recordings(judging.reference_speech, references)
    )
    store = Store(log.parent / TRANSCRIPTS, judging.known)
    spoken = [one for one in utterances if one.delays]
    work = (
        (one.index, version, audio)
        for one in spoken
        for version, audio in versions_of(log.parent, one)
        if version in judging.versions
    )
    found, num_transcribed = _transcribe(work, store, judging)
    texts = list(references.values())
    nothing = Transcript("", ())
    versions = {
        version: compare(
            [found.get((one.index, version), nothing) for one in utterances],
            texts,
            judging.normalizer,
            judging.tokenizer,
        )
        for version in judging.versions
    }
    own, num_more = _own_errors(own_speech, store, judging)
    timelines = []
    if judging.word_latency:
        timelines = [
            timeline
            for one in spoken
            if (timeline := in_spoken_words(one, found[one.index, WITHOUT_SILENCE])).delays
        ]
    return SpeechScores(
        judge=judging.judge.name,
        normalizer=judging.normalizer,
        versions=versions,
        word_latency=measure(timelines, omnisteval) if judging.word_latency else None,
        num_with_words=len(timelines),
        reference_speech=own,
        num_transcribed=num_transcribed + num_more,
    )


def in_spoken_words(utterance: Utterance, transcript: Transcript) -> Timeline:
    """When the listener has got each word: the end of its sound as SimulEval plays the writes.

    The words are the judge's, at most twice as many as the reference has; the length of the
    reference is counted as for text.
    """
    num_words = max(1, len(references_of(utterance.reference or "")[0].split()))
    writes = writes_of(utterance, _ANY_RATE)
    words = (transcript.words or ())[: MOST_WORDS * num_words]
    ends = accumulate((playing_time(writes, 1000 * word.end) for word in words), max)
    return Timeline(tuple(ends), (), utterance.source_ms, num_words)


def _own_errors(
    recordings: Sequence[Recording] | None, store: Store, judging: Judging
) -> tuple[Comparison | None, int]:
    """What the judge makes of the reference speech, and how much of it was transcribed now."""
    if recordings is None:
        return None, 0
    work = (
        (place, REFERENCE_SPEECH, read_recording(recording.path))
        for place, recording in enumerate(recordings)
    )
    found, num_transcribed = _transcribe(work, store, judging)
    transcripts = [found[place, REFERENCE_SPEECH] for place in range(len(recordings))]
    texts = [recording.text for recording in recordings]
    return compare(transcripts, texts, judging.normalizer, judging.tokenizer), num_transcribed


def _transcribe(
    work: Iterable[tuple[int, str, Audio]], store: Store, judging: Judging
) -> tuple[dict[tuple[int, str], Transcript], int]:
    """The transcripts by index and version, and how many of them were not in the store."""
    found: dict[tuple[int, str], Transcript] = {}
    num_new = 0
    for batch in _batches(work):
        entries = [
            (Entry(index, version, Key(judging.judge.name, audio.sha256())), audio)
            for index, version, audio in batch
        ]
        missing: dict[Key, tuple[Entry, Audio]] = {}
        for entry, audio in entries:
            if len(audio.samples) and store.find(entry.key, _needs_words(entry, judging)) is None:
                missing.setdefault(entry.key, (entry, audio))
        _fill(list(missing.values()), store, judging.judge)
        num_new += len(missing)
        for entry, audio in entries:
            known = store.find(entry.key, _needs_words(entry, judging))
            assert known is not None or not len(audio.samples)
            transcript = known or Transcript("", ())  # of no samples
            store.add(entry, transcript)
            found[entry.utterance, entry.version] = transcript
    return found, num_new


def _needs_words(entry: Entry, judging: Judging) -> bool:
    return judging.word_latency and entry.version == WITHOUT_SILENCE


def _fill(missing: Sequence[tuple[Entry, Audio]], store: Store, judge: Judge) -> None:
    # Here, because it imports the front end, which scores of text do not need.
    from echostream.frontend.save_audio import save_audio

    with tempfile.TemporaryDirectory(prefix="echostream-judge-") as name:
        paths = []
        for place, (entry, audio) in enumerate(missing):
            path = audio.path
            if path is None:
                path = Path(name) / f"{entry.utterance}_{place}.wav"
                save_audio(path, audio.samples, audio.sample_rate)
            paths.append(path)
        try:
            for (entry, _), transcript in zip(missing, judge.transcribe(paths), strict=True):
                store.add(entry, transcript)
        except MiscountError:
            store.forget({entry.key for entry, _ in missing})
            raise


def _batches(
    work: Iterable[tuple[int, str, Audio]],
) -> Iterator[list[tuple[int, str, Audio]]]:
    iterator = iter(work)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
