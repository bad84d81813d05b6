"""A model with a text decoder, and a recording, for all tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile as sf
from tiny_model import SAMPLE_RATE, babble, make_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=1)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.flac"
    sf.write(path, babble(3, seed=1), SAMPLE_RATE)
    return path
