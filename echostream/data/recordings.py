"""The length of many recordings, measured in parallel; a run that was stopped goes on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from echostream.frontend.audio import AudioError, check_channels, check_rate, opening, read_audio
from echostream.frontend.audio_file import UNKNOWN_LENGTH, SequentialFile, short_data
from echostream.frontend.mpeg import find_mpeg

_PORTION = 64  # files that a process is given at a time

Item = TypeVar("Item")
Result = TypeVar("Result")


class Recording(NamedTuple):
    """The length of a file and its sample rate in Hz, or why it cannot be read.

    `is_short`: whether the header declares more audio than follows.
    """

    seconds: float
    sample_rate: int
    fault: str = ""
    is_short: bool = False


def measure(path: Path) -> Recording:
    """The length of a recording by its header, where that can be relied upon.

    An MP3 that does not count its samples is decoded.
    """
    try:
        with opening(path, str(path)) as file, SequentialFile(file) as audio:
            check_rate(str(path), audio.samplerate)
            check_channels(str(path), audio.channels)
            frames, rate = audio.frames, audio.samplerate
            is_short = bool(short_data(audio.extra_info))
            if audio.format == "MP3":
                mpeg = find_mpeg(file)
                frames = frames if mpeg and mpeg.counted else UNKNOWN_LENGTH
        if frames == 0 or frames >= UNKNOWN_LENGTH:
            samples, rate = read_audio(path)
            frames = len(samples)
        return Recording(frames / rate, rate, "", is_short)
    except AudioError as error:
        return Recording(0.0, 0, str(error))


def measure_all(
    paths: Iterable[Path], jobs: int, kept: Path | None = None
) -> dict[Path, Recording]:
    """The lengths of files by path, measured in `jobs` processes, with a bar on standard error.

    What is measured is appended to the file `kept`, and not measured again as long as the size and
    the time of a file are the same.
    """
    wanted = list(dict.fromkeys(paths))
    stamps = {path: _stamp(path) for path in wanted}
    known = {} if kept is None else _read_kept(kept)
    found = {path: known[path][1] for path in wanted if known.get(path, (None,))[0] == stamps[path]}
    left = [path for path in wanted if path not in found]
    with open(os.devnull if kept is None else kept, "a", encoding="utf-8") as file:
        file.write("\n" if known else "")  # ends a line that was cut off
        for path, recording in zip(left, in_parallel(measure, left, jobs, "audio"), strict=True):
            found[path] = recording
            if not recording.fault:  # a file that is missing may be there the next time
                file.write(json.dumps([str(path), stamps[path], *recording]) + "\n")
    return found


def in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    what: str,
    portion: int = _PORTION,
) -> Iterator[Result]:
    """The results of a module's function for each item, in order, with a bar and the time left.

    portion: items that a process is given at a time.
    """
    bar = partial(tqdm, total=len(items), desc=what, file=sys.stderr, mininterval=2.0)
    if jobs == 1 or len(items) <= portion:
        yield from bar(map(work, items))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from bar(pool.map(work, items, chunksize=portion))


def _stamp(path: Path) -> str:
    with suppress(OSError, ValueError):
        stat = path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns}"
    return ""


def _read_kept(path: Path) -> dict[Path, tuple[str, Recording]]:
    known: dict[Path, tuple[str, Recording]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            with suppress(ValueError, TypeError):  # cut off when a run was killed
                name, stamp, *values = json.loads(line)
                known[Path(name)] = stamp, Recording(*values)
    return known
