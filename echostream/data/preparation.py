"""Preparation of a corpus: from what was downloaded to tables, in one folder, with a report."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut
from echostream.data.corpus_summary import CorpusSummary, SplitSummary
from echostream.data.limits import Limits
from echostream.data.recordings import Recording, in_parallel, measure_all
from echostream.data.table_text import escaped
from echostream.files import locked, make_folder, remove_unfinished, safe_name, write_whole
from echostream.frontend.audio import AudioError, FaultyFiles, clean
from echostream.frontend.audio_segment import Segment, SegmentReader
from echostream.frontend.resample import resample
from echostream.frontend.save_audio import save_audio
from echostream.streaming.clock import SAMPLE_RATE
from echostream.text.normalization import TextNormalization

logger = logging.getLogger(__name__)

AUDIO = "audio"  # the folder of recordings that were cut and resampled
_KEPT = ".measured.jsonl"  # lengths of recordings, for the next call
COLUMNS = (
    "id", "src_audio", "offset", "duration", "src_text", "tgt_text", "speaker", "language",
)  # fmt: skip
_MORE = ("tgt_audio", "word_ends", "weight")  # columns that are only there if something is in them


@dataclass(frozen=True)
class Settings:
    """What `prepare_corpus` does with the utterances of a reader."""

    text: TextNormalization = field(default_factory=TextNormalization)
    limits: Limits = field(default_factory=Limits)  # of the training split
    as_flac: bool = False  # whether each utterance becomes a FLAC file of 16 kHz
    jobs: int = 1


class _Use(NamedTuple):
    """An utterance that is used, with normalised texts, and its length in seconds."""

    entry: Entry
    seconds: float


def prepare_corpus(
    entries: Iterable[Entry | LeftOut], output: Path, settings: Settings
) -> CorpusSummary:
    """Writes `<split>.tsv` and `text.yaml`, and the recordings if they are to be FLAC.

    For the test sets, also the lists that SimulEval reads, `<split>.source` and `<split>.target`,
    where each utterance is a file. Utterances that cannot be used are left out and counted. The
    limits hold for the training split: a test set stays what it is. A call that was stopped can be
    repeated; it measures and converts only what is left.

    Raises CorpusError if no utterance can be used, and OSError naming a file.
    """
    folder = make_folder(output)
    with locked(folder):
        remove_unfinished(folder)
        summary = CorpusSummary(settings.text)
        found = list(_normalised(entries, settings.text, summary))
        paths = (entry.audio for entry in found)
        recordings = measure_all(paths, settings.jobs, folder / _KEPT)
        summary.num_short_files = sum(each.is_short for each in recordings.values())
        used = list(_usable(found, recordings, settings.limits, summary))
        if settings.as_flac:
            used = _converted(used, folder, settings.jobs, summary)
        if not used:
            raise CorpusError(f"no utterance can be used: {summary.left_out_text()}")
        settings.text.save(folder)
        for split, members in _by_split(used).items():
            _write_table(folder / f"{split}.tsv", members)
            if split != "train":
                _write_lists(folder, split, members)
            summary.splits[split] = SplitSummary.of(
                [use.seconds for use in members],
                [(use.entry.source, use.entry.target) for use in members],
                [use.entry.speaker for use in members],
            )
    return summary


def _normalised(
    entries: Iterable[Entry | LeftOut], text: TextNormalization, summary: CorpusSummary
) -> Iterator[Entry]:
    """The utterances that have a text and a name of their own."""
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if isinstance(entry, LeftOut):
            summary.leave_out(*entry)
            continue
        name = " ".join(entry.id.split())
        source, target = (
            None if original is None else text(original.replace("\0", "")) or None
            for original in (entry.source, entry.target)
        )
        if (entry.split, name) in seen:
            summary.leave_out(entry.split, "a name that comes twice", name)
        elif source is None and target is None:
            summary.leave_out(entry.split, "no text", name)
        else:
            seen.add((entry.split, name))
            speaker = " ".join(entry.speaker.split())
            yield entry._replace(id=name, source=source, target=target, speaker=speaker)


def _usable(
    entries: list[Entry],
    recordings: dict[Path, Recording],
    limits: Limits,
    summary: CorpusSummary,
) -> Iterator[_Use]:
    for entry in entries:
        recording = recordings[entry.audio]
        seconds = recording.seconds
        if recording.fault:
            summary.leave_out(entry.split, "a recording that cannot be read", recording.fault)
            continue
        if entry.segment is not None:
            part = entry.segment.within(seconds, recording.sample_rate)
            if part is None:
                reason = "a segment beyond the end of its recording"
                summary.leave_out(entry.split, reason, f"{entry.id} ({entry.segment})")
                continue
            seconds = part[1] - part[0]
            entry = entry._replace(segment=Segment(part[0], seconds))
        fault = limits.fault(seconds, entry.source, entry.target)
        if fault and entry.split == "train":
            summary.leave_out(entry.split, fault[0], f"{entry.id} ({fault[1]})")
        else:
            yield _Use(entry, seconds)


class _Cut(NamedTuple):
    """The utterances of one recording, and the files that they become."""

    audio: Path
    segments: tuple[Segment | None, ...]
    outputs: tuple[Path, ...]


def _converted(used: list[_Use], folder: Path, jobs: int, summary: CorpusSummary) -> list[_Use]:
    """The utterances as FLAC files; each recording is decoded once."""
    by_file = sorted(used, key=lambda use: str(use.entry.audio))
    cuts = []
    for audio, group in groupby(by_file, lambda use: use.entry.audio):
        members = list(group)
        outputs = tuple(_output(folder, use.entry) for use in members)
        cuts.append(_Cut(audio, tuple(use.entry.segment for use in members), outputs))
    for split in {use.entry.split for use in used}:
        make_folder(folder / AUDIO / split)
    faults: dict[Path, str] = {}
    for found in in_parallel(_cut, cuts, jobs, "FLAC"):
        faults.update(found)
    converted = []
    for use in used:
        path = _output(folder, use.entry)
        if path in faults:
            reason = "a recording that cannot be read"
            summary.leave_out(use.entry.split, reason, faults[path])
        else:
            converted.append(use._replace(entry=use.entry._replace(audio=path, segment=None)))
    return converted


def _output(folder: Path, entry: Entry) -> Path:
    """The FLAC file of an utterance."""
    return folder / AUDIO / entry.split / f"{safe_name(entry.id)}.flac"


def _cut(cut: _Cut) -> dict[Path, str]:
    """Writes the files of a recording that are not there yet; returns the faults by file."""
    faults = {}
    changed = cut.audio.stat().st_mtime
    reader = SegmentReader(FaultyFiles())
    for segment, output in zip(cut.segments, cut.outputs, strict=True):
        if output.is_file() and output.stat().st_mtime >= changed:
            continue
        try:
            recorded, sample_rate = reader.read(cut.audio, segment or Segment(0.0, None))
        except AudioError as error:
            faults[output] = str(error)
            continue
        samples, _ = clean(recorded)
        if sample_rate != SAMPLE_RATE:
            samples = resample(samples, sample_rate)
        save_audio(output, samples, format="FLAC")
    return faults


def _by_split(used: list[_Use]) -> dict[str, list[_Use]]:
    splits: dict[str, list[_Use]] = {}
    for use in used:
        splits.setdefault(use.entry.split, []).append(use)
    return splits


def _write_table(path: Path, members: list[_Use]) -> None:
    rows = [_row(use, path.parent) for use in members]
    columns = [*COLUMNS, *(name for name in _MORE if any(row[name] for row in rows))]
    lines = ["\t".join(columns), *("\t".join(row[name] for name in columns) for row in rows)]
    write_whole(path, "".join(f"{line}\n" for line in lines))


def _row(use: _Use, folder: Path) -> dict[str, str]:
    entry = use.entry
    offset = "" if entry.segment is None else f"{entry.segment.offset:.6f}"
    speech = "" if entry.target_audio is None else _relative(entry.target_audio, folder)
    return {
        "id": entry.id,
        "src_audio": _relative(entry.audio, folder),
        "offset": offset,
        "duration": f"{use.seconds:.6f}",
        "src_text": escaped(entry.source),
        "tgt_text": escaped(entry.target),
        "speaker": entry.speaker,
        "language": entry.language,
        "tgt_audio": speech,
        "word_ends": " ".join(f"{end:g}" for end in entry.word_ends),
        "weight": "" if entry.weight == 1 else f"{entry.weight:g}",
    }


def _relative(path: Path, folder: Path) -> str:
    """A path within the folder relative to it, so that the folder can be moved; else absolute."""
    absolute = Path(os.path.abspath(path))
    folder = Path(os.path.abspath(folder))
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)


def _write_lists(folder: Path, split: str, members: list[_Use]) -> None:
    """The lists of SimulEval: recordings, and translations or, without any, transcripts."""
    if any(use.entry.segment is not None for use in members):
        logger.warning(
            "%s.source is not written: SimulEval reads whole files, but utterances of this split "
            "are parts of recordings. `--audio flac` makes files of them.",
            split,
        )
        return
    texts = [use.entry.target or use.entry.source or "" for use in members]
    paths = [os.path.abspath(use.entry.audio) for use in members]
    write_whole(folder / f"{split}.source", "".join(f"{path}\n" for path in paths))
    write_whole(folder / f"{split}.target", "".join(f"{text}\n" for text in texts))
