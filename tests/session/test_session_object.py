"""A session as an object: its arguments, copies of it, and processes that are forked beside it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from agent_calls import ROOT
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.backends.onnx import OnnxNetwork
from echostream.model_folder import Model, load_model
from echostream.session.batch import StreamBatch
from echostream.session.translator import StreamingTranslator, joined_text


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder)


WRONG = [
    ("lagging_k1", [-1, 1.5, True, "2", None], "must be an integer >= 0"),
    ("lagging_k2", [-1, 1.5, True, "2", None], "must be an integer >= 0"),
    ("stride_n", [0, -1, 1.5, True, "2", None], "must be an integer >= 1"),
    ("max_future_frames", ["1", 1.0, True, -1, 3, (0,)], "must be one of 0, 1, 2, which the model"),
    ("task", ["s2st", None, 1], "must be one of st, asr"),
    ("decoding_method", ["beam", None, True], "must be one of ctc, decoder"),
    ("emission_unit", ["spm", None, ""], "must be one of auto, word, char"),
    ("transcript", ["yes", None, 2], "must be one of False, True"),
]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [(name, value, allowed) for name, values, allowed in WRONG for value in values],
)
def test_an_argument_that_is_not_allowed_is_named(
    model: Model, name: str, value: object, allowed: str
) -> None:
    makers: list[Callable[..., Any]] = [StreamingTranslator, StreamBatch]
    for make, arguments in zip(makers, ((model,), (model, 1)), strict=True):
        with pytest.raises(ValueError) as raised:
            make(*arguments, **{name: value})
        message = str(raised.value)
        assert message.startswith(f"`{name}` {allowed}"), message
        assert f"but is {value!r} instead" in message


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "2", None])
def test_a_capacity_that_is_not_allowed_is_named(model: Model, capacity: Any) -> None:
    with pytest.raises(ValueError, match="`capacity` must be an integer >= 1, but is"):
        StreamBatch(model, capacity)


def test_the_smallest_look_ahead_is_the_default_of_session_and_encoder(
    tmp_path: Path,
) -> None:
    folder = make_model_folder(tmp_path / "model")
    config = folder / "config.yaml"
    for trained, smallest in (([1, 0], 0), ([2, 1], 1)):
        values = yaml.safe_load(config.read_text()) | {"max_future_frames": trained}
        config.write_text(yaml.safe_dump(values))
        model = load_model(folder)
        network: Any = model.network
        assert StreamingTranslator(model).max_future_frames == smallest
        assert network.encoder.max_future_frames == smallest
        assert network.encoder.algorithmic_latency_ms == 160 * (1 + smallest)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kind", ["session", "batch"])
def test_copying_a_session_is_an_error(
    model: Model, kind: str, copied: Callable[[object], object]
) -> None:
    session = StreamingTranslator(model) if kind == "session" else StreamBatch(model, 2)
    name = type(session).__name__
    with pytest.raises(TypeError, match=f"a {name} cannot be pickled or copied, because") as raised:
        copied(session)
    assert "make another one of the same `Model`" in str(raised.value)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_copy_of_a_model_gives_the_words_of_the_model(
    model: Model, copied: Callable[[Model], Model]
) -> None:
    samples = babble(3, 70)

    def text(of: Model) -> str:
        session = StreamingTranslator(of)
        return joined_text(session.push(samples, SAMPLE_RATE) + session.finish())

    assert text(copied(model)) == text(model) != ""


def test_copying_a_network_of_another_back_end_is_an_error() -> None:
    network = OnnxNetwork.__new__(OnnxNetwork)  # the graph takes long to make
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a network in ONNX Runtime cannot be pickled"):
            copied(network)


FORK = """
import os, sys
import numpy as np
import torch
from echostream import StreamingTranslator, load_model
folder, loaded = sys.argv[1:]
torch.set_num_threads(2)
sessions = [StreamingTranslator(load_model(folder))] if loaded == "before" else []
if os.fork() == 0:
    model = sessions[0].model if sessions else load_model(folder)
    for session in [*sessions, StreamingTranslator(model)]:
        session.push(np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
        session.finish()
    print(torch.get_num_threads(), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize(("loaded", "threads"), [("before", "1"), ("after", "2")])
def test_a_process_forked_after_loading_computes_with_one_thread_and_warns(
    loaded: str, threads: str
) -> None:
    """It waited for ever for the threads of its parent. The tiny model is too small for threads."""
    program = [sys.executable, "-c", FORK, str(ROOT / "models" / "fr-en-demo"), loaded]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [threads]
    warned = "was forked after a model was loaded, and PyTorch cannot use its 2 threads here"
    assert (warned in done.stderr) is (loaded == "before")
