"""A tiny trained model that translates into text without spaces, as from English to Japanese."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tiny_training import LEXICON, tiny_run, utterance, write_table

from echostream.training.config import AugmentConfig, LossConfig, OptimConfig
from echostream.training.train import train

NUM_UTTERANCES = 4
# A character for each word of the language of tones; the end of a sentence is not marked.
CHARACTERS = dict(zip(LEXICON.values(), "其猫犬黒小眠食此", strict=True))


def unspaced(target: str) -> str:
    """A target sentence of the language of tones in characters."""
    return "".join(CHARACTERS[word] for word in target.split())


def train_unspaced(folder: Path) -> Path:
    """The model folder of a run on `u0.flac`, `u1.flac` ... in `folder`; takes some seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, indices in (("train", range(NUM_UTTERANCES)), ("dev", range(2))):
        table = write_table(folder / f"{name}.tsv", indices)
        text = table.read_text(encoding="utf-8")
        for index in indices:
            target = utterance(index).target
            text = text.replace(target, unspaced(target))
        table.write_text(text, encoding="utf-8")
    characters = {c for n in range(NUM_UTTERANCES) for c in unspaced(utterance(n).target)}
    config = tiny_run(folder)
    network = dataclasses.replace(
        config.network,
        source_vocab_size=20,
        target_vocab_size=len(characters) + 3,  # blank, unknown, word mark
        target_emission_unit="char",
        decoder_layers=0,
        max_future_frames=(0,),
    )
    config = dataclasses.replace(
        config,
        steps=200,
        checkpoint_steps=10,
        data=dataclasses.replace(config.data, reuse=1, batch_seconds=12),
        tokenizer=dataclasses.replace(config.tokenizer, type="unigram"),
        network=network,
        loss=LossConfig(asr=0.3, align_steps=0),
        optim=OptimConfig(lr=2e-2, warmup_steps=10),
        augment=AugmentConfig(frequency_masks=0),
    )
    return train(config)
