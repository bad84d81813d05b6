"""What a run needs before its first step: tokenizers, statistics, word alignments, the dev set."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from echostream.config import ConfigError, ModelConfig
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM
from echostream.tokenizer import Tokenizer
from echostream.training.align import WordAligner, split_text
from echostream.training.config import NetworkConfig, TrainConfig
from echostream.training.example import Example, ExampleMaker
from echostream.training.sources import Speech, draw_pairs, limit
from echostream.training.unspaced import check_spaces

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
    """Makes, or finds in `folder`, what the run needs.

    Raises:
        ConfigError: if the vocabularies cannot have the sizes wanted, or no dev utterance is long
            enough for its text.
    """
    network = config.network
    source_spm, target_spm = folder / SOURCE_SPM, folder / TARGET_SPM
    count = network.tokenizer_sentences
    if source_spm.exists() and target_spm.exists():
        count = min(count, ALIGN_SENTENCES)
    pairs = draw_pairs(train, count)
    check_spaces(network, [s for s, _ in pairs], [t for _, t in pairs])
    source_tokenizer = _tokenizer(
        source_spm, [s for s, _ in pairs], "source", network.source_vocab_size, network
    )
    target_tokenizer = _tokenizer(
        target_spm, [t for _, t in pairs], "target", network.target_vocab_size, network
    )
    cmvn = _statistics(folder / CMVN, train)
    units = network.source_emission_unit, network.target_emission_unit
    aligner = WordAligner(
        [
            (
                split_text(source, source_tokenizer, units[0])[0],
                split_text(target, target_tokenizer, units[1])[0],
            )
            for source, target in pairs[:ALIGN_SENTENCES]
        ]
    )
    make = ExampleMaker(source_tokenizer, target_tokenizer, cmvn, aligner, network.tail_ms, *units)
    num_dev = limit(dev, config.data.dev_utterances)
    examples = [e for index in range(num_dev) if (e := make(dev.utterance(index))) is not None]
    if not examples:
        raise ConfigError(f"none of {num_dev} dev utterances is long enough for its own text.")
    logger.info(
        "vocabulary %d and %d, %d dev utterances",
        source_tokenizer.vocab_size,
        target_tokenizer.vocab_size,
        len(examples),
    )
    model_config = _model_config(network, source_tokenizer, target_tokenizer)
    return Prepared(source_tokenizer, target_tokenizer, cmvn, aligner, make, examples, model_config)


def _tokenizer(
    path: Path, sentences: list[str], side: str, vocab_size: int, network: NetworkConfig
) -> Tokenizer:
    """The tokenizer in `path`, made if it is not there; whole words take as many ids as needed."""
    if path.exists():
        return Tokenizer.load(path)
    if network.tokenizer_type == "word":
        vocab_size = min(
            vocab_size, len({w for s in sentences for w in s.split()}) + NUM_SPECIAL_IDS
        )
    try:
        return Tokenizer.train(sentences, vocab_size, path, model_type=network.tokenizer_type)
    except ValueError as error:
        raise ConfigError(f"the tokenizer of the {side} text (`network`): {error}") from error


def _statistics(path: Path, speech: Speech) -> GlobalCmvn:
    if not path.exists():
        count = limit(speech, CMVN_UTTERANCES)
        frames = np.concatenate([fbank(speech.utterance(index).samples) for index in range(count)])
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
        decoder_layers=network.decoder_layers,
        decoder_ffn_dim=network.decoder_ffn_dim,
        decoder_left_tokens=network.decoder_left_tokens,
        decoder_window=network.decoder_window,
        max_future_frames=network.max_future_frames,
        tail_ms=network.tail_ms,
        source_emission_unit=network.source_emission_unit,
        target_emission_unit=network.target_emission_unit,
    )
