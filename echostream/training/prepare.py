"""What a run needs before its first step: tokenizers, statistics, word alignments, the dev set."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
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

CMVN_UTTERANCES = 300
ALIGN_SENTENCES = 4000
NUM_SPECIAL_IDS = 2  # blank, unknown
# How the Unicode names of letters begin whose scripts have no spaces between words.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR")

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
    _check_spaces(network, [s for s, _ in pairs], [t for _, t in pairs])
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


def _check_spaces(network: NetworkConfig, sources: list[str], targets: list[str]) -> None:
    """Text without spaces needs pieces that are not words, and should be given out by the
    character: the first is refused here, the second is warned of."""
    for side, sentences, unit, vocab_size in (
        ("source", sources, network.source_emission_unit, network.source_vocab_size),
        ("target", targets, network.target_emission_unit, network.target_vocab_size),
    ):
        if not lacks_spaces(sentences):
            continue
        num_words = len({word for sentence in sentences for word in sentence.split()})
        if network.tokenizer_type == "word" and num_words + NUM_SPECIAL_IDS > vocab_size:
            raise ConfigError(
                "`network.tokenizer_type` must be unigram or bpe where text has no spaces between "
                f"words, but is 'word' instead: the {side} text has {num_words} different "
                "stretches between spaces, most of them whole sentences."
            )
        if unit == "word":
            logger.warning(
                "the %s text has no spaces between words, but `network.%s_emission_unit` is word: "
                "a session would hold each sentence back until its end. Set it to char.",
                *(side, side),
            )


def lacks_spaces(sentences: Sequence[str]) -> bool:
    """Whether text is mostly in scripts written without spaces between words, and has none.

    Text that was cut into words is told by its spaces: one or more for every eight letters.
    """
    text = "".join(sentences[:ALIGN_SENTENCES])
    letters = [letter for letter in text if letter.isalpha()]
    unspaced = sum(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in letters)
    num_spaces = sum(len(sentence.split()) - 1 for sentence in sentences[:ALIGN_SENTENCES])
    return 2 * unspaced > len(letters) and 8 * num_spaces < len(letters)


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
