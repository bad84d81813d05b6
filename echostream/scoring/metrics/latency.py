"""Latency metrics of one utterance, AL, LAAL, AP and DAL, from the times of its words.

The four functions take the same arguments:

times: when each target word was written, in ms: `delays` (source audio read) for the plain metric,
    `elapsed` (the same plus compute) for the computation-aware one (`_CA`).
source_ms: length of the source audio in ms.
reference_words: number of words of the reference.

They raise ValueError if there is no word (no metric is defined then) or a length is not positive.
The conventions are SimulEval 1.1.4's, so that its columns and ours are the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def average_lagging(times: Sequence[float], source_ms: float, reference_words: int) -> float:
    """Average Lagging in ms (Ma et al. 2019; for speech, by reference length, Ma et al. 2020)."""
    _check(times, source_ms, reference_words)
    return _mean_lag(times, source_ms, reference_words)


def length_adaptive_average_lagging(
    times: Sequence[float], source_ms: float, reference_words: int
) -> float:
    """Length-Adaptive Average Lagging in ms (Papi et al. 2022): too many words do not lower it."""
    _check(times, source_ms, reference_words)
    return _mean_lag(times, source_ms, max(len(times), reference_words))


def average_proportion(times: Sequence[float], source_ms: float, reference_words: int) -> float:
    """Average Proportion (Cho and Esipova 2016): mean share of the source read before a word."""
    _check(times, source_ms, reference_words)
    return sum(times) / (source_ms * reference_words)


def differentiable_average_lagging(
    times: Sequence[float], source_ms: float, reference_words: int
) -> float:
    """Differentiable Average Lagging in ms (Cherry and Foster 2019).

    Every word costs at least its own share of the source. Like SimulEval, it divides by the
    hypothesis' length; `reference_words` is only checked.
    """
    _check(times, source_ms, reference_words)
    share = source_ms / len(times)  # source time per written word
    total = 0.0
    paced = times[0]
    for i, time in enumerate(times):
        if i > 0:
            paced = max(time, paced + share)
        total += paced - i * share
    return total / len(times)


LATENCY_METRICS: dict[str, Callable[[Sequence[float], float, int], float]] = {
    "AL": average_lagging,
    "LAAL": length_adaptive_average_lagging,
    "AP": average_proportion,
    "DAL": differentiable_average_lagging,
}


def _mean_lag(times: Sequence[float], source_ms: float, target_words: int) -> float:
    """Mean lag behind an even speaker from 0 to `source_ms`, until the first word after that."""
    # With `elapsed` the first word may come after the end of the source: its time is the score.
    if times[0] > source_ms:
        return times[0]
    share = source_ms / target_words
    total = 0.0
    counted = 0
    for i, time in enumerate(times):
        total += time - i * share
        counted = i + 1
        if time >= source_ms:
            break
    return total / counted


def _check(times: Sequence[float], source_ms: float, reference_words: int) -> None:
    if not times:
        raise ValueError("`times` must hold at least one word, but is empty instead.")
    if source_ms <= 0:
        raise ValueError(
            f"`source_ms` must be a positive number of ms, but is {source_ms} instead."
        )
    if reference_words <= 0:
        raise ValueError(f"`reference_words` must be positive, but is {reference_words} instead.")
