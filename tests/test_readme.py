"""What the README says can be done, can be done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from echostream.cli import _parser, main
from echostream.evaluation import arguments, long_form
from echostream.evaluation.remote import client as remote

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
    tops = "echostream|agents|eval|tests|configs|models|examples|benchmarks"
    pattern = rf"[`( ]((?:{tops})/[\w./-]*[\w/])[`), ]"
    for path in TEXTS:
        for name in re.findall(pattern, path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_echostream_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    programs = {
        "curve": lambda words: arguments.parse(words, None),
        "long-form": long_form._parser().parse_args,
        "remote": remote._parse,
    }
    found = [
        shlex.split(c)[1:] for path in TEXTS for c in commands(path) if c.startswith("echostream ")
    ]
    assert {name for name, *_ in found} >= {"translate", "train", *programs}
    for name, *words in found:
        if name in programs:
            programs[name](words)  # exits with 2 if not
        elif (args := _parser().parse_args([name, *words])).command == "train":
            assert Path(args.config).is_file()


def test_scripts_that_are_named_are_there() -> None:
    found = [shlex.split(c) for path in TEXTS for c in commands(path) if c.startswith("python ")]
    assert [program for _, program, *_ in found if not (ROOT / program).is_file()] == []


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
