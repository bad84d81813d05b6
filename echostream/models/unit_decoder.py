"""The unit decoder: words of the translation to discrete units of speech, with durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from echostream.config import BLANK_ID
from echostream.modules.attention import AttentionState
from echostream.modules.conv import ConvState
from echostream.modules.convnext import ConvNeXtBlock
from echostream.modules.norm import BiasNorm
from echostream.modules.transformer import TransformerLayer
from echostream.ranges import check_size
from echostream.speech_config import UnitDecoderConfig
from echostream.streaming import select_rows

NO_TOKEN = -1  # fills the places of a word that has fewer tokens than the longest
END_OF_TEXT = BLANK_ID  # no word begins with the blank


class UnitDecoderState(NamedTuple):
    """The words and the frames so far."""

    words: tuple[AttentionState, ...]
    frames: tuple[ConvState, ...]


class UnitOutput(NamedTuple):
    """The units of one word of each row; rows differ in their number."""

    logits: Tensor  # (B, T, U)
    durations: Tensor  # (B,) int64, T at most: the valid frames of each row


class UnitTraining(NamedTuple):
    """Logits for whole texts."""

    durations: Tensor  # (B, N, max_duration) of the durations 1 to max_duration of each word
    units: Tensor  # (B, T, U)


class UnitDecoder(nn.Module):
    """Words to 50 Hz units: a duration for each word, then one unit for each 20 ms frame.

    A word gets its units when it is complete: when the first token of the next word is known, or
    the text has ended. The state of the word and that token give the number of frames. The frames
    are their projection plus embeddings of the frames since the word began and of those left, after
    causal convolutions. A word is the sum of the embeddings of its tokens, and attends to the
    `left_words` words before it. Cf. FastSpeech (Ren et al. 2019, arXiv:1905.09263), which needs
    the whole text.
    """

    def __init__(self, config: UnitDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.embed = nn.Embedding(config.vocab_size, dim)
        self.embed_following = nn.Embedding(config.vocab_size, dim)
        self.embed_place = nn.Embedding(config.max_tokens, dim)
        self.word_layers = nn.ModuleList(
            TransformerLayer(dim, config.num_heads, config.ffn_dim, 1, config.left_words)
            for _ in range(config.word_layers)
        )
        self.word_norm = BiasNorm(dim)
        self.duration = nn.Sequential(
            nn.Linear(2 * dim, config.ffn_dim),
            nn.SiLU(),
            nn.Linear(config.ffn_dim, config.max_duration),
        )
        self.project_words = nn.Linear(2 * dim, config.frame_dim)
        self.embed_since = nn.Embedding(config.max_duration, config.frame_dim)
        self.embed_left = nn.Embedding(config.max_duration, config.frame_dim)
        self.frame_layers = nn.ModuleList(
            ConvNeXtBlock(config.frame_dim, 2 * config.frame_dim, config.kernel_size)
            for _ in range(config.frame_layers)
        )
        self.frame_norm = BiasNorm(config.frame_dim)
        self.project_units = nn.Linear(config.frame_dim, config.num_units)

    def init_state(self, batch_size: int) -> UnitDecoderState:
        """The state of `batch_size` new streams: no words."""
        check_size("batch_size", batch_size)
        return UnitDecoderState(
            words=tuple(layer.init_state(batch_size) for layer in self._word_layers),
            frames=tuple(layer.init_state(batch_size) for layer in self._frame_layers),
        )

    def forward(self, words: Tensor, following: Tensor, durations: Tensor) -> UnitTraining:
        """Whole texts: `words (B, N, P)` token ids, `NO_TOKEN` in places without one.

        `following (B, N)` is the first token of the word after each, `END_OF_TEXT` for the last
        one; `durations (B, N)` the number of frames of each word, 0 for padding. The logits of the
        units `(B, T, U)` are for the frames of all words, T for the longest row.
        """
        valid = words[..., 0] != NO_TOKEN
        x = self._embed(words)  # (B, N, P) -> (B, N, D)
        for layer in self._word_layers:
            x = layer(x, valid)
        x = self._with_following(x, following)  # (B, N, 2 D)
        frames = self._frames(self.project_words(x), durations)
        state = self.init_state(len(words)).frames
        units, _ = self._units(frames, durations.sum(1), state)
        return UnitTraining(self.duration(x), units)

    def step(
        self,
        words: Tensor,
        following: Tensor,
        active: Tensor,
        speed: Tensor,
        state: UnitDecoderState,
    ) -> tuple[UnitOutput, UnitDecoderState]:
        """The next word of each row, `words (B, P)` and `following (B,)` as in `forward`.

        `active (B,)` bool: rows without a new word are False, get no units and keep their state.
        `speed (B,)` divides the durations. A row whose text has ended starts anew afterwards.
        """
        x, new_words = self._embed(words)[:, None], []  # (B, P) -> (B, 1, D)
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for layer, layer_state in zip(self._word_layers, state.words, strict=True):
            x, layer_state = layer.step(x, valid, layer_state)
            new_words.append(layer_state)
        x = self._with_following(x, following[:, None])  # (B, 1, 2 D)
        durations = torch.where(active, self._durations(self.duration(x)[:, 0], speed), 0)
        frames = self._frames(self.project_words(x), durations[:, None])
        units, new_frames = self._units(frames, durations, state.frames)
        after = UnitDecoderState(tuple(new_words), new_frames)
        after = select_rows(following == END_OF_TEXT, self.init_state(len(words)), after)
        return UnitOutput(units, durations), select_rows(active, after, state)

    def _with_following(self, x: Tensor, following: Tensor) -> Tensor:
        return torch.cat([self.word_norm(x), self.embed_following(following)], dim=-1)

    def _embed(self, words: Tensor) -> Tensor:
        """The sum of the embeddings of the tokens of each word, `(..., P)` to `(..., D)`."""
        place = torch.arange(words.shape[-1], device=words.device)
        place = place.clamp(max=self.config.max_tokens - 1)
        tokens: Tensor = self.embed(words.clamp(min=0)) + self.embed_place(place)
        return tokens.masked_fill((words < 0)[..., None], 0.0).sum(-2)

    def _durations(self, logits: Tensor, speed: Tensor) -> Tensor:
        """The expected number of frames `(B,)`, divided by the speed, at least 1."""
        sizes = torch.arange(1, self.config.max_duration + 1, device=logits.device)
        expected = (logits.softmax(-1) * sizes.to(logits.dtype)).sum(-1)
        return (expected / speed).round().long().clamp(1, self.config.max_duration)

    def _frames(self, words: Tensor, durations: Tensor) -> Tensor:
        """Words `(B, N, F)` repeated by their durations `(B, N)`, `(B, T, F)`."""
        ends = durations.cumsum(1)  # (B, N)
        size = max(1, int(ends[:, -1].max()))  # a convolution needs a frame
        position = torch.arange(size, device=words.device).expand(len(words), -1)  # (B, T)
        index = torch.searchsorted(ends, position.contiguous(), right=True)
        index = index.clamp(max=words.shape[1] - 1)  # padding: beyond the last word
        end = ends.gather(1, index)
        since = position - (end - durations.gather(1, index))
        last = self.config.max_duration - 1
        repeated = words.gather(1, index[..., None].expand(-1, -1, words.shape[2]))
        since_embedding: Tensor = self.embed_since(since.clamp(0, last))
        left_embedding: Tensor = self.embed_left((end - 1 - position).clamp(0, last))
        return repeated + since_embedding + left_embedding

    def _units(
        self, frames: Tensor, counts: Tensor, states: tuple[ConvState, ...]
    ) -> tuple[Tensor, tuple[ConvState, ...]]:
        """Logits `(B, T, U)` of the units; row b has `counts[b]` frames."""
        after = []
        for layer, state in zip(self._frame_layers, states, strict=True):
            frames, state = layer.step(frames, counts, state)
            after.append(state)
        logits: Tensor = self.project_units(self.frame_norm(frames))
        return logits, tuple(after)

    @property
    def _word_layers(self) -> Sequence[TransformerLayer]:
        return cast("Sequence[TransformerLayer]", self.word_layers)

    @property
    def _frame_layers(self) -> Sequence[ConvNeXtBlock]:
        return cast("Sequence[ConvNeXtBlock]", self.frame_layers)
