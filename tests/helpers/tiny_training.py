"""A language of tones: every French word is a chord, which a tiny network can learn."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from tiny_model import tiny_config

from echostream.config import ModelConfig
from echostream.data.table import COLUMNS
from echostream.data.utterance import Utterance
from echostream.training.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TokenizerConfig,
    TrainConfig,
)

SAMPLE_RATE = 16_000
LEXICON = {
    "le": "the",
    "chat": "cat",
    "chien": "dog",
    "noir": "black",
    "petit": "small",
    "dort": "sleeps",
    "mange": "eats",
    "ici": "here",
}
WORD_SECONDS = 0.3


def sentence(rng: random.Random, num_words: int = 4) -> tuple[str, str]:
    """A sentence of different French words, and the words one by one in English."""
    words = rng.sample(list(LEXICON), num_words)
    return " ".join(words), " ".join(LEXICON[word] for word in words)


def synthesise(source: str) -> NDArray[np.float32]:
    """Each word as its own two tones, with a short gap after it, in a little noise."""
    time = np.arange(round((WORD_SECONDS - 0.05) * SAMPLE_RATE)) / SAMPLE_RATE
    gap = np.zeros(round(0.05 * SAMPLE_RATE))
    pieces = []
    for word in source.split():
        rank = list(LEXICON).index(word)
        tones = np.sin(2 * np.pi * (300 + 120 * rank) * time)
        tones += np.sin(2 * np.pi * (1500 + 350 * rank) * time)
        pieces += [0.2 * tones, gap]
    clean = np.concatenate(pieces)
    # Without noise, log-mel would be all about how the last bit of a file was rounded.
    noise = np.random.default_rng(0).normal(0, 0.003, clean.shape)
    return (clean + noise).astype(np.float32)


def utterance(index: int, num_words: int = 4) -> Utterance:
    """Utterance `index` of the language, the same one each time."""
    source, target = sentence(random.Random(index), num_words)
    word_ends = tuple(WORD_SECONDS * (n + 1) - 0.05 for n in range(num_words))
    return Utterance(f"u{index}", synthesise(source), source, target, "tones", word_ends)


def write_table(path: Path, indices: range) -> Path:
    """These utterances as FLAC files beside a table."""
    lines = ["\t".join(COLUMNS)]
    for index in indices:
        item = utterance(index)
        sf.write(path.with_name(f"{item.id}.flac"), item.samples, SAMPLE_RATE)
        lines.append(
            "\t".join((item.id, f"{item.id}.flac", "0", item.source, item.target, "", "0"))
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_network() -> ModelConfig:
    """All parts of the real network, 16 wide, with a piece for every word."""
    return replace(tiny_config(20, 20, decoder_layers=1), decoder_window=16)


def tiny_run(folder: Path, num_workers: int = 0, seed: int = 1) -> TrainConfig:
    """A run of seven steps on six recordings in `folder`, written at the first call."""
    train, dev = folder / "train.tsv", folder / "dev.tsv"
    if not train.exists():
        write_table(train, range(6))
        write_table(dev, range(6, 8))
    return TrainConfig(
        output=str(folder / "run"),
        steps=7,
        data=DataConfig(
            train_tsv=str(train),
            dev_tsv=str(dev),
            block_size=4,
            reuse=2,
            num_workers=num_workers,
            batch_seconds=5,
            max_lost=0.5,  # of six rows
            seed=seed,
        ),
        tokenizer=TokenizerConfig(type="word", sentences=100),
        network=tiny_network(),
        loss=LossConfig(align_steps=0),
        optim=OptimConfig(lr=5e-3, warmup_steps=3),
        augment=AugmentConfig(frequency_masks=1, frequency_bins=8, time_masks=1, time_frames=5),
        checkpoint_steps=3,
        keep_checkpoints=2,
        validate_steps=100,
        device="cpu",
    )
