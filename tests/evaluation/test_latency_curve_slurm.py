"""The scripts for a cluster, run by bash as SLURM would run them, give what a direct run gives."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tiny_sweep import Corpus, assert_same

SWEEP = ("--max-future-frames", 1, "--segment-sizes", 500)


def bash(*words: object, **environment: object) -> subprocess.CompletedProcess[str]:
    variables = {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        ["bash", *map(str, words)],
        env={**os.environ, **variables},
        cwd="/",
        capture_output=True,
        text=True,
    )


def sbatch_options(script: Path) -> list[str]:
    """The options in a script, read as sbatch reads them."""
    lines = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "))]


@pytest.mark.slow
def test_an_array_of_tasks_and_a_merge_score_as_a_direct_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    corpus = Corpus(folder, (1, 2, 3, 4, 5))
    array, merge = folder / "my curve.sbatch", folder / "my curve-merge.sbatch"
    words = (*SWEEP, "--shards", 2, "--slurm-script", array)
    options = ("--slurm-options", "partition=gpu", "time=1:00:00")
    assert corpus.sweep(*words, *options, "--", "--silent-word", "two words") == 0
    assert not corpus.output.exists(), "nothing is run"
    submit = capsys.readouterr().out.splitlines()[-2:]
    assert shlex.split(submit[0].strip())[0].startswith("job=$(sbatch")
    assert f'--dependency=afterok:"${{job%%;*}}" \'{str(merge)[:5]}' in submit[1]

    for script in (array, merge):
        assert bash("-n", script).stderr == ""
        assert {"--partition=gpu", "--time=1:00:00", "--cpus-per-task=1"} <= {
            *sbatch_options(script)
        }
    (tasks,) = [word for word in sbatch_options(array) if word.startswith("--array=")]
    assert tasks == "--array=0-1"
    assert not any(word.startswith("--array") for word in sbatch_options(merge))
    (logs,) = [word for word in sbatch_options(array) if word.startswith("--output=")]
    assert Path(logs.removeprefix("--output=")).parent.is_dir()

    done = bash(array, SLURM_ARRAY_TASK_ID=1)
    assert done.returncode == 0, done.stderr
    early = bash(merge)
    assert early.returncode == 1
    assert "L1_seg500_n1 failed: 3 of 5 utterances are finished" in early.stderr
    assert bash(array, SLURM_ARRAY_TASK_ID=0).returncode == 0
    assert not list(corpus.output.glob("*/point.json")), "scores are left to the merge"
    late = bash(merge)
    assert late.returncode == 0, late.stderr
    assert ": started" not in late.stdout

    direct = corpus.elsewhere()
    assert direct.sweep(*SWEEP, "--", "--silent-word", "two words") == 0
    assert_same(corpus, direct)


def test_a_task_that_fails_is_a_failed_job(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    script = tmp_path / "curve.sbatch"
    words = ("--max-future-frames", 0, "--segment-sizes", 500, "--slurm-script", script)
    assert corpus.sweep(*words, "--", "--refused", 0) == 0
    done = bash(script, SLURM_ARRAY_TASK_ID=0)
    assert done.returncode == 1
    assert "not trained for L = 0" in done.stderr
    unset = bash(script)
    assert unset.returncode != 0
    assert "SLURM_ARRAY_TASK_ID" in unset.stderr


def test_a_task_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tmp_path)
    assert corpus.sweep(*SWEEP, "--shards", 3, "--only-task", 3) == 2
    message = "`--only-task` must be at most 2, for 1 points in 3 shards, but is 3 instead."
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--partition=gpu", "array=0-9", "dependency=x", "a b", "x="])
def test_options_that_sbatch_would_not_take_or_that_are_ours_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    corpus = Corpus(tmp_path)
    script = tmp_path / "curve.sbatch"
    with pytest.raises(SystemExit) as stopped:
        corpus.sweep("--slurm-script", script, f"--slurm-options={option}")
    assert stopped.value.code == 2
    assert re.search("must be NAME=VALUE or NAME, without dashes", capsys.readouterr().err)
    assert not script.exists()
