"""MuST-C and mTEDx: talks, a YAML list of their segments, and texts of a line a segment.

MuST-C: Di Gangi et al. 2019. mTEDx: Salesky et al. 2021, arXiv:2102.01757.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import check_file, languages_of, splits_in, text_lines
from echostream.frontend.audio_segment import Segment

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every value is text; PyYAML's is slow


def read_must_c(options: Options) -> Iterator[Entry | LeftOut]:
    """`data/{train,dev,tst-COMMON,tst-HE}`; tst-COMMON is the test split, tst-HE one more.

    The n-th segment of a talk is named `<talk>_<n>`, counted as fairseq does: the segments of a
    talk ordered by their offset as text, in which 100.2 comes before 16.08.
    """
    splits = {"train": "train", "dev": "dev", "test": "tst-COMMON", "tst-HE": "tst-HE"}
    return _read(options, splits, by_text=True)


def read_mtedx(options: Options) -> Iterator[Entry | LeftOut]:
    """`data/{train,valid,test}`; the list names .wav files, but they are .flac files."""
    return _read(options, {"train": "train", "dev": "valid", "test": "test"}, by_text=False)


def _read(options: Options, splits: Mapping[str, str], by_text: bool) -> Iterator[Entry | LeftOut]:
    languages = languages_of(options)
    for split, folder in splits_in(options.source / "data", dict(splits)).items():
        path = folder / "txt" / f"{folder.name}.yaml"
        segments, texts = (
            _read_list(path),
            [text_lines(path.with_suffix(f".{language}")) for language in languages],
        )
        for language, lines in zip(languages, texts, strict=True):
            if len(lines) != len(segments):
                raise CorpusError(
                    f"{path.with_suffix(f'.{language}')} must have a line for each of the "
                    f"{len(segments)} segments of {path.name}, but has {len(lines)}."
                )
        names = _names(segments, by_text)
        for index, item in enumerate(segments):
            offset, duration = _seconds(item, "offset"), _seconds(item, "duration")
            name = names[index]
            if math.isnan(offset) or math.isnan(duration) or "wav" not in item:
                yield LeftOut(split, "no `wav`, `offset` and `duration` in the list", name)
            elif duration <= 0:
                yield LeftOut(split, "a segment of no length", name)
            else:
                yield Entry(
                    split, name, _recording(folder / "wav" / item["wav"]),
                    texts[0][index], texts[1][index], Segment(offset, duration),
                    item.get("speaker_id", ""), languages[0],
                )  # fmt: skip


def _read_list(path: Path) -> list[dict[str, str]]:
    check_file(path)
    try:
        items: Any = yaml.load(path.read_bytes(), _LOADER)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{path} must be YAML, but is not: {reason}") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CorpusError(f"{path} must be a list of segments, but is not.")
    return [{key: str(value) for key, value in item.items()} for item in items]


def _names(segments: list[dict[str, str]], by_text: bool) -> list[str]:
    """The name of each segment, by its rank in its talk."""
    talks: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(segments):
        talks[Path(item.get("wav", "")).stem].append(index)
    names = [""] * len(segments)
    for talk, indices in talks.items():
        if by_text:
            indices.sort(key=lambda index: segments[index].get("offset", ""))
        else:
            indices.sort(key=lambda index: _seconds(segments[index], "offset"))
        for rank, index in enumerate(indices):
            names[index] = f"{talk}_{rank}"
    return names


def _recording(path: Path) -> Path:
    """The recording, which may be a FLAC file where the list has WAV."""
    flac = path.with_suffix(".flac")
    return flac if flac.is_file() and not path.is_file() else path


def _seconds(item: Mapping[str, str], key: str) -> float:
    try:
        value = float(item.get(key, ""))
    except ValueError:
        return math.nan
    return value if 0 <= value < 1e6 else math.nan
