"""From the units of a build to words: each build's log of the same speech, and the error rate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from run_logs import fork_line, speech_line, text_line, write_run
from tiny_model import TARGET_TEXT

from echostream.scoring.metrics.wer import edit_distance, word_error_rate
from echostream.scoring.score import Options, RunScores, score_run
from echostream.scoring.warnings import warnings_of
from echostream.scoring.words import load_pieces
from echostream.text.tokenizer import Tokenizer

PIECES = ["▁the", "▁sm", "all", "▁c", "a", "t", "▁sleeps"]
DELAYS = [1000.0, 1000, 2000, 2000, 2000, 3000, 4000]
WORDS = "the small cat sleeps"
WORD_DELAYS = [1000.0, 2000, 3000, 4000]  # of the last piece of each word
# One word a second, a second behind: the lag of each word is 1000 ms.
BY_WORDS = {"AL": 1000, "LAAL": 1000, "DAL": 1000, "AP": 10 / 16, "StartOffset": 1000}


def run(tmp_path: Path, *lines: dict[str, Any], **options: Any) -> RunScores:
    return score_run(write_run(tmp_path / "run", lines), Options(**options))


def warning_text(scores: RunScores) -> str:
    return "\n".join(warnings_of(scores))


# Logs from which the ends of words are known, by kind.
KNOWN = {
    "words": text_line(0, WORDS, WORD_DELAYS),
    "pieces joined with spaces, as PyPI and HEAD do": text_line(0, " ".join(PIECES), DELAYS),
    "pieces beside the text, of the latency unit spm": text_line(
        0, WORDS, DELAYS, prediction_spm=PIECES
    ),
    "marked words under StreamSpeech's copy": fork_line(
        0, ["▁the", "▁small", "▁cat", "▁sleeps"], WORD_DELAYS
    ),
    "plain words that StreamSpeech's copy ran together": fork_line(
        0, ["the", "small", "cat", "sleeps"], WORD_DELAYS
    ),
}


@pytest.mark.parametrize("line", KNOWN.values(), ids=KNOWN)
def test_the_time_of_a_word_is_that_of_its_last_piece(tmp_path: Path, line: dict[str, Any]) -> None:
    scores = run(tmp_path, line)
    assert scores.words is not None
    for name, value in BY_WORDS.items():
        assert scores.words.values[name] == pytest.approx(value), name


def test_pieces_that_a_build_joined_with_spaces_are_scored_as_the_words_they_are(
    tmp_path: Path,
) -> None:
    scores = run(tmp_path, text_line(0, " ".join(PIECES), DELAYS))
    assert scores.quality is not None
    assert abs(scores.quality.BLEU - 100) < 1e-9
    assert scores.quality_as_logged is not None and scores.quality_as_logged.BLEU == 0
    assert "which gives BLEU 0.00; here they are joined" in warning_text(scores)


def test_words_that_run_together_have_a_latency_but_no_quality_worth_the_name(
    tmp_path: Path,
) -> None:
    scores = run(tmp_path, fork_line(0, ["the", "small", "cat", "sleeps"], WORD_DELAYS))
    assert scores.unit == "joined"
    assert scores.quality is not None and scores.quality.BLEU == 0
    assert "the words of a prediction run together" in warning_text(scores)


def test_as_the_build_counts_is_one_unit_a_piece_against_words_of_the_reference(
    tmp_path: Path,
) -> None:
    scores = run(tmp_path, fork_line(0, PIECES, DELAYS))
    assert scores.unit == "piece"
    # Seven pieces against four words: shares of 1000 ms; the seventh is the first at the end.
    # 1000 + 0 + 0 - 1000 - 2000 - 2000 - 2000 over 7.
    assert scores.simuleval_units.values["AL"] == pytest.approx(-6000 / 7)
    # LAAL: shares of 4000/7; the times are 15000 in all, the shares (0 + ... + 6) of them.
    laal = (15000 - 21 * 4000 / 7) / 7
    assert scores.simuleval_units.values["LAAL"] == pytest.approx(laal)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spm") / "spm.model"
    Tokenizer.train(TARGET_TEXT, 24, path)
    return path


def pieces_of(model: Path, text: str) -> list[str]:
    return list(load_pieces(model).encode(text, out_type=str))


def hidden_run(tmp_path: Path, model: Path, **options: Any) -> RunScores:
    """A run of StreamSpeech's copy on all texts, a unit every 100 ms; the log has no pieces."""
    lines = []
    for index, text in enumerate(TARGET_TEXT):
        pieces = pieces_of(model, text)
        assert len(pieces) > len(text.split())
        lines.append(fork_line(index, pieces, [100.0 * (i + 1) for i in range(len(pieces))]))
    return run(tmp_path, *lines, **options)


def test_hidden_pieces_are_not_guessed(tmp_path: Path, model: Path) -> None:
    scores = hidden_run(tmp_path, model)
    assert scores.words is None
    assert "The latency per word is unknown; --target-spm" in warning_text(scores)
    assert scores.simuleval_units.values["AL"] is not None


