"""What the README says can be done, can be done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from echostream.cli import main
from eval import arguments, long_form, remote

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "models" / "fr-en-demo" / "README.md"]


def commands(path: Path) -> list[str]:
    """The indented lines of a text, continued ones joined, without comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE)
    return [re.split(r" {2,}#", line)[0].strip() for line in lines]


def readme_command(program: str) -> list[str]:
    found = [shlex.split(c) for c in commands(ROOT / "README.md") if c.startswith(program + " ")]
    assert found, f"the README has no {program} command"
    return found[0]


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = [c.split()[1] for path in TEXTS for c in commands(path) if c.startswith("make ")]
    assert named and set(named) <= targets


def test_paths_named_in_the_texts_exist() -> None:
    pattern = r"[`( ]((?:echostream|agents|eval|tests|configs|models|examples)/[\w./-]*[\w/])[`), ]"
    for path in TEXTS:
        for name in re.findall(pattern, path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_echostream_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from echostream.cli import _parser

    found = [c for path in TEXTS for c in commands(path) if c.startswith("echostream ")]
    assert len(found) >= 2
    for command in found:
        args = _parser().parse_args(shlex.split(command)[1:])
        if args.command == "train":
            assert Path(args.config).is_file()


def test_commands_of_eval_are_understood() -> None:
    parsers = {
        "eval/latency_curve.py": lambda words: arguments.parse(words, None),
        "eval/long_form.py": long_form._parser().parse_args,
        "eval/remote.py": remote._parse,
    }
    found = [shlex.split(c) for path in TEXTS for c in commands(path) if c.startswith("python ")]
    for _, program, *words in found:
        if program in parsers:
            parsers[program](words)  # exits with 2 if not
        else:
            assert (ROOT / program).is_file()
    assert set(parsers) <= {program for _, program, *_ in found}


def test_python_examples_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert " ms  " in printed
    assert "torch.Size([2, 250, 512]) torch.Size([2, 4, 512])" in printed


def test_translate_prints_the_words_with_their_delays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    recordings = (ROOT / "examples/fr-en/wav_list.txt").read_text().split()[:2]
    assert main(["translate", "models/fr-en-demo", *recordings]) == 0
    assert re.search(r"^ +\d+\.\d\d s  \w", capsys.readouterr().out, flags=re.MULTILINE)


@pytest.mark.slow
def test_simuleval_command_works_from_the_repository(tmp_path: Path) -> None:
    command = readme_command("simuleval")
    command[command.index("--output") + 1] = str(tmp_path / "out")
    program = str(Path(sys.executable).parent / "simuleval")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    references = (ROOT / "examples/fr-en/target.txt").read_text().splitlines()
    assert len((tmp_path / "out" / "instances.log").read_text().splitlines()) == len(references)
    assert "BLEU" in done.stdout and "LAAL" in done.stdout
