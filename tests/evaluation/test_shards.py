"""Shards: a point in three processes, killed or not, gives the scores of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweep import Corpus, assert_same

from echostream.evaluation.point import Point, Setup
from echostream.evaluation.provenance import ROOT
from echostream.evaluation.shards import (
    Shard,
    cut_shards,
    part_from,
    read_progress,
    write_lists,
    write_part,
)
from echostream.evaluation.test_set import read_test_set
from echostream.scoring.log import INSTANCES_LOG

# Enough that SimulEval, which writes 8 KB at a time, has written a part when it is killed.
LENGTHS = tuple(1 + 7 * index % 6 for index in range(75))
POINT = ("--max-future-frames", 1, "--segment-sizes", 500)


def started(output: str) -> list[str]:
    return sorted(line for line in output.splitlines() if ": started" in line)


def wait_for(trap: Path, sweep: subprocess.Popen[bytes]) -> int:
    """The process that sprang the trap."""
    sprung = trap.with_name("trap.sprung")
    while not (sprung.is_file() and sprung.read_text()):
        assert sweep.poll() is None
        time.sleep(0.05)
    return int(sprung.read_text())


@contextmanager
def trapped_sweep(
    corpus: Corpus, trap: Path, index: int, *flags: object
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A sweep as a process, and the id of its process that is stopped at utterance `index`."""
    trap.write_text(str(index))
    words = [sys.executable, "eval/latency_curve.py", *corpus.words(*flags)]
    sweep = subprocess.Popen(words, cwd=ROOT)
    try:
        yield sweep, wait_for(trap, sweep)
    finally:
        sweep.kill()
        sweep.wait()


@pytest.mark.slow
def test_three_shards_of_which_one_is_killed_and_resumed_score_as_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path, LENGTHS)
    trap = tmp_path / "trap"
    trap.write_text("23")
    words = (*POINT, "--offline", "--jobs", 3, "--shards", 3, "--", "--trap", trap, "--deadly")
    assert corpus.sweep(*words) == 1
    captured = capsys.readouterr()
    assert "utterances are finished; simuleval was killed by SIGKILL" in captured.err
    assert len(started(captured.out)) == 6

    (killed,) = [part for part in corpus.output.glob("*/*/from-*") if not scored(part)]
    log = (killed / INSTANCES_LOG).read_bytes()
    (killed / INSTANCES_LOG).write_bytes(log[:-30])  # as after a power cut
    finished = log.count(b"\n") - 1
    assert 0 < finished < 22

    assert corpus.sweep(*words) == 0
    captured = capsys.readouterr()
    name = killed.parent.relative_to(corpus.output)
    assert started(captured.out) == [f"{name}: started, goes on after {finished} utterances"]
    assert f"{INSTANCES_LOG}: line {finished + 1} is cut or damaged" in captured.out
    start = int(killed.name.removeprefix("from-"))
    rest = killed.with_name(f"from-{start + finished}")
    assert (rest / "target.txt").read_text() == "".join(
        corpus.target.read_text().splitlines(keepends=True)[start + finished : start + 25]
    )
    parts = {point["name"]: point["parts"] for point in corpus.results()["points"]}
    assert sorted(map(len, parts.values())) == [3, 4]

    whole = corpus.elsewhere()
    assert whole.sweep(*POINT, "--offline", "--", "--trap", trap, "--deadly") == 0
    assert_same(corpus, whole)


def scored(part: Path) -> bool:
    return (part / "scores.tsv").exists()


def test_shards_and_whole_points_count_for_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep(*POINT, "--shards", 2) == 0
    assert len(started(capsys.readouterr().out)) == 2
    assert corpus.sweep(*POINT) == 0
    assert started(capsys.readouterr().out) == []
    whole = corpus.elsewhere()
    assert whole.sweep(*POINT) == 0
    assert whole.sweep(*POINT, "--shards", 4) == 0
    assert len(started(capsys.readouterr().out)) == 1
    assert_same(corpus, whole)

    # To run them again is to evaluate every utterance again, and to merge again.
    assert corpus.sweep(*POINT, "--shards", 2, "--rerun") == 0
    captured = capsys.readouterr().out
    assert len(started(captured)) == 2
    assert "goes on" not in captured
    assert "merged from 2 shards" in captured
    assert_same(corpus, whole)


