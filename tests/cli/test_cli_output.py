"""A standard output that cannot be written is named by every command, with or without a buffer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from espeak_needed import needs_espeak
from run_logs import text_line, write_run

from echostream.cli import main

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")

COMMANDS = [
    ["translate", "{model}", "{good}"],
    ["score", "{run}"],
    pytest.param(["corpus", "{folder}", "--counts", "train=1"], marks=needs_espeak),
    ["curve", "--help"],
    ["--help"],
]


def full_output(buffered: bool) -> io.TextIOWrapper:
    raw = io.FileIO("/dev/full", "w")
    if buffered:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8")
    return io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # type: ignore[type-var]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_output_is_named_by_every_command(
    arguments: list[str],
    buffered: bool,
    model: Path,
    good: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Without a buffer the message was "No space left on device", as of a file on a full disk."""
    run = write_run(tmp_path / "run", [text_line(0, "the cat", [1000.0, 2000.0])]).parent
    paths = {"model": model, "good": good, "run": run, "folder": tmp_path / "corpus"}
    with full_output(buffered) as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([word.format(**paths) for word in arguments]) == 2
        monkeypatch.undo()
    last = capfd.readouterr().err.splitlines()[-1]
    assert ": standard output cannot be written: " in last and "No space left" in last


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_with_a_full_output_ends_with_one_line_and_2(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "echostream", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("echostream: standard output cannot be written: [Errno 28] No space")
