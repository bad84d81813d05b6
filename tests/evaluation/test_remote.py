"""The client of a remote agent writes the log of a local run, and goes on with one that broke off.

The agent is EchoStream's, behind SimulEval's own server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from servers import (
    ROOT,
    SEGMENT_MS,
    Lists,
    local_run,
    read_log,
    standalone,
    without_times,
    write_lists,
)
from tiny_model import babble, make_model_folder

from echostream.evaluation.remote.client import main

# name, seconds, rate, channels
RECORDINGS = (
    ("a.flac", 3.0, 16_000, 1),
    ("b b.wav", 1.92, 48_000, 2),  # ends with a segment
    ("c.wav", 0.01, 16_000, 1),  # shorter than a window
    ("d.flac", 2.5, 22_051, 1),  # a segment is no whole number of samples
)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    audio = tmp_path_factory.mktemp("audio")
    paths = []
    for seed, (name, seconds, rate, channels) in enumerate(RECORDINGS):
        samples = babble(seconds, seed + 90, rate)
        paths.append(audio / name)
        soundfile.write(paths[-1], np.stack([samples] * channels, axis=1), rate)
    return write_lists(audio, paths)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = make_model_folder(tmp_path_factory.mktemp("model"))
    return ("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder))


@pytest.fixture(scope="module")
def url(agent: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standalone(tmp_path_factory.mktemp("server"), *agent) as address:
        yield address


@pytest.fixture(scope="module")
def finished(lists: Lists, url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from beginning to end."""
    output = tmp_path_factory.mktemp("finished")
    assert main([*lists.flags, "--url", url, "--output", str(output)]) == 0
    return output


def test_the_log_is_that_of_a_local_run(
    lists: Lists, agent: tuple[str, ...], finished: Path, tmp_path: Path
) -> None:
    local = local_run(lists, tmp_path / "local", *agent)
    remote = read_log(finished)
    assert without_times(remote) == without_times(local)
    assert sum(instance["prediction_length"] for instance in remote) > 5


def test_the_log_by_character_is_that_of_a_local_run_by_character(
    lists: Lists, agent: tuple[str, ...], url: str, tmp_path: Path
) -> None:
    unit = ("--eval-latency-unit", "char")
    local = local_run(lists, tmp_path / "local", *agent, *unit)
    flags = [*lists.flags, "--url", url, "--output", str(tmp_path / "remote")]
    assert main([*flags, *unit]) == 0
    remote = read_log(tmp_path / "remote")
    assert without_times(remote) == without_times(local)
    assert all(len(line["prediction"]) == len(line["delays"]) for line in remote)
    assert main(flags) == 2  # by word: another run
    assert len(read_log(tmp_path / "remote")) == len(RECORDINGS)


def test_elapsed_is_the_audio_so_far_and_the_time_it_took(finished: Path) -> None:
    for instance in read_log(finished):
        spent = np.subtract(instance["elapsed"], instance["delays"])
        assert len(spent) == instance["prediction_length"]
        assert (spent > 0).all()
        assert (np.diff(spent) >= 0).all()


def test_an_interrupted_run_goes_on_after_its_last_whole_line(
    lists: Lists, url: str, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in finished.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    log = tmp_path / "instances.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1] + lines[2][: len(lines[2]) // 2])
    assert main([*lists.flags, "--url", url, "--output", str(tmp_path)]) == 0
    assert log.read_bytes().startswith(lines[0] + lines[1])
    assert without_times(read_log(tmp_path)) == without_times(read_log(finished))
    assert "the last line was cut" in caplog.text


def test_a_finished_run_is_not_run_again_without_the_flag(
    lists: Lists, url: str, tmp_path: Path
) -> None:
    flags = [*lists.flags, "--url", url, "--output", str(tmp_path)]
    assert main(flags) == 0
    before = (tmp_path / "instances.log").read_bytes()
    assert main(flags) == 0
    assert (tmp_path / "instances.log").read_bytes() == before
    assert main([*flags, "--rerun"]) == 0
    again = (tmp_path / "instances.log").read_bytes()
    assert again != before  # its times are
    assert len(again.splitlines()) == len(RECORDINGS)


def test_a_run_with_other_settings_is_not_gone_on_with(
    lists: Lists, url: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "instances.log").read_bytes()
    flags = ["--source", str(lists.source), "--target", str(lists.target)]
    flags += ["--source-segment-size", "640", "--url", url, "--output", str(finished)]
    assert main(flags) == 2
    message = f"another `source_segment_size`: {SEGMENT_MS}, but it is 640 now"
    assert message in capsys.readouterr().err
    assert (finished / "instances.log").read_bytes() == before


def test_the_log_of_another_program_is_not_gone_on_with(
    lists: Lists, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "instances.log").write_text(json.dumps({"index": 0}) + "\n")
    assert main([*lists.flags, "--url", url, "--output", str(tmp_path)]) == 2
    assert "is not of a remote run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"index": 3}', '{"index": true}', "[" * 100_000, "9" * 5000]
)
def test_a_damaged_line_of_the_log_is_named(
    lists: Lists,
    url: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
) -> None:
    (tmp_path / "remote.json").write_bytes((finished / "remote.json").read_bytes())
    first = (finished / "instances.log").read_text().splitlines()[0]
    (tmp_path / "instances.log").write_text(f"{first}\n{line}\n")
    assert main([*lists.flags, "--url", url, "--output", str(tmp_path)]) == 2
    assert f"{tmp_path / 'instances.log'}, line 2:" in capsys.readouterr().err
