"""The tokenizer: text survives it, the blank is id 0, training is repeatable and quiet."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.config import BLANK_ID
from echostream.text.tokenizer import UNK_ID, Tokenizer

TEXT = """
    le la les un une chat chien souris maison porte-monnaie l'été aujourd'hui mange dort voit
    grande petite bleue œuvre garçon très où anticonstitutionnellement
"""
WORDS = TEXT.split()


def corpus(num_sentences: int = 300) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(2, 8))) for _ in range(num_sentences)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(corpus(), 52, tmp_path_factory.mktemp("spm") / "spm.model")


def test_special_ids_are_those_of_ctc(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 52
    assert (tokenizer.piece(BLANK_ID), tokenizer.piece(UNK_ID)) == ("<blank>", "<unk>")
    pieces = [tokenizer.piece(index) for index in range(52)]
    assert len(set(pieces)) == 52
    assert not {"<s>", "</s>", "<pad>"} & set(pieces)


def test_text_of_the_corpus_survives(tokenizer: Tokenizer) -> None:
    for sentence in corpus():
        ids = tokenizer.encode(sentence)
        assert tokenizer.decode(ids) == sentence
        assert min(ids) > UNK_ID


@settings(deadline=None)
@given(text=st.text(alphabet="abcdeéèœ'- \t", max_size=40))
def test_any_text_of_known_letters_survives_but_for_spaces(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "letters.model"
    if not path.exists():
        Tokenizer.train(["a b c d e é è œ ' -", "abcdeéèœ'-"] * 10, 14, path)
    tokenizer = Tokenizer.load(path)
    assert tokenizer.decode(tokenizer.encode(text)).split() == text.split()


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_no_text_encodes_to_the_blank_or_changes_its_number_of_words(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "words.model"
    if not path.exists():
        Tokenizer.train(corpus(), 52, path)
    tokenizer = Tokenizer.load(path)
    ids = tokenizer.encode(text)
    assert BLANK_ID not in ids
    normalised = unicodedata.normalize("NFKC", text)
    known = set("".join(WORDS)) | {" "}
    if set(normalised) <= known:
        assert len(tokenizer.decode(ids).split()) == len(normalised.split())


def test_blanks_decode_to_nothing(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("le chat dort")
    spread = [index for each in ids for index in (BLANK_ID, each, BLANK_ID)]
    assert tokenizer.decode(spread) == "le chat dort"
    assert tokenizer.decode([BLANK_ID]) == tokenizer.decode([]) == ""


def test_an_unknown_letter_stays_inside_its_word(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("le ch日at 本 dort")) == "le ch⁇at ⁇ dort"


def test_accents_may_come_decomposed(tokenizer: Tokenizer) -> None:
    decomposed = unicodedata.normalize("NFD", "l'été")
    assert tokenizer.encode(decomposed) == tokenizer.encode("l'été")


def test_starts_word_counts_words(tokenizer: Tokenizer) -> None:
    for sentence in corpus(50):
        ids = tokenizer.encode(sentence)
        assert sum(map(tokenizer.starts_word, ids)) == len(sentence.split())
    assert not tokenizer.starts_word(BLANK_ID)
    assert not tokenizer.starts_word(UNK_ID)


def test_surfaces_joined_equal_decode(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(500):
        ids = rng.choices(range(52), k=rng.randint(0, 12))
        joined = "".join(map(tokenizer.surface, ids))
        assert joined.lstrip(" ") == tokenizer.decode(ids).lstrip(" ")


def test_types_plus_letters_make_words_of_a_closed_vocabulary_one_piece(tmp_path: Path) -> None:
    """300 words of 2 to 30 letters, each seen 60 times: at least 95 % of them stay whole."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    types = {"".join(rng.choices(letters, k=rng.randint(2, 30))) for _ in range(300)}
    words = sorted(types)
    sentences = [" ".join(rng.choices(words, k=6)) for _ in range(3000)]
    tokenizer = Tokenizer.train(sentences, len(words) + 26 + 2, tmp_path / "spm.model")
    whole = sum(len(tokenizer.encode(word)) == 1 for word in words)
    assert whole >= 0.95 * len(words)


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Tokenizer.train(iter(corpus()), 52, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_loaded_model_is_the_trained_one(tmp_path: Path) -> None:
    path = tmp_path / "spm.model"
    trained = Tokenizer.train(corpus(), 52, path)
    loaded = Tokenizer.load(str(path))
    assert [trained.encode(s) for s in corpus(20)] == [loaded.encode(s) for s in corpus(20)]


def test_training_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SentencePiece writes its log to the file descriptor, not to sys.stderr."""
    Tokenizer.train(corpus(), 52, tmp_path / "spm.model")
    with pytest.raises(ValueError):
        Tokenizer.train(corpus(), 6000, tmp_path / "spm.model")
    assert capfd.readouterr() == ("", "")


def test_training_leaves_one_file(tmp_path: Path) -> None:
    Tokenizer.train(corpus(), 52, tmp_path / "spm.model")
    Tokenizer.train(corpus(), 50, tmp_path / "spm.model")
    assert [file.name for file in tmp_path.iterdir()] == ["spm.model"]
    assert Tokenizer.load(tmp_path / "spm.model").vocab_size == 50


def test_a_failed_training_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "spm.model"
    Tokenizer.train(corpus(), 52, path)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        Tokenizer.train(corpus(), 6000, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["spm.model"]


def test_a_vocabulary_too_large_or_small_is_answered_with_the_limit(tmp_path: Path) -> None:
    """The limits named are the limits: at them training works."""
    path = tmp_path / "spm.model"
    for impossible, bound, beyond in ((6000, "most", 1), (5, "least", -1)):
        with pytest.raises(ValueError, match=f"but is {impossible} instead") as caught:
            Tokenizer.train(corpus(), impossible, path)
        assert not path.exists()
        named = re.search(rf"`vocab_size` must be at {bound} (\d+)", str(caught.value))
        assert named is not None
        limit = int(named[1])
        assert Tokenizer.train(corpus(), limit, path).vocab_size == limit
        path.unlink()
        with pytest.raises(ValueError, match=f"at {bound} {limit}"):
            Tokenizer.train(corpus(), limit + beyond, path)


def test_a_word_model_has_whole_words_only(tmp_path: Path) -> None:
    """An unknown word takes one id and stays one word."""
    tokenizer = Tokenizer.train(corpus(), len(WORDS) + 2, tmp_path / "w", model_type="word")
    for word in WORDS:
        assert len(tokenizer.encode(word)) == 1
    ids = tokenizer.encode("le zèbre dort")
    assert ids[1] == UNK_ID
    assert all(map(tokenizer.starts_word, ids))
    assert tokenizer.decode(ids).split() == ["le", "⁇", "dort"]


def test_a_bpe_model_keeps_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(corpus(), 52, tmp_path / "bpe", model_type="bpe")
    assert tokenizer.vocab_size == 52
    assert tokenizer.decode(tokenizer.encode("le chien dort")) == "le chien dort"


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of unigram, bpe, word, but is 'char' instead"):
        Tokenizer.train(corpus(), 52, tmp_path / "spm.model", model_type="char")


@pytest.mark.parametrize("sentences", [[], ["", "  ", "\n"]])
def test_no_text_is_refused(tmp_path: Path, sentences: list[str]) -> None:
    with pytest.raises(ValueError, match="`sentences` must hold at least one"):
        Tokenizer.train(sentences, 10, tmp_path / "spm.model")


def test_a_very_long_sentence_counts_like_any_other(tmp_path: Path) -> None:
    """SentencePiece leaves out sentences beyond 4192 bytes by default."""
    long = "z " * 5000
    tokenizer = Tokenizer.train([*corpus(), long], 52, tmp_path / "spm.model")
    assert UNK_ID not in tokenizer.encode("z")


def test_one_short_word_is_enough_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["a"], 4, tmp_path / "spm.model")
    assert tokenizer.decode(tokenizer.encode("a")) == "a"


@pytest.mark.parametrize("index", [-1, 52, 1000])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, index: int) -> None:
    message = rf"`ids` must be in \[0, 52\), but one is {index} instead"
    calls: list[Callable[[], object]] = [
        lambda: tokenizer.piece(index),
        lambda: tokenizer.starts_word(index),
        lambda: tokenizer.surface(index),
        lambda: tokenizer.decode([2, index]),
    ]
    for call in calls:
        with pytest.raises(IndexError, match=message):
            call()


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_model_file_cut_short_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "spm.model"
    Tokenizer.train(corpus(), 52, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"spm\.model is not a SentencePiece model"):
        Tokenizer.load(path)


def test_a_text_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spm.model"
    path.write_text("le chat\n")
    with pytest.raises(ValueError, match=r"spm\.model is not a SentencePiece model"):
        Tokenizer.load(path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.model"):
        Tokenizer.load(tmp_path / "none.model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "must have the special ids"),
        ({"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": -1}, "must have the special ids"),
        (
            {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "byte_fallback": True},
            "must not use byte pieces",
        ),
    ],
)
def test_a_model_whose_ids_mean_something_else_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    prefix = str(tmp_path / "foreign")
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()),
        model_prefix=prefix,
        vocab_size=320 if "byte_fallback" in options else 52,
        hard_vocab_limit=False,
        minloglevel=3,
        **options,
    )
    with pytest.raises(ValueError, match=rf"foreign\.model {message}"):
        Tokenizer.load(f"{prefix}.model")


def test_importing_the_tokenizer_costs_no_torch() -> None:
    program = "import sys, echostream.text.tokenizer; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2]).returncode
        == 0
    )


WRITTEN = "½ tasse … １２ l'été ﬁn"  # noqa: RUF001


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "word"])
def test_identity_gives_texts_back_as_they_were_written(model_type: str, tmp_path: Path) -> None:
    texts = [*WRITTEN.split(), WRITTEN] * 4
    path = tmp_path / "spm.model"
    tokenizer = Tokenizer.train(
        texts, 8 if model_type == "word" else 22, path,
        model_type=model_type, normalization="identity",
    )  # fmt: skip
    assert tokenizer.decode(tokenizer.encode(WRITTEN)) == WRITTEN
    assert Tokenizer.load(path).normalize(WRITTEN) == WRITTEN  # the file holds it
    assert tokenizer.normalize("  deux\u00a0 \t mots  ").split() == ["deux", "mots"]


@pytest.mark.parametrize(
    ("normalization", "wanted"),
    [
        ("nmt_nfkc", "1⁄2 Tasse ... 12"),  # noqa: RUF001
        ("nfkc", "1⁄2 Tasse ... 12"),  # noqa: RUF001
        ("nmt_nfkc_cf", "1⁄2 tasse ... 12"),  # noqa: RUF001
        ("nfkc_cf", "1⁄2 tasse ... 12"),  # noqa: RUF001
        ("identity", "½ Tasse … １２"),  # noqa: RUF001
    ],
)
def test_a_text_is_normalised_as_configured_whether_its_letters_are_known_or_not(
    normalization: str, wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "spm.model"
    tokenizer = Tokenizer.train(corpus(), 52, path, normalization=normalization)
    assert tokenizer.normalize("½ Tasse … １２") == wanted  # noqa: RUF001
    assert tokenizer.to_bytes() == path.read_bytes()


def test_the_usual_normalisation_makes_the_file_that_none_makes(tmp_path: Path) -> None:
    """Tokenizers of before there was a choice stay the same to the byte."""
    Tokenizer.train(corpus(), 52, tmp_path / "a")
    Tokenizer.train(corpus(), 52, tmp_path / "b", normalization="nmt_nfkc")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_normalisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`normalization` must be one of .*, but is 'nfd' instead"
    ):
        Tokenizer.train(corpus(), 52, tmp_path / "spm.model", normalization="nfd")
