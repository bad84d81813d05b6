"""Sentence pairs: cleaned by rule, each sentence once, and nothing of a test set in training."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from echostream.cli import main
from echostream.data.sentences.cleaning import SentenceLimits, clean_sentence, unsuitable
from echostream.data.sentences.split import SentencePair, split_sentences
from echostream.data.sentences.tables import COLUMNS, read_sentences
from echostream.data.table import TableError
from echostream.text.normalization import TextNormalization

KEY = TextNormalization(case="lower", punctuation="drop", apostrophes="straight")
SUBJECTS = (("je", "I"), ("tu", "you"), ("il", "he"), ("elle", "she"), ("on", "we"))
VERBS = (("dors", "sleep"), ("mange", "eat"), ("mange bien", "eat"), ("chante", "sing"))
# "là" has the translation of "là-bas" that is not chosen for it.
PLACES = (
    ("ici", "here"), ("là-bas", "there"), ("là-bas", "over there"), ("par là", "there"),
    ("là", "over there"),
)  # fmt: skip


def made_up_pairs() -> list[tuple[str, str]]:
    """Pairs of which many share a sentence, in capitals or with other punctuation."""
    rng = random.Random(1)
    pairs = []
    for subject, pronoun in SUBJECTS:
        for verb, word in VERBS:
            for place, where in PLACES:
                end = rng.choice([".", " !", " ?"])
                french = f"{subject} {verb} {place}{end}"
                pairs.append((rng.choice([french, french.upper()]), f"{pronoun} {word} {where}!"))
    return pairs


def split_of(pairs: list[tuple[str, str]], seed: int = 1) -> dict[str, list[SentencePair]]:
    listed = [SentencePair(str(number), *pair) for number, pair in enumerate(pairs)]
    return dict(split_sentences(listed, {"test": 4, "dev": 3}, seed).sets)


@pytest.mark.parametrize("seed", range(30))
def test_no_sentence_of_a_set_is_in_another_nor_any_of_its_translations(seed: int) -> None:
    pairs = made_up_pairs()
    sets = split_of(pairs, seed)
    assert [len(sets[name]) for name in ("test", "dev")] == [4, 3] and sets["train"]
    for name, others in (("test", ("train", "dev")), ("dev", ("train", "test"))):
        sources = {KEY(pair.source) for pair in sets[name]}
        targets = {KEY(english) for french, english in pairs if KEY(french) in sources}
        for other in others:
            for pair in sets[other]:
                assert KEY(pair.source) not in sources
                assert KEY(pair.target) not in targets
    chosen = [KEY(pair.source) for members in sets.values() for pair in members]
    assert len(set(chosen)) == len(chosen)


def test_the_translation_that_most_sentences_share_is_chosen_and_of_equal_ones_the_first() -> None:
    pairs = [("un", "one"), ("Un!", "a"), ("une", "a"), ("deux", "two"), ("deux", "a pair")]
    listed = [SentencePair(str(number), *pair) for number, pair in enumerate(pairs)]
    found = split_sentences(listed, {}, 1)
    assert [pair.target for pair in found.sets["train"]] == ["a", "a", "two"]
    assert found.left_out == {"another translation of the same sentence": 2}


def test_the_sets_do_not_depend_on_the_order_of_the_list() -> None:
    pairs = [(f"phrase {chr(97 + number)}", f"sentence {number}") for number in range(26)]
    mixed = random.Random(3).sample(pairs, len(pairs))
    for name in ("test", "dev"):
        first, second = (
            sorted(pair.source for pair in split_of(each)[name]) for each in (pairs, mixed)
        )
        assert first == second
    assert split_of(pairs, 1)["test"] != split_of(pairs, 2)["test"]


def test_too_few_sentences_are_an_error() -> None:
    with pytest.raises(ValueError, match="4 sentences are wanted for test, but only 2 share no"):
        split_of([("un", "one"), ("deux", "two"), ("DEUX", "two!")])


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Va\u202f!", "Va!"),
        ("«\u00a0Oui\u00a0», dit\u2019il :  non…", '"Oui", dit\'il: non...'),
        ("Qu'est-ce ?!", "Qu'est-ce?!"),
        ("Sa soeur, l\u2019oeil\u200b", "Sa sœur, l'œil"),
        ("e\u0301te\u0301", "été"),
        ("Peut\u2011être ; oui", "Peut-être; oui"),
    ],
)
def test_french_typography_becomes_plain(text: str, cleaned: str) -> None:
    assert clean_sentence(text, "fr") == cleaned
    assert clean_sentence(cleaned, "fr") == cleaned


def test_ligatures_are_french_alone() -> None:
    assert clean_sentence("Oeuvre poème", "fr") == "Œuvre poème"
    assert clean_sentence("oeuvre", "en") == "oeuvre"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("J'ai 3 chats.", "a digit"),
        ("Ça fait dix €.", "a character that is no Latin"),
        ("\u0421 est cyrillique", "a character that is no Latin"),
        ("Oui - non.", "punctuation that stands alone"),
        ("Oui...non.", "punctuation that stands alone"),
        ("Oui.", "fewer than 2 words"),
        ("un deux trois quatre", "more than 3 words"),
        ("un anticonstitutionnellement", "more than 20 characters"),
        ("un deux trois", ""),
        ("aujourd'hui là-bas", ""),
    ],
)
def test_each_unsuitable_sentence_has_its_reason(text: str, reason: str) -> None:
    found = unsuitable(text, SentenceLimits(2, 3, 20))
    assert found.startswith(reason) and bool(found) == bool(reason)


def write_list(path: Path, zipped: bool) -> Path:
    lines = [f"{english}\t{french}\tCC-BY" for french, english in made_up_pairs()]
    text = "".join(f"{line}\n" for line in [*lines, "I have 3 cats.\tJ'ai 3 chats.\tCC-BY"])
    if not zipped:
        path.write_text(text, encoding="utf-8")
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_about.txt", "terms")
        archive.writestr("fra.txt", text)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_the_command_writes_tables_that_are_read_back(
    zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_list(tmp_path / "fra.zip", zipped)
    words = ["data", "sentences", str(source), "--output", str(tmp_path / "out")]
    assert main([*words, "--dev", "3", "--test", "4"]) == 0
    report = capsys.readouterr().out
    assert "| test | 4 |" in report and "- 1: a digit" in report
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8") == report
    for name, count in (("test", 4), ("dev", 3)):
        pairs = read_sentences(tmp_path / "out" / f"{name}.tsv")
        assert len(pairs) == count and all(pair.id.startswith("fra-") for pair in pairs)
    first = (tmp_path / "out" / "train.tsv").read_bytes()
    assert main([*words, "--dev", "3", "--test", "4"]) == 0
    assert (tmp_path / "out" / "train.tsv").read_bytes() == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\nalone\n", "line 2: column 2 is wanted, but it has 1"),
        ("a\tb\n", "1000 sentences are wanted for test, but only 1"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text(content, encoding="utf-8")
    words = ["data", "sentences", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_table_without_a_column_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("id\tsrc_text\n1\tun\n", encoding="utf-8")
    with pytest.raises(TableError, match="the column `tgt_text` is missing"):
        read_sentences(tmp_path / "train.tsv")
    header = "\t".join(COLUMNS)
    (tmp_path / "train.tsv").write_text(f"{header}\n", encoding="utf-8")
    with pytest.raises(TableError, match="no lines"):
        read_sentences(tmp_path / "train.tsv")
