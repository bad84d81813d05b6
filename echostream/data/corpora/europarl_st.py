"""Europarl-ST (Iranzo-Sánchez et al. 2020, arXiv:1911.03167): speeches of the parliament."""

from __future__ import annotations

from collections.abc import Iterator

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import splits_in, text_lines
from echostream.frontend.audio_segment import Segment

_KINDS = (".flac", ".wav", ".ogg", ".opus", ".mp3")  # that libsndfile reads; not AAC in .m4a


def read_europarl_st(options: Options) -> Iterator[Entry | LeftOut]:
    """`<source>/<target>/{train,dev,test}/segments.lst`, whose lines are `audio start END`.

    The recordings are in `<source>/audios`, as downloaded in AAC, which libsndfile does not read:
    they must be converted first. Raises CorpusError naming the command, if none has been.
    """
    if options.languages is None:
        raise CorpusError("Europarl-ST needs `--languages`, as `--languages fr en`.")
    source, target = options.languages
    root = options.source / source
    audios = root / "audios"
    made = {path.stem: path for path in sorted(audios.glob("*")) if path.suffix in _KINDS}
    if not made:
        raise CorpusError(
            f"{audios} must hold recordings that libsndfile reads, but holds none. Convert the "
            f"AAC files there, each with `ffmpeg -i X.m4a -ar 16000 -ac 1 X.flac`."
        )
    names = {"train": "train", "dev": "dev", "test": "test"}
    for split, folder in splits_in(root / target, names).items():
        segments = text_lines(folder / "segments.lst")
        texts = [text_lines(folder / f"segments.{language}") for language in (source, target)]
        if not len(segments) == len(texts[0]) == len(texts[1]):
            raise CorpusError(
                f"{folder}: segments.lst has {len(segments)} lines, but its texts have "
                f"{len(texts[0])} and {len(texts[1])}."
            )
        for line, original, translation in zip(segments, *texts, strict=True):
            fields = line.split()
            start, end = _numbers(fields)
            if len(fields) != 3 or not 0 <= start < end:
                yield LeftOut(split, "a segment without `audio start end`", line[:80])
                continue
            talk = fields[0].removesuffix(".m4a")
            if talk not in made:
                reason = "the recording is missing or not converted from AAC"
                yield LeftOut(split, reason, talk)
                continue
            yield Entry(
                split, f"{talk}_{fields[1]}_{fields[2]}", made[talk], original, translation,
                Segment(start, end - start), language=source,
            )  # fmt: skip


def _numbers(fields: list[str]) -> tuple[float, float]:
    try:
        return float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        return -1.0, -1.0
