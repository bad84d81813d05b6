"""What a run needs before its first step: tokenizers, statistics, word alignments, the dev set."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echostream.config import ModelConfig
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM
from echostream.tokenizer import Tokenizer
from echostream.training.align import WordAligner
from echostream.training.config import NetworkConfig, TrainConfig
from echostream.training.example import Example, ExampleMaker
from echostream.training.sources import Speech, draw_pairs

CMVN_UTTERANCES = 300
ALIGN_SENTENCES = 4000
NUM_SPECIAL_IDS = 2  # blank, unknown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything that is made once for a run."""

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    cmvn: GlobalCmvn
    aligner: WordAligner
    make: ExampleMaker
    dev: list[Example]
    model_config: ModelConfig


def prepare(config: TrainConfig, train: Speech, dev: Speech, folder: Path) -> Prepared:
    """Makes, or finds in `folder`, what the run needs."""
    pairs = draw_pairs(train, config.network.tokenizer_sentences)
    network = config.network
    source_tokenizer = _tokenizer(
        folder / SOURCE_SPM,
        [s for s, _ in pairs],
        network.source_vocab_size,
        network.tokenizer_type,
    )
    target_tokenizer = _tokenizer(
        folder / TARGET_SPM,
        [t for _, t in pairs],
        network.target_vocab_size,
        network.tokenizer_type,
    )
    cmvn = _statistics(folder / CMVN, train)
    aligner = WordAligner([(s.split(), t.split()) for s, t in pairs[:ALIGN_SENTENCES]])
    make = ExampleMaker(source_tokenizer, target_tokenizer, cmvn, aligner, config.network.tail_ms)
    made = (make(dev.utterance(index)) for index in range(config.data.dev_utterances))
    examples = [example for example in made if example is not None]
    logger.info(
        "vocabulary %d and %d, %d dev utterances",
        source_tokenizer.vocab_size,
        target_tokenizer.vocab_size,
        len(examples),
    )
    model_config = _model_config(network, source_tokenizer, target_tokenizer)
    return Prepared(source_tokenizer, target_tokenizer, cmvn, aligner, make, examples, model_config)


def _tokenizer(path: Path, sentences: list[str], vocab_size: int, model_type: str) -> Tokenizer:
    """The tokenizer in `path`, made if it is not there; whole words take as many ids as needed."""
    if path.exists():
        return Tokenizer.load(path)
    if model_type == "word":
        vocab_size = min(
            vocab_size, len({w for s in sentences for w in s.split()}) + NUM_SPECIAL_IDS
        )
    return Tokenizer.train(sentences, vocab_size, path, model_type=model_type)


def _statistics(path: Path, speech: Speech) -> GlobalCmvn:
    if not path.exists():
        frames = np.concatenate(
            [fbank(speech.utterance(index).samples) for index in range(CMVN_UTTERANCES)]
        )
        GlobalCmvn(frames.mean(0), frames.std(0)).save(path)
    return GlobalCmvn.load(path)


def _model_config(network: NetworkConfig, source: Tokenizer, target: Tokenizer) -> ModelConfig:
    return ModelConfig(
        source_vocab_size=source.vocab_size,
        target_vocab_size=target.vocab_size,
        encoder=network.encoder,
        st_layers=network.st_layers,
        st_ffn_dim=network.st_ffn_dim,
        st_left_context=network.st_left_context,
        max_future_frames=network.max_future_frames,
        tail_ms=network.tail_ms,
    )
