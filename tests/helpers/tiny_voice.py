"""A Piper voice small enough for tests: a real graph for ONNX Runtime, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAME = 256  # samples
SYMBOLS = "_^$ .,:;!?ˈabdefhijklmnoprstuvwzæðŋɐɑɔəɚɛɡɪɹʃʊʌʒθᵻː"  # noqa: RUF001


def make_voice_folder(folder: Path, speakers: int = 1, **changes: Any) -> Path:
    """A folder with a voice whose sound is a function of the phonemes.

    Every phoneme has six frames at speed 1 and a sine of its own; the others, which are pads, marks
    and punctuation, are silent. A second speaker is twice as loud. `changes` are keys of the
    configuration; None leaves one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "audio": {"sample_rate": 22_050},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "phoneme_id_map": {symbol: [index] for index, symbol in enumerate(SYMBOLS)},
        **changes,
    }
    settings = {key: value for key, value in settings.items() if value is not None}
    (folder / "tiny.onnx.json").write_text(json.dumps(settings), encoding="utf-8")
    onnx.save(_graph(speakers), folder / "tiny.onnx")
    return folder


def _graph(speakers: int) -> onnx.ModelProto:
    is_sound = np.array([symbol.isalpha() for symbol in SYMBOLS], np.float32)
    constants = {
        "frames": is_sound * 5 + 0.75,
        "loudness": is_sound * 0.3,
        "pitch": 0.02 * np.arange(1, len(SYMBOLS) + 1, dtype=np.float32),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "shape": np.array([-1, 1], np.int64),
        "most": np.arange(64 * FRAME, dtype=np.float32)[None],
        "frame": np.array(FRAME, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Squeeze", ["input"], ["ids"]),
        node("Slice", ["scales", "one", "two"], ["slowness"]),
        node("Gather", ["frames", "ids"], ["plain"]),
        node("Mul", ["plain", "slowness"], ["slow"]),
        node("Ceil", ["slow"], ["durations"]),
        # A row for each phoneme, of which as many samples are taken as it has.
        node("Mul", ["durations", "frame"], ["samples"]),
        node("Reshape", ["samples", "shape"], ["lengths"]),
        node("Less", ["most", "lengths"], ["taken"]),
        node("Gather", ["pitch", "ids"], ["pitches"]),
        node("Reshape", ["pitches", "shape"], ["column"]),
        node("Mul", ["most", "column"], ["phase"]),
        node("Sin", ["phase"], ["sine"]),
        node("Gather", ["loudness", "ids"], ["levels"]),
        node("Reshape", ["levels", "shape"], ["level"]),
        node("Mul", ["sine", "level"], ["wave"]),
        node("NonZero", ["taken"], ["places"]),
        node("Transpose", ["places"], ["pairs"], perm=[1, 0]),
        node("GatherND", ["wave", "pairs"], ["output" if speakers == 1 else "voiced"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        constants["gains"] = np.arange(1, speakers + 1, dtype=np.float32)
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
        nodes += [
            node("Gather", ["gains", "sid"], ["gain"]),
            node("Mul", ["voiced", "gain"], ["output"]),
        ]
    graph = helper.make_graph(
        nodes,
        "voice",
        inputs,
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
