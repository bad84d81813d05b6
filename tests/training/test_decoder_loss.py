"""The loss of the text decoder: each token attends to the groups of its horizon."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import TextDecoder
from echostream.training.horizons import WHOLE, ctc_horizons
from echostream.training.losses import decoder_loss

WIDTH, VOCAB = 8, 6


def output_of(lengths: list[int], num_frames: int, seed: int = 0) -> CtcOutput:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(lengths), num_frames, VOCAB, generator=generator)
    logits[..., 0] += 1.0  # blanks are frequent
    frames = torch.randn(len(lengths), num_frames, WIDTH, generator=generator)
    valid = torch.arange(num_frames)[None] < torch.tensor(lengths)[:, None]
    return CtcOutput(logits, logits, valid, frames)


def decoder() -> TextDecoder:
    torch.manual_seed(1)
    return TextDecoder(WIDTH, 2, 16, 1, VOCAB, left_tokens=4, window=8, memory_size=1)


@pytest.mark.parametrize("lag", [None, 0.0, 0.4, WHOLE])
def test_the_loss_is_the_mean_over_all_tokens_and_one_end_a_row(lag: float | None) -> None:
    module, output = decoder(), output_of([20, 13, 32], 32)
    texts = [[3, 4, 1], [2], [5, 5]]
    tokens = torch.tensor([token for text in texts for token in text])
    lengths = torch.tensor([len(text) for text in texts])
    total, count = torch.zeros(()), 0
    for row, text in enumerate(texts):
        alone = CtcOutput(*(f[row : row + 1, : int(output.valid[row].sum())] for f in output))
        horizon = ctc_horizons(alone.st_logits, alone.valid, len(text) + 1, 1)
        if lag is not None:
            groups = -(-int(alone.valid.sum()) // 4)
            shares = [u / (len(text) + 1) + lag for u in range(len(text) + 1)]
            horizon = torch.tensor([[min(groups, int(s * groups + 1e-6) + 1) for s in shares]])
        before = torch.tensor([[0, *text]])
        logits = module(alone.st_frames, alone.valid, before, horizon)[0]
        total = total + functional.cross_entropy(
            logits, torch.tensor([*text, 0]), reduction="sum", label_smoothing=0.1
        )
        count += len(text) + 1
    lags = None if lag is None else torch.full((3,), lag)
    found = decoder_loss(module, output, tokens, lengths, 1, 0.1, lags=lags)
    torch.testing.assert_close(found, total / count)


def test_the_loss_reaches_the_frames_and_every_weight() -> None:
    module, output = decoder(), output_of([32, 90], 92)
    frames = output.st_frames.requires_grad_()
    tokens, lengths = torch.tensor([1, 2, 3, 4]), torch.tensor([3, 1])
    loss = decoder_loss(module, output._replace(st_frames=frames), tokens, lengths, 40, 0.1)
    loss.backward()
    assert frames.grad is not None and frames.grad[0].abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_rows_without_a_text_have_no_lag_either() -> None:
    module, output = decoder(), output_of([20, 13, 32], 32)
    tokens, lengths = torch.tensor([1, 2, 3]), torch.tensor([2, -1, 1])
    lags = torch.tensor([0.3, 0.0, WHOLE])
    found = decoder_loss(module, output, tokens, lengths, 1, 0.1, lags=lags)
    rows = torch.tensor([0, 2])
    known = CtcOutput(*(field[rows] for field in output))
    alone = decoder_loss(module, known, tokens, lengths[rows], 1, 0.1, lags=lags[rows])
    torch.testing.assert_close(found, alone)
    assert not torch.allclose(found, decoder_loss(module, output, tokens, lengths, 1, 0.1))