def test_the_model_of_the_pieces_tells_where_words_end(tmp_path: Path, model: Path) -> None:
    scores = hidden_run(tmp_path, model, processor=load_pieces(model))
    first_words, num_units = [], []
    for text in TARGET_TEXT:
        pieces = pieces_of(model, text)
        begins = [i for i, piece in enumerate(pieces) if piece.startswith("▁")]
        first_words.append(100.0 * begins[1])  # as many pieces as come before the second word
        num_units.append(len(pieces))
    assert scores.words is not None and scores.words.num_utterances == len(TARGET_TEXT)
    mean_first = sum(first_words) / len(first_words)
    assert scores.words.values["StartOffset"] == pytest.approx(mean_first)
    ends = [100.0 * units - 4000 for units in num_units]
    assert scores.words.values["EndOffset"] == pytest.approx(sum(ends) / len(ends))
    assert f"{len(TARGET_TEXT)} predictions are cut into as many pieces" in warning_text(scores)


def test_predictions_that_the_model_cuts_otherwise_are_left_out_and_counted(
    tmp_path: Path, model: Path
) -> None:
    lines = []
    for index, text in enumerate(TARGET_TEXT):
        pieces = pieces_of(model, text)
        if index == 1:  # as a decoder may: a longer way to write the same word
            long = next(piece for piece in pieces if len(piece) > 2)
            position = pieces.index(long)
            pieces[position : position + 1] = [long[:-1], long[-1]]
        lines.append(fork_line(index, pieces, [100.0 * (i + 1) for i in range(len(pieces))]))
    scores = run(tmp_path, *lines, processor=load_pieces(model))
    assert scores.words is not None and scores.words.num_utterances == len(TARGET_TEXT) - 1
    assert (
        "4 predictions are cut into as many pieces as they have delays, 1 are not"
        in warning_text(scores)
    )


def test_the_model_of_another_system_is_refused(tmp_path: Path, model: Path) -> None:
    other = tmp_path / "other.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TARGET_TEXT), model_prefix=str(other)[:-6], vocab_size=36,
        model_type="word", minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    scores = hidden_run(tmp_path, model, processor=load_pieces(other))
    assert scores.words is None
    assert "only 0 of 5 predictions" in warning_text(
        scores
    ) and "it is not the model" in warning_text(scores)


def test_the_unit_spm_counts_the_reference_in_pieces_which_needs_the_model(
    tmp_path: Path, model: Path
) -> None:
    line = text_line(0, WORDS, DELAYS, prediction_spm=PIECES)
    without = run(tmp_path, line)
    assert without.simuleval_units.values["AL"] is without.simuleval_units.values["LAAL"] is None
    assert without.simuleval_units.values["DAL"] is not None and without.words is not None
    assert "--target-spm with the model of the pieces gives them" in warning_text(without)
    processor = load_pieces(model)
    num_pieces = len(processor.encode(line["reference"]))
    al = run(tmp_path, line, processor=processor).simuleval_units.values["AL"]
    lags = [delay - position * 4000 / num_pieces for position, delay in enumerate(DELAYS)]
    assert al == pytest.approx(sum(lags) / len(lags))


def test_characters_are_counted_on_both_sides_and_have_no_words(tmp_path: Path) -> None:
    line = text_line(0, "猫は寝る", [1000, 2000, 3000, 4000], reference="猫が寝ます")
    scores = run(tmp_path, line)
    assert scores.unit == "char" and scores.words is None
    lags = [1000 * (i + 1) - i * 4000 / 5 for i in range(4)]
    assert scores.simuleval_units.values["AL"] == pytest.approx(sum(lags) / 4)
    assert scores.characters is not None and scores.characters == scores.simuleval_units
    assert "counted in characters, so BLEU is that of sacrebleu's tokenizer char" in warning_text(
        scores
    )


def test_speech_is_counted_in_writes_and_has_no_times_with_compute(tmp_path: Path) -> None:
    scores = run(tmp_path, speech_line(0, [1000, 4000], [600, 900]))
    # Two writes against four words: 1000 - 0 and 4000 - 1000.
    assert scores.simuleval_units.values["AL"] == pytest.approx((1000 + 3000) / 2)
    assert scores.simuleval_units.values["EndOffset"] == 900
    assert scores.words is scores.quality is scores.degeneracy is None
    assert [n for n, v in scores.simuleval_units.values.items() if n.endswith("_CA") and v] == []
    text = warning_text(scores)
    assert "`elapsed` is empty in every version" in text
    assert "ATD cuts the speech into tokens of 300 ms" in text and "score it as text" in text


def test_a_model_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "spm.model"
    with pytest.raises(OSError, match=r"spm\.model"):
        load_pieces(path)
    for content in (b"", b"not a model"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"spm\.model is not a SentencePiece model"):
            load_pieces(path)


def slow_edits(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    if not a or not b:
        return len(a) + len(b)
    same = slow_edits(a[1:], b[1:]) + (a[0] != b[0])
    return min(same, slow_edits(a[1:], b) + 1, slow_edits(a, b[1:]) + 1)


def test_edits_are_those_of_trying_every_way() -> None:
    texts = ["", "a", "a b", "b a", "a b c", "c b a a", "a a b c", "x y"]
    for one in texts:
        for other in texts:
            a, b = tuple(one.split()), tuple(other.split())
            assert edit_distance(a, b) == slow_edits(a, b)


def test_the_error_rate_weighs_every_reference_word_alike() -> None:
    # One word of one wrong, then none of four: 1 of 5. A word too many counts as well.
    assert word_error_rate(["a", "a b c d"], ["x", "a b c d"]) == pytest.approx(20)
    assert word_error_rate(["a"], ["a b c"]) == pytest.approx(200)
    assert math.isnan(word_error_rate([""], ["a"]))
    with pytest.raises(ValueError, match="must be as many"):
        word_error_rate(["a"], [])
