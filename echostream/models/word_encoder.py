"""The states of the words of a translation, for the unit decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from echostream.config import BLANK_ID
from echostream.modules.attention import AttentionState
from echostream.modules.norm import BiasNorm
from echostream.modules.transformer import TransformerLayer
from echostream.speech_config import UnitDecoderConfig

NO_TOKEN = -1  # fills the places of a word that has fewer tokens than the longest
END_OF_TEXT = BLANK_ID  # no word begins with the blank


class WordEncoder(nn.Module):
    """Words to their states, `(B, N, P)` token ids to `(B, N, 2 D)`.

    A word is the sum of the embeddings of its tokens and their places, and attends to the
    `left_words` words before it in each causal transformer layer. The embedding of the first token
    of the following word is appended to its state.
    """

    def __init__(self, config: UnitDecoderConfig) -> None:
        super().__init__()
        dim = config.dim
        self.max_tokens = config.max_tokens
        self.embed = nn.Embedding(config.vocab_size, dim)
        self.embed_following = nn.Embedding(config.vocab_size, dim)
        self.embed_place = nn.Embedding(config.max_tokens, dim)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, config.num_heads, config.ffn_dim, 1, config.left_words)
            for _ in range(config.word_layers)
        )
        self.norm = BiasNorm(dim)

    def init_state(self, batch_size: int) -> tuple[AttentionState, ...]:
        """The state of `batch_size` new streams: no words."""
        return tuple(layer.init_state(batch_size) for layer in self._layers)

    def forward(self, words: Tensor, following: Tensor) -> Tensor:
        """Whole texts; `following (B, N)` is the first token of the word after each."""
        valid = words[..., 0] != NO_TOKEN
        x = self._embed(words)  # (B, N, P) -> (B, N, D)
        for layer in self._layers:
            x = layer(x, valid)
        return self._with_following(x, following)

    def step(
        self, words: Tensor, following: Tensor, states: tuple[AttentionState, ...]
    ) -> tuple[Tensor, tuple[AttentionState, ...]]:
        """The next word of each row: `words (B, P)` and `following (B,)` to `(B, 1, 2 D)`."""
        x, after = self._embed(words)[:, None], []  # (B, P) -> (B, 1, D)
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for layer, state in zip(self._layers, states, strict=True):
            x, new = layer.step(x, valid, state)
            after.append(new)
        return self._with_following(x, following[:, None]), tuple(after)

    def _with_following(self, x: Tensor, following: Tensor) -> Tensor:
        return torch.cat([self.norm(x), self.embed_following(following)], dim=-1)

    def _embed(self, words: Tensor) -> Tensor:
        """The sum of the embeddings of the tokens of each word, `(..., P)` to `(..., D)`."""
        place = torch.arange(words.shape[-1], device=words.device).clamp(max=self.max_tokens - 1)
        tokens: Tensor = self.embed(words.clamp(min=0)) + self.embed_place(place)
        return tokens.masked_fill((words < 0)[..., None], 0.0).sum(-2)

    @property
    def _layers(self) -> Sequence[TransformerLayer]:
        return cast("Sequence[TransformerLayer]", self.layers)
