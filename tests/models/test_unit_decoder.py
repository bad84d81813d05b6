"""The unit decoder gives the same units word by word as for the whole text."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_speech import tiny_unit_decoder
from torch import Tensor, nn

from echostream.models.unit_decoder import NextWords, UnitDecoder
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.speech_config import CTC, FRAME
from echostream.streaming import named_leaves, state_nbytes

CONFIG = tiny_unit_decoder(vocab_size=20, num_units=11, max_duration=9, max_tokens=3)
# Words of one row before the last one that can matter: two layers see two words each.
CONTEXT = 2 * CONFIG.left_words


@pytest.fixture(scope="module", params=[FRAME, CTC])
def decoder(request: pytest.FixtureRequest) -> UnitDecoder:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, kind=request.param, unit_upsample=4)
    decoder = UnitDecoder(config).double().eval()
    for parameter in decoder.parameters():  # such that durations differ
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.5)
    return decoder


def draw_words(rows: int, num_words: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random words of one to four tokens, and the first token of the word after each."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, CONFIG.vocab_size, (rows, num_words, 4), generator=generator)
    sizes = torch.randint(1, 5, (rows, num_words, 1), generator=generator)
    words = torch.where(torch.arange(4) < sizes, words, NO_TOKEN)
    ends = torch.full((rows, 1), END_OF_TEXT)
    return words, torch.cat([words[:, 1:, 0], ends], dim=1)


def run(
    decoder: UnitDecoder, words: Tensor, following: Tensor, speed: float = 1.0
) -> tuple[list[Tensor], Tensor, object]:
    """All logits of each row, and the durations `(B, N)`, word by word."""
    rows = len(words)
    state = decoder.init_state(rows)
    logits: list[list[Tensor]] = [[] for _ in range(rows)]
    durations = []
    active, speeds = torch.ones(rows, dtype=torch.bool), torch.full((rows,), speed).double()
    with torch.no_grad():
        for word in range(words.shape[1]):
            following_now = following[:, word]
            out, state = decoder.step(
                NextWords(words[:, word], following_now, active, speeds), state
            )
            durations.append(out.num_frames)
            for row in range(rows):
                logits[row].append(out.logits[row, : out.num_frames[row]])
    return [torch.cat(row) for row in logits], torch.stack(durations, 1), state


@pytest.mark.parametrize("num_words", [1, 2, CONTEXT, CONTEXT + 1, 3 * CONTEXT + 2])
def test_word_by_word_equals_the_whole_text(decoder: UnitDecoder, num_words: int) -> None:
    words, following = draw_words(3, num_words)
    logits, durations, _ = run(decoder, words, following)
    with torch.no_grad():
        whole = decoder(decoder.encode(words, following), durations)
    assert num_words == 1 or len(durations.unique()) > 1
    for row, streamed in enumerate(logits):
        assert len(streamed) == durations[row].sum()
        torch.testing.assert_close(streamed, whole.logits[row, : len(streamed)], atol=1e-10, rtol=0)


def test_a_row_does_not_depend_on_its_neighbours(decoder: UnitDecoder) -> None:
    words, following = draw_words(3, 7)
    together, _, _ = run(decoder, words, following)
    for row in range(3):
        (alone,), _, _ = run(decoder, words[row : row + 1], following[row : row + 1])
        torch.testing.assert_close(together[row], alone, atol=1e-12, rtol=0)


def test_a_row_without_a_new_word_keeps_its_state(decoder: UnitDecoder) -> None:
    words, following = draw_words(2, 5)
    (_, wanted), _, _ = run(decoder, words, following)
    state, found = decoder.init_state(2), []
    with torch.no_grad():
        for word in range(5):
            for active in (torch.tensor([True, False]), torch.tensor([False, True])):
                now = NextWords(words[:, word], following[:, word], active, torch.ones(2).double())
                out, state = decoder.step(now, state)
                assert (out.num_frames > 0).tolist() == active.tolist()
                found.append(out.logits[1, : out.num_frames[1]])
    torch.testing.assert_close(torch.cat(found), wanted, atol=1e-12, rtol=0)


def test_units_depend_on_no_word_after_the_next_token(decoder: UnitDecoder) -> None:
    words, following = draw_words(1, 6)
    (before,), durations, _ = run(decoder, words, following)
    fixed = int(durations[0, :3].sum())
    changed = words.clone()
    changed[:, 3, 1:] = 1  # all but the first token of word 3
    changed[:, 4:] = torch.where(words[:, 4:] == NO_TOKEN, NO_TOKEN, 1)
    (after,), _, _ = run(decoder, changed, torch.cat([changed[:, 1:, 0], following[:, -1:]], 1))
    assert torch.equal(before[:fixed], after[:fixed])
    changed[:, 3, 0] = words[:, 3, 0] % (CONFIG.vocab_size - 1) + 1  # the first one counts
    (after,), _, _ = run(decoder, changed, torch.cat([changed[:, 1:, 0], following[:, -1:]], 1))
    assert not torch.equal(before[:fixed], after[:fixed])


def test_after_the_end_of_a_text_a_row_is_new(decoder: UnitDecoder) -> None:
    words, following = draw_words(2, 4)
    _, _, state = run(decoder, words, following)
    for (name, leaf), (_, fresh) in zip(
        named_leaves(state), named_leaves(decoder.init_state(2)), strict=True
    ):
        assert torch.equal(leaf, fresh), name


def test_the_state_has_a_constant_size(decoder: UnitDecoder) -> None:
    words, following = draw_words(2, 40)
    _, _, state = run(decoder, words[:, :-1], following[:, :-1])
    assert state_nbytes(state) == state_nbytes(decoder.init_state(2))


def test_a_higher_speed_shortens_every_word_but_none_to_nothing(decoder: UnitDecoder) -> None:
    words, following = draw_words(3, 12)
    _, normal, _ = run(decoder, words, following)
    _, fast, _ = run(decoder, words, following, speed=1.25)
    _, fastest, _ = run(decoder, words, following, speed=1000.0)
    if decoder.config.kind == CTC:  # positions of an alignment are no durations
        assert torch.equal(fastest, normal)
        return
    assert fast.sum() < normal.sum()
    assert bool((fast <= normal).all())
    assert bool((fastest == 1).all())


def test_an_alignment_has_positions_for_each_token_up_to_the_most() -> None:
    decoder = UnitDecoder(dataclasses.replace(CONFIG, kind=CTC, unit_upsample=4)).double()
    words, following = draw_words(3, 9)
    _, positions, _ = run(decoder, words, following)
    num_tokens = (words != NO_TOKEN).sum(2)
    assert num_tokens.max() == CONFIG.max_tokens + 1
    assert torch.equal(positions, 4 * num_tokens.clamp(max=CONFIG.max_tokens))
    assert decoder.blank == CONFIG.num_units
