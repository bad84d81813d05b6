"""A split of a corpus on disk: its FLAC files, its table, and the lists that SimulEval reads."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol

import soundfile as sf

from echostream.data.synthetic.grammar import Pair
from echostream.data.utterance import Utterance
from echostream.files import remove_unfinished, replacing, write_whole
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE

logger = logging.getLogger(__name__)

WORD_ENDS = "word_ends"  # column; also a word in the comment of a FLAC file, before the seconds
_MAX_REPEATED = 500  # draws in a row without a new sentence, after which a split is full
_REPORT_SECONDS = 60.0


class CorpusError(ValueError):
    """A corpus that cannot be written; the message names the folder."""


class CorpusSpeech(Protocol):
    """The utterances of a split; each depends on its index alone. It can be pickled."""

    @property
    def split(self) -> str:
        """The name of the split."""

    @property
    def columns(self) -> Sequence[str]:
        """Of its table: those of `table.COLUMNS`, and perhaps `speaker` and `word_ends`."""

    def name(self, index: int) -> str:
        """The id of an utterance."""

    def pair(self, index: int) -> Pair:
        """The texts of an utterance, without synthesis."""

    def voice(self, index: int) -> str:
        """The voice of an utterance, without synthesis."""

    def utterance(self, index: int) -> Utterance:
        """An utterance, synthesised."""


class _Item(NamedTuple):
    number: int
    path: Path


def write_split(
    out_dir: Path, speech: CorpusSpeech, count: int, jobs: int = 1
) -> list[dict[str, str]]:
    """Writes `count` utterances and their table, and returns its rows; existing files are kept.

    No sentence comes twice in a split other than train.
    """
    audio_dir = out_dir / "audio" / speech.split
    audio_dir.mkdir(parents=True, exist_ok=True)
    remove_unfinished(audio_dir)
    items = [
        _Item(index, audio_dir / f"{speech.name(index)}.flac")
        for index in _indices(out_dir, speech, count)
    ]
    missing = [item for item in items if not item.path.exists()]
    for done in _timed(_synthesised(speech, missing, jobs), len(missing)):
        logger.debug("%s", done)
    rows = [_row(out_dir, speech, item) for item in items]
    wav_paths = [str((out_dir / row["src_audio"]).resolve()) for row in rows]
    simuleval = out_dir / "simuleval" / speech.split
    simuleval.mkdir(parents=True, exist_ok=True)
    _write_lines(simuleval / "wav_list.txt", wav_paths)
    _write_lines(simuleval / "src.txt", [row["src_text"] for row in rows])
    _write_lines(simuleval / "target.txt", [row["tgt_text"] for row in rows])
    # The table is written last: if it exists, so do all files that it names.
    lines = ["\t".join(speech.columns), *("\t".join(row.values()) for row in rows)]
    _write_lines(out_dir / f"{speech.split}.tsv", lines)
    return rows


def _indices(out_dir: Path, speech: CorpusSpeech, count: int) -> Iterator[int]:
    """The indices of the first `count` utterances; of those of a sentence again, only the first."""
    sentences: set[str] = set()
    index, found, repeated = -1, 0, 0
    while found < count:
        index += 1
        sentence = speech.pair(index).source
        if speech.split != "train" and sentence in sentences:
            repeated += 1
            if repeated == _MAX_REPEATED:
                raise CorpusError(
                    f"{out_dir}: {count} different sentences are wanted for {speech.split}, but "
                    f"after {found} the last {repeated} draws gave no new one."
                )
            continue
        repeated = 0
        sentences.add(sentence)
        found += 1
        yield index


def _synthesised(speech: CorpusSpeech, items: Sequence[_Item], jobs: int) -> Iterator[Path]:
    """Writes the items, in this process or in several, and yields the path of each."""
    if jobs == 1 or len(items) < 2:
        for item in items:
            yield _write_audio(speech, item)
        return
    # The speech, with all its sentences, is passed once to each process. These are not forks, in
    # which a network that is loaded already might hang.
    spawned = get_context("spawn")
    with ProcessPoolExecutor(jobs, spawned, initializer=_use, initargs=(speech,)) as pool:
        yield from pool.map(_write_with_it, items, chunksize=4)


_of_process: list[CorpusSpeech] = []  # in a process of the pool, its speech


def _use(speech: CorpusSpeech) -> None:
    _of_process[:] = [speech]


def _write_with_it(item: _Item) -> Path:
    return _write_audio(_of_process[0], item)


def _timed(written: Iterable[Path], count: int) -> Iterator[Path]:
    """Passes on what is written, and logs the time that is left every minute."""
    begin = last = time.monotonic()
    for number, path in enumerate(written, start=1):
        yield path
        now = time.monotonic()
        if now - last > _REPORT_SECONDS:
            last = now
            minutes = (now - begin) / number * (count - number) / 60
            logger.info("%d of %d utterances, %.0f min left", number, count, minutes)


def _row(out_dir: Path, speech: CorpusSpeech, item: _Item) -> dict[str, str]:
    num_samples, word_ends = _about(item.path)
    pair = speech.pair(item.number)
    fields = {
        "id": speech.name(item.number),
        "src_audio": item.path.relative_to(out_dir).as_posix(),
        "src_n_frames": str(num_samples // HOP_LENGTH),
        "src_text": pair.source,
        "tgt_text": pair.target,
        "tgt_n_frames": "0",
        "speaker": speech.voice(item.number),
        WORD_ENDS: word_ends if len(word_ends.split()) == len(pair.source.split()) else "",
    }
    return {column: fields.get(column, "") for column in speech.columns}


def _about(path: Path) -> tuple[int, str]:
    """The number of samples of a FLAC file, and the word ends in its comment."""
    try:
        with sf.SoundFile(path) as file:
            comment: str = file.comment
            return int(file.frames), comment.partition(f"{WORD_ENDS} ")[2]
    except sf.LibsndfileError as error:
        raise CorpusError(
            f"{path} cannot be read ({error.error_string}); remove it, and it is made anew."
        ) from error


def _write_audio(speech: CorpusSpeech, item: _Item) -> Path:
    """Writes the file of an item; with the column `word_ends` these are its comment."""
    path, utterance = item.path, speech.utterance(item.number)
    ends = " ".join(f"{end:.3f}" for end in utterance.word_ends)
    try:
        with (
            replacing(path) as temporary,
            sf.SoundFile(temporary, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file,
        ):
            if ends and WORD_ENDS in speech.columns:
                file.comment = f"{WORD_ENDS} {ends}"
            file.write(utterance.samples)
    except sf.LibsndfileError as error:
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"{path} cannot be written ({error.error_string} {free / 1e6:.0f} MB are free). The "
            "same command resumes from here."
        ) from error
    return path


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_whole(path, "".join(f"{line}\n" for line in lines))
