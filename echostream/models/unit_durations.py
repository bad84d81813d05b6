"""The duration predictor of CodeHiFiGAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CONTEXT = 2  # units on either side on which a duration depends
MAX_DURATION = 250  # frames of 20 ms; a sound of 5 s is an error of the network
_KERNEL = 3


class DurationPredictor(nn.Module):
    """The number of frames of each unit, `(B, 2 + E + 2, D)` to `(B, E)` int64.

    Two convolutions of kernel 3 with ReLU and LayerNorm, and a linear layer to the logarithm of
    one plus the number of frames. (Ren et al. 2021, FastSpeech 2, arXiv 2006.04558.) Durations are
    from 1 to `MAX_DURATION` frames.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        # The names, and the lists of two, are those of the checkpoints.
        self.conv1 = nn.Sequential(nn.Conv1d(input_dim, hidden_dim, _KERNEL), nn.ReLU())
        self.ln1 = nn.LayerNorm(hidden_dim)
        self.conv2 = nn.Sequential(nn.Conv1d(hidden_dim, hidden_dim, _KERNEL), nn.ReLU())
        self.ln2 = nn.LayerNorm(hidden_dim)
        self.proj = nn.Linear(hidden_dim, 1)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Durations of the units in the middle; `valid` `(B, 2 + E + 2)` is the stream.

        Units outside the stream are zeros for both convolutions.
        """
        x = x * valid[..., None]
        x = self.ln1(self.conv1(x.transpose(1, 2)).transpose(1, 2))  # (B, 1 + E + 1, H)
        x = x * valid[:, 1:-1, None]
        x = self.ln2(self.conv2(x.transpose(1, 2)).transpose(1, 2))  # (B, E, H)
        frames = torch.round(torch.exp(self.proj(x).squeeze(2)) - 1)
        return frames.clamp(1, MAX_DURATION).long()


def repeat_units(units: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
    """Each unit repeated by its duration: `(B, E)` to frames `(B, F)` and their count `(B,)`.

    A duration of 0 leaves a unit out. Row b is padded with zeros after its `count[b]` frames.
    """
    ends = durations.cumsum(1)
    count = durations.sum(1)
    frame = torch.arange(int(count.max()), device=units.device).expand(len(units), -1).contiguous()
    # The unit of a frame is the first one that ends after it.
    index = torch.searchsorted(ends, frame, right=True)
    is_past_end = index == units.shape[1]
    frames = units.gather(1, index.clamp(max=units.shape[1] - 1))
    return frames.masked_fill(is_past_end, 0), count
