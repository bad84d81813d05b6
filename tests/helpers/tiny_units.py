"""Texts whose words have fixed units, with a unit model and a model that divides the words."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from tiny_model import TARGET_TEXT, make_model_folder
from tiny_speech import tiny_unit_decoder

from echostream.data.units import UnitModel
from echostream.speech_config import UnitDecoderConfig
from echostream.training.part_config import AdamWConfig, UnitDataConfig

NUM_UNITS = 12
FAST = AdamWConfig(lr=1e-2, warmup_steps=5)


def units_of(word: str) -> list[int]:
    """Three to six units of a word, some of them twice."""
    rng = np.random.default_rng(zlib.crc32(word.encode()))
    return np.repeat(rng.integers(0, NUM_UNITS, 3), rng.integers(1, 3, 3)).tolist()  # type: ignore[no-any-return]


def make_unit_corpus(folder: Path, word_ends: bool = True) -> UnitDataConfig:
    """`units.tsv` with 16 texts, `units/` and `model/`."""
    make_model_folder(folder / "model")
    rng = np.random.default_rng(0)
    rng_centroids = np.random.default_rng(1).normal(size=(NUM_UNITS, 80))
    UnitModel(rng_centroids.astype(np.float32)).save(folder / "units")
    vocabulary = sorted({word for text in TARGET_TEXT for word in text.split()})
    columns = ["id", "tgt_text", "tgt_audio", *(["tgt_word_ends"] if word_ends else [])]
    lines = ["\t".join(columns)]
    for index in range(16):
        words = rng.choice(vocabulary, 2 + index % 4).tolist()
        units = [units_of(word) for word in words]
        ends = " ".join(map(str, np.cumsum([len(each) for each in units])))
        fields = [f"t{index}", " ".join(words), " ".join(str(u) for each in units for u in each)]
        lines.append("\t".join([*fields, *([ends] if word_ends else [])]))
    table = folder / "units.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return UnitDataConfig(
        train_tsv=str(table),
        dev_tsv=str(table),
        units=str(folder / "units"),
        text_model=str(folder / "model"),
    )


def unit_network(**changed: Any) -> UnitDecoderConfig:
    """A unit decoder for them."""
    sizes = {"dim": 32, "ffn_dim": 32, "frame_dim": 32, "unit_upsample": 5, **changed}
    return tiny_unit_decoder(24, NUM_UNITS, **sizes)
