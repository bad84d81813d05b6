"""The lists of a run are looked at before SimulEval empties what an earlier run has left."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from agent_calls import REFERENCE, S2TT, by_session, run_command, run_here
from tiny_model import SAMPLE_RATE, babble

from echostream.agents.recordings import RecordingError, check_recordings

Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Checks two lists of these bytes; `indices` are SimulEval's `start_index` and `end_index`."""

    def run(source: str | bytes, target: str | bytes, **indices: int) -> None:
        for name, content in (("source.txt", source), ("target.txt", target)):
            data = content.encode() if isinstance(content, str) else content
            (tmp_path / name).write_bytes(data)
        lists = {name: str(tmp_path / f"{name}.txt") for name in ("source", "target")}
        check_recordings(Namespace(**lists, **indices))

    return run


def test_every_fault_is_named_before_earlier_results_are_overwritten(
    folder: Path, recordings: list[Path], tmp_path: Path
) -> None:
    """SimulEval alone would empty instances.log, then stop at the first file it cannot load."""
    cut = tmp_path / "cut.flac"
    cut.write_bytes(recordings[0].read_bytes()[:20_000])
    (tmp_path / "out").mkdir()
    earlier = json.dumps({"index": 0, "prediction": "kept"}) + "\n"
    (tmp_path / "out" / "instances.log").write_text(earlier)
    names = [recordings[0], cut, tmp_path / "none.wav"]
    instances, process = run_command(
        tmp_path, names, *S2TT, "--model-path", str(folder), references=[REFERENCE] * 2, ok=False
    )
    assert instances == [{"index": 0, "prediction": "kept"}]
    assert "source.txt cannot be evaluated. Nothing has been evaluated" in process.stderr
    assert "source.txt has 3 lines and target.txt has 2: target.txt is shorter by 1" in (
        process.stderr
    )
    assert f"source.txt, line 2: {cut}" in process.stderr
    assert f"source.txt, line 3: {tmp_path / 'none.wav'}" in process.stderr


@pytest.mark.parametrize(
    ("source", "target", "fault"),
    [
        ("{a}\n{b}\n", "x\n", r"source.txt has 2 lines and .*target.txt has 1: .*target.txt is s"),
        ("{a}\n", "x\ny\nz\n", r"source.txt has 1 lines and .*has 3: .*source.txt is shorter by 2"),
        ("{a}\n\n{b}\n", "x\ny\nz\n", "source.txt, line 2: is blank; each line must be the path"),
        ("{a}\n{b}\n\n", "x\ny\nz\n", "source.txt, line 3: is blank"),
        ("\ufeff{a}\n", "x\n", "source.txt, line 1: begins with a byte order mark"),
        ("{a}\nnone.wav\n", "x\ny\n", "source.txt, line 2: none.wav: "),
        ("{a}\n{target}\n", "x\ny\n", "source.txt, line 2: .*target.txt: .*[Ff]ormat"),
        ("", "", "source.txt is empty"),
    ],
)
def test_a_fault_of_a_list_is_named(
    source: str, target: str, fault: str, recordings: list[Path], check: Check, tmp_path: Path
) -> None:
    given = source.format(a=recordings[0], b=recordings[1], target=tmp_path / "target.txt")
    with pytest.raises(RecordingError, match=fault):
        check(given, target)


def test_all_faults_come_in_one_message(recordings: list[Path], check: Check) -> None:
    with pytest.raises(RecordingError) as error:
        check(f"none.wav\n\n{recordings[0]}\nneither.wav\n", "x\n")
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == 4
    words = ("4 lines", "line 1: none.wav", "line 2: is blank", "line 4: neither.wav")
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_the_list_of_references_must_be_there(recordings: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text(f"{recordings[0]}\n")
    with pytest.raises(RecordingError, match="`--target` must name the list of references"):
        check_recordings(Namespace(source=str(source), target=None))
    with pytest.raises(RecordingError, match=r"no.txt \(`--target`\) does not exist"):
        check_recordings(Namespace(source=str(source), target=str(tmp_path / "no.txt")))


def test_an_evaluation_around_an_unreadable_recording_is_possible(
    recordings: list[Path], check: Check
) -> None:
    lists = (f"{recordings[0]}\nnone.wav\n{recordings[1]}\n", "x\ny\nz\n")
    check(*lists, start_index=0, end_index=1)
    check(*lists, start_index=2, end_index=-1)
    check(*lists, start_index=2)
    with pytest.raises(RecordingError, match=r"line 2: none\.wav"):
        check(*lists, start_index=1, end_index=2)


@pytest.mark.parametrize(
    ("start", "end", "fault"),
    [
        (2, -1, "`--start-index` must be from 0 to 1, but is 2 instead"),
        (-1, -1, "`--start-index` must be from 0 to 1, but is -1 instead"),
        (0, 3, "`--end-index` must be at most 2, but is 3 instead"),
        (1, 1, "`--end-index` must be above `--start-index` 1, but is 1 instead"),
    ],
)
def test_an_index_beyond_the_list_is_named(
    start: int, end: int, fault: str, recordings: list[Path], check: Check
) -> None:
    """SimulEval would empty instances.log and stop with an IndexError or a StatisticsError."""
    with pytest.raises(RecordingError, match=fault):
        check(f"{recordings[0]}\n{recordings[1]}\n", "x\ny\n", start_index=start, end_index=end)


def test_nothing_is_checked_where_simuleval_has_no_list(tmp_path: Path) -> None:
    check_recordings(Namespace())  # a standalone agent
    check_recordings(Namespace(source="https://example.org/talk", target="x"))
    (tmp_path / "source.txt").write_text("none.wav\n")
    check_recordings(Namespace(source=str(tmp_path / "source.txt"), dataloader="another"))


def test_line_ends_of_windows_and_paths_with_spaces_are_evaluated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "two words"
    place.mkdir()
    paths = [place / "first talk.wav", place / "second  talk.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, babble(2, 70 + seed), SAMPLE_RATE)
    plain = run_here(monkeypatch, place, paths, *S2TT, "--model-path", str(folder))
    for entry, path in zip(plain, paths, strict=True):
        assert entry["prediction"] == " ".join(by_session(folder, path)[0]) != ""
        assert entry["source"][0] == str(path)

    windows = tmp_path / "windows"
    agent = (*S2TT, "--model-path", str(folder))
    found = run_here(monkeypatch, windows, paths, *agent, line_end="\r\n")
    assert (windows / "source.txt").read_bytes().endswith(b".wav\r\n")
    for entry, expected in zip(found, plain, strict=True):
        for key in ("prediction", "delays", "reference", "source"):
            assert entry[key] == expected[key]
