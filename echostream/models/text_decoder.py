"""The text decoder: says which token comes next, where the CTC heads say that one may come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.modules.attention import AttentionState
from echostream.modules.cross_attention import Source
from echostream.modules.decoder_layer import DecoderLayer
from echostream.modules.norm import BiasNorm
from echostream.modules.summaries import SummaryState, init_summaries, summarise
from echostream.ranges import check_size
from echostream.streaming.clock import GROUP_OUTPUTS

# Before the first token and after the last. No text holds a blank, so its id is free for this.
BOUNDARY_ID = BLANK_ID


class DecoderState(NamedTuple):
    """What the decoder must remember of a stream: W frames heard, N tokens written."""

    frames: Tensor  # (B, W, D) the newest last
    valid: Tensor  # (B, W) bool
    summaries: SummaryState
    layers: tuple[AttentionState, ...]
    last_token: Tensor  # (B,) int64


class TextDecoder(nn.Module):
    """Causal transformer over target tokens that attends to what has been heard so far.

    `forward` takes tokens `(B, U)` and gives the logits of those that follow, `(B, U, V)`. A stream
    calls `observe` for each group of frames and `predict` for each token; a token sees the `window`
    frames before the end of the newest group (a multiple of 4 frames), `memory_size` summaries of
    1.28 s each, and the `left_tokens` tokens before it. Positions are relative only. The frames are
    those of the translation head (`CtcOutput.st_frames`), which hold the encoder's output and what
    the head has made of it. After Zhang et al. 2024 (StreamSpeech, arXiv:2406.03049), whose decoder
    reads the whole history anew.
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
        """The state of `batch_size` new streams: nothing heard, nothing written."""
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

        `frames (B, T, D)` and `valid (B, T)` are of whole recordings; `horizon (B, U)` says how
        many groups of them, 1 or more, have been heard when the next token is asked for.
        """
        frames, valid = _whole_groups(frames, valid)
        frames = self.frame_norm(frames)
        empty = init_summaries(len(frames), self.memory_size, self.summarise.weight)
        found, _ = summarise(self.summarise, frames, valid, GROUP_OUTPUTS, empty)
        heard = found.visible(found.after.gather(1, horizon - 1), self.memory_size)  # (B, U, M+N)
        place = torch.arange(frames.shape[1], device=frames.device)
        age = GROUP_OUTPUTS * horizon[..., None] - 1 - place  # (B, U, T)
        visible = (age >= 0) & (age < self.window) & valid[:, None, :]
        source = self._source(found.slots, heard, frames, visible, age)
        x = self.embed(tokens)
        written = torch.ones(tokens.shape, dtype=torch.bool, device=tokens.device)
        for layer in self._layers:
            x = layer(x, written, source)
        return self.project(self.norm(x))  # type: ignore[no-any-return]

    def observe(self, frames: Tensor, valid: Tensor, state: DecoderState) -> DecoderState:
        """Hears some groups `(B, 4 g, D)` more; only the last group of a stream may be short."""
        frames, valid = _whole_groups(frames, valid)
        return self._append(self.frame_norm(frames), valid, state)

    def predict(self, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """The likeliest next token `(B,)`, and the state in which it has been written.

        The boundary means that there is nothing to write yet, or no more: keep the state that was
        given, and ask again when more has been heard.
        """
        logits, layers = self._next(state)
        token = logits.argmax(-1)
        return token, state._replace(layers=layers, last_token=token)

    def restart(self, state: DecoderState, num_frames: int) -> DecoderState:
        """Nothing written, and nothing heard before the newest `num_frames`: a new utterance."""
        frames, valid = state.frames[:, -num_frames:], state.valid[:, -num_frames:]
        return self._append(frames, valid, self.init_state(len(frames)))

    def _append(self, frames: Tensor, valid: Tensor, state: DecoderState) -> DecoderState:
        _, summaries = summarise(self.summarise, frames, valid, GROUP_OUTPUTS, state.summaries)
        return state._replace(
            frames=torch.cat([state.frames, frames], dim=1)[:, -self.window :],
            valid=torch.cat([state.valid, valid], dim=1)[:, -self.window :],
            summaries=summaries,
        )

    def _next(self, state: DecoderState) -> tuple[Tensor, tuple[AttentionState, ...]]:
        """Logits `(B, V)` of the next token."""
        x = self.embed(state.last_token)[:, None]  # (B, D) -> (B, 1, D)
        age = torch.arange(self.window - 1, -1, -1, device=x.device)
        source = self._source(
            state.summaries.bank,
            state.summaries.filled[:, None],
            state.frames,
            state.valid[:, None],
            age.expand(len(x), 1, -1),
        )
        written = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        states = []
        for layer, layer_state in zip(self._layers, state.layers, strict=True):
            x, layer_state = layer.step(x, written, source, layer_state)
            states.append(layer_state)
        return self.project(self.norm(x))[:, 0], tuple(states)

    def _source(
        self, slots: Tensor, heard: Tensor, frames: Tensor, visible: Tensor, age: Tensor
    ) -> Source:
        age = functional.pad(age.clamp(0, self.window - 1), (slots.shape[1], 0), value=self.window)
        return Source(torch.cat([slots, frames], dim=1), age, torch.cat([heard, visible], dim=2))

    @property
    def _layers(self) -> Sequence[DecoderLayer]:
        return cast("Sequence[DecoderLayer]", self.layers)


def _whole_groups(frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    lacking = -frames.shape[1] % GROUP_OUTPUTS
    return functional.pad(frames, (0, 0, 0, lacking)), functional.pad(valid, (0, lacking))
