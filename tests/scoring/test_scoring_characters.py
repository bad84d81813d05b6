"""Languages without spaces: BLEU, latency and error rate by character, against tables by hand."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from run_logs import speech_line, text_line, write_run
from simuleval.evaluator.instance import LogInstance
from simuleval.evaluator.scorers import get_scorer_class

from echostream.cli import main
from echostream.scoring.log import ScoringError
from echostream.scoring.score import Options, RunScores, score_run
from echostream.scoring.warnings import warnings_of

Capture = pytest.CaptureFixture[str]
METRICS = ("AL", "LAAL", "AP", "DAL")

# Three utterances of 4 s, what was written when, and the reference; then, by hand:
# AL, LAAL, AP and DAL in characters.
TABLE: tuple[tuple[str, list[float], str, tuple[float, float, float, float]], ...] = (
    # Four characters for four, one a second, a second behind.
    ("猫が寝る", [1000, 2000, 3000, 4000], "猫が寝る", (1000, 1000, 10000 / 16000, 1000)),
    # Four for five, shares of 800 ms: 1000, 200, 1400, 600. DAL, shares of 1000 ms: the paced
    # times are 1000, 2000, 3000, 4000.
    ("猫は寝る", [1000, 1000, 3000, 3000], "猫が寝ます", (800, 800, 8000 / 20000, 1000)),
    # Five for two. AL, shares of 2000 ms: 2000, 0, -2000, -2000; the fourth is the first at the
    # end. LAAL, shares of 800 ms: 2000, 1200, 400, 1600. DAL, shares of 800 ms: paced at 2000,
    # 2800, 3600, 4400, 5200, a lag of 2000 each.
    ("犬が走った", [2000, 2000, 2000, 4000, 4000], "犬走", (-500, 1300, 14000 / 8000, 2000)),
)


def lines() -> list[dict[str, Any]]:
    return [
        text_line(index, text, delays, reference=reference)
        for index, (text, delays, reference, _) in enumerate(TABLE)
    ]


def run(folder: Path, lines: list[dict[str, Any]], **options: Any) -> RunScores:
    return score_run(write_run(folder, lines), Options(**options))


def values_of(scores: RunScores) -> tuple[float | None, ...]:
    assert scores.characters is not None
    return tuple(scores.characters.values[name] for name in METRICS)


@pytest.mark.parametrize("place", range(3))
def test_latency_by_character_is_the_table_by_hand(tmp_path: Path, place: int) -> None:
    assert values_of(run(tmp_path, [lines()[place]])) == pytest.approx(TABLE[place][3])


def test_the_latency_of_a_run_by_character_is_simulevals(tmp_path: Path) -> None:
    path = write_run(tmp_path, lines())
    theirs = {i: LogInstance(line, "char") for i, line in enumerate(path.read_text().splitlines())}
    scores = score_run(path, Options())
    assert scores.characters is not None and scores.characters == scores.simuleval_units
    for name in METRICS:
        for suffix, aware in (("", False), ("_CA", True)):
            expected = get_scorer_class("latency", name)(computation_aware=aware)(theirs)
            assert scores.characters.values[name + suffix] == pytest.approx(expected)
    means = [sum(row[3][place] for row in TABLE) / 3 for place in range(4)]
    assert values_of(scores) == pytest.approx(means)
    for tokenizer in ("char", "zh", "13a", "none"):
        quality = score_run(path, Options(tokenizer=tokenizer)).quality
        assert quality is not None
        their_bleu = get_scorer_class("quality", "BLEU")(tokenizer)(theirs)
        assert their_bleu == pytest.approx(quality.BLEU)


def test_with_the_unit_char_words_are_divided_into_characters(
    tmp_path: Path,
) -> None:
    """The same writes logged by word and by character give the same latency by character."""
    by_word = text_line(0, "猫が 寝る", [1000, 4000], reference="猫が寝ます")
    by_character = text_line(0, "猫が寝る", [1000, 1000, 4000, 4000], reference="猫が寝ます")
    marked = text_line(0, "▁猫が ▁寝る", [1000, 4000], reference="猫が寝ます")
    expected = values_of(run(tmp_path, [by_character]))
    for line in (by_word, marked):
        assert values_of(run(tmp_path, [line], latency_unit="char")) == expected
    assert run(tmp_path, [by_word]).characters is None


def test_spaces_of_the_reference_are_no_characters(tmp_path: Path) -> None:
    """SimulEval counts them, although it takes those of the output out."""
    line = text_line(0, "thecat", [1000.0] * 6, reference="the cat")
    scores = run(tmp_path, [line])
    assert scores.characters is not None
    assert scores.characters.values["AP"] == pytest.approx(6000 / 24000)
    assert scores.simuleval_units.values["AP"] == pytest.approx(6000 / 28000)  # as SimulEval has it
    assert scores.quality is not None and abs(scores.quality.BLEU - 100) < 1e-9
    assert "its log has no spaces, but the references do" in "\n".join(warnings_of(scores))


def test_a_space_that_simuleval_leaves_in_is_no_character_either(tmp_path: Path) -> None:
    wide = text_line(0, "猫\u3000寝", [1000, 2000, 3000], reference="猫\u3000寝")
    narrow = text_line(0, "猫寝", [1000, 3000], reference="猫寝")
    assert values_of(run(tmp_path, [wide])) == values_of(run(tmp_path, [narrow]))


def test_a_character_in_parts_is_there_with_its_last_part(tmp_path: Path) -> None:
    text = "가나다"
    parts = unicodedata.normalize("NFD", text)
    assert len(parts) == 6
    delays = [500.0 * (i + 1) for i in range(6)]
    split = run(tmp_path, [text_line(0, parts, delays, reference=parts)])
    whole = run(tmp_path, [text_line(0, text, delays[1::2], reference=text)])
    assert values_of(split) == values_of(whole)
    assert split.quality is not None and whole.quality is not None
    assert split.quality.BLEU == whole.quality.BLEU


def test_the_error_rate_by_character_has_its_own_column(tmp_path: Path, capsys: Capture) -> None:
    write_run(tmp_path, [lines()[1]])
    assert main(["score", str(tmp_path), "--task", "asr"]) == 0
    quality = json.loads((tmp_path / "echostream_scores.json").read_text())["quality"]
    # は for が, す for る, and a ま too few: three edits of five characters
    assert quality["CER"] == pytest.approx(60) and quality["WER"] is None
    out = capsys.readouterr().out
    assert "CER" in out and "WER" not in out and "| characters " in out
    assert "tok:char" in out


def test_the_tokenizer_is_named_and_the_default_is_warned_of_where_it_is_meaningless(
    tmp_path: Path, capsys: Capture
) -> None:
    long = "今日は良い天気ですね"
    write_run(tmp_path, [text_line(0, long, [1000.0] * len(long), reference=long)])
    for flags, bleu, sentence in (
        ([], 100, "counted in characters, so BLEU is that of sacrebleu's tokenizer char"),
        (["--sacrebleu-tokenizer", "zh"], 100, "tok:zh"),
        (["--sacrebleu-tokenizer", "13a"], 0, "takes such a sentence as one word"),
    ):
        assert main(["score", str(tmp_path), *flags]) == 0
        assert sentence in capsys.readouterr().out
        scores = json.loads((tmp_path / "echostream_scores.json").read_text())
        assert scores["quality"]["BLEU"] == pytest.approx(bleu)
        assert f"tok:{scores['quality']['tokenizer']}" in scores["quality"]["signatures"]["BLEU"]
    write_run(tmp_path, [text_line(0, long, [1000.0], reference=long)])  # one word, it seems
    assert main(["score", str(tmp_path)]) == 0
    assert "--sacrebleu-tokenizer char, zh or ja-mecab" in capsys.readouterr().out


def test_a_tokenizer_that_is_not_there_is_named_before_anything_is_scored(
    tmp_path: Path, capsys: Capture
) -> None:
    write_run(tmp_path, lines())
    assert main(["score", str(tmp_path), "--sacrebleu-tokenizer", "moses"]) == 2
    error = capsys.readouterr().err
    assert "--sacrebleu-tokenizer: " in error and "13a" in error and "moses" in error
    try:
        import MeCab  # noqa: F401
    except ImportError:
        assert main(["score", str(tmp_path), "--sacrebleu-tokenizer", "ja-mecab"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "pip install sacrebleu[ja]" in error


def test_a_unit_that_the_log_cannot_give_is_named(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(ScoringError, match=r"instances.log: must be counted in SentencePiece"):
        run(tmp_path, lines(), latency_unit="spm")
    with pytest.raises(ScoringError, match="the output is speech, which has no characters"):
        run(tmp_path, [speech_line(0, [1000], [300])], latency_unit="char")
    joined = text_line(0, "thesmallcat", [1000.0, 2000.0, 3000.0])
    with pytest.raises(ScoringError, match="line 1: 3 delays cannot be shared among the"):
        run(tmp_path, [joined], latency_unit="char")
    assert "latency per word is unknown" in "\n".join(
        warnings_of(run(tmp_path, lines(), latency_unit="word"))
    )
