"""Causal transformer layer, for the heads on top of the encoder."""

from __future__ import annotations

from torch import Tensor, nn

from echostream.modules.attention import AttentionState, CTSelfAttention
from echostream.modules.feed_forward import FeedForward
from echostream.modules.norm import BiasNorm


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer under the CT-mask, `(B, T, D)` to `(B, T, D)`."""

    def __init__(
        self, dim: int, num_heads: int, ffn_dim: int, group: int, left_context: int
    ) -> None:
        super().__init__()
        self.attention_norm = BiasNorm(dim)
        self.attention = CTSelfAttention(dim, num_heads, group, left_context)
        self.feed_forward_norm = BiasNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim)

    def init_state(self, batch_size: int) -> AttentionState:
        """The state of `batch_size` new streams."""
        return self.attention.init_state(batch_size)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return self._feed(x + self.attention(self.attention_norm(x), valid))

    def step(
        self, x: Tensor, valid: Tensor, state: AttentionState
    ) -> tuple[Tensor, AttentionState]:
        """One chunk of whole groups."""
        y, state = self.attention.step(self.attention_norm(x), valid, state)
        return self._feed(x + y), state

    def _feed(self, x: Tensor) -> Tensor:
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]
