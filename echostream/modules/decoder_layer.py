"""Transformer layer of a decoder: self-attention, cross-attention, feed-forward."""

from __future__ import annotations

from torch import Tensor, nn

from echostream.modules.attention import AttentionState, CTSelfAttention
from echostream.modules.cross_attention import CrossAttention, EncoderContext
from echostream.modules.feed_forward import FeedForward
from echostream.modules.norm import BiasNorm


class DecoderLayer(nn.Module):
    """Pre-norm decoder layer over target tokens, `(B, U, D)` to `(B, U, D)`.

    A token attends to itself, the `left_tokens` before it, and the positions of `EncoderContext`.
    """

    def __init__(
        self, dim: int, num_heads: int, ffn_dim: int, left_tokens: int, window: int
    ) -> None:
        super().__init__()
        self.self_norm = BiasNorm(dim)
        self.self_attention = CTSelfAttention(dim, num_heads, 1, left_tokens)
        self.cross_norm = BiasNorm(dim)
        self.cross_attention = CrossAttention(dim, num_heads, window)
        self.feed_forward_norm = BiasNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim)

    def init_state(self, batch_size: int) -> AttentionState:
        """The state of `batch_size` new streams: no token."""
        return self.self_attention.init_state(batch_size)

    def forward(self, x: Tensor, valid: Tensor, source: EncoderContext) -> Tensor:
        x = x + self.self_attention(self.self_norm(x), valid)
        return self._transform(x + self.cross_attention(self.cross_norm(x), source))

    def step(
        self, x: Tensor, valid: Tensor, source: EncoderContext, state: AttentionState
    ) -> tuple[Tensor, Tensor, AttentionState]:
        """The next tokens, and the weights of the cross-attention `(B, H, U, S)`."""
        y, state = self.self_attention.step(self.self_norm(x), valid, state)
        x = x + y
        y, weights = self.cross_attention.attend(self.cross_norm(x), source)
        return self._transform(x + y), weights, state

    def _transform(self, x: Tensor) -> Tensor:
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]
