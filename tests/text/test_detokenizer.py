"""Words are given out whole, once, and the same however the ids arrive."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.config import BLANK_ID
from echostream.text.detokenizer import CharAssembler, WordAssembler, assemble, join_text
from echostream.text.tokenizer import UNK_ID, Tokenizer

SENTENCES = [
    "le chat mange la souris",
    "l'été est là",
    "un porte-monnaie bleu",
    "le chien dort",
] * 9


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("spm") / "spm.model"
    return Tokenizer.train(SENTENCES, 30, path)


@pytest.fixture(scope="module")
def spaced_unknown(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A model made elsewhere, whose unknown piece is shown between spaces (the usual setting)."""
    prefix = str(tmp_path_factory.mktemp("spm") / "spaced")
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=prefix,
        vocab_size=30,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=3,
    )
    return Tokenizer.load(f"{prefix}.model")


def ids_of(tokenizer: Tokenizer, *pieces: str) -> list[int]:
    known = {tokenizer.piece(index): index for index in range(tokenizer.vocab_size)}
    return [known[piece] for piece in pieces]


def words_of(tokenizer: Tokenizer, parts: list[list[int]]) -> list[str]:
    assembler = WordAssembler(tokenizer)
    words = [word for part in parts for word in assembler.push(part)]
    return words + assembler.finish()


