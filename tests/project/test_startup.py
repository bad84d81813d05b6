"""Imports: a translation imports the modules that it needs and no others.

Each case is a process of its own, which prints its imported modules; nothing here is timed.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import make_speaking_folder

import echostream

ROOT = Path(__file__).resolve().parents[2]

# What a translation is made of, by the names under which it is imported.
# No part of SimulEval, of TensorBoard, of what draws or scores.
TRANSLATION = {
    "echostream",
    "kaldi_native_fbank",
    "safetensors",
    "sentencepiece",
    "soundfile",
    "soxr",
    "yaml",
}
NETWORK = {"torch", "safetensors", "kaldi_native_fbank"}

SESSION = """
from echostream import StreamingTranslator
from echostream.frontend.audio import read_audio
samples, rate = read_audio(sys.argv[2])
for method in ("ctc", "decoder"):
    session = StreamingTranslator.load(sys.argv[1], decoding_method=method)
    session.warm_up()
    session.push(samples, rate)
    session.finish()
"""
COMMAND = """
from echostream.cli import main
assert main(sys.argv[1:]) == 0
"""


def imported(program: str, *arguments: str | Path, after: str = "") -> set[str]:
    """The libraries that `program` imports, beside the standard one and what `after` brings."""
    script = (
        "import json, sys\n"
        f"{after}\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        f"{program}\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print()\n"
        "print(json.dumps(sorted(names - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = set(json.loads(done.stdout.splitlines()[-1])) - set(sys.stdlib_module_names)
    # What is left out are compiled parts of libraries, which have names of their own.
    return {name for name in names if not name.startswith("_") and name != "cython_runtime"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_model import make_model_folder

    return make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "babble.flac"
    soundfile.write(path, babble(2, seed=1), SAMPLE_RATE)
    return path


def test_importing_the_package_imports_nothing_else() -> None:
    """Not even to list its names."""
    program = "import echostream\nassert {'__version__', *echostream.__all__} <= {*dir(echostream)}"
    assert imported(program) == {"echostream"}


def test_every_public_name_is_there_and_no_other() -> None:
    for name in echostream.__all__:
        assert getattr(echostream, name) is not None
    with pytest.raises(AttributeError, match="module 'echostream' has no attribute 'Translator'"):
        echostream.Translator  # noqa: B018


def test_type_checkers_see_the_same_modules() -> None:
    """They do not run `__getattr__`: they read the imports under TYPE_CHECKING."""
    tree = ast.parse((ROOT / "echostream" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*declared, "__version__"} == set(echostream.__all__)
    for name, home in declared.items():
        assert getattr(importlib.import_module(str(home)), name) is getattr(echostream, name)


def test_a_session_imports_what_a_translation_is_made_of(model: Path, recording: Path) -> None:
    assert imported(SESSION, model, recording, after="import torch, numpy") == TRANSLATION


def test_the_command_translates_with_nothing_more(model: Path, recording: Path) -> None:
    arguments = ("translate", model, recording)
    assert imported(COMMAND, *arguments, after="import torch, numpy") == TRANSLATION


def test_speech_needs_no_more_than_text(recording: Path, tmp_path: Path) -> None:
    """In particular nothing that learned the units, spoke the corpus or judges the speech."""
    model = make_speaking_folder(tmp_path / "model")
    arguments = ("translate", model, recording, "--speech-output", tmp_path / "out")
    assert imported(COMMAND, *arguments, after="import torch, numpy") == TRANSLATION


def test_scores_are_computed_without_the_network(tmp_path: Path) -> None:
    line = (
        '{"index": 0, "prediction": "the cat", "delays": [320, 640], "elapsed": [330, 650], '
        '"prediction_length": 2, "reference": "the cat", "source": ["a.wav"], '
        '"source_length": 1000}\n'
    )
    (tmp_path / "instances.log").write_text(line)
    found = imported(COMMAND, "score", tmp_path)
    assert "sacrebleu" in found
    assert not found & NETWORK
