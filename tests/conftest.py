"""What every test starts from: the same random numbers and few threads."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

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


# A shell makes what it starts in the background deaf to SIGINT, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
