"""The horizons of the text decoder in training: how many groups each token attends to."""

from __future__ import annotations

import pytest
import torch

from echostream.config import ConfigError
from echostream.models.echostream import CtcOutput
from echostream.training.config import LossConfig
from echostream.training.horizons import CTC, WHOLE, ctc_horizons, draw_lags, horizons

VOCAB = 6
LENGTHS = [1, 4, 5, 27, 28, 29, 32]


def output_of(lengths: list[int], num_frames: int) -> CtcOutput:
    logits = torch.randn(
        len(lengths), num_frames, VOCAB, generator=torch.Generator().manual_seed(0)
    )
    logits[..., 0] += 1.0  # blanks are frequent
    valid = torch.arange(num_frames)[None] < torch.tensor(lengths)[:, None]
    return CtcOutput(logits, logits, valid, logits)


def slow_ctc_horizons(ids: list[int], num_tokens: int, lagging_k1: int) -> list[int]:
    """`ids` are the best ids of the valid frames of one recording."""
    all_groups = -(-len(ids) // 4)
    found = [i for i, token in enumerate(ids) if token and (i == 0 or ids[i - 1] != token)]
    wanted = range(lagging_k1, lagging_k1 + num_tokens)
    return [found[n] // 4 + 1 if n < len(found) else all_groups for n in wanted]


@pytest.mark.parametrize("lagging_k1", [0, 1, 3])
@pytest.mark.parametrize("num_tokens", [1, 4, 40])
def test_ctc_horizons_are_those_of_a_loop_over_the_frames(num_tokens: int, lagging_k1: int) -> None:
    output = output_of(LENGTHS, 33)
    found = ctc_horizons(output.st_logits, output.valid, num_tokens, lagging_k1)
    for row, length in enumerate(LENGTHS):
        ids = output.st_logits[row, :length].argmax(-1).tolist()
        assert found[row].tolist() == slow_ctc_horizons(ids, num_tokens, lagging_k1)


@pytest.mark.parametrize("lag", [0.0, 0.25, 0.5, 0.99, WHOLE])
@pytest.mark.parametrize("num_tokens", [1, 2, 3, 8, 40])
def test_a_diagonal_is_that_of_a_loop_over_the_tokens(num_tokens: int, lag: float) -> None:
    output, sizes = output_of(LENGTHS, 33), torch.full((len(LENGTHS),), num_tokens)
    found = horizons(output, sizes, 40, 1, torch.full((len(LENGTHS),), lag))
    for row, length in enumerate(LENGTHS):
        num_groups = -(-length // 4)
        for token in range(num_tokens):
            wanted = int((token / num_tokens + lag) * num_groups + 1e-6) + 1
            assert found[row, token] == min(num_groups, wanted), (row, token)


def test_each_row_has_the_horizons_of_its_own_lag() -> None:
    output, sizes = output_of([32, 32, 32], 32), torch.tensor([7, 5, 7])
    lags = torch.tensor([CTC, 0.5, WHOLE])
    found = horizons(output, sizes, 7, 1, lags)
    assert found[0].equal(ctc_horizons(output.st_logits, output.valid, 7, 1)[0])
    assert found[1, :5].tolist() == [5, 6, 8, 8, 8]
    assert found[2].tolist() == [8] * 7


def test_lags_are_drawn_in_the_shares_of_the_configuration() -> None:
    config = LossConfig(decoder_diagonal=0.3, decoder_whole=0.2)
    lags = draw_lags(20_000, config, torch.Generator().manual_seed(1))
    shares = [(lags == CTC), (lags >= 0) & (lags < 1), (lags == WHOLE)]
    for share, expected in zip(shares, (0.5, 0.3, 0.2), strict=True):
        assert abs(share.float().mean() - expected) < 0.02
    diagonal = lags[(lags >= 0) & (lags < 1)]
    assert abs(diagonal.mean() - 0.5) < 0.02 and diagonal.min() < 0.01 and diagonal.max() > 0.99


def test_by_default_nothing_is_drawn() -> None:
    generator = torch.Generator().manual_seed(1)
    assert draw_lags(5, LossConfig(), generator).tolist() == [CTC] * 5
    assert torch.rand(1, generator=generator).equal(
        torch.rand(1, generator=torch.Generator().manual_seed(1))
    )


def test_shares_of_more_than_all_utterances_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"their sum must be at most 1, but is 1\.2"):
        LossConfig(decoder_diagonal=0.7, decoder_whole=0.5)
