"""What pip makes of the requirements: an environment of StreamSpeech keeps what it holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile as sf
from tiny_model import SAMPLE_RATE, babble

ROOT = Path(__file__).resolve().parents[2]

# A working environment of StreamSpeech: Python 3.10, PyTorch 2.0.1 (its README), the copy of
# SimulEval that it brings and what that one pins, and a NumPy that PyTorch 2.0.1 can use.
STREAMSPEECH = {
    "simuleval": "1.1.0",
    "sacrebleu": "2.3.1",
    "tqdm": "4.64.1",
    "torch": "2.0.1",
    "numpy": "1.23.5",
    "sentencepiece": "0.1.99",
    "soundfile": "0.12.1",
    "PyYAML": "6.0.1",
}
NEEDS = {
    ("simuleval", "1.1.0"): ["sacrebleu==2.3.1", "tqdm==4.64.1"],
    ("simuleval", "1.1.4"): ["sacrebleu>=2.3.1"],
    ("OmniSTEval", "0.1.10"): ["sacrebleu>=2.5.1"],
}
# What an index offers beside it.
NEWEST = {
    "simuleval": "1.1.4",
    "sacrebleu": "2.6.0",
    "tqdm": "4.67.1",
    "torch": "2.13.0",
    "numpy": "2.2.6",
    "sentencepiece": "0.2.1",
    "soundfile": "0.14.0",
    "PyYAML": "6.0.3",
    "soxr": "1.1.0",
    "kaldi-native-fbank": "1.23.0",
    "safetensors": "0.8.0",
    "tensorboard": "2.21.0",
    "onnxruntime": "1.23.2",
    "matplotlib": "3.10.9",
    "simulstream": "1.0.0",
    "OmniSTEval": "0.1.10",
}


def metadata(name: str, version: str) -> str:
    needs = "".join(f"Requires-Dist: {one}\n" for one in NEEDS.get((name, version), []))
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A package with a name, a version and nothing in it."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = f"{stem}.dist-info"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", metadata(name, version))
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: EchoStream's own, built by setup.py, and empty ones of `NEWEST`."""
    root = tmp_path_factory.mktemp("install")
    source, folder = root / "source", root / "links"
    folder.mkdir()
    shutil.copytree(
        ROOT / "echostream", source / "echostream", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    for name, version in NEWEST.items():
        write_wheel(folder, name, version)
    return folder


def installed_by_pip(what: str, root: Path, links: Path, held: Mapping[str, str]) -> dict:
    """Names and versions that pip would install where `held` is installed already."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(root / "env")]
    subprocess.run(command, check=True)
    (site,) = (root / "env").glob("lib/python*/site-packages")
    for name, version in held.items():
        about = site / f"{name.lower()}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(metadata(name, version))
        (about / "RECORD").write_text("")
        (about / "INSTALLER").write_text("pip\n")
    python = str(root / "env" / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--dry-run", "--quiet"]
    command += ["--no-index", "--find-links", str(links), "--report", str(root / "report.json")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run([*command, what], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((root / "report.json").read_text())
    return {one["metadata"]["name"]: one["metadata"]["version"] for one in report["install"]}


@pytest.mark.parametrize(
    ("what", "new"),
    [
        ("echostream", {"echostream", "kaldi-native-fbank", "safetensors", "soxr"}),
        (
            "echostream[train,eval,onnx,simulstream]",
            {
                *("echostream", "kaldi-native-fbank", "safetensors", "soxr"),
                *("tensorboard", "matplotlib", "onnxruntime", "simulstream"),
            },
        ),
    ],
)
def test_an_environment_of_streamspeech_keeps_its_simuleval_and_all_else_that_it_holds(
    what: str, new: set[str], links: Path, tmp_path: Path
) -> None:
    assert set(installed_by_pip(what, tmp_path, links, STREAMSPEECH)) == new


def test_an_empty_environment_gets_the_newest_simuleval(links: Path, tmp_path: Path) -> None:
    found = installed_by_pip("echostream", tmp_path, links, {})
    assert found["simuleval"] == "1.1.4"
    assert found["torch"] == "2.13.0"


@pytest.mark.slow
def test_the_wheel_runs_outside_of_the_repository(
    links: Path, folder: Path, tmp_path: Path
) -> None:
    """The commands and SimulEval's `--agent-class`, from the files of the wheel alone."""
    (wheel,) = links.glob("echostream-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    work = tmp_path / "work"
    work.mkdir()
    for name in ("a.wav", "b.wav"):
        sf.write(work / name, babble(2, seed=ord(name[0])), SAMPLE_RATE)
    (work / "wavs.txt").write_text("a.wav\nb.wav\n")
    (work / "refs.txt").write_text("one two\nthree four\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        command = [sys.executable, "-c", FROM_WHEEL, *words]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "a.wav" in run("translate", str(folder), "a.wav")
    sweep = ["--model-path", str(folder), "--source", "wavs.txt", "--target", "refs.txt"]
    point = ["--max-future-frames", "0", "--segment-sizes", "640", "--output", "out"]
    assert "picture: out/curve.png" in run("curve", *sweep, *point)
    assert "LAAL" in run("score", "out/L0_seg640_n1")
    assert "SimulEval" in run("doctor")


# The command, where the files of the wheel come before those that are installed.
FROM_WHEEL = """
import sys
from pathlib import Path
import echostream
from echostream.cli import main
assert Path(echostream.__file__).parents[1].name == "site", echostream.__file__
sys.exit(main())
"""
