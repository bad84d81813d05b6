"""Without an optional library a command prints one line that names its extra, and no traceback.

Each case is a process in which the library cannot be imported.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documents import ROOT
from run_logs import speech_line, write_run
from tiny_model import make_model_folder
from tiny_sweep import Corpus
from tiny_training import tiny_run
from tiny_voice import make_voice_folder
from tones import write_speech_table

from echostream.config import to_dict
from echostream.extras import LIBRARIES, how_to_install

POINT = ("--max-future-frames", 0, "--segment-sizes", 500)


def run_without(library: str, *words: object) -> subprocess.CompletedProcess[str]:
    """`echostream WORDS` where `library` is not installed."""
    script = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "from echostream.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


def test_the_libraries_of_an_extra_are_those_of_setup_py() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for extra, libraries in LIBRARIES.items():
        assert f'"{extra}": {extra.upper()}' in setup
        (listed,) = re.findall(rf"^{extra.upper()} = \[(.*)\]$", setup, flags=re.MULTILINE)
        named = listed.replace("*ONNX", '"onnxruntime"').replace("scikit-learn", "sklearn")
        named = named.replace("faster-whisper", "faster_whisper").lower()
        for library in libraries:
            assert f'"{library}' in named, f"{library} is not in {extra}"


@pytest.mark.parametrize("library", LIBRARIES["train"])
def test_a_training_is_refused_before_it_begins(library: str, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(to_dict(tiny_run(tmp_path))))
    done = run_without(library, "train", config)
    assert_one_line(done, "train", "train")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("library", LIBRARIES["onnx"])
def test_the_onnx_back_end_is_refused(library: str, model: Path) -> None:
    audio = ROOT / "examples/fr-en/test-seen-2026-0000002.flac"
    done = run_without(library, "translate", model, audio, "--backend", "onnx")
    assert_one_line(done, "translate", "onnx")


@pytest.mark.parametrize("library", LIBRARIES["voices"])
def test_a_voice_is_refused(library: str, model: Path, tmp_path: Path) -> None:
    audio = ROOT / "examples/fr-en/test-seen-2026-0000002.flac"
    voice = make_voice_folder(tmp_path / "voice")
    output = tmp_path / "out"
    words = (model, audio, "--speech-output", output, "--voice", f"piper:{voice}")
    assert_one_line(run_without(library, "translate", *words), "translate", "voices")
    assert not output.exists()


@pytest.mark.parametrize("library", LIBRARIES["export"])
def test_an_export_is_refused(library: str, model: Path) -> None:
    assert_one_line(run_without(library, "export", model, "--onnx"), "export", "export")
    assert list(model.glob("*.onnx")) == []


def test_a_curve_has_its_tables_and_a_line_about_the_picture(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    done = run_without("matplotlib", "curve", *corpus.words(*POINT))
    assert done.returncode == 0, done.stderr
    assert_names(done.stderr, "curve", "eval")
    assert float(corpus.rows()[0]["BLEU"]) == 100 and corpus.results()["points"]
    assert not list(corpus.output.glob("curve*")) and "curve.png" not in done.stdout


@pytest.mark.parametrize("flags", [["--help"], ["--slurm-script", "curve.sbatch"]])
def test_a_curve_that_draws_nothing_here_needs_no_library(flags: list[str], tmp_path: Path) -> None:
    words = [str(tmp_path / word) if word.endswith(".sbatch") else word for word in flags]
    done = run_without("matplotlib", "curve", *words)
    assert done.returncode == 0 and done.stdout, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("library", LIBRARIES["yaal"])
def test_scores_without_yaal_name_the_extra(library: str, tmp_path: Path) -> None:
    (tmp_path / "instances.log").write_text(
        '{"index": 0, "prediction": "the cat", "delays": [320, 640], "elapsed": [330, 650], '
        '"prediction_length": 2, "reference": "the cat", "source": ["a.wav"], '
        '"source_length": 1000}\n'
    )
    done = run_without(library, "score", tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert len([line for line in done.stdout.splitlines() if how_to_install("yaal") in line]) == 1


@pytest.mark.parametrize("library", LIBRARIES["units"])
def test_units_are_not_learned_before_the_library_is_there(library: str, tmp_path: Path) -> None:
    table = write_speech_table(tmp_path)
    units = tmp_path / "units"
    done = run_without(library, "units", "learn", table, "--num-units", 4, "--output", units)
    assert_one_line(done, "units", "units")
    assert not units.exists()


@pytest.mark.parametrize("library", LIBRARIES["judge"])
def test_a_judge_is_refused_before_anything_is_scored(library: str, tmp_path: Path) -> None:
    write_run(tmp_path, [speech_line(0, [1000.0], [500.0])])
    done = run_without(library, "score", tmp_path, "--asr-judge", f"whisper:{tmp_path}")
    assert_one_line(done, "score", "judge")


@pytest.mark.parametrize("library", LIBRARIES["simulstream"])
def test_the_processor_of_simulstream_names_the_extra(library: str) -> None:
    script = f"import sys; sys.modules[{library!r}] = None; import echostream.simulstream"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and how_to_install("simulstream") in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("library", ["ray", "starlette"])
def test_the_application_of_ray_names_the_extra(library: str) -> None:
    script = f"import sys; sys.modules[{library!r}] = None; import echostream.server.ray"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and how_to_install("ray") in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("library", LIBRARIES["serve"])
def test_the_server_names_the_extra(library: str, model: Path) -> None:
    done = run_without(library, "serve", model)
    assert done.returncode == 2 and how_to_install("serve") in done.stderr.splitlines()[-1]


def test_an_error_of_echostream_itself_is_not_taken_for_a_missing_library() -> None:
    script = (
        "from echostream.extras import extra\n"
        "with extra('onnx', 'this'):\n"
        "    import echostream.nothing_of_this_name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError")
    assert "pip install" not in done.stderr


def assert_one_line(done: subprocess.CompletedProcess[str], command: str, extra: str) -> None:
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert_names(done.stderr, command, extra)


def assert_names(error: str, command: str, extra: str) -> None:
    (line,) = error.splitlines()
    assert line.startswith(f"echostream {command}: ") and how_to_install(extra) in line
