"""Every configuration that is shipped can be read, and describes something that can be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from echostream.config import load_config
from echostream.data.synthetic.voice_list import VoiceList
from echostream.models import build_model
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.simulstream import ProcessorConfig
from echostream.training.config import TrainConfig
from echostream.training.kinds import load_run_config
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.vocoder.config import VocoderTrainConfig

FOLDER = Path(__file__).resolve().parents[2] / "configs"
# the dataclass of each folder's files; in train/ the key `kind` names it
KINDS: dict[str, Any] = {"simulstream": ProcessorConfig, "voices": VoiceList}
# read by simulstream alone: test_simulstream_commands.py starts its servers with it
FOREIGN = {FOLDER / "simulstream" / "server.yaml"}
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path not in FOREIGN)


def identify(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def test_all_files_of_the_folder_are_configurations_of_a_known_kind() -> None:
    assert len(FILES) > 0
    assert [identify(path) for path in FILES if path.suffix != ".yaml"] == []
    read = {path for folder in ("train", *KINDS) for path in FOLDER.glob(f"{folder}/*.yaml")}
    assert sorted(read - FOREIGN) == FILES


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_a_shipped_configuration_can_be_read(path: Path) -> None:
    folder = path.relative_to(FOLDER).parts[0]
    if folder == "train":
        load_run_config(path)
        return
    kind = KINDS[folder]
    assert isinstance(load_config(kind, path), kind)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("train/*.yaml")), ids=identify)
def test_the_network_of_a_training_run_can_be_built(path: Path) -> None:
    config = load_run_config(path)
    with torch.device("meta"):  # the shapes alone
        if isinstance(config, TrainConfig):
            built: torch.nn.Module = build_model(config.network)
        elif isinstance(config, VocoderTrainConfig):
            built = UnitVocoder(config.network)
        elif isinstance(config, UnitTrainConfig):
            built = UnitDecoder(config.network)
        else:
            built = UnitRefiner(config.network)
    assert sum(parameter.numel() for parameter in built.parameters()) > 0
