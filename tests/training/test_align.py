"""Word alignment: the obvious pairs are found, and pieces come in order after their words."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from echostream.training.align import WordAligner, align_pieces_to_frames, emission_times

CORPUS = [
    (source.split(), target.split())
    for source, target in (
        ("le chat dort", "the cat sleeps"),
        ("le chien dort", "the dog sleeps"),
        ("un chat noir mange", "a black cat eats"),
        ("un chien noir dort", "a black dog sleeps"),
        ("le chien mange", "the dog eats"),
        ("le petit chat mange", "the small cat eats"),
        ("un petit chien", "a small dog"),
    )
]


def align(source: str, target: str) -> list[int]:
    return WordAligner(CORPUS).align(source.split(), target.split())


def test_the_obvious_words_are_aligned_also_where_their_order_differs() -> None:
    assert align("un chat noir dort", "a black cat sleeps") == [0, 2, 1, 3]
    assert align("le petit chien noir", "the small black dog") == [0, 1, 3, 2]


def test_of_a_word_that_comes_twice_and_for_an_unknown_word_the_first_is_taken() -> None:
    assert align("le chat le chat", "cat zebra") == [1, 0]


def test_what_a_source_word_yields_adds_up_to_one() -> None:
    probability = WordAligner(CORPUS).probability
    for word in {word for source, _ in CORPUS for word in source}:
        yields = [p for (source, _), p in probability.items() if source == word]
        assert sum(yields) == pytest.approx(1.0, abs=1e-12)


def test_each_iteration_makes_the_corpus_more_likely() -> None:
    def log_likelihood(iterations: int) -> float:
        probability = WordAligner(CORPUS, iterations).probability
        return sum(
            math.log(sum(probability.get((s, t), 0.0) for s in source) / len(source))
            for source, target in CORPUS
            for t in target
        )

    values = [log_likelihood(n) for n in range(1, 8)]
    assert all(later > earlier for earlier, later in itertools.pairwise(values))


def test_one_iteration_is_what_can_be_counted_by_hand() -> None:
    # "a b" = "x y" and "a" = "x": at first each word of a sentence shares a target word equally.
    probability = WordAligner([(["a", "b"], ["x", "y"]), (["a"], ["x"])], iterations=1).probability
    assert probability == pytest.approx(
        {("a", "x"): 1.5 / 2, ("a", "y"): 0.5 / 2, ("b", "x"): 0.5, ("b", "y"): 0.5}
    )


def test_a_target_word_waits_for_its_source_word_and_for_those_of_all_words_before_it() -> None:
    ends = [0.2, 0.5, 0.9, 1.4]
    assert emission_times([0, 2, 1, 3], ends) == [0.2, 0.9, 0.9, 1.4]
    assert emission_times([3, 0], ends) == [1.4, 1.4]
    rng = random.Random(0)
    for _ in range(50):
        alignment = rng.choices(range(4), k=6)
        expected = [max(ends[a] for a in alignment[: n + 1]) for n in range(6)]
        assert emission_times(alignment, ends) == expected


def first_free_frames(times: list[float], pieces: list[int], rate: float) -> list[int]:
    """One frame at a time: wait until the word is out, then give each piece a frame of its own."""
    frames: list[int] = []
    for time, count in zip(times, pieces, strict=True):
        for _ in range(count):
            frame = 0
            while frame / rate <= time or (frames and frame <= frames[-1]):
                frame += 1
            frames.append(frame)
    return frames


def test_each_piece_gets_the_first_free_frame_after_its_word() -> None:
    assert align_pieces_to_frames([0.1, 0.1, 0.5], [2, 1, 1], 100, 10.0) == [2, 3, 4, 6]
    rng = random.Random(1)
    for _ in range(100):
        times = sorted(rng.uniform(0, 3) for _ in range(5))
        pieces = rng.choices((1, 2, 3), k=5)
        assert align_pieces_to_frames(times, pieces, 1000, 25.0) == first_free_frames(
            times, pieces, 25.0
        )


@pytest.mark.parametrize("num_frames", range(7 - 5, 7 + 6))
def test_pieces_that_do_not_all_fit_get_no_frames(num_frames: int) -> None:
    frames = align_pieces_to_frames(
        [0.1, 0.1, 0.5], [2, 1, 1], num_frames, 10.0
    )  # the last is frame 6
    assert frames == ([2, 3, 4, 6] if num_frames >= 7 else None)
