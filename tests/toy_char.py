"""A tiny model of an en-ja shape: spoken English words (chords) to Japanese without spaces.

Sessions, agents, scorer and curve are tried on it. It is trained in a few seconds, and knows its
four recordings by heart.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import soundfile as sf
from tiny_training import SAMPLE_RATE, speak, tiny_network

from echostream.data.table import COLUMNS
from echostream.training.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from echostream.training.loop import train

# Each word is a chord of two tones; its Japanese has one or two characters.
LEXICON = {
    "i": "僕は",
    "you": "君は",
    "cat": "猫",
    "fish": "魚",
    "book": "本",
    "see": "見る",
    "buy": "買う",
    "here": "ここ",
}
SENTENCES = ("i see cat here", "you buy fish", "i buy book here", "you see fish here")
SEGMENT_MS = 320


class Toy(NamedTuple):
    """A trained model folder, and what it was trained on."""

    model: Path
    recordings: list[Path]
    sources: list[str]
    targets: list[str]  # unspaced


def translation(source: str) -> str:
    """The Japanese of a sentence, word by word."""
    return "".join(LEXICON[word] for word in source.split())


def make_toy(folder: Path) -> Toy:
    """Writes the recordings into `folder` and trains the model on them, as `echostream train`.

    What is there already is not made again.
    """
    folder.mkdir(exist_ok=True)
    lines = ["\t".join(COLUMNS)]
    toy = Toy(folder / "run" / "model", [], list(SENTENCES), list(map(translation, SENTENCES)))
    for index, (source, target) in enumerate(zip(toy.sources, toy.targets, strict=True)):
        toy.recordings.append(folder / f"u{index}.flac")
        if not toy.model.exists():
            sf.write(toy.recordings[-1], speak(source, LEXICON), SAMPLE_RATE)
        lines.append("\t".join((f"u{index}", f"u{index}.flac", "0", source, target, "", "0")))
    if not toy.model.exists():
        (folder / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        train(toy_run(folder))
    return toy


def toy_run(folder: Path) -> TrainConfig:
    """The training on `table.tsv` of a folder."""
    network = dataclasses.replace(
        tiny_network(),
        source_vocab_size=24,
        target_vocab_size=17,
        tokenizer_type="bpe",
        target_emission_unit="char",
        max_future_frames=(0,),
        decoder_layers=0,
    )
    return TrainConfig(
        output=str(folder / "run"),
        steps=160,
        data=DataConfig(
            train_tsv=str(folder / "table.tsv"),
            dev_tsv=str(folder / "table.tsv"),
            block_size=4,
            reuse=1,
            num_workers=0,
            batch_seconds=12,
        ),
        network=network,
        loss=LossConfig(asr=1.0, align_steps=0),
        optim=OptimConfig(lr=2e-2, warmup_steps=10),
        augment=AugmentConfig(frequency_masks=0),
        checkpoint_steps=80,
        keep_checkpoints=1,
        validate_steps=1000,
        device="cpu",
    )
