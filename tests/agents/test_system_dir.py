"""A model folder is a system of SimulEval: `--system-dir` gives the output of `--agent`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml
from agent_calls import run_simuleval
from tiny_model import SAMPLE_RATE, babble

from echostream.model_folder import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "fr-en-demo"


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings, source.txt and target.txt."""
    lists = tmp_path_factory.mktemp("lists")
    for index in (0, 1):
        soundfile.write(lists / f"{index}.wav", babble(2.3, 80 + index), SAMPLE_RATE)
    (lists / "source.txt").write_text("".join(f"{lists / name}.wav\n" for name in "01"))
    (lists / "target.txt").write_text("the black cat sleeps in the house\n" * 2)
    return lists


def simuleval(cwd: Path, lists: Path, output: Path, *flags: str) -> list[dict[str, Any]]:
    """The lines of instances.log without the times of this machine."""
    test_set = ("--source", str(lists / "source.txt"), "--target", str(lists / "target.txt"))
    common = ("--source-segment-size", "320", "--latency-metrics", "AL", "--no-progress-bar")
    done = run_simuleval(cwd, *test_set, *common, "--output", str(output), *flags)
    assert done.returncode == 0, done.stderr
    # Only the table: no flag of SimulEval was taken for one of the agent's that prints.
    assert done.stdout.split()[:2] == ["BLEU", "AL"], done.stdout
    lines = (output / "instances.log").read_text().splitlines()
    instances = [json.loads(line) for line in lines]
    return [{k: v for k, v in i.items() if k != "elapsed"} for i in instances]


@pytest.mark.parametrize(
    ("agent", "config"),
    [("s2tt.py", ()), ("asr.py", ("--system-config", "asr.yaml"))],
    ids=["translation", "recognition"],
)
def test_the_system_of_a_folder_gives_the_output_of_the_agent(
    folder: Path, lists: Path, tmp_path: Path, agent: str, config: tuple[str, ...]
) -> None:
    """The folder is named by its whole path in one case, and from where it lies in the other."""
    flags = ("--agent", str(ROOT / "agents" / agent), "--model-path", str(folder))
    expected = simuleval(tmp_path, lists, tmp_path / "agent", *flags)
    cwd, path = (tmp_path, str(folder)) if agent == "s2tt.py" else (folder.parent, folder.name)
    flags = ("--system-dir", path, *config)
    assert simuleval(cwd, lists, tmp_path / "system", *flags) == expected
    assert all(instance["prediction"] for instance in expected)


def test_a_flag_that_was_added_to_the_system_has_its_effect(
    folder: Path, lists: Path, tmp_path: Path
) -> None:
    flags = ("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder))
    expected = simuleval(tmp_path, lists, tmp_path / "agent", *flags, "--lagging-k1", "3")
    text = (folder / "main.yaml").read_text()
    (folder / "late.yaml").write_text(text + "lagging_k1: 3\n")
    system = ("--system-dir", str(folder), "--system-config", "late.yaml")
    assert simuleval(tmp_path, lists, tmp_path / "system", *system) == expected
    assert simuleval(tmp_path, lists, tmp_path / "other", "--system-dir", str(folder)) != expected


def test_a_flag_on_the_command_line_is_refused_by_simuleval_and_the_help_has_the_alternative(
    folder: Path, lists: Path, tmp_path: Path
) -> None:
    """If SimulEval takes it one day, the help is to be changed."""
    test_set = ("--source", str(lists / "source.txt"), "--target", str(lists / "target.txt"))
    system = ("--system-dir", str(folder))
    done = run_simuleval(tmp_path, *system, *test_set, "--lagging-k1", "2")
    assert done.returncode == 2
    assert "unrecognized arguments: --lagging-k1 2" in done.stderr
    agent = ("--agent", str(ROOT / "agents" / "s2tt.py"), "--model-path", str(folder), "--help")
    done = run_simuleval(tmp_path, *agent, *test_set, COLUMNS="1000")
    assert "takes none of them from the command line" in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_the_demo_model_ships_systems_that_simuleval_understands(name: str) -> None:
    system = yaml.safe_load((DEMO / name).read_text())
    assert system["agent_class"] == f"echostream.agents.{SYSTEMS[name]}"
    assert system["model_path"] == "."
    for key, value in system.items():
        assert not isinstance(value, bool), f"{key}: SimulEval takes false for true"
        assert isinstance(value, str | int | float), f"{key}: SimulEval takes text and numbers"
        assert len(str(value).split()) == 1, f"{key}: SimulEval cuts values at spaces"
