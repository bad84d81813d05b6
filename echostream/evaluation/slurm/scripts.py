"""The two scripts of a sweep on a cluster: an array of tasks, and the merge when all are done.

They continue after the finished utterances: after a failure or a time limit, submit both again.
"""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from echostream.files import write_whole

_OPTION = re.compile(r"(?P<name>[a-z][a-z0-9-]*)(=[^\n]+)?")
_OURS = ("array", "dependency")


def check_option(text: str) -> str:
    """An option for sbatch, `partition=gpu` or `exclusive`; an argument type for argparse."""
    match = _OPTION.fullmatch(text)
    if match is None or match["name"] in _OURS:
        raise ArgumentTypeError(
            f"must be NAME=VALUE or NAME, without dashes, and not {' or '.join(_OURS)}, "
            f"but is {text!r} instead"
        )
    return text


def write_scripts(
    path: Path, command: Sequence[str], agent_args: Sequence[str], options: Sequence[str], num: int
) -> list[str]:
    """Writes the array script to `path` and the merge script beside it; returns how to submit both.

    command: the words of the sweep's command; paths are absolute or from the current folder.
    agent_args: its arguments after `--`.
    options: of sbatch for both scripts, as `check_option` accepts them.
    num: number of tasks, 0 to `num` - 1.
    """
    merge = path.with_name(f"{path.stem}-merge{path.suffix}")
    logs = path.resolve().with_name(f"{path.stem}-logs")
    logs.mkdir(parents=True, exist_ok=True)
    task = [*map(shlex.quote, command), "--only-task", '"$SLURM_ARRAY_TASK_ID"']
    rest = [*map(shlex.quote, command), "--merge-only"]
    after = ["--", *map(shlex.quote, agent_args)] if agent_args else []
    array = [f"array=0-{num - 1}", f"output={logs}/%A_%a.log"]
    _write(path, path.stem, [*array, *options], [*task, *after])
    _write(merge, merge.stem, [f"output={logs}/merge_%j.log", *options], [*rest, *after])
    return [
        f"job=$(sbatch --parsable {shlex.quote(str(path))})",
        f'sbatch --dependency=afterok:"${{job%%;*}}" {shlex.quote(str(merge))}',
    ]


def _write(path: Path, name: str, options: Sequence[str], words: Sequence[str]) -> None:
    lines = ["#!/bin/bash"]
    for option in (f"job-name={name}", "cpus-per-task=1", *options):
        # sbatch understands the quotes of a shell
        lines.append(f"#SBATCH {shlex.quote(f'--{option}')}")
    lines += ["set -euo pipefail", f"cd {shlex.quote(str(Path.cwd()))}", f"exec {' '.join(words)}"]
    write_whole(path, "\n".join(lines) + "\n")
