"""Training on text without spaces: pieces replace words, and impossible settings are errors."""

from __future__ import annotations

import dataclasses
import logging
import random
from pathlib import Path

import numpy as np
import pytest
from tiny_training import tiny_run, write_table

from echostream.config import ConfigError
from echostream.data.utterance import Utterance
from echostream.frontend.cmvn import GlobalCmvn
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import WordAligner, split_text
from echostream.training.config import TrainConfig
from echostream.training.example import ExampleMaker
from echostream.training.text_pretraining import PseudoPosteriors
from echostream.training.train import train
from echostream.training.unspaced import lacks_spaces

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
WORDS = list(LEXICON)


def sentence(rng: random.Random) -> tuple[str, str]:
    words = rng.sample(WORDS, 4)
    return " ".join(words), "".join(LEXICON[word] for word in words)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    rng = random.Random(3)
    return [sentence(rng) for _ in range(200)]


@pytest.fixture(scope="module")
def tokenizers(
    pairs: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Tokenizer]:
    path = tmp_path_factory.mktemp("spm")
    source = Tokenizer.train([s for s, _ in pairs], 10, path / "s", model_type="word")
    return source, Tokenizer.train([t for _, t in pairs], 16, path / "t", model_type="bpe")


def aligner(pairs: list[tuple[str, str]], tokenizers: tuple[Tokenizer, Tokenizer]) -> WordAligner:
    source, target = tokenizers
    return WordAligner(
        [(split_text(s, source, "word")[0], split_text(t, target, "char")[0]) for s, t in pairs]
    )


def test_the_pieces_of_unspaced_text_are_due_with_their_source_words(
    pairs: list[tuple[str, str]], tokenizers: tuple[Tokenizer, Tokenizer]
) -> None:
    cmvn = GlobalCmvn(np.zeros(80, np.float32), np.ones(80, np.float32))
    make = ExampleMaker(*tokenizers, cmvn, aligner(pairs, tokenizers), 640, "word", "char")
    source, target = "cat see fish book", "猫見る魚本"
    ends = (0.4, 0.8, 1.2, 1.6)
    audio = np.zeros(26_000, np.float32)
    example = make(Utterance("u", audio, source, target, "", ends))
    assert example is not None and example.target_labels is not None
    assert example.target == tokenizers[1].encode(target)
    frames = {
        tokenizers[1].surface(int(piece)).strip(): frame / 25
        for frame, piece in enumerate(example.target_labels)
        if piece
    }
    assert "".join(frames) == target
    for end, text in zip(ends, ("猫", "る", "魚", "本"), strict=True):
        assert end < frames[next(piece for piece in frames if text in piece)] < end + 0.2


def test_without_word_times_there_are_no_labels(
    pairs: list[tuple[str, str]], tokenizers: tuple[Tokenizer, Tokenizer]
) -> None:
    """An unspaced source has one stretch between spaces, whose end gives no times of its pieces."""
    cmvn = GlobalCmvn(np.zeros(80, np.float32), np.ones(80, np.float32))
    swapped = (tokenizers[1], tokenizers[0])
    make = ExampleMaker(*swapped, cmvn, aligner(pairs, tokenizers), 640, "char", "word")
    audio = np.zeros(26_000, np.float32)
    example = make(Utterance("u", audio, "猫見る魚本", "cat see fish book", "", (1.6,)))
    assert example is not None and example.source_labels is example.target_labels is None


def test_pseudo_posteriors_spread_unspaced_text_over_its_words(
    pairs: list[tuple[str, str]], tokenizers: tuple[Tokenizer, Tokenizer]
) -> None:
    pseudo = PseudoPosteriors(*tokenizers, aligner(pairs, tokenizers), 200, "word", "char")
    batch = pseudo(pairs[:20], random.Random(1))
    targets = batch.target.split(batch.target_lengths.tolist())
    for row, (_, target) in enumerate(pairs[:20]):
        assert targets[row].tolist() == tokenizers[1].encode(target)
        frames = batch.target_labels[row].gt(0).nonzero()[:, 0]
        assert frames[-1] - frames[0] > len(frames)  # spread over the words, not in a heap


@pytest.mark.parametrize(
    ("sentences", "expected"),
    [
        (["東京に行く", "私は学生です"], True),
        (["ฉันรักเธอ มาก"], True),
        (["我 是 学生", "你 好 吗"], False),  # cut into words
        (["我用 Python 写程序给中国学生看"], True),
        (["the cat sleeps"], False),
        (["Donaudampfschifffahrt"], False),
        (["나는 학교에 간다"], False),
        (["", "..."], False),
    ],
)
def test_text_without_spaces_is_recognised_by_its_script(
    sentences: list[str], expected: bool
) -> None:
    assert lacks_spaces(sentences) is expected


def unspaced_run(folder: Path, **network: object) -> TrainConfig:
    """A run of one step on six recordings whose target is unspaced."""
    config = tiny_run(folder)
    for name, indices in (("train.tsv", range(6)), ("dev.tsv", range(6, 8))):
        path = write_table(folder / name, indices)
        rng, lines = random.Random(name), path.read_text().splitlines()
        for row, line in enumerate(lines[1:], start=1):
            cells = line.split("\t")
            lines[row] = "\t".join([*cells[:4], sentence(rng)[1], *cells[5:]])
        path.write_text("\n".join(lines) + "\n")
    return dataclasses.replace(
        config,
        steps=1,
        network=dataclasses.replace(config.network, **network),  # type: ignore[arg-type]
    )


def test_whole_words_of_text_without_spaces_are_refused(tmp_path: Path) -> None:
    config = unspaced_run(tmp_path, target_emission_unit="char", target_vocab_size=7)
    with pytest.raises(ConfigError, match=r"`tokenizer.type` must be .* the target text"):
        train(config)


def test_unspaced_text_by_the_word_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(unspaced_run(tmp_path, target_vocab_size=20))
    assert "the target text has no spaces between words" in caplog.text
    assert "source text" not in caplog.text
