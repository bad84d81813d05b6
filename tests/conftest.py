"""Fixtures of all tests, fixed random seeds and one thread."""

from __future__ import annotations

import fcntl
import gc
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)  # two test processes share two cores


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder."""
    from tiny_model import make_model_folder

    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of `agent_calls.RECORDINGS`."""
    from agent_calls import write_recordings  # which imports SimulEval

    return write_recordings(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model folder with a text decoder and both graphs of its step, for reading only."""
    from tiny_model import make_model_folder

    from echostream.backends.export import export_model

    def make(folder: Path) -> None:
        make_model_folder(folder, decoder_layers=1)
        weights = load_file(folder / "model.safetensors")
        generator = torch.Generator().manual_seed(0)
        for name, value in weights.items():  # zero at the start, which would hide errors
            if name.startswith("encoder.") and name.endswith("position_bias"):
                value.normal_(generator=generator)
        save_file(weights, folder / "model.safetensors")
        export_model(folder, int8=True)

    return made_once(tmp_path_factory, "exported", make)


@pytest.fixture(scope="session")
def exported_speech(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `exported` with parts that speak, and their graphs, for reading only."""
    from tiny_speech import add_speech

    from echostream.backends.export.progress import Stages, silent
    from echostream.backends.export.speech import export_part, speaking_parts
    from echostream.speech_folder import load_speech

    def make(folder: Path) -> None:
        add_speech(Path(shutil.copytree(exported, folder, dirs_exist_ok=True)))
        for part in speaking_parts(load_speech(folder, 24)):
            export_part(folder, part, Stages(2, silent))

    return made_once(tmp_path_factory, "exported_speech", make)


@pytest.fixture(scope="session")
def exported_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the benchmark's tiny encoder in both back ends, for reading only."""
    from benchmarks.fixtures import QUICK, Bench

    return made_once(
        tmp_path_factory,
        "exported_encoder",
        lambda folder: Bench(QUICK, folder).encoder_file("onnx-int8"),
    )


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that `make` fills; one test process does it for all, because tracing is slow."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = base / f"{name}.unfinished"
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
            # The tracer leaves millions of objects, which every garbage collection would visit.
            gc.collect()
            gc.freeze()
    return folder


@pytest.fixture(scope="session")
def unspaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model folder of `toy_char`, for reading only; its recordings lie two folders up."""
    from toy_char import train_unspaced

    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one process trains it for all
    model = base / "unspaced" / "run" / "model"
    with (base / "unspaced.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return model if model.exists() else train_unspaced(base / "unspaced")


# A shell lets background processes ignore SIGINT, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
