"""How many frames a word has: predicted durations, or a number of positions for each token."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PredictedDurations(nn.Module):
    """The number of 20 ms frames of a word from its state, 1 to `max_duration`.

    The expectation over a distribution of durations, cf. Ren et al. 2019 (arXiv:1905.09263).
    """

    def __init__(self, dim: int, hidden_dim: int, max_duration: int) -> None:
        super().__init__()
        self.max_duration = max_duration
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, max_duration)
        )

    def logits(self, x: Tensor) -> Tensor:
        """Logits `(B, N, max_duration)` of the durations 1 to `max_duration` of `x (B, N, D)`."""
        return self.layers(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, num_tokens: Tensor, speed: Tensor) -> Tensor:
        """The number of frames `(B, N)` of `x (B, N, D)`, divided by the speed `(B,)`."""
        logits = self.logits(x)
        sizes = torch.arange(1, self.max_duration + 1, device=x.device)
        expected = (logits.softmax(-1) * sizes.to(logits.dtype)).sum(-1)
        return (expected / speed[:, None]).round().long().clamp(1, self.max_duration)


class TokenPositions(nn.Module):
    """`unit_upsample` positions of an alignment for each token of a word, at most `max_tokens`.

    StreamSpeech's way (Zhang et al. 2024, arXiv:2406.03049).
    """

    def __init__(self, unit_upsample: int, max_tokens: int) -> None:
        super().__init__()
        self.unit_upsample = unit_upsample
        self.max_tokens = max_tokens

    def forward(self, x: Tensor, num_tokens: Tensor, speed: Tensor) -> Tensor:
        """The number of positions `(B, N)` of words of `num_tokens (B, N)`, at any speed."""
        return self.unit_upsample * num_tokens.clamp(max=self.max_tokens)
