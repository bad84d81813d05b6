"""The iterative discrete unit refiner (IDUR): masked diffusion over units not yet spoken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from echostream.models.unit_decoder import UnitOutput
from echostream.modules.convnext import frames_from
from echostream.modules.feed_forward import FeedForward
from echostream.modules.masks import length_mask
from echostream.modules.norm import BiasNorm
from echostream.ranges import check_size
from echostream.speech_config import RefinerConfig
from echostream.streaming import select_rows

_MASKED = -1e9


class RefinerState(NamedTuple):
    """The classes of the last W frames that were spoken, and these frames of the unit decoder."""

    classes: Tensor  # (B, W) int64, the newest last
    frames: Tensor  # (B, W, F)
    valid: Tensor  # (B, W) bool


class UnitRefiner(nn.Module):
    """Improves the units of a word before they are spoken, in K rounds: IDUR.

    The span is the frames of the word, of which each has a class: a unit, or the blank of an
    alignment. In each round the most confident classes of the span are kept, the others are masked,
    and all are predicted at once from the kept ones, the frames of the unit decoder and the last W
    frames that were spoken, which never change. The k-th of K rounds keeps
    `1 - cos(pi/2 k/(K+1))` of the span; which ones is decided anew, so that an early error can be
    undone. Every choice is an arg-max: the same words give the same units. After Chang et al. 2022
    (MaskGIT, arXiv:2202.04200) and Chan et al. 2020 (Align-Refine, arXiv:2010.14233).
    """

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.mask_id = config.num_classes
        self.embed = nn.Embedding(config.num_classes + 1, dim)
        self.project_frames = nn.Linear(config.frame_dim, dim)
        self.layers = nn.ModuleList(
            SpanLayer(dim, config.num_heads, config.ffn_dim, config.window)
            for _ in range(config.num_layers)
        )
        self.norm = BiasNorm(dim)
        self.project_units = nn.Linear(dim, config.num_classes)

    def init_state(self, batch_size: int) -> RefinerState:
        """The state of `batch_size` new streams: nothing has been spoken."""
        check_size("batch_size", batch_size)
        weight, window = self.embed.weight, self.config.window
        return RefinerState(
            torch.zeros(batch_size, window, dtype=torch.int64, device=weight.device),
            weight.new_zeros(batch_size, window, self.config.frame_dim),
            torch.zeros(batch_size, window, dtype=torch.bool, device=weight.device),
        )

    def forward(self, classes: Tensor, frames: Tensor, valid: Tensor, num_spoken: int) -> Tensor:
        """Logits `(B, T, C)` of a span from `classes (B, W + T)`, of which some are `mask_id`.

        `frames (B, W + T, F)` are those of the unit decoder. The first `num_spoken` positions were
        spoken; a span attends to them and to itself, and they attend to the positions before them.
        """
        x = self.embed(classes) + self.project_frames(frames)
        position = torch.arange(classes.shape[1], device=classes.device)
        # A spoken frame does not see what comes after it: its part is as it was when it was new.
        in_span = position >= num_spoken
        visible = (position[None, :] <= position[:, None]) | (in_span[:, None] & in_span[None, :])
        visible = visible & valid[:, None, :]  # (B, T', T')
        for layer in self._layers:
            x = layer(x, visible)
        logits: Tensor = self.project_units(self.norm(x[:, num_spoken:]))
        return logits

    def step(
        self, output: UnitOutput, ends: Tensor, num_steps: int, state: RefinerState
    ) -> tuple[Tensor, RefinerState]:
        """The classes `(B, T)` of the frames of the next words after `num_steps` rounds.

        With 0 they are the arg-max of the logits. `ends (B,)`: a row whose text ends with this word
        starts anew afterwards.
        """
        window = self.config.window
        counts = output.num_frames
        here = length_mask(counts, output.logits.shape[1])
        probability, classes = output.logits.softmax(-1).max(-1)
        frames = torch.cat([state.frames, output.frames], dim=1)
        valid = torch.cat([state.valid, here], dim=1)
        for step in range(1, num_steps + 1):
            share = 1 - math.cos(math.pi / 2 * step / (num_steps + 1))
            kept = most_confident(probability, here, (share * counts).ceil())
            masked = torch.where(kept, classes, self.mask_id)
            found = self(torch.cat([state.classes, masked], dim=1), frames, valid, window)
            probability, classes = found.softmax(-1).max(-1)
        after = RefinerState(
            frames_from(torch.cat([state.classes, classes], dim=1), counts, window),
            frames_from(frames, counts, window),
            frames_from(valid, counts, window),
        )
        return classes, select_rows(ends, self.init_state(len(counts)), after)

    @property
    def _layers(self) -> Sequence[SpanLayer]:
        return cast("Sequence[SpanLayer]", self.layers)


class SpanLayer(nn.Module):
    """Pre-norm transformer layer with a given mask, and one learned bias per head and distance."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.norm = BiasNorm(dim)
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)
        self.position_bias = nn.Parameter(torch.zeros(num_heads, 2 * window + 1))
        self.feed_forward_norm = BiasNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """`x (B, T, D)` and `visible (B, T, T)`, True where a position may attend to another."""
        heads = self.project_in(self.norm(x)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        position = torch.arange(x.shape[1], device=x.device)
        distance = (position[None, :] - position[:, None]).clamp(-self.window, self.window)
        bias = self.position_bias[:, distance + self.window]  # (H, T, T)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
        scores = torch.where(visible[:, None], scores, _MASKED)
        y = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)  # (B, T, D)
        x = x + self.project_out(y)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


def most_confident(probability: Tensor, here: Tensor, counts: Tensor) -> Tensor:
    """True for the `counts (B,)` most probable positions of each row, among those `here`."""
    ranked = probability.masked_fill(~here, -1).argsort(dim=1, descending=True, stable=True)
    rank = ranked.argsort(dim=1)
    return (rank < counts[:, None]) & here
