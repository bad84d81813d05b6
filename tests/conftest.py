"""What every test starts from: the same random numbers and few threads."""

from __future__ import annotations

import random
import signal

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # two test processes share two cores


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# A shell makes what it starts in the background deaf to SIGINT, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
