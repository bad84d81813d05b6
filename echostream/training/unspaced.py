"""Detection of text without spaces between words, and the settings that it needs."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence

from echostream.config import ConfigError
from echostream.text.tokenizer import NUM_SPECIAL_IDS
from echostream.training.config import TrainConfig

NUM_SENTENCES = 4000  # that are examined
# Prefixes of the Unicode names of letters in scripts without spaces between words.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR")

logger = logging.getLogger(__name__)


def check_spaces(config: TrainConfig, sources: list[str], targets: list[str]) -> None:
    """Warns of text without spaces whose emission unit is the word.

    Raises:
        ConfigError: if its tokenizer is one of whole words, and there are too many of them.
    """
    network = config.network
    for side, sentences, unit, vocab_size in (
        ("source", sources, network.source_emission_unit, network.source_vocab_size),
        ("target", targets, network.target_emission_unit, network.target_vocab_size),
    ):
        if not lacks_spaces(sentences):
            continue
        num_words = len({word for sentence in sentences for word in sentence.split()})
        if config.tokenizer.type == "word" and num_words + NUM_SPECIAL_IDS > vocab_size:
            raise ConfigError(
                "`tokenizer.type` must be unigram or bpe where text has no spaces between "
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

    Segmented text has spaces: one or more for every eight letters.
    """
    text = "".join(sentences[:NUM_SENTENCES])
    letters = [letter for letter in text if letter.isalpha()]
    unspaced = sum(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in letters)
    num_spaces = sum(len(sentence.split()) - 1 for sentence in sentences[:NUM_SENTENCES])
    return 2 * unspaced > len(letters) and 8 * num_spaces < len(letters)
