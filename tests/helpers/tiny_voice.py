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
    # The samples of each phoneme are the beginning of its row of `wave`.
    steps = """
        Squeeze input -> ids
        Slice scales one two -> slowness
        Gather frames ids -> plain
        Mul plain slowness -> slow
        Ceil slow -> durations
        Mul durations frame -> samples
        Reshape samples shape -> lengths
        Less most lengths -> taken
        Gather pitch ids -> pitches
        Reshape pitches shape -> column
        Mul most column -> phase
        Sin phase -> sine
        Gather loudness ids -> levels
        Reshape levels shape -> level
        Mul sine level -> wave
        NonZero taken -> places
        Transpose places -> pairs
        GatherND wave pairs -> voiced
    """
    gain = "Identity voiced -> output"
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        constants["gains"] = np.arange(1, speakers + 1, dtype=np.float32)
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
        gain = "Gather gains sid -> gain\nMul voiced gain -> output"
    nodes = []
    for line in (steps.strip() + "\n" + gain).splitlines():
        (kind, *taken), output = (side.split() for side in line.split("->"))
        nodes.append(helper.make_node(kind, taken, output))
    graph = helper.make_graph(
        nodes,
        "voice",
        inputs,
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