def test_a_shard_without_a_word_counts_when_another_has_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SimulEval fails when it scores nothing but silence; the union is not."""
    corpus = Corpus(tmp_path, (3, 4, 5, 6))
    corpus.make_loud(range(2, 4))
    whole = corpus.elsewhere()
    for each, shards in ((corpus, 2), (whole, 1)):
        assert each.sweep(*POINT, "--shards", shards, "--", "--skip-loud") == 0
    assert not (corpus.output / "L1_seg500_n1/shard-1-of-2/from-2/scores.tsv").exists()
    assert_same(corpus, whole)

    assert corpus.sweep(*POINT, "--shards", 2, "--", "--silent") == 1
    assert "the agent wrote nothing for any utterance" in capsys.readouterr().err


def test_a_sweep_that_is_terminated_keeps_what_its_processes_have_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path, (1, 2, 3, 4, 5, 6))
    trap = tmp_path / "trap"
    words = (*POINT, "--shards", 2, "--", "--trap", trap)
    with trapped_sweep(corpus, trap, 2, *words) as (sweep, process):
        sweep.terminate()
        assert sweep.wait(timeout=30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert corpus.sweep(*words) == 0
    assert "goes on after 2 utterances" in capsys.readouterr().out


def test_no_second_process_works_in_the_folder_of_one_that_outlived_its_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    trap = tmp_path / "trap"
    words = (*POINT, "--jobs", 1, "--", "--trap", trap)
    with trapped_sweep(corpus, trap, 0, *words) as (_, process):
        pass  # which kills the sweep
    try:
        assert corpus.sweep(*words) == 1
        captured = capsys.readouterr().err
        assert f"another process is still at work in {corpus.output / 'L1_seg500_n1'}" in captured
    finally:
        os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while corpus.sweep(*words) != 0:  # until the system has cleared it away
        assert time.monotonic() < deadline


def test_more_shards_than_utterances_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep(*POINT, "--shards", 5) == 2
    assert "`--shards` must be at most 4, the number of utterances, but is 5" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("num_utterances", range(1, 12))
def test_shards_cover_a_test_set_in_order_and_evenly(num_utterances: int) -> None:
    for num_shards in range(1, num_utterances + 1):
        shards = cut_shards(num_utterances, num_shards)
        covered = [number for shard in shards for number in range(shard.start, shard.stop)]
        assert covered == list(range(num_utterances))
        assert [shard.number for shard in shards] == list(range(num_shards))
        assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for wrong in (0, num_utterances + 1):
        with pytest.raises(ValueError, match=f"but is {wrong} instead"):
            cut_shards(num_utterances, wrong)


class OneLog:
    """A shard of the utterances 1 to 3 of a corpus, of which a process has left a log."""

    def __init__(self, folder: Path) -> None:
        corpus = Corpus(folder)
        test_set = read_test_set(corpus.source, corpus.target)
        self.setup = Setup(corpus.agent, corpus.model, test_set, corpus.output)
        self.point = Point(0, 320, 1)
        self.shard = Shard(1, 2, 1, 4)
        self.part = part_from(self.setup, self.point, self.shard, 1)
        self.part.output.mkdir(parents=True)
        write_lists(self.part, test_set, 1, 4)
        self.command = self.setup.command(self.point, self.part)
        write_part(self.part.output, {"command": self.command, "inputs": {"code": "1"}})
        entry = {"prediction": "né", "delays": [1.5], "elapsed": [2], "source_length": 3}
        entries = [{"index": index, **entry, "reference": "né"} for index in range(3)]
        self.whole = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)

    def write(self, log: bytes) -> None:
        (self.part.output / INSTANCES_LOG).write_bytes(log)

    def finished(self, code: str = "1") -> tuple[list[int], int]:
        """The indices that count, and how many damages were found."""
        progress = read_progress(self.setup, self.point, self.shard, {"code": code})
        return [json.loads(line)["index"] for line in progress.lines], len(progress.cut)


def test_a_log_cut_anywhere_counts_up_to_its_last_whole_line(tmp_path: Path) -> None:
    log = OneLog(tmp_path)
    assert log.finished() == ([], 0)
    for end in range(len(log.whole) + 1):
        log.write(log.whole[:end])
        whole_lines = log.whole[:end].count(b"\n")
        damage = end > 0 and log.whole[end - 1 : end] != b"\n"
        assert log.finished() == (list(range(1, 1 + whole_lines)), int(damage)), end


def test_a_line_that_is_not_the_next_utterance_ends_what_counts(tmp_path: Path) -> None:
    log = OneLog(tmp_path)
    first, second, third = log.whole.splitlines(keepends=True)
    for bad in (b"\0" * 20 + b"\n", b"[]\n", b"\n", b"\xff\n", third, second.replace(b"{", b"", 1)):
        log.write(first + bad + third)
        assert log.finished() == ([1], 1), bad
    log.write(log.whole + first)
    assert log.finished() == ([1, 2, 3], 1)


def test_what_was_evaluated_with_other_inputs_or_options_does_not_count(tmp_path: Path) -> None:
    log = OneLog(tmp_path)
    log.write(log.whole)
    assert log.finished() == ([1, 2, 3], 0)
    assert log.finished(code="2") == ([], 0)
    log.setup = replace(log.setup, agent_args=("--skip-loud",))
    assert log.finished() == ([], 0)
