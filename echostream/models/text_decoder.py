"""The text decoder: an autoregressive transformer over target tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.modules.attention import AttentionState
from echostream.modules.cross_attention import EncoderContext
from echostream.modules.decoder_layer import DecoderLayer
from echostream.modules.norm import BiasNorm
from echostream.modules.summaries import SummaryState, init_summaries, summarise
from echostream.ranges import check_size
from echostream.streaming.clock import GROUP_OUTPUTS

# Start and end of a text. No text holds a blank, so the id of the blank is free for this.
BOUNDARY_ID = BLANK_ID


class DecoderState(NamedTuple):
    """The last W frames, summaries of the frames before them, and the caches of the layers."""

    frames: Tensor  # (B, W, D) the newest last
    valid: Tensor  # (B, W) bool
    summaries: SummaryState
    layers: tuple[AttentionState, ...]
    last_token: Tensor  # (B,) int64


class TextDecoder(nn.Module):
    """Causal transformer over target tokens with cross-attention to the frames so far.

    `forward` maps tokens `(B, U)` to the logits of the next tokens `(B, U, V)`. For a stream, call
    `append_encoder_out` for each group of frames and `decode_next` for each token. A token attends
    to the last `window` frames (a multiple of 4), to `memory_size` summaries of 1.28 s each of the
    frames before them, and to the `left_tokens` tokens before it. Positions are relative. The
    frames are those of the ST head (`CtcOutput.st_frames`). After Zhang et al. 2024 (StreamSpeech,
    arXiv:2406.03049), whose decoder encodes the whole history again at each step.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        num_layers: int,
        vocab_size: int,
        left_tokens: int,
        window: int,
        memory_size: int,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("dim", dim, 1),
            ("num_heads", num_heads, 1),
            ("ffn_dim", ffn_dim, 1),
            ("num_layers", num_layers, 1),
            ("vocab_size", vocab_size, 1),
            ("left_tokens", left_tokens, 0),
            ("memory_size", memory_size, 0),
        ):
            check_size(name, value, least)
        check_size("window", window, GROUP_OUTPUTS, GROUP_OUTPUTS)
        self.window = window
        self.memory_size = memory_size
        self.frame_norm = BiasNorm(dim)
        self.summarise = nn.Linear(dim, dim)
        self.embed = nn.Embedding(vocab_size, dim)
        self.layers = nn.ModuleList(
            DecoderLayer(dim, num_heads, ffn_dim, left_tokens, window) for _ in range(num_layers)
        )
        self.norm = BiasNorm(dim)
        self.project = nn.Linear(dim, vocab_size)

    def init_state(self, batch_size: int) -> DecoderState:
        """The state of `batch_size` new streams: no frames and no tokens."""
        check_size("batch_size", batch_size)
        weight = self.summarise.weight
        return DecoderState(
            frames=weight.new_zeros(batch_size, self.window, weight.shape[0]),
            valid=torch.zeros(batch_size, self.window, dtype=torch.bool, device=weight.device),
            summaries=init_summaries(batch_size, self.memory_size, weight),
            layers=tuple(layer.init_state(batch_size) for layer in self._layers),
            last_token=torch.full((batch_size,), BOUNDARY_ID, device=weight.device),
        )

    def forward(self, frames: Tensor, valid: Tensor, tokens: Tensor, horizon: Tensor) -> Tensor:
        """Logits `(B, U, V)` after each of `tokens (B, U)`, the first of which is the boundary.

        `frames (B, T, D)` and `valid (B, T)` are of whole recordings; `horizon (B, U)` is the
        number of groups, at least 1, that are available when the next token is predicted.
        """
        frames, valid = _whole_groups(frames, valid)
        frames = self.frame_norm(frames)
        empty = init_summaries(len(frames), self.memory_size, self.summarise.weight)
        slots, _ = summarise(self.summarise, frames, valid, GROUP_OUTPUTS, empty)
        num_complete = slots.after.gather(1, horizon - 1)
        slots_visible = slots.visible(num_complete, self.memory_size)  # (B, U, M+N)
        position = torch.arange(frames.shape[1], device=frames.device)
        age = GROUP_OUTPUTS * horizon[..., None] - 1 - position  # (B, U, T)
        visible = (age >= 0) & (age < self.window) & valid[:, None, :]
        source = self._context(slots.slots, slots_visible, frames, visible, age)
        x = self.embed(tokens)
        tokens_valid = torch.ones(tokens.shape, dtype=torch.bool, device=tokens.device)
        for layer in self._layers:
            x = layer(x, tokens_valid, source)
        return self.project(self.norm(x))  # type: ignore[no-any-return]

    def append_encoder_out(
        self, frames: Tensor, valid: Tensor, state: DecoderState
    ) -> DecoderState:
        """Appends groups of frames `(B, 4 g, D)`; only the last group of a stream may be short."""
        frames, valid = _whole_groups(frames, valid)
        return self._append(self.frame_norm(frames), valid, state)

    def decode_next(self, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The most likely next token `(B,)`, and the state after it.

        `BOUNDARY_ID` means that there is no token yet, or no more: discard the new state, and call
        again with the old one after more frames have been appended.
        """
        logits, _, layers = self._next(state)
        token = logits.argmax(-1)
        return token, state._replace(layers=layers, last_token=token)

    def decode_aligned(self, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """As `decode_next`, and the age `(B,)` of the frame that the token attends to most.

        The age is the distance from the newest frame, in frames of 40 ms; `window` is a summary of
        older frames. The weights are those of the last layer, the mean of its heads.
        """
        logits, weights, layers = self._next(state)
        token = logits.argmax(-1)
        most = weights.mean(1)[:, 0].argmax(-1)  # (B, H, 1, S) -> (B,)
        age = (weights.shape[-1] - 1 - most).clamp(max=self.window)  # the newest frame is last
        return token, age, state._replace(layers=layers, last_token=token)

    def reset(self, state: DecoderState, num_frames: int) -> DecoderState:
        """The state for a new utterance: no tokens, and only the last `num_frames` frames."""
        frames, valid = state.frames[:, -num_frames:], state.valid[:, -num_frames:]
        return self._append(frames, valid, self.init_state(len(frames)))

    def _append(self, frames: Tensor, valid: Tensor, state: DecoderState) -> DecoderState:
        _, summaries = summarise(self.summarise, frames, valid, GROUP_OUTPUTS, state.summaries)
        return state._replace(
            frames=torch.cat([state.frames, frames], dim=1)[:, -self.window :],
            valid=torch.cat([state.valid, valid], dim=1)[:, -self.window :],
            summaries=summaries,
        )

    def _next(self, state: DecoderState) -> tuple[Tensor, Tensor, tuple[AttentionState, ...]]:
        """Logits `(B, V)` of the next token, and the weights `(B, H, 1, S)` of the last layer."""
        x = self.embed(state.last_token)[:, None]  # (B, D) -> (B, 1, D)
        age = torch.arange(self.window - 1, -1, -1, device=x.device)
        source = self._context(
            state.summaries.bank,
            state.summaries.filled[:, None],
            state.frames,
            state.valid[:, None],
            age.expand(len(x), 1, -1),
        )
        tokens_valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        states = []
        for layer, layer_state in zip(self._layers, state.layers, strict=True):
            x, weights, layer_state = layer.step(x, tokens_valid, source, layer_state)
            states.append(layer_state)
        return self.project(self.norm(x))[:, 0], weights, tuple(states)

    def _context(
        self, slots: Tensor, slots_visible: Tensor, frames: Tensor, visible: Tensor, age: Tensor
    ) -> EncoderContext:
        age = functional.pad(age.clamp(0, self.window - 1), (slots.shape[1], 0), value=self.window)
        visible = torch.cat([slots_visible, visible], dim=2)
        return EncoderContext(torch.cat([slots, frames], dim=1), age, visible)

    @property
    def _layers(self) -> Sequence[DecoderLayer]:
        return cast("Sequence[DecoderLayer]", self.layers)


def _whole_groups(frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    padding = -frames.shape[1] % GROUP_OUTPUTS
    return functional.pad(frames, (0, 0, 0, padding)), functional.pad(valid, (0, padding))
