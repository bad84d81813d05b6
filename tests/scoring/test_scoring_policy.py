"""Warnings of negative AL, offline and degenerate policies; YAAL and the test are OmniSTEval's."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import pytest
from run_logs import text_line, write_run

from echostream.scoring.metrics.degenerate import LIMIT, degeneracy
from echostream.scoring.metrics.yaal import find_omnisteval, mean_yaal
from echostream.scoring.score import Options, score_run
from echostream.scoring.timeline import Timeline
from echostream.scoring.warnings import warnings_of


def timeline(delays: list[float], source_ms: float = 4000, words: int = 4) -> Timeline:
    return Timeline(tuple(delays), tuple(delays), source_ms, words)


def warning_text(tmp_path: Path, prediction: str, delays: list[float]) -> str:
    scores = score_run(write_run(tmp_path, [text_line(0, prediction, delays)]), Options())
    return "\n".join(warnings_of(scores))


def test_a_steady_policy_is_not_called_degenerate(tmp_path: Path) -> None:
    # A second behind: three of four words before the end, and a lag of 1000 of 4000 ms.
    test = degeneracy([timeline([1000, 2000, 3000, 4000])])
    assert (test.simultaneous, test.expected) == (75, 75)
    assert not test.is_degenerate and not test.is_offline
    assert warning_text(tmp_path, "the small cat sleeps", [1000, 2000, 3000, 4000]) == ""


def test_a_first_word_and_the_rest_at_the_end_is_degenerate(tmp_path: Path) -> None:
    # A quarter of the words before the end; the lag before it, 500 ms, would leave 87.5 %.
    test = degeneracy([timeline([500, 4000, 4000, 4000])])
    assert (test.simultaneous, test.expected) == (25, 87.5)
    assert test.is_degenerate
    text = warning_text(tmp_path, "the small cat sleeps", [500, 4000, 4000, 4000])
    assert "likely a degenerate policy: 25 % of the words came before the end" in text
    assert "would allow 88 %" in text
    assert "neither the early nor the late words." in text


def test_a_run_that_waits_for_the_end_is_offline_and_not_degenerate(tmp_path: Path) -> None:
    test = degeneracy([timeline([4000, 4000, 4000, 4000])])
    assert test.is_offline and not test.is_degenerate and math.isnan(test.expected)
    text = warning_text(tmp_path, "the small cat sleeps", [4000] * 4)
    assert "all output came after the end of the source: this run is offline" in text
    assert "degenerate" not in text


def test_a_negative_al_is_reported_with_its_reason(tmp_path: Path) -> None:
    # Eight words for four: 500 ms a word by LAAL, 1000 ms by AL.
    # AL: lags 500 x (i + 1) - 1000 i for i = 0..7: (18000 - 28000) / 8.
    # LAAL: lags of 500 each.
    text = warning_text(
        tmp_path, "the the small small cat cat sleeps now", [500.0 * i for i in range(1, 9)]
    )
    assert "AL is negative, -1250.0 ms in words" in text
    assert "LAAL, which avoids this, is 500.0 ms" in text


def test_words_that_never_came_are_no_part_of_the_test() -> None:
    test = degeneracy([timeline([1000, 2000, 3000, 4000]), timeline([])])
    assert (test.simultaneous, test.expected) == (75, 75)
    nothing = degeneracy([timeline([])])
    assert math.isnan(nothing.simultaneous) and not nothing.is_offline


def random_timelines(seed: int) -> list[Timeline]:
    rng = random.Random(seed)
    found = []
    for _ in range(30):
        source = rng.choice([320.0, 4000.0, 12345.67])
        times = sorted(
            min(source, 320.0 * rng.randint(1, 45)) for _ in range(rng.choice([0, 1, 2, 7, 30]))
        )
        found.append(timeline(times, source, rng.randint(1, 12)))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_test_of_the_policy_is_omnistevals(seed: int) -> None:
    omnisteval = pytest.importorskip("omnisteval")
    from omnisteval.scoring import ShortformDegeneracyScorer

    timelines = random_timelines(seed)
    theirs = ShortformDegeneracyScorer()(
        [
            omnisteval.Instance(
                reference=" ".join(["w"] * (t.reference_units or 0)),
                source_length=t.source_ms,
                emission_cu=list(t.delays),
            )
            for t in timelines
        ]
    )
    ours = degeneracy(timelines)
    assert ours.simultaneous == pytest.approx(theirs["swf"], abs=1e-6)
    assert ours.expected == pytest.approx(theirs["efsw"], abs=1e-6)
    assert ours.is_degenerate is (abs(theirs["dsptv"]) > LIMIT)


def test_yaal_counts_only_words_before_the_end() -> None:
    omnisteval = pytest.importorskip("omnisteval")
    early, late = timeline([1000, 2500, 4000, 4000]), timeline([4000, 4000])
    times = [early.delays, late.delays]
    # 1000 - 0 and 2500 - 1000; the second utterance has no word before its end.
    assert mean_yaal([early, late], times, omnisteval) == pytest.approx(1250)
    # More words than the reference has: shares of 4000/8. 500 - 500 i: the lag stays 500.
    many = timeline([500.0 * i for i in range(1, 9)])
    assert mean_yaal([many], [many.delays], omnisteval) == pytest.approx(500)
    assert mean_yaal([late], [late.delays], omnisteval) is None


def test_without_omnisteval_there_is_no_yaal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "omnisteval", None)
    assert find_omnisteval() is None
    one = timeline([1000, 2000])
    assert mean_yaal([one], [one.delays], None) is None


def test_an_omnisteval_that_is_broken_is_not_taken_for_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "omnisteval.py").write_text("import a_library_that_it_needs\n")
    monkeypatch.delitem(sys.modules, "omnisteval", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="a_library_that_it_needs"):
        find_omnisteval()
