"""The commands and snippets of the README, docs/ and the other texts work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import soundfile
import yaml
from documents import PAGES, README, ROOT, TEXTS, blocks, command_of, commands
from simuleval import options

from echostream.agents.options import add_args
from echostream.cli import _parser, main
from echostream.config import from_dict
from echostream.data.table import read_tsv
from echostream.evaluation import arguments, long_form, robustness, speak
from echostream.evaluation.remote import client as remote
from echostream.evaluation.timeline import command as timeline
from echostream.training.command import add_flags
from echostream.training.config import TrainConfig
from eval.peers.whisper_agent import WhisperAgent

# Programs whose lines are checked below, or which are not ours.
PROGRAMS = {
    "echostream",
    "docker",  # test_docker.py
    "ray",
    "serve",  # test_ray.py
    "simuleval",
    "make",
    "python",
    "python3",
    "pip",
    "bash",
    "cat",
    "torchrun",
}
OURS = r"(?:agents|examples|configs|eval|benchmarks|models/fr-en-demo)"


def all_commands(program: str) -> list[list[str]]:
    return [words for path in TEXTS for words in commands(path) if words[0] == program]


def test_every_line_of_a_bash_block_runs_a_program_that_is_checked() -> None:
    for path in [README, *PAGES]:
        for words in commands(path):
            known = words[0] in PROGRAMS or words[0].startswith("simulstream_")
            assert known, f"{path.name}: {' '.join(words)}"


def test_lines_of_code_are_as_short_as_a_page_is_wide() -> None:
    for path in [README, *PAGES, ROOT / "eval" / "streamspeech" / "README.md"]:
        for language in ("bash", "python", "yaml"):
            for block in blocks(path, language):
                assert [line for line in block.splitlines() if len(line) > 81] == [], path.name


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {words[1] for words in all_commands("make") if len(words) > 1}
    assert named >= {"demo", "test", "bench"} and named <= targets


def test_paths_named_in_the_texts_exist() -> None:
    tops = "echostream|agents|eval|tests|configs|models|examples|benchmarks|docs"
    pattern = rf"[`( ]((?:{tops})/[\w./-]*[\w/])[`), ]"
    for path in [path for path in TEXTS if path.stem != "log"]:  # whose entries are of their time
        for name in re.findall(pattern, path.read_text(encoding="utf-8")):
            own = "/res/" in name or name.startswith("models/es-en")  # the reader's
            assert own or (ROOT / name).exists(), f"{path.name} names {name}"


def test_files_that_commands_read_exist() -> None:
    for path in TEXTS:
        for program, *words in commands(path):
            for word in words if program in PROGRAMS else []:
                if re.match(rf"{OURS}\b", word) and "/res/" not in word:
                    assert (ROOT / word).exists(), f"{path.name}: {word}"


def test_echostream_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    programs = {
        "curve": lambda words: arguments.parse(words, None),
        "long-form": long_form._parser().parse_args,
        "robustness": robustness._parser().parse_args,
        "remote": remote._parse,
        "speak": speak._parser().parse_args,
        "timeline": timeline._parser().parse_args,
    }
    found = [words[1:] for words in all_commands("echostream")]
    assert {name for name, *_ in found} == {
        *("translate", "score", "doctor", "train", "corpus", "export", "units", "data"),
        *("serve", "listen"),
        *programs,
    }
    for name, *words in found:
        if name in programs:
            programs[name](words)  # exits with 2 if not
        else:
            _parser().parse_args([name, *words])


def test_torchrun_commands_are_understood() -> None:
    for _, *words in all_commands("torchrun"):
        module = words.index("-m")
        assert words[module + 1] == "echostream.training.train"
        parser = ArgumentParser()
        add_flags(parser)
        parser.parse_args(words[module + 2 :])  # exits with 2 if not


def test_simuleval_commands_are_understood() -> None:
    found = all_commands("simuleval")
    assert len(found) >= 4
    for _, *words in found:
        parser = options.general_parser()
        options.add_evaluator_args(parser)
        options.add_scorer_args(parser, words)
        options.add_slurm_args(parser)
        options.add_dataloader_args(parser, words)
        of_whisper = "eval/peers/whisper_agent.py" in words
        (WhisperAgent.add_args if of_whisper else add_args)(parser)
        parser.parse_args(words)  # exits with 2 if not


def test_simulstream_commands_are_understood() -> None:
    pytest.importorskip("simulstream")
    found = [w for path in TEXTS for w in commands(path) if w[0].startswith("simulstream_")]
    assert len(found) == 4
    for program, *words in found:
        (entry,) = importlib.metadata.entry_points(group="console_scripts", name=program)
        spec = importlib.util.find_spec(entry.module)
        assert spec is not None and spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        for word in words:
            assert not word.startswith("--") or f'"{word}"' in source, f"{program} {word}"


def test_extras_that_are_named_exist() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    named = {
        extra
        for path in TEXTS
        for extra in re.findall(r'pip install "?\.\[(\w+)\]', path.read_text(encoding="utf-8"))
    }
    assert named >= {"export", "simulstream"}
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/quickstart.md").read_text(), re.MULTILINE)
    in_setup = set(re.findall(r'^ {8}"(\w+)":', setup, flags=re.MULTILINE))
    assert named <= in_setup and set(table) == in_setup


def test_scripts_that_are_named_are_there() -> None:
    assert [name for _, name, *_ in all_commands("python") if not (ROOT / name).is_file()] == []


def test_flags_in_the_table_of_agents_are_those_of_agents() -> None:
    parser = ArgumentParser()
    add_args(parser)
    page = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`--.*?) \|", page, flags=re.MULTILINE)
    named = [flag for row in rows for flag in re.findall(r"--[\w-]+", row)]
    assert len(named) > 8 and set(named) <= parser._option_string_actions.keys()


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_python_snippets_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), {})
        printed = capsys.readouterr().out
        assert bool(printed) is ("print(" in block)
        for shape in re.findall(r"print\(.*\.shape\)  # \(([\d, ]+)\)", block):
            assert f"torch.Size([{shape}])" in printed


def test_the_snippet_for_simulstream_makes_the_list_of_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "simulstream.md"
    (block,) = blocks(page, "python")
    exec(compile(block, page.name, "exec"), {})
    command = command_of(page, "simulstream_inference")
    names = Path(command[command.index("--wav-list-file") + 1])
    wavs = [names.parent / name for name in names.read_text().splitlines()]
    assert len(wavs) == 4
    for wav in wavs:
        info = soundfile.info(wav)
        assert (info.subtype, info.channels, info.samplerate) == ("PCM_16", 1, 16_000)


def test_yaml_snippets_are_configurations_of_a_training() -> None:
    found = blocks(ROOT / "docs" / "train.md", "yaml")
    assert len(found) > 1
    for text in found:  # the first is a whole one
        from_dict(TrainConfig, yaml.safe_load(found[0]) | yaml.safe_load(text))


def test_the_table_in_the_training_page_can_be_read(tmp_path: Path) -> None:
    (table,) = blocks(ROOT / "docs" / "train.md", "text")
    path = tmp_path / "train.tsv"
    path.write_text(table, encoding="utf-8")
    assert len(read_tsv(path)) == 1


def test_translate_prints_what_the_readme_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(command_of(README, "echostream")[1:]) == 0
    assert capsys.readouterr().out == blocks(README, "text")[0]


@pytest.mark.slow
def test_simuleval_command_works_from_the_repository(tmp_path: Path) -> None:
    """Its figures are those that the README shows, up to a word that rounding decides."""
    command = command_of(README, "simuleval")
    command[command.index("--output") + 1] = str(tmp_path / "out")
    program = str(Path(sys.executable).parent / "simuleval")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    references = (ROOT / "examples/fr-en/target.txt").read_text().splitlines()
    assert len((tmp_path / "out" / "instances.log").read_text().splitlines()) == len(references)
    header, row = (line.split() for line in blocks(README, "text")[1].splitlines())
    printed = [line.split() for line in done.stdout.splitlines()]
    assert header in printed
    found = map(float, printed[printed.index(header) + 1])
    assert list(found) == pytest.approx([float(value) for value in row], rel=0.02)
