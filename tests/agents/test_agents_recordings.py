"""The lists of a run are checked before SimulEval empties the output of an earlier run."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from agent_calls import REFERENCE, S2TT, by_session, run_command, run_here
from tiny_model import SAMPLE_RATE, babble

from echostream.agents.recordings import check_recordings
from echostream.evaluation.test_set import InputError, read_test_set
from echostream.frontend.audio import AudioError
from echostream.frontend.audio_header import Header, read_headers

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
        (
            "{a}\nnone.wav\n",
            "x\ny\n",
            "source.txt, line 2: none.wav cannot be read as audio: there is",
        ),
        ("{a}\n{target}\n", "x\ny\n", "source.txt, line 2: .*target.txt cannot .*[Ff]ormat"),
        ("", "", "source.txt is empty"),
    ],
)
def test_a_fault_of_a_list_is_named(
    source: str, target: str, fault: str, recordings: list[Path], check: Check, tmp_path: Path
) -> None:
    given = source.format(a=recordings[0], b=recordings[1], target=tmp_path / "target.txt")
    with pytest.raises(InputError, match=fault):
        check(given, target)


def test_blank_references_are_warned_of_by_their_lines(
    recordings: list[Path], check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    """A sound without words has no reference; a reference that was lost looks the same."""
    a = recordings[0]
    check(f"{a}\n" * 5, "x\n\ny\n \nz\n")
    (message,) = caplog.messages
    assert "target.txt: 2 references are blank, in lines 2, 4: " in message
    caplog.clear()
    check(f"{a}\n" * 5, "x\n\ny\n \nz\n", start_index=2, end_index=3)
    assert not caplog.messages


def test_all_faults_come_in_one_message(recordings: list[Path], check: Check) -> None:
    with pytest.raises(InputError) as error:
        check(f"none.wav\n\n{recordings[0]}\nneither.wav\n", "x\n")
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == 4
    words = ("4 lines", "line 1: none.wav", "line 2: is blank", "line 4: neither.wav")
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_the_list_of_references_must_be_there(recordings: list[Path], tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text(f"{recordings[0]}\n")
    with pytest.raises(InputError, match="`--target` must name the list of references"):
        check_recordings(Namespace(source=str(source), target=None))
    with pytest.raises(InputError, match=r"no.txt \(`--target`\) does not exist"):
        check_recordings(Namespace(source=str(source), target=str(tmp_path / "no.txt")))


def test_an_evaluation_around_an_unreadable_recording_is_possible(
    recordings: list[Path], check: Check
) -> None:
    lists = (f"{recordings[0]}\nnone.wav\n{recordings[1]}\n", "x\ny\nz\n")
    check(*lists, start_index=0, end_index=1)
    check(*lists, start_index=2, end_index=-1)
    check(*lists, start_index=2)
    with pytest.raises(InputError, match=r"line 2: none\.wav"):
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
    with pytest.raises(InputError, match=fault):
        check(f"{recordings[0]}\n{recordings[1]}\n", "x\ny\n", start_index=start, end_index=end)


def test_nothing_is_checked_where_simuleval_has_no_list(tmp_path: Path) -> None:
    check_recordings(Namespace())  # a standalone agent
    check_recordings(Namespace(source="https://example.org/talk", target="x"))
    (tmp_path / "source.txt").write_text("none.wav\n")
    check_recordings(Namespace(source=str(tmp_path / "source.txt"), dataloader="another"))


def test_line_ends_of_windows_and_paths_with_spaces_are_evaluated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cwd = tmp_path / "two words"
    cwd.mkdir()
    paths = [cwd / "first talk.wav", cwd / "second  talk.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, babble(2, 70 + seed), SAMPLE_RATE)
    plain = run_here(monkeypatch, cwd, paths, *S2TT, "--model-path", str(folder))
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


def flac_declaring(path: Path, count: int) -> None:
    soundfile.write(path, babble(2, 5), SAMPLE_RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0 | count >> 32]) + (count & 0xFFFF_FFFF).to_bytes(4, "big")
    path.write_bytes(data)


def of_days(path: Path) -> None:
    flac_declaring(path, 2**36 - 1)


def of_more_than_there_is(path: Path) -> None:
    flac_declaring(path, 10**6)


def of_open_length(path: Path) -> None:
    flac_declaring(path, 0)


def of_telephone_sound(path: Path) -> None:
    soundfile.write(path, babble(2, 5, 8000), 8000, "GSM610", format="WAV")


def of_one_hertz(path: Path) -> None:
    soundfile.write(path, babble(2, 5), 1, format="WAV")


def of_a_killed_recorder(path: Path) -> None:
    soundfile.write(path, babble(2, 5), SAMPLE_RATE, format="WAV")
    data = bytearray(path.read_bytes())
    data[40:44] = bytes(4)
    path.write_bytes(data)


def of_unknown_length(path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE)
    falling = np.repeat([0.3, 1e-3, 1e-4, 1e-4], SAMPLE_RATE) * noise  # the first frame is large
    with soundfile.SoundFile(
        path, "w", SAMPLE_RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(falling)
    data = path.read_bytes()
    path.write_bytes(data[data.index(data[:2], 4) :])


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder_of_that_name(path: Path) -> None:
    path.mkdir()


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html>404</html>")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (of_days, "declares 68719476735 samples, more than the file can hold"),
        (of_more_than_there_is, "ends before the last of 1000000 samples"),
        (of_open_length, "cannot be read by SimulEval: its header leaves the number of samples op"),
        (of_telephone_sound, "cannot be read by SimulEval: libsndfile cannot seek in GSM 6.10"),
        (of_one_hertz, "its sample rate must be from 1000 to 768000 Hz, but is 1 instead"),
        (of_a_killed_recorder, "the header declares 0 bytes of audio and 64000 more follow"),
        (of_unknown_length, "cannot be read by SimulEval: it has no header, and its last .* s wou"),
        (pipe, "it is a named pipe"),
        (folder_of_that_name, "it is a directory"),
        (page, "It looks like an HTML page"),
    ],
)
def test_lines_that_would_stop_simuleval_are_named(
    make: Callable[[Path], None],
    fault: str,
    recordings: list[Path],
    check: Check,
    tmp_path: Path,
) -> None:
    """And nothing hangs. A line later, SimulEval has emptied instances.log."""
    path = tmp_path / "b"
    make(path)
    with pytest.raises(InputError, match=rf"source.txt, line 2: {path} .*{fault}") as caught:
        check(f"{recordings[0]}\n{path}\n{recordings[1]}\n", "x\ny\nz\n")
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(InputError, match=rf"line 2: {path} .*{fault}"):
        read_test_set(tmp_path / "source.txt", tmp_path / "target.txt")


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 100_000])
def test_a_wav_whose_header_is_wrong_but_harmless_is_evaluated(
    size: int, check: Check, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """78 files of a public corpus are such; one warning counts them."""
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", babble(2, number), SAMPLE_RATE)
        data = bytearray((tmp_path / f"{number}.wav").read_bytes())
        data[40:44] = size.to_bytes(4, "little")
        (tmp_path / f"{number}.wav").write_bytes(data)
    check("".join(f"{tmp_path / f'{number}.wav'}\n" for number in range(3)), "x\ny\nz\n")
    warnings = [record.getMessage() for record in caplog.records]
    if size == 0xFFFF_FFFF:  # a writer that could not go back
        assert not warnings
    else:
        (warning,) = warnings
        assert "3 recordings are shorter than in their headers" in warning
        assert f"the first is {tmp_path / '0.wav'}: the header declares 100000" in warning


@pytest.mark.parametrize(
    ("prefix", "encoding", "fault"),
    [
        ("", "latin-1", r"line 2: byte 0xe9 is not UTF-8; save the list as UTF-8"),
        ("\ufeff", "utf-16-le", "is UTF-16 or UTF-32; save it as UTF-8"),
        ("", "utf-16-le", "line 1: holds a zero byte"),
        ("\ufeff", "utf-8", "line 1: begins with a byte order mark"),
    ],
)
@pytest.mark.parametrize("name", ["source.txt", "target.txt"])
def test_a_list_of_another_encoding_is_named_with_its_line(
    name: str,
    prefix: str,
    encoding: str,
    fault: str,
    recordings: list[Path],
    check: Check,
    tmp_path: Path,
) -> None:
    lists = {
        "source.txt": f"{recordings[0]}\n{recordings[1]}\n".encode(),
        "target.txt": b"x\ny\n",
    }
    text = {
        "source.txt": f"{recordings[0]}\n/\u00e9t\u00e9.wav\n",
        "target.txt": "chat\n\u00e9t\u00e9\n",
    }
    lists[name] = (prefix + text[name]).encode(encoding)
    with pytest.raises(InputError, match=rf"\n  {tmp_path / name}.*{fault}"):
        check(*lists.values())
    if "byte order mark" in fault:  # the curve writes such a list once more, without it
        return
    with pytest.raises(InputError, match=rf"{tmp_path / name}.*{fault}"):
        read_test_set(tmp_path / "source.txt", tmp_path / "target.txt")


def test_a_recording_given_for_a_list_is_named(recordings: list[Path], check: Check) -> None:
    with pytest.raises(InputError, match=r"source\.txt is a recording; it must be a list"):
        check(recordings[0].read_bytes(), "x\n")


def test_a_blank_last_line_is_named_where_it_makes_a_list_longer(
    recordings: list[Path], check: Check
) -> None:
    with pytest.raises(InputError, match=r"shorter by 1 than .*target.txt, whose last line is"):
        check(f"{recordings[0]}\n", "x\n\n")


def test_recordings_are_not_decoded_to_be_checked(
    recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000 short files took 12 s, and SimulEval decodes each of them anyway."""
    num_read: list[int] = []
    read = soundfile.SoundFile.read

    def count_and_read(self: soundfile.SoundFile, *args: object, **kwargs: object) -> np.ndarray:
        found = read(self, *args, **kwargs)
        num_read.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", count_and_read)
    headers = read_headers([recordings[0], tmp_path / "none.wav"] * 300)
    assert [type(header) for header in headers] == [Header, AudioError] * 300
    assert headers[0] == Header(4 * SAMPLE_RATE, SAMPLE_RATE, "")
    assert sum(num_read) <= 300
