"""A file is whole or as it was, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from echostream.files import (
    check_outputs,
    holds_lock,
    locked,
    make_folder,
    replacing,
    write_whole,
)


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "été.txt"
    for content in ("first ▁", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("before", [None, "before"])
def test_an_error_leaves_the_old_content_and_nothing_else(
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


def test_a_locked_folder_is_refused_by_the_process_that_holds_it_and_free_again_after(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "new" / "run"
    with (
        locked(folder) as descriptor,
        pytest.raises(BlockingIOError, match=rf"at work in {folder} \(process {os.getpid()}\)"),
        locked(folder),
    ):
        assert holds_lock(folder, descriptor)
    with locked(folder):
        pass


@pytest.mark.parametrize("keep", [True, False])
def test_a_fork_keeps_a_folder_locked_only_with_the_argument(keep: bool, tmp_path: Path) -> None:
    ready_reading, ready_writing = os.pipe()
    done_reading, done_writing = os.pipe()
    with locked(tmp_path, keep_in_forks=keep):
        child = os.fork()
        if child == 0:
            os.close(done_writing)
            os.write(ready_writing, b"!")
            os.read(done_reading, 1)  # until the other end is closed
            os._exit(0)
    os.read(ready_reading, 1)
    try:
        if keep:
            with pytest.raises(BlockingIOError), locked(tmp_path):
                pass
        else:
            with locked(tmp_path):
                pass
    finally:
        for descriptor in (done_writing, done_reading, ready_writing, ready_reading):
            os.close(descriptor)
        assert os.waitpid(child, 0)[1] == 0


def test_the_lock_of_a_folder_that_was_removed_is_not_that_of_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder) as descriptor:
        shutil.rmtree(folder)
        assert not holds_lock(folder, descriptor)
        with locked(folder) as another:
            assert holds_lock(folder, another) and not holds_lock(folder, descriptor)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EACCES, "Permission denied", "TEMPORARY"),
    ],
)
def test_an_error_names_the_file_and_not_its_temporary_name(tmp_path: Path, error: OSError) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(OSError) as found, replacing(path) as temporary:
        if error.filename:
            error.filename = str(temporary)
        raise error
    assert (found.value.errno, found.value.filename) == (error.errno, str(path))
    assert str(path) in str(found.value)


def test_an_error_about_another_file_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), replacing(tmp_path / "a.txt"):
        (tmp_path / "other.txt").read_text()


def test_a_folder_that_is_not_there_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'.*/none/scores\.json'"):
        write_whole(tmp_path / "none" / "scores.json", "1")


def test_a_folder_is_made_with_those_above_it_and_a_file_in_its_place_is_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == make_folder(folder) == folder and folder.is_dir()
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(NotADirectoryError, match="Not a directory"):
            make_folder(path)


def test_outputs_that_would_replace_each_other_or_their_source_are_refused(tmp_path: Path) -> None:
    sources = [tmp_path / "a.wav", tmp_path / "sub" / "a.wav"]
    sources[1].parent.mkdir()
    for source in sources:
        source.touch()
    one, other = map(str, sources)
    out = tmp_path / "out" / "a.wav"
    check_outputs({one: out})
    with pytest.raises(ValueError, match=f"{one} and {other} would both become {out}"):
        check_outputs({one: out, other: out})
    with pytest.raises(ValueError, match=f"{other} would replace the file {other} itself"):
        check_outputs({one: out, other: sources[1]})
    link = tmp_path / "link.wav"
    link.symlink_to(sources[0])
    with pytest.raises(ValueError, match=f"{link} would replace the file {one} itself"):
        check_outputs({one: link})
