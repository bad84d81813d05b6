"""The texts and units that unit decoders and refiners are trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.data.unit_table import read_unit_table
from echostream.data.units import UnitModel
from echostream.model_folder import TARGET_SPM, open_folder
from echostream.speech_config import OWN_UNITS, UnitDecoderConfig
from echostream.text.tokenizer import Tokenizer
from echostream.training.part_config import UnitDataConfig
from echostream.training.unit_decoder.example import UnitExample, read_examples


class UnitData(NamedTuple):
    """The examples of both tables, for a unit decoder of the sizes of `network`."""

    network: UnitDecoderConfig
    train: Sequence[UnitExample]
    dev: Sequence[UnitExample]
    centroids: Tensor | None  # (U, F) log-mel, of units of our own
    described: str  # the unit model, for a README


def read_unit_data(data: UnitDataConfig, network: UnitDecoderConfig) -> UnitData:
    """The data that a configuration names; the vocabularies of `network` are replaced by theirs.

    Raises:
        ConfigError: if a folder is missing that is needed, or not what it must be.
        TableError: naming the line of a table.
    """
    centroids, described = None, f"Units: {network.units}, {network.num_units} of them."
    num_units = network.num_units
    if network.units == OWN_UNITS:
        if data.units is None:
            raise ConfigError(f"`data.units` must be a unit model for the units {OWN_UNITS}.")
        model = UnitModel.load(data.units)
        centroids, num_units = torch.from_numpy(model.centroids), model.num_units
        digest = UnitModel.digest(data.units)
        described = f"Unit model: {Path(data.units).name}, SHA-256 of its centroids {digest}."
    folder, model_config = open_folder(data.text_model)
    tokenizer = Tokenizer.load(folder / TARGET_SPM)
    network = dataclasses.replace(network, vocab_size=tokenizer.vocab_size, num_units=num_units)
    train, dev = (
        read_examples(table, network, tokenizer, model_config.target_emission_unit)
        for table in map(read_unit_table, (data.train_tsv, data.dev_tsv))
    )
    return UnitData(network, train, dev, centroids, described)
