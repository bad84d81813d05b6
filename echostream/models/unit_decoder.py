"""The unit decoder: words of the translation to discrete units of speech, with durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from echostream.config import UnitDecoderConfig
from echostream.modules.attention import AttentionState
from echostream.modules.conv import ConvState
from echostream.modules.convnext import ConvNextStack
from echostream.modules.norm import BiasNorm
from echostream.modules.transformer import TransformerLayer
from echostream.streaming import select_rows

NO_TOKEN = -1  # fills the places of a word that has fewer tokens than the longest
END_OF_TEXT = 0  # the blank: no word has it


class UnitDecoderState(NamedTuple):
    """The words before the last one, the last word, and the last frames."""

    words: tuple[AttentionState, ...]
    last_word: Tensor  # (B, D) its state; it has no units yet
    has_word: Tensor  # (B,) bool
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

    Word i gets its units when word i + 1 is known, or the text has ended. The states of both words
    give the number of frames. The frames are their projection plus embeddings of the frames since
    the word began and of those left, after causal convolutions. A word is the sum of the embeddings
    of its tokens; words attend to `left_words` words before them. Cf. FastSpeech (Ren et al. 2019,
    arXiv:1905.09263), which sees the whole text.

    For a stream, call `step` with one word for each row, or with `end_of_text`, after which a row
    starts anew.
    """

    def __init__(self, config: UnitDecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.embed = nn.Embedding(config.vocab_size, dim)
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
        self.frame_layers = ConvNextStack(
            config.frame_dim, config.kernel_size, 2 * config.frame_dim, config.frame_layers
        )
        self.frame_norm = BiasNorm(config.frame_dim)
        self.project_units = nn.Linear(config.frame_dim, config.num_units)

    def init_state(self, batch_size: int) -> UnitDecoderState:
        """The state of `batch_size` new streams: no words."""
        weight = self.project_words.weight
        return UnitDecoderState(
            words=tuple(layer.init_state(batch_size) for layer in self._word_layers),
            last_word=weight.new_zeros(batch_size, self.config.dim),
            has_word=torch.zeros(batch_size, dtype=torch.bool, device=weight.device),
            frames=self.frame_layers.init_state(batch_size),
        )

    def forward(self, words: Tensor, num_words: Tensor, durations: Tensor) -> UnitTraining:
        """Whole texts: `words (B, N + 1, P)` token ids, the end of text after the last word.

        `num_words (B,)` counts the words without the end; `durations (B, N)` is the number of
        frames of each word, 0 for padding. The logits of the units `(B, T, U)` are for the frames
        of all words, T for the longest row.
        """
        valid = torch.arange(words.shape[1], device=words.device) <= num_words[:, None]
        x = self._embed(words)  # (B, N+1, P) -> (B, N+1, D)
        for layer in self._word_layers:
            x = layer(x, valid)
        x = self.word_norm(x)
        pairs = torch.cat([x[:, :-1], x[:, 1:]], dim=-1)  # (B, N, 2 D)
        frames = self._frames(self.project_words(pairs), durations)
        return UnitTraining(self.duration(pairs), self._units(self.frame_layers(frames)))

    def step(
        self, words: Tensor, active: Tensor, speed: Tensor, state: UnitDecoderState
    ) -> tuple[UnitOutput, UnitDecoderState]:
        """The next word of each row `(B, P)`, or the end of text; the units of the word before.

        `active (B,)` bool: rows without a new word are False; they keep their state. `speed (B,)`
        divides the durations. A row whose text ends has the state of a new one afterwards.
        """
        x, new_words = self._embed(words)[:, None], []  # (B, P) -> (B, 1, D)
        valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        for layer, layer_state in zip(self._word_layers, state.words, strict=True):
            x, layer_state = layer.step(x, valid, layer_state)
            new_words.append(layer_state)
        x = self.word_norm(x)[:, 0]
        pairs = torch.cat([state.last_word, x], dim=-1)  # (B, 2 D)
        durations = self._durations(self.duration(pairs), speed)
        durations = torch.where(active & state.has_word, durations, 0)
        frames = self._frames(self.project_words(pairs)[:, None], durations[:, None])
        y, new_frames = self.frame_layers.step(frames, durations, state.frames)
        output = UnitOutput(self._units(y), durations)
        after = UnitDecoderState(
            tuple(new_words), x, torch.ones_like(state.has_word), tuple(new_frames)
        )
        ends = words[:, 0] == END_OF_TEXT
        after = select_rows(ends, self.init_state(len(words)), after)
        return output, select_rows(active, after, state)

    def end_of_text(self, batch_size: int) -> Tensor:
        """The word that ends the text of each row, `(B, 1)`."""
        return torch.full((batch_size, 1), END_OF_TEXT, device=self.project_words.weight.device)

    def _embed(self, words: Tensor) -> Tensor:
        """The sum of the embeddings of the tokens of each word, `(..., P)` to `(..., D)`."""
        place = torch.arange(words.shape[-1], device=words.device)
        place = place.clamp(max=self.config.max_tokens - 1)
        tokens = self.embed(words.clamp(min=0)) + self.embed_place(place)
        return torch.where((words >= 0)[..., None], tokens, 0.0).sum(-2)

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
        return (
            repeated
            + self.embed_since(since.clamp(0, last))
            + self.embed_left((end - 1 - position).clamp(0, last))
        )

    def _units(self, frames: Tensor) -> Tensor:
        return self.project_units(self.frame_norm(frames))  # type: ignore[no-any-return]

    @property
    def _word_layers(self) -> Sequence[TransformerLayer]:
        return cast("Sequence[TransformerLayer]", self.word_layers)
