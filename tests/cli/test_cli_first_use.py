"""The commands as a newcomer meets them: help, version, paths that are not there, a second try."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_training import tiny_run

from echostream import __version__
from echostream.agents.options import add_args
from echostream.cli import COMMANDS, main
from echostream.cli.programs import PROGRAMS
from echostream.config import to_dict
from echostream.files import LOCK
from echostream.training.folder import CONFIG

Capture = pytest.CaptureFixture[str]


def refused(arguments: list[str], capsys: Capture) -> str:
    """The one line with which a command is refused."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"echostream {arguments[0]}: ")
    (line,) = captured.err.splitlines()
    return line


def test_the_version_is_printed(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"echostream {__version__}\n"


def test_without_a_command_the_help_is_printed_and_the_status_is_2(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    error = capsys.readouterr().err
    assert all(f"    {name} " in error for name in [*COMMANDS, *PROGRAMS])


def undocumented(parser: ArgumentParser) -> list[str]:
    """The flags that have a default which their help does not show."""
    formatter = parser._get_formatter()
    return [
        action.dest
        for action in parser._actions
        if action.default not in (None, False, SUPPRESS, []) and action.help != SUPPRESS
        if "(default: " not in formatter._expand_help(action)
    ]


@pytest.mark.parametrize("name", [*COMMANDS, *PROGRAMS])
def test_the_help_of_a_command_shows_each_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ArgumentParser] = []
    monkeypatch.setattr(ArgumentParser, "print_help", lambda self, file=None: asked.append(self))
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert undocumented(asked[0]) == []


def test_the_help_of_the_agents_shows_each_default() -> None:
    parser = ArgumentParser()
    add_args(parser)
    assert undocumented(parser) == []


@pytest.mark.parametrize("command", ["curve", "long-form", "robustness"])
@pytest.mark.parametrize(
    "flags", [(), ("--model-path", "."), ("--model-path", ".", "--source", ".")]
)
def test_a_default_that_is_in_a_clone_only_is_named_as_such(
    command: str,
    flags: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused([command, *flags], capsys)
    assert "exists only in a clone of EchoStream" in message
    default = ("--model-path", "--source", "--target")[len(flags) // 2]
    assert f"the default of `{default}`" in message


def write(folder: Path, changes: dict[str, Any]) -> list[str]:
    """A command that trains by the tiny configuration with some changes of its sections."""
    config = to_dict(tiny_run(folder))
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return ["train", str(folder / "mine.yaml")]


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("data.train_tsv", {"train_tsv": "data/none.tsv"}),
        ("data.dev_tsv", {"dev_tsv": "data/none.tsv"}),
        ("data.grammar", {"train_tsv": None, "dev_tsv": None, "grammar": "data/none.tsv"}),
    ],
)
def test_a_missing_file_is_named_with_its_key_and_the_folder_where_paths_start(
    key: str, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(write(tmp_path, {"data": data}), capsys)
    assert message.startswith(f"echostream train: `{key}`: data/none.tsv: No such file")
    assert message.endswith(f"(relative paths start at {tmp_path})")


def test_an_output_that_cannot_be_made_is_named_with_its_key(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "file").touch()
    message = refused(write(tmp_path, {"output": str(tmp_path / "file" / "run")}), capsys)
    assert f"`output`: {tmp_path / 'file' / 'run'}: Not a directory" in message


@pytest.mark.parametrize(
    "arguments", [["train", "none.yaml"], ["corpus", "out", "--grammar", "none.yaml"]]
)
def test_a_missing_configuration_is_named_with_the_folder_where_paths_start(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(arguments, capsys)
    assert "none.yaml: No such file or directory" in message and "Errno" not in message
    assert message.endswith(f"(relative paths start at {tmp_path})")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokenizer": {"type": "unigram"}, "network": {"source_vocab_size": 5000}},
        {"tokenizer": {"type": "unigram"}, "network": {"target_vocab_size": 5000}},
    ],
    ids=["source", "target"],
)
def test_a_folder_of_a_refused_training_takes_another_configuration(
    wrong: dict[str, Any], tmp_path: Path, capsys: Capture
) -> None:
    assert main(write(tmp_path, wrong)) == 2
    assert "must be at most" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "run")) == [LOCK, CONFIG]
    assert main(write(tmp_path, {"steps": 1})) == 0
    assert yaml.safe_load((tmp_path / "run" / CONFIG).read_text())["steps"] == 1
    capsys.readouterr()
    assert main(write(tmp_path, {"steps": 1, "dropout": 0.5})) == 2
    assert "is of another run: `dropout` is 0.0 there and 0.5 here" in capsys.readouterr().err
