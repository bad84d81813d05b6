"""The refiner changes what has not been spoken, from a bounded past, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_speech import random_weights
from torch import Tensor

from echostream.models.refiner import RefinerState, UnitRefiner, most_confident
from echostream.models.unit_decoder import UnitOutput
from echostream.speech_config import RefinerConfig
from echostream.streaming import named_leaves, state_nbytes

CONFIG = RefinerConfig(num_classes=9, frame_dim=6, dim=8, num_heads=2, ffn_dim=12, window=4)
# Frames of each word: below, at and beyond the window of 4; rows without a word have 0.
SIZES = [[3, 1, 0], [4, 0, 2], [5, 9, 0], [1, 4, 0], [0, 3, 6], [13, 1, 1]]


@pytest.fixture(scope="module")
def refiner() -> UnitRefiner:
    torch.manual_seed(3)
    return random_weights(UnitRefiner(CONFIG)).double().eval().requires_grad_(False)


def draft(sizes: list[int], seed: int) -> UnitOutput:
    """Random frames of a word of each row, and noise beyond its frames."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(sizes), max(*sizes, 1))
    return UnitOutput(
        torch.randn(*shape, CONFIG.num_classes, generator=generator).double(),
        torch.randn(*shape, CONFIG.frame_dim, generator=generator).double(),
        torch.tensor(sizes),
    )


def refine(
    refiner: UnitRefiner, words: list[UnitOutput], steps: int
) -> tuple[list[list[int]], RefinerState]:
    """The classes of each row after successive words."""
    rows = len(words[0].num_frames)
    state, found = refiner.init_state(rows), [list[int]() for _ in range(rows)]
    for word in words:
        classes, state = refiner.step(word, torch.zeros(rows, dtype=torch.bool), steps, state)
        for row in range(rows):
            found[row] += classes[row, : word.num_frames[row]].tolist()
    return found, state


def slowly(refiner: UnitRefiner, words: list[UnitOutput], steps: int) -> list[int]:
    """One row, with the whole past kept and no batch, padding or state."""
    spoken, frames = list[int](), torch.zeros(0, CONFIG.frame_dim).double()
    for word in words:
        size = int(word.num_frames)
        probability, classes = word.logits[0, :size].softmax(-1).max(-1)
        every = torch.cat([frames, word.frames[0, :size]])
        if not size:
            continue
        first = max(0, len(spoken) - CONFIG.window)
        for step in range(1, steps + 1):
            keep = math.ceil((1 - math.cos(math.pi / 2 * step / (steps + 1))) * size)
            best = sorted(range(size), key=lambda i: -probability[i].item())[:keep]
            shown = [int(classes[i]) if i in best else CONFIG.num_classes for i in range(size)]
            given = torch.tensor([spoken[first:] + shown], dtype=torch.int64)
            valid = torch.ones_like(given, dtype=torch.bool)
            logits = refiner(given, every[None, first:], valid, len(spoken) - first)
            probability, classes = logits[0].softmax(-1).max(-1)
        spoken, frames = spoken + classes.tolist(), every
    return spoken


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 8])
def test_words_refined_in_a_batch_are_those_of_a_slow_loop_over_one_text(
    refiner: UnitRefiner, steps: int
) -> None:
    words = [draft(sizes, 10 * steps + i) for i, sizes in enumerate(SIZES)]
    found, _ = refine(refiner, words, steps)
    for row in range(3):
        alone = [UnitOutput(*(field[row : row + 1] for field in word)) for word in words]
        assert found[row] == slowly(refiner, alone, steps)


def test_no_rounds_give_the_units_of_the_unit_decoder(refiner: UnitRefiner) -> None:
    word = draft([5, 2, 7], 0)
    found, _ = refine(refiner, [word], 0)
    wanted = word.logits.argmax(-1)
    assert found == [wanted[row, :n].tolist() for row, n in enumerate((5, 2, 7))]


def test_what_comes_later_changes_no_unit_that_was_spoken(refiner: UnitRefiner) -> None:
    words = [draft([6], 1), draft([5], 2), draft([7], 3)]
    before, _ = refine(refiner, words, 4)
    after, _ = refine(refiner, [*words[:2], draft([7], 4)], 4)
    assert before[0][:11] == after[0][:11]
    assert before[0] != after[0]


def test_a_unit_depends_on_the_spoken_units_in_the_window_alone(refiner: UnitRefiner) -> None:
    def logits(changed: int) -> Tensor:
        classes = torch.tensor([[1, 2, 3, 4, 9, 9]])
        classes[0, changed] = 7
        frames = torch.zeros(1, 6, CONFIG.frame_dim).double()
        return refiner(classes, frames, torch.ones(1, 6, dtype=torch.bool), 4)

    base = logits(5)
    assert not torch.equal(logits(0)[0, 0], base[0, 0])  # within the window it counts
    state = refiner.init_state(1)
    assert state.classes.shape[1] == CONFIG.window  # beyond it nothing is kept


def test_the_state_has_a_constant_size_and_a_new_text_starts_anew(refiner: UnitRefiner) -> None:
    _, state = refine(refiner, [draft([9, 4], seed) for seed in range(12)], 2)
    assert state_nbytes(state) == state_nbytes(refiner.init_state(2))
    _, state = refiner.step(draft([3, 3], 1), torch.tensor([True, False]), 2, state)
    fresh = dict(named_leaves(refiner.init_state(2)))
    for name, leaf in named_leaves(state):
        assert torch.equal(leaf[0], fresh[name][0]), name
    assert not torch.equal(state.classes[1], fresh["classes"][1])


def test_the_most_confident_positions_are_kept_and_padding_never_is() -> None:
    probability = torch.tensor([[0.1, 0.9, 0.5, 0.9], [0.3, 0.2, 0.99, 0.98]])
    here = torch.tensor([[True] * 4, [True, True, False, False]])
    kept = most_confident(probability, here, torch.tensor([2.0, 1.0]))
    assert kept.tolist() == [[False, True, False, True], [True, False, False, False]]
