"""FLEURS (Conneau et al. 2022, arXiv:2205.12446): sentences read in many languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import splits_in, tsv_rows

_COLUMNS = ("id", "file", "raw", "text", "letters", "num_samples", "gender")


def read_fleurs(options: Options) -> Iterator[Entry | LeftOut]:
    """`metadata/<language>/{train,dev,test}.tsv` without a header, `<language>/<split>/*.wav`.

    Its id is of the sentence, which up to three people read: utterances are named
    `<id>_<file>`. A translation is the sentence of the same id in the other language, whichever
    split it is in.
    """
    if options.languages is None:
        raise CorpusError("FLEURS needs `--languages`, as `--languages fr_fr en_us`.")
    source, target = options.languages
    metadata = options.source / "metadata"
    names = {split: f"{split}.tsv" for split in ("train", "dev", "test")}
    translations: dict[str, str] = {}
    for path in splits_in(metadata / target, names).values():
        translations.update({row["id"]: row["raw"] for row in tsv_rows(path, _COLUMNS) if row})
    for split, path in splits_in(metadata / source, names).items():
        for row in tsv_rows(path, _COLUMNS):
            if row is None:
                yield LeftOut(split, f"a line without {len(_COLUMNS)} fields", path.name)
                continue
            name = f"{row['id']}_{Path(row['file']).stem}"
            if row["id"] not in translations:
                yield LeftOut(split, f"a sentence that is not in {target}", name)
                continue
            yield Entry(
                split, name, _recording(options.source / source, path.stem, row["file"]),
                row["raw"], translations[row["id"]], language=source,
            )  # fmt: skip


def _recording(folder: Path, split: str, name: str) -> Path:
    """The recording, in a folder of its split or in `audio/<split>`, as archives differ."""
    other = folder / "audio" / split / name
    return other if other.is_file() else folder / split / name
