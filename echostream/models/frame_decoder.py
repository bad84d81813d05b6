"""From the states of words to those of their frames, for the unit decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from echostream.modules.conv import ConvState
from echostream.modules.convnext import ConvNeXtBlock
from echostream.modules.norm import BiasNorm


class FrameDecoder(nn.Module):
    """Words `(B, N, D)` to frames `(B, T, F)`, each word repeated by its length `(B, N)`.

    A frame is the projection of its word plus embeddings of the frames since the word began and of
    those left, after causal convolutions. Row b has the sum of its lengths as valid frames.
    """

    def __init__(
        self, dim: int, frame_dim: int, num_layers: int, kernel_size: int, max_length: int
    ) -> None:
        super().__init__()
        self.project = nn.Linear(dim, frame_dim)
        self.embed_since = nn.Embedding(max_length, frame_dim)
        self.embed_left = nn.Embedding(max_length, frame_dim)
        self.layers = nn.ModuleList(
            ConvNeXtBlock(frame_dim, 2 * frame_dim, kernel_size) for _ in range(num_layers)
        )
        self.norm = BiasNorm(frame_dim)

    def init_state(self, batch_size: int) -> tuple[ConvState, ...]:
        """The state of `batch_size` new streams: no frames."""
        return tuple(layer.init_state(batch_size) for layer in self._layers)

    def step(
        self,
        words: Tensor,
        lengths: Tensor,
        states: tuple[ConvState, ...],
        added: Tensor | None = None,
    ) -> tuple[Tensor, tuple[ConvState, ...]]:
        """The frames of the next words; `added (B, T, F)` is added to their inputs."""
        x = self._repeat(self.project(words), lengths)
        x = x if added is None else x + added
        after, num_frames = [], lengths.sum(1)
        for layer, state in zip(self._layers, states, strict=True):
            x, new = layer.step(x, num_frames, state)
            after.append(new)
        return self.norm(x), tuple(after)

    def _repeat(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Words `(B, N, F)` repeated by their lengths `(B, N)`, `(B, T, F)`."""
        ends = lengths.cumsum(1)  # (B, N)
        # A convolution needs a frame. `item`, because `int` would fix the size in an export.
        size = ends[:, -1].max().clamp(min=1).item()
        position = torch.arange(size, device=words.device).expand(words.shape[0], -1)  # (B, T)
        index = torch.searchsorted(ends, position.contiguous(), right=True)
        index = index.clamp(max=words.shape[1] - 1)  # padding: beyond the last word
        end = ends.gather(1, index)
        since = position - (end - lengths.gather(1, index))
        last = self.embed_since.num_embeddings - 1
        repeated = words.gather(1, index[..., None].expand(-1, -1, words.shape[2]))
        since_embedding: Tensor = self.embed_since(since.clamp(0, last))
        left_embedding: Tensor = self.embed_left((end - 1 - position).clamp(0, last))
        return repeated + since_embedding + left_embedding

    @property
    def _layers(self) -> Sequence[ConvNeXtBlock]:
        return cast("Sequence[ConvNeXtBlock]", self.layers)
