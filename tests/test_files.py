"""A file is whole or as it was, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.files import replacing, write_whole


def test_what_was_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "été.txt"
    for content in ("first ▁", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("before", [None, "before"])
def test_an_error_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, before: str | None
) -> None:
    path = tmp_path / "scores.json"
    if before is not None:
        path.write_text(before)
    with pytest.raises(OSError, match="disk full"), replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".json"
        temporary.write_text("half of i")
        raise OSError("disk full")
    assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])
