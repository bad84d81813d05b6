"""The most probable CTC alignment of known tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.modules.masks import length_mask

PADDING = -100  # of tokens and of alignments; ignored by cross-entropy


@torch.no_grad()
def best_alignment(log_probs: Tensor, lengths: Tensor, tokens: Tensor, blank: int) -> Tensor:
    """The most probable CTC alignment of the tokens, `(B, T)`; `PADDING` is padding.

    `log_probs (B, T, C)` with `lengths (B,)` positions; `tokens (B, S)` padded with `PADDING`.
    Viterbi over the states blank, token, blank, token ... blank (Graves et al., ICML 2006).
    """
    rows, size, _ = log_probs.shape
    num_tokens = (tokens != PADDING).sum(1)
    states = torch.full((rows, 2 * tokens.shape[1] + 1), blank)
    states[:, 1::2] = tokens.clamp(min=0)
    scores = log_probs.gather(2, states[:, None].expand(-1, size, -1))  # (B, T, 2 S + 1)
    skips = torch.zeros_like(states, dtype=torch.bool)  # from the token before, past the blank
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    impossible = torch.full_like(scores[:, 0], -1e30)
    best = impossible.clone()
    best[:, :2] = scores[:, 0, :2]
    steps = torch.zeros(scores.shape, dtype=torch.int8)
    for t in range(1, size):
        stay, one = best, torch.cat([impossible[:, :1], best[:, :-1]], 1)
        two = torch.cat([impossible[:, :2], best[:, :-2]], 1).masked_fill(~skips, -1e30)
        value, step = torch.stack([stay, one, two]).max(0)
        here = (t < lengths)[:, None]
        best = torch.where(here, value + scores[:, t], best)
        steps[:, t] = torch.where(here, step, 0).to(torch.int8)
    last = torch.stack([2 * num_tokens, (2 * num_tokens - 1).clamp(min=0)], 1)
    state = last.gather(1, best.gather(1, last).argmax(1, keepdim=True))  # (B, 1)
    path = torch.empty(rows, size, dtype=torch.int64)
    for t in range(size - 1, -1, -1):
        path[:, t] = states.gather(1, state)[:, 0]
        state = state - steps[:, t].gather(1, state)
    return path.masked_fill(~length_mask(lengths, size), PADDING)
