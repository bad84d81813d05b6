"""The scores of a run: latencies by hand, SimulEval's own scorers, and logs that are wrong."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from simuleval.evaluator.instance import LogInstance
from simuleval.evaluator.scorers import get_scorer_class

from echostream.scoring.log import ScoringError, Utterance, read_complete_log
from echostream.scoring.metrics.latency import (
    LATENCY_METRICS,
    average_lagging,
    average_proportion,
    differentiable_average_lagging,
    length_adaptive_average_lagging,
)
from echostream.scoring.simuleval_scores import compare_with_simuleval, score

METRICS = tuple(LATENCY_METRICS)


def entry(index: int, prediction: str, delays: list[float], **changes: Any) -> dict[str, Any]:
    """An instance as SimulEval logs it; 10 ms of compute before each word."""
    logged = {
        "index": index,
        "prediction": prediction,
        "delays": delays,
        "elapsed": [delay + 10 * (position + 1) for position, delay in enumerate(delays)],
        "prediction_length": len(delays),
        "reference": "the small cat sleeps",
        "source": ["a.wav"],
        "source_length": 4000.0,
    }
    return {**logged, **changes}


def write_log(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in entries), encoding="utf-8")
    return path


def random_entries(num: int, seed: int) -> list[dict[str, Any]]:
    """Runs of all kinds: short, long, silent, with words after the end of the source."""
    rng = random.Random(seed)
    entries = []
    for index in range(num):
        source = rng.choice([320.0, 4000.0, 12345.67])
        num_words = rng.choice([0, 1, 2, 7, 30])
        delays = sorted(min(source, 320.0 * rng.randint(1, 45)) for _ in range(num_words))
        compute = 0.0
        elapsed = []
        for delay in delays:
            compute += rng.uniform(0, 400)
            elapsed.append(delay + compute)
        words = " ".join(rng.choice(["a", "cat", "the", "sleeps"]) for _ in delays)
        reference = " ".join(["cat"] * rng.randint(1, 12)) + rng.choice(["", "  end"])
        entries.append(
            entry(
                index,
                words,
                delays,
                elapsed=elapsed,
                reference=reference,
                source_length=source,
            )
        )
    return entries


# source_ms, words of the reference, times -> AL, LAAL, AP, DAL, worked out by hand.
BY_HAND = {
    # One word a second, a second behind.
    "even": (4000, 4, [1000, 2000, 3000, 4000], 1000, 1000, 10000 / 16000, 1000),
    # Six words for three: AL rewards it, LAAL does not. The fifth word is the last that counts.
    # AL: shares of 4000/3: 1000 - 333.33 - 666.67 - 2000 - 1333.33 over 5.
    # LAAL: shares of 4000/6: 1000 + 333.33 + 666.67 + 0 + 1333.33 over 5.
    # DAL: paced at 1000, 1666.67, 2333.33, 3000, 4000, 4666.67: four lags of 1000, two of 1333.33.
    "too many": (
        *(4000, 3, [1000, 1000, 2000, 2000, 4000, 4000]),
        *(-10000 / 3 / 5, 10000 / 3 / 5, 14000 / 12000, (4000 + 8000 / 3) / 6),
    ),
    # Two words for eight. DAL goes by the two: lags of 3000 and 3000.
    "too few": (4000, 8, [3000, 4000], 3250, 3250, 7000 / 32000, 3000),
    "single word": (4000, 2, [2500], 2500, 2500, 2500 / 8000, 2500),
    "all at the end": (4000, 2, [4000, 4000], 4000, 4000, 8000 / 8000, 4000),
    # As `elapsed` can be: the first word after the end of the source.
    "after the end": (4000, 2, [4500, 4600], 4500, 4500, 9100 / 8000, 4500),
    # Only a later word after the end: it is the last that counts.
    "past the end": (4000, 4, [3900, 4100, 4200], 3500, 3500, 12200 / 16000, (3900 * 3) / 3),
}


@pytest.mark.parametrize(
    ("source", "words", "times", "al", "laal", "ap", "dal"), BY_HAND.values(), ids=BY_HAND
)
def test_latency_is_what_the_formula_gives_by_hand(
    source: float, words: int, times: list[float], al: float, laal: float, ap: float, dal: float
) -> None:
    assert average_lagging(times, source, words) == pytest.approx(al)
    assert length_adaptive_average_lagging(times, source, words) == pytest.approx(laal)
    assert average_proportion(times, source, words) == pytest.approx(ap)
    assert differentiable_average_lagging(times, source, words) == pytest.approx(dal)


@pytest.mark.parametrize("metric", LATENCY_METRICS.values(), ids=METRICS)
def test_latency_of_nothing_is_refused(
    metric: Callable[[list[float], float, int], float],
) -> None:
    with pytest.raises(ValueError, match="`times`"):
        metric([], 4000, 3)
    with pytest.raises(ValueError, match="`source_ms`"):
        metric([100.0], 0, 3)
    with pytest.raises(ValueError, match="`reference_words`"):
        metric([100.0], 4000, 0)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_simuleval_on_the_same_log(tmp_path: Path, seed: int) -> None:
    path = write_log(tmp_path / "instances.log", random_entries(40, seed))
    theirs = {
        position: LogInstance(line) for position, line in enumerate(path.read_text().splitlines())
    }
    ours = score(read_complete_log(path, 40))
    assert ours.num_empty == sum(not instance.delays for instance in theirs.values()) > 0
    for name in METRICS:
        for suffix, aware in (("", False), ("_CA", True)):
            scorer = get_scorer_class("latency", name)(computation_aware=aware)
            assert getattr(ours, name + suffix) == pytest.approx(scorer(theirs), abs=1e-9)
    their_bleu = get_scorer_class("quality", "BLEU")("13a")(theirs)
    assert their_bleu == pytest.approx(ours.BLEU)


def test_quality_is_that_of_sacrebleu_with_its_signature(tmp_path: Path) -> None:
    lines = ["the small cat sleeps", "the cat sleeps here", ""]
    entries = [
        entry(position, line, [1000.0 * (i + 1) for i in range(len(line.split()))])
        for position, line in enumerate(lines)
    ]
    utterances = read_complete_log(write_log(tmp_path / "instances.log", entries))
    references = [["the small cat sleeps"] * 3]
    scores = score(utterances)
    assert sacrebleu.corpus_bleu(lines, references).score == scores.BLEU
    assert scores.chrF == sacrebleu.corpus_chrf(lines, references).score
    assert "tok:13a" in scores.signatures["BLEU"]
    assert f"version:{sacrebleu.__version__}" in scores.signatures["chrF"]


def test_an_empty_prediction_counts_in_quality_but_not_in_latency() -> None:
    words = "the small cat sleeps"
    delays, elapsed = (500.0, 1000.0, 2000.0, 2000.0), (600.0, 1200.0, 2300.0, 2300.0)
    written = Utterance(0, words, words, delays, elapsed, 2000.0)
    silent = Utterance(1, "", words, (), (), 9000.0)
    alone, both = score([written]), score([written, silent])
    assert (both.num_utterances, both.num_empty) == (2, 1)
    assert both.BLEU < alone.BLEU
    for name in METRICS:
        assert getattr(both, name) == getattr(alone, name)
    assert both.compute_rtf == alone.compute_rtf == pytest.approx(300 / 2000)


def test_a_run_without_any_word_has_no_latency_and_no_quality() -> None:
    scores = score([Utterance(0, "", "a cat", (), (), 2000.0)])
    assert scores.BLEU == scores.chrF == 0
    assert all(math.isnan(getattr(scores, name)) for name in (*METRICS, "AL_CA", "compute_rtf"))


def test_computation_aware_latency_grows_by_the_compute_alone() -> None:
    delays = (1000.0, 2000.0, 3000.0)
    slow = tuple(delay + 500 for delay in delays)
    fast = score([Utterance(0, "a b c", "a b c", delays, delays, 4000.0)])
    late = asdict(score([Utterance(0, "a b c", "a b c", delays, slow, 4000.0)]))
    assert fast.AL_CA == fast.AL == late["AL"]
    for name in ("AL", "LAAL", "DAL"):
        assert late[f"{name}_CA"] == pytest.approx(late[name] + 500)
    assert late["AP_CA"] == pytest.approx(late["AP"] + 3 * 500 / (4000 * 3))


def test_compute_rtf_weighs_utterances_by_their_length() -> None:
    short = Utterance(0, "a", "a", (1000.0,), (1500.0,), 1000.0)
    long = Utterance(1, "a b", "a b", (500.0, 9000.0), (600.0, 9100.0), 9000.0)
    assert score([short, long]).compute_rtf == pytest.approx((500 + 100) / 10000)


def test_scores_that_differ_from_simulevals_are_not_accepted(tmp_path: Path) -> None:
    scores = score([Utterance(0, "a b", "a b", (100.0, 200.0), (100.0, 200.0), 400.0)])
    columns = ("BLEU", *METRICS)
    table = tmp_path / "scores.tsv"

    def write(change: float) -> None:
        values = [
            round(getattr(scores, name), 3) + (change if name == "DAL" else 0) for name in columns
        ]
        table.write_text("\t".join(columns) + "\n" + "\t".join(map(str, values)) + "\n")

    write(change=0)
    compare_with_simuleval(scores, table)
    write(change=0.01)
    with pytest.raises(ScoringError, match=r"scores.tsv: SimulEval has DAL"):
        compare_with_simuleval(scores, table)
    table.write_text("BLEU\n1.0\n")
    with pytest.raises(ScoringError, match="is not a score table"):
        compare_with_simuleval(scores, table)


def test_a_log_that_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "instances.log"
    good = entry(0, "a b", [1.0, 2.0])

    def refused(pattern: str, num_expected: int | None = None) -> None:
        with pytest.raises(ScoringError, match=pattern):
            read_complete_log(path, num_expected)

    refused("cannot be read")
    path.write_text("")
    refused("holds no utterance")
    path.write_text(json.dumps(good) + "\n" + json.dumps(good)[:40])
    refused("line 2: is not an instance")
    write_log(path, [good, entry(2, "a", [1.0])])
    refused("must hold the utterances 0 to 1 in order")
    write_log(path, [good])
    refused("must hold the utterances 0 to 1 in order", num_expected=2)
    write_log(path, [entry(0, "a b c", [1.0, 2.0])])
    refused("line 1: is not an instance of SimulEval: its 3 words have only 2 delays.")
    write_log(path, [entry(0, "a", [1.0, 2.0])])
    refused("line 1: must have one delay and one elapsed time per word, but has 1 words, 2 delays")
    write_log(path, [entry(0, "a", [1.0], reference=None)])
    refused("line 1: is not an instance of SimulEval: it has no reference")
    write_log(path, [entry(0, "a", [1.0], elapsed=[])])
    refused("0 elapsed times")
    write_log(path, [entry(0, "a", [1.0], source_length=0)])
    refused("`source_length` must be positive")