@pytest.mark.parametrize("model", ["tokenizer", "spaced_unknown"])
@settings(deadline=None, max_examples=300)
@given(parts=st.lists(st.lists(st.integers(0, 29), max_size=6), max_size=8))
def test_any_ids_in_any_pieces_give_the_words_of_decode(
    request: pytest.FixtureRequest, model: str, parts: list[list[int]]
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(model)
    everything = [index for part in parts for index in part]
    assert words_of(tokenizer, parts) == tokenizer.decode(everything).split()


def test_sentences_one_id_at_a_time_give_their_words(tokenizer: Tokenizer) -> None:
    for sentence in SENTENCES[:4]:
        parts = [[index] for index in tokenizer.encode(sentence)]
        assert words_of(tokenizer, parts) == sentence.split()


def test_a_word_is_out_as_soon_as_the_next_begins_and_not_before(tokenizer: Tokenizer) -> None:
    assembler = WordAssembler(tokenizer)
    first, second = tokenizer.encode("chat"), tokenizer.encode("dort")
    assert assembler.push(first) == []
    assert assembler.push([]) == []
    assert assembler.push(second[:1]) == ["chat"]
    assert assembler.push(second[1:]) == []
    assert assembler.finish() == ["dort"]


def test_what_was_given_out_is_never_taken_back(tokenizer: Tokenizer) -> None:
    """Every prefix of the ids gives a prefix of the words."""
    rng = random.Random(0)
    for _ in range(200):
        ids = rng.choices(range(30), k=12)
        final = tokenizer.decode(ids).split()
        for size in range(len(ids)):
            certain, _ = assemble(tokenizer, ids[:size])
            assert certain == final[: len(certain)]


def test_a_first_piece_without_a_word_mark_is_a_word(tokenizer: Tokenizer) -> None:
    assert words_of(tokenizer, [ids_of(tokenizer, "e"), tokenizer.encode("le")]) == ["e", "le"]


def test_a_lone_word_mark_ends_a_word_and_is_none_itself(tokenizer: Tokenizer) -> None:
    mark = ids_of(tokenizer, "▁")
    assembler = WordAssembler(tokenizer)
    assert assembler.push(mark) == []
    assert assembler.push(tokenizer.encode("le")) == []
    assert assembler.push(mark) == ["le"]
    assert assembler.push(mark) == []
    assert assembler.push(ids_of(tokenizer, "e")) == []
    assert assembler.finish() == ["e"]


def test_an_unknown_piece_joins_the_word_it_stands_in(tokenizer: Tokenizer) -> None:
    letter = ids_of(tokenizer, "e")
    assert words_of(tokenizer, [letter, [UNK_ID], letter]) == ["e⁇e"]
    assert words_of(tokenizer, [[UNK_ID], [UNK_ID]]) == ["⁇⁇"]


def test_blanks_neither_join_nor_part_words(tokenizer: Tokenizer) -> None:
    letter = ids_of(tokenizer, "e")
    assert words_of(tokenizer, [[BLANK_ID], letter, [BLANK_ID], letter, [BLANK_ID]]) == ["ee"]


def test_nothing_gives_nothing(tokenizer: Tokenizer) -> None:
    assert assemble(tokenizer, []) == ([], "")
    assert words_of(tokenizer, []) == words_of(tokenizer, [[]]) == []


def test_finish_leaves_a_fresh_assembler(tokenizer: Tokenizer) -> None:
    assembler = WordAssembler(tokenizer)
    assembler.push(tokenizer.encode("chat"))
    assert assembler.finish() == ["chat"]
    assert assembler.finish() == []
    assembler.push(tokenizer.encode("dort"))
    assert assembler.finish() == ["dort"]


def test_two_streams_do_not_mix(tokenizer: Tokenizer) -> None:
    one, two = WordAssembler(tokenizer), WordAssembler(tokenizer)
    one.push(tokenizer.encode("chat"))
    two.push(tokenizer.encode("dort"))
    assert (one.finish(), two.finish()) == (["chat"], ["dort"])


def test_where_every_piece_is_a_word_none_is_held_back(tmp_path: Path) -> None:
    words = Tokenizer.train(SENTENCES, 14, tmp_path / "spm.model", model_type="word")
    assert words.has_only_words
    assembler = WordAssembler(words)
    ids = words.encode("le zèbre dort")
    assert [assembler.push([index]) for index in ids] == [["le"], ["⁇"], ["dort"]]
    assert assembler.finish() == []


def test_where_a_piece_can_grow_a_word_the_last_word_is_held_back(tokenizer: Tokenizer) -> None:
    assert not tokenizer.has_only_words
    assembler = WordAssembler(tokenizer)
    assert assembler.push(tokenizer.encode("le chat")) == ["le"]
    assert assembler.finish() == ["chat"]


# By the character

UNSPACED = [
    "東京に行く",
    "私は hello 世界 です",
    "か\u309aき\u309aは日本",
    "東京は世界 一 です",
] * 9


@pytest.fixture(scope="module")
def unspaced(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(UNSPACED, 25, tmp_path_factory.mktemp("spm") / "spm.model")


def pushed(assembler: CharAssembler, parts: list[list[int]]) -> list[str]:
    """The characters of each push and of the end, put together."""
    return ["".join(out) for out in (*map(assembler.push, parts), assembler.finish())]


@pytest.mark.parametrize("model", ["unspaced", "spaced_unknown"])
@settings(deadline=None, max_examples=300)
@given(parts=st.lists(st.lists(st.integers(0, 24), max_size=6), max_size=8))
def test_any_ids_in_any_pieces_give_the_characters_of_decode(
    request: pytest.FixtureRequest, model: str, parts: list[list[int]]
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(model)
    everything = [index for part in parts for index in part]
    texts = pushed(CharAssembler(tokenizer), parts)
    assert join_text(texts, "char") == tokenizer.decode(everything).strip()
    assert texts[-1] == ""
    assert not any(text and (text.isspace() or text[-1].isspace()) for text in texts)


def test_every_character_is_out_with_its_piece(unspaced: Tokenizer) -> None:
    for sentence in UNSPACED[:4]:
        ids = unspaced.encode(sentence)
        assembler, text = CharAssembler(unspaced), ""
        for size, index in enumerate(ids, start=1):
            text += "".join(assembler.push([index]))
            assert text == unspaced.decode(ids[:size]).strip()
        assert text == sentence


def test_a_space_within_the_text_goes_out_before_the_next_character(unspaced: Tokenizer) -> None:
    mark, letters = ids_of(unspaced, "▁"), ids_of(unspaced, "世", "は")
    assembler = CharAssembler(unspaced)
    parts = [mark, letters[:1], mark, [], mark, letters[1:], mark]
    assert pushed(assembler, parts) == ["", "世", "", "", "", "  は", "", ""]
    assert pushed(assembler, [mark, letters]) == ["", "世は", ""]  # another text


def test_a_combining_mark_follows_its_character(unspaced: Tokenizer) -> None:
    assert pushed(CharAssembler(unspaced), [ids_of(unspaced, piece) for piece in "か\u309a"]) == [
        "か",
        "\u309a",
        "",
    ]


def test_texts_are_joined_by_their_unit() -> None:
    assert join_text(["the", "cat", "sleeps"], "word") == "the cat sleeps"
    assert join_text(list("東京に go"), "char") == "東京に go"
    assert join_text([], "word") == join_text([], "char") == ""
