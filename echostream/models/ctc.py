"""CTC heads on the encoder: source text (ASR) and target text (ST)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.attention import AttentionState
from echostream.modules.norm import BiasNorm
from echostream.modules.transformer import TransformerLayer
from echostream.ranges import check_size
from echostream.streaming.clock import GROUP_OUTPUTS


class AsrHead(nn.Module):
    """CTC head for the source text: one linear layer, `(B, T, D)` to logits `(B, T, V)`."""

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        check_size("dim", dim)
        check_size("vocab_size", vocab_size)
        self.project = nn.Linear(dim, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x)  # type: ignore[no-any-return]


class StHead(nn.Module):
    """CTC head for the target text: causal transformer layers, `(B, T, D)` to logits `(B, T, V)`.

    Self-conditioned (Nozaki and Komatsu 2021, arXiv:2104.02724): adds the mean of learned
    source-piece embeddings, weighted by the posteriors of the ASR head, to its input.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        num_layers: int,
        left_context: int,
        source_vocab_size: int,
        vocab_size: int,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("dim", dim, 1),
            ("num_heads", num_heads, 1),
            ("ffn_dim", ffn_dim, 1),
            ("num_layers", num_layers, 0),
            ("left_context", left_context, 0),
            ("source_vocab_size", source_vocab_size, 1),
            ("vocab_size", vocab_size, 1),
        ):
            check_size(name, value, least)
        self.dim = dim
        self.condition = nn.Linear(source_vocab_size, dim, bias=False)
        with torch.no_grad():
            self.condition.weight.normal_(std=1.0)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, num_heads, ffn_dim, GROUP_OUTPUTS, left_context)
            for _ in range(num_layers)
        )
        self.norm = BiasNorm(dim)
        self.project = nn.Linear(dim, vocab_size)

    def init_state(self, batch_size: int) -> tuple[AttentionState, ...]:
        """The state of `batch_size` new streams."""
        check_size("batch_size", batch_size)
        return tuple(layer.init_state(batch_size) for layer in self._layers)

    def forward(self, x: Tensor, asr_logits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and the frames `(B, T, D)` from which they are computed."""
        x = self._condition(x, asr_logits)
        for layer in self._layers:
            x = layer(x, valid)
        return self._logits(x), x

    def step(
        self, x: Tensor, asr_logits: Tensor, valid: Tensor, state: tuple[AttentionState, ...]
    ) -> tuple[Tensor, Tensor, tuple[AttentionState, ...]]:
        """One chunk of whole groups to logits, frames and state."""
        x = self._condition(x, asr_logits).flatten(0, 1)  # (B, T, D) -> (B * T, D)
        states = []
        for layer, layer_state in zip(self._layers, state, strict=True):
            x, layer_state = layer.step(x, valid, layer_state)
            states.append(layer_state)
        x = x.reshape(*valid.shape, -1)
        return self._logits(x), x, tuple(states)

    @property
    def _layers(self) -> Sequence[TransformerLayer]:
        return cast("Sequence[TransformerLayer]", self.layers)

    def _condition(self, x: Tensor, asr_logits: Tensor) -> Tensor:
        return x + self.condition(functional.softmax(asr_logits, dim=-1))  # type: ignore[no-any-return]

    def _logits(self, x: Tensor) -> Tensor:
        return self.project(self.norm(x))  # type: ignore[no-any-return]
