"""The text of an agent fits the version of SimulEval that runs it."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

import pytest
import sentencepiece as spm
from agent_calls import ASR, S2TT, by_session, join_like_streamspeech, read_scores, run_here

from echostream.agents.options import TEXT_OUTPUTS
from echostream.agents.text_output import (
    CHOICES,
    TextOutput,
    TokenFormat,
    choose_format,
    joins_pieces,
    make_text_output,
)
from echostream.text.tokenizer import UNK_SURFACE, Tokenizer

# By hand: choice, SimulEval, latency unit, and how the words must be written.
TABLE = (
    ("auto", "pypi", "word", TokenFormat.WORDS),
    ("auto", "pypi", "char", TokenFormat.WORDS),
    ("auto", "pypi", "spm", TokenFormat.PIECES),
    ("auto", "streamspeech", "word", TokenFormat.MARKED),
    ("auto", "streamspeech", "char", TokenFormat.WORDS),
    ("word", "pypi", "word", TokenFormat.WORDS),
    ("word", "pypi", "char", TokenFormat.WORDS),
    ("word", "pypi", "spm", TokenFormat.WORDS),
    ("word", "streamspeech", "word", TokenFormat.WORDS),
    ("word", "streamspeech", "char", TokenFormat.WORDS),
    ("spm", "pypi", "word", TokenFormat.PIECES),
    ("spm", "pypi", "char", TokenFormat.PIECES),
    ("spm", "pypi", "spm", TokenFormat.PIECES),
    ("spm", "streamspeech", "word", TokenFormat.PIECES),
    ("spm", "streamspeech", "char", TokenFormat.PIECES),
)
# Those of the table whose predictions would not be the sentence.
UNFIT = {
    ("word", "pypi", "spm"),
    ("word", "streamspeech", "word"),
    ("spm", "pypi", "word"),
    ("spm", "pypi", "char"),
    ("spm", "streamspeech", "char"),
}


def test_the_joiner_is_found_by_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [joins_pieces(unit) for unit in ("word", "char", "spm")] == [False, False, True]
    join_like_streamspeech(monkeypatch)
    assert [joins_pieces(unit) for unit in ("word", "char")] == [True, False]


@pytest.mark.parametrize(("choice", "build", "unit", "form"), TABLE)
def test_the_form_is_the_one_of_the_table(
    choice: str,
    build: str,
    unit: str,
    form: TokenFormat,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if build == "streamspeech":
        join_like_streamspeech(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert choose_format(choice, unit) is form
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == ((choice, build, unit) in UNFIT)
    assert all(f"`text_output` is {choice}, but this SimulEval joins" in text for text in warned)


def test_a_choice_or_a_unit_that_does_not_exist_is_named() -> None:
    assert tuple(CHOICES) == TEXT_OUTPUTS
    with pytest.raises(ValueError, match="`text_output` must be one of auto, word, spm, but is 'w"):
        choose_format("words", "word")


@pytest.mark.parametrize("agent", [S2TT, ASR])
def test_every_build_makes_the_same_sentences_of_it(
    agent: tuple[str, str],
    folder: Path,
    recordings: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SimulEval's own evaluator and scorers, on what StreamSpeech's copy would make of the text."""
    model = ("--model-path", str(folder))
    task = "st" if agent == S2TT else "asr"
    spm_of = folder / ("spm_tgt.model" if task == "st" else "spm_src.model")
    unit = ("--eval-latency-unit", "spm", "--eval-latency-spm-model", str(spm_of))
    words = [by_session(folder, path, task=task) for path in recordings]
    # Every seventh word is left out: a BLEU that is neither 0 nor 100.
    references = [" ".join(w for i, w in enumerate(written) if i % 7 != 6) for written, _ in words]
    runs = {}

    def run(name: str, *flags: str) -> None:
        cwd = tmp_path / name
        runs[name] = run_here(
            monkeypatch, cwd, recordings, *agent, *model, *flags, references=references
        )

    run("pypi")
    run("pypi-spm", *unit)
    with monkeypatch.context() as patch:
        join_like_streamspeech(patch)
        run("streamspeech")
        run("streamspeech-spm", "--text-output", "spm")
        run("streamspeech-word", "--text-output", "word")

    sentences = [" ".join(written) for written, _ in words]
    fitting = ("pypi", "pypi-spm", "streamspeech", "streamspeech-spm")
    for name in fitting:
        assert [entry["prediction"].strip() for entry in runs[name]] == sentences
    bleu = {name: read_scores(tmp_path / name)["BLEU"] for name in runs}
    assert len({bleu[name] for name in fitting}) == 1
    assert 100 > float(bleu["pypi"]) > 20 > float(bleu["streamspeech-word"])

    # Latency is counted per token: one a word, unless pieces are configured.
    for name in ("pypi", "streamspeech"):
        for entry, (_, delays) in zip(runs[name], words, strict=True):
            assert entry["delays"] == pytest.approx(delays)
    tokenizer = Tokenizer.load(spm_of)
    for name in ("pypi-spm", "streamspeech-spm"):
        for entry, (written, delays) in zip(runs[name], words, strict=True):
            # The sign of an unknown piece has no piece of its own: such a word stays whole.
            counts = [1 if UNK_SURFACE in word else len(tokenizer.encode(word)) for word in written]
            spread = [d for d, n in zip(delays, counts, strict=True) for _ in range(n)]
            assert entry["delays"] == pytest.approx(spread)
        assert sum(len(entry["delays"]) for entry in runs[name]) > 1.5 * sum(
            len(w) for w, _ in words
        )


@pytest.mark.parametrize("form", TokenFormat)
def test_no_word_is_lost_in_pieces(form: TokenFormat, folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "spm_tgt.model")
    output = TextOutput(form, lambda word: list(map(tokenizer.piece, tokenizer.encode(word))))
    known = ["the", "black", "street", "tee", "eeeeees"]
    # Letters without a piece, what normalisation changes, and the sign of the unknown piece.
    unknown = ["zebra", "naïve", "日本", "\u2047", "\ufb01sh", "e\u0301t", "don't", "<unk>", "🙂"]
    for words in (known, unknown, [*known, *unknown], ["the"], []):
        text = output(" ".join(words))
        joined = text if form is TokenFormat.WORDS else text.replace(" ", "").replace("\u2581", " ")
        assert joined.strip() == " ".join(words)
    tokens = output(" ".join(known)).split()
    if form is TokenFormat.PIECES:
        vocabulary = {tokenizer.piece(index) for index in range(tokenizer.vocab_size)}
        assert len(tokens) > 2 * len(known)
        assert vocabulary.issuperset(tokens)
        assert output("zebra") == "\u2581zebra"
    else:
        assert len(tokens) == len(known)


def test_pieces_are_those_in_which_the_reference_is_counted(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.model"
    text = "the black cat sleeps in the house and the dog eats in the big street"
    Tokenizer.train([text], 21, other)
    args = Namespace(text_output="auto", eval_latency_unit="spm", eval_latency_spm_model=str(other))
    output = make_text_output(args, Tokenizer.load(folder / "spm_tgt.model"))
    counted = spm.SentencePieceProcessor(model_file=str(other)).encode(text, out_type=str)
    assert output(text).split() == counted
    assert output("zoo").split() == ["\u2581", "z", "o", "o"]  # counted so, with an unknown z


def test_without_simulevals_arguments_the_unit_is_the_word(folder: Path) -> None:
    output = make_text_output(
        Namespace(text_output="auto"), Tokenizer.load(folder / "spm_tgt.model")
    )
    assert output.token_format is TokenFormat.WORDS
