"""Preparation of a run: tokenizers, CMVN statistics, word aligner, dev set."""

from __future__ import annotations

import dataclasses
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from echostream.config import ConfigError, ModelConfig
from echostream.frontend.audio import AudioError
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM
from echostream.text.tokenizer import NUM_SPECIAL_IDS, Tokenizer
from echostream.training.align import WordAligner, split_text
from echostream.training.config import TrainConfig
from echostream.training.example import Example, ExampleMaker
from echostream.training.initial import Initial
from echostream.training.sources import Pair, Speech, draw_pairs, limit
from echostream.training.start_check import check_lengths
from echostream.training.tally import Tally
from echostream.training.unspaced import check_spaces

CMVN_UTTERANCES = 300
ALIGN_SENTENCES = 4000
ALIGN_PRODUCT = 1_000_000  # source times target words of a pair; longer ones take too much memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything that is made once for a run, before its first step."""

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    cmvn: GlobalCmvn
    aligner: WordAligner
    make: ExampleMaker
    dev: list[Example]
    model_config: ModelConfig


def prepare(
    config: TrainConfig, train: Speech, dev: Speech, folder: Path, initial: Initial | None = None
) -> Prepared:
    """Trains the tokenizers and computes the statistics, or loads those in `folder`.

    Those that come with the weights of `initial` are not made, but taken.

    Raises:
        ConfigError: if a vocabulary cannot have its size, the recordings are silent, or no dev
            utterance can be read and is long enough for its text. Files of this call are removed.
    """
    files = [folder / name for name in (SOURCE_SPM, TARGET_SPM, CMVN)]
    made = [path for path in files if not path.exists()]
    try:
        if initial is not None:
            initial.write_files(folder)
        return _prepare(config, train, dev, folder)
    except ConfigError:
        for path in made:  # so that the folder takes another configuration
            path.unlink(missing_ok=True)
        raise


def _prepare(config: TrainConfig, train: Speech, dev: Speech, folder: Path) -> Prepared:
    network = config.network
    source_spm, target_spm = folder / SOURCE_SPM, folder / TARGET_SPM
    count = config.tokenizer.sentences
    if source_spm.exists() and target_spm.exists():
        count = min(count, ALIGN_SENTENCES)
    pairs = draw_pairs(train, count)
    sources, targets = _known(pairs)
    check_spaces(config, sources, targets)
    source_tokenizer = _tokenizer(source_spm, sources, "source", network.source_vocab_size, config)
    target_tokenizer = _tokenizer(target_spm, targets, "target", network.target_vocab_size, config)
    _warn_of_changes(targets, target_tokenizer)
    cmvn = _statistics(folder / CMVN, train)
    units = network.source_emission_unit, network.target_emission_unit
    words = [
        (
            split_text(source, source_tokenizer, units[0])[0],
            split_text(target, target_tokenizer, units[1])[0],
        )
        for source, target in pairs[:ALIGN_SENTENCES]
        if source is not None and target is not None
    ]
    aligner = WordAligner([(s, t) for s, t in words if len(s) * len(t) <= ALIGN_PRODUCT])
    make = ExampleMaker(source_tokenizer, target_tokenizer, cmvn, aligner, network.tail_ms, *units)
    check_lengths(train, make, config.data.max_lost)
    examples = _dev_set(dev, config.data.dev_utterances, make)
    logger.info(
        "vocabulary %d and %d, %d dev utterances",
        source_tokenizer.vocab_size,
        target_tokenizer.vocab_size,
        len(examples),
    )
    model_config = dataclasses.replace(
        network,
        source_vocab_size=source_tokenizer.vocab_size,
        target_vocab_size=target_tokenizer.vocab_size,
    )
    return Prepared(source_tokenizer, target_tokenizer, cmvn, aligner, make, examples, model_config)


def _known(pairs: list[Pair]) -> tuple[list[str], list[str]]:
    """The transcripts and the translations among texts.

    Raises ConfigError if there are none of a kind: a head without any text cannot be trained.
    """
    sources = [source for source, _ in pairs if source is not None]
    targets = [target for _, target in pairs if target is not None]
    for name, texts in (("src_text", sources), ("tgt_text", targets)):
        if not texts:
            raise ConfigError(
                f"`data.train_tsv` must have at least some rows with `{name}`, but the first "
                f"{len(pairs)} that are drawn have none."
            )
    return sources, targets


def _tokenizer(
    path: Path, sentences: list[str], side: str, vocab_size: int, config: TrainConfig
) -> Tokenizer:
    """The tokenizer in `path`, trained if there is none; of words, with no more ids than words."""
    if path.exists():
        return Tokenizer.load(path)
    if config.tokenizer.type == "word":
        vocab_size = min(
            vocab_size, len({w for s in sentences for w in s.split()}) + NUM_SPECIAL_IDS
        )
    make = partial(
        Tokenizer.train,
        sentences,
        path=path,
        model_type=config.tokenizer.type,
        normalization=config.network.tokenizer_normalization,
    )
    try:
        try:
            return make(vocab_size=vocab_size)
        except ValueError as error:
            allowed = re.search(r"`vocab_size` must be at most (\d+)", str(error))
            if allowed is None or config.tokenizer.type != "word":
                raise
            return make(vocab_size=int(allowed[1]))  # the normalisation makes some words equal
    except ValueError as error:
        raise ConfigError(f"the tokenizer of the {side} text (`network`): {error}") from error


def _warn_of_changes(targets: list[str], tokenizer: Tokenizer) -> None:
    """Warns if the tokenizer changes target texts: the model then writes the changed ones."""
    changed = [t for t in targets if tokenizer.normalize(t) != " ".join(t.split())]
    if changed:
        logger.warning(
            "the normalisation of the target tokenizer changes %d of %d texts, as %r to %r: the "
            "model will write the latter. `network.tokenizer_normalization: identity` keeps them.",
            len(changed),
            len(targets),
            changed[0][:80],
            tokenizer.normalize(changed[0])[:80],
        )


def _dev_set(dev: Speech, count: int, make: ExampleMaker) -> list[Example]:
    tally = Tally("dev set")
    examples = []
    for index in range(limit(dev, count)):
        try:
            utterance = dev.utterance(index)
        except AudioError as error:
            tally.add_unreadable(str(error))
            continue
        tally.add(utterance.id)
        example = make(utterance)
        if example is None:
            tally.add_short(utterance.id)
        else:
            examples.append(example)
    if not examples:
        raise ConfigError(f"none of {limit(dev, count)} dev utterances can be used: {tally}")
    tally.log()
    return examples


def _statistics(path: Path, speech: Speech) -> GlobalCmvn:
    if path.exists():
        return GlobalCmvn.load(path)
    frames = []
    for index in range(limit(speech, CMVN_UTTERANCES)):
        with suppress(AudioError):  # counted by the dataset
            frames.append(fbank(speech.utterance(index).samples))
    if not sum(map(len, frames)):
        raise ConfigError(
            f"none of the first {limit(speech, CMVN_UTTERANCES)} utterances has 10 ms of audio."
        )
    every = np.concatenate(frames)
    try:
        cmvn = GlobalCmvn(every.mean(0), every.std(0))
    except ValueError as error:
        raise ConfigError(
            f"the first {len(frames)} utterances are silent, or as good as empty: {error}"
        ) from error
    cmvn.save(path)
    return GlobalCmvn.load(path)
