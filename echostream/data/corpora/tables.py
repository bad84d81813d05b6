"""Tables of one's own, of fairseq or of StreamSpeech: a file, or one for each split in a folder."""

from __future__ import annotations

from collections.abc import Iterator

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.table import read_tsv
from echostream.data.table_text import TableError


def read_tables(options: Options) -> Iterator[Entry | LeftOut]:
    """Each `*.tsv` of a folder is a split of its name; a single file is the training split."""
    single = options.source.is_file()
    paths = [options.source] if single else sorted(options.source.glob("*.tsv"))
    if not paths:
        raise CorpusError(f"{options.source} must be a table or hold *.tsv, but does neither.")
    for path in paths:
        split = "train" if single else path.stem
        faults: list[TableError] = []
        table = read_tsv(path, faults)
        for fault in faults:
            yield LeftOut(split, "a line that cannot be read", str(fault))
        for row in table.rows:
            if row.place is not None:
                yield LeftOut(split, "a recording in a shard, which is prepared already", row.id)
                continue
            yield Entry(
                split, row.id, path.parent / row.audio, row.source, row.target, row.segment,
                row.speaker, row.language, word_ends=row.word_ends, weight=row.weight,
            )  # fmt: skip
