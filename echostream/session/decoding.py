"""Decoding methods: from the outputs of the network to target tokens.

The policy is applied after every group (160 ms), independent of the size of the chunks, so that the
tokens, and the group after which each is written, depend on the audio alone. `ctc` writes the
tokens of the ST head. With `decoder`, the text decoder predicts the tokens, from the frames up to
the group in which its policy allows them (`decoder_policy`).

Errors in the number of tokens would add up from one sentence to the next. Therefore a pause ends an
utterance: when neither head has found a token for `utterance_pause_ms`, the decoder writes the
remaining tokens and is reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from echostream.backends.protocol import Decoder, Network
from echostream.models import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, DecoderState
from echostream.session.decoder_policy import (
    EACH_TOKEN,
    Candidate,
    DecoderPolicy,
    WordStarts,
    allow,
    make_decoder_policy,
)
from echostream.session.token_counts import (
    TokenCounts,
    as_counts,
    as_tensor,
    count,
    ids_of,
    new_utterance,
    num_groups_of,
)
from echostream.session_config import SessionConfig
from echostream.streaming import GROUP_OUTPUTS, replace_rows, select_rows, take_rows
from echostream.streaming.clock import GROUP_MS


class NewTokens(NamedTuple):
    """The new tokens of one stream after a step."""

    source: list[int]  # found by the ASR head
    target: list[int]  # to be appended to the pending tokens of the stream
    num_emitted: int  # number of pending tokens, oldest first, that are written now
    ends: bool = False  # whether a pause has ended the utterance


class DecodingState(NamedTuple):
    """The state of a decoding method for `B` streams."""

    counts: Tensor  # (B, number of fields of TokenCounts) int64, on the CPU
    decoder: DecoderState | tuple[()]  # empty for `ctc`


class DecodingMethod(Protocol):
    """Turns the outputs of the network into tokens. Stateless."""

    def init_state(self, batch_size: int) -> DecodingState:
        """The state of `batch_size` new streams."""

    def step(
        self, output: CtcOutput, state: DecodingState
    ) -> tuple[list[NewTokens], DecodingState]:
        """The new tokens of each stream after the next groups `(B, 4 g, ...)`.

        Only the last group of a stream may be short.
        """

    def finish(self, state: DecodingState) -> tuple[list[NewTokens], DecodingState]:
        """The remaining tokens of each stream when its source has ended."""

    def warm_up(self) -> None:
        """Runs the text decoder once, for devices that initialise on first use."""


def make_decoding_method(
    network: Network, config: SessionConfig, words: WordStarts = EACH_TOKEN
) -> DecodingMethod:
    """The decoding method of a configuration. `words` are needed by the policy wait-k alone.

    Raises:
        ValueError: if it needs a text decoder and there is none.
    """
    if config.decoding_method == "ctc":
        return CtcDecoding(config)
    if network.decoder is None:
        raise ValueError(
            "`decoding_method` must be ctc for this model, which has no text decoder, "
            f"but is {config.decoding_method!r} instead."
        )
    policy = make_decoder_policy(config, words)
    return DecoderDecoding(network.decoder, policy, config.utterance_pause_ms // GROUP_MS)


class CtcDecoding:
    """Writes the tokens of the ST head."""

    def __init__(self, config: SessionConfig) -> None:
        self.config = config

    def init_state(self, batch_size: int) -> DecodingState:
        """The state of `batch_size` new streams."""
        return DecodingState(as_tensor([TokenCounts()] * batch_size), ())

    def step(
        self, output: CtcOutput, state: DecodingState
    ) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.step`."""
        found, after = [], []
        for ids, counts in zip(ids_of(output), as_counts(state.counts), strict=True):
            source, target, num_emitted, ends = list[int](), list[int](), 0, False
            for group in range(num_groups_of(output)):
                new, counts = count(ids, group, counts)
                allowed, counts = allow(counts, self.config)
                source += new.source
                target += new.target
                num_emitted += allowed
                ends |= counts.num_silent == (self.config.utterance_pause_ms // GROUP_MS or None)
            found.append(NewTokens(source, target, num_emitted, ends))
            after.append(counts)
        return found, DecodingState(as_tensor(after), ())

    def finish(self, state: DecodingState) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.finish`."""
        last = [allow(counts, self.config, True) for counts in as_counts(state.counts)]
        found = [NewTokens([], [], allowed) for allowed, _ in last]
        return found, DecodingState(as_tensor([counts for _, counts in last]), ())

    def warm_up(self) -> None:
        """Does nothing: there is no text decoder."""


class DecoderDecoding:
    """Writes the tokens of the text decoder, as far as its policy allows; batched over streams.

    Its tokens are emitted at once, so no token is ever pending.
    """

    def __init__(self, decoder: Decoder, policy: DecoderPolicy, pause_groups: int) -> None:
        self.decoder = decoder
        self.policy = policy
        self.pause_groups = pause_groups or None  # None: only the source ends an utterance

    def init_state(self, batch_size: int) -> DecodingState:
        """The state of `batch_size` new streams."""
        counts = as_tensor([TokenCounts()] * batch_size)
        return DecodingState(counts, self.decoder.init_state(batch_size))

    def step(
        self, output: CtcOutput, state: DecodingState
    ) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.step`."""
        counts, decoder = as_counts(state.counts), _decoder_state(state)
        ids = ids_of(output)
        found = [NewTokens([], [], 0) for _ in counts]
        num_groups, num_appended = num_groups_of(output), 0
        for group in range(num_groups):
            for row, mine in enumerate(ids):
                heads, after = count(mine, group, counts[row])
                found[row].source.extend(heads.source)
                pauses = after.num_silent == self.pause_groups
                counts[row] = self.policy.after_group(heads.source, after, pauses)
            ends = [mine.num_silent == self.pause_groups for mine in counts]
            if any(ends) or any(self.policy.may_decode(mine, False) for mine in counts):
                # The frames are appended lazily: one call for several groups costs the same.
                decoder = self._append(output, num_appended, group + 1, decoder)
                num_appended = group + 1
                tokens, decoder, counts = self._decode(decoder, counts, ends)
                for new, more in zip(found, tokens, strict=True):
                    new.target.extend(more)
                found = [
                    new._replace(ends=new.ends | end) for new, end in zip(found, ends, strict=True)
                ]
                decoder, counts = self._reset(decoder, counts, ends)
        decoder = self._append(output, num_appended, num_groups, decoder)
        return _all_emitted(found), DecodingState(as_tensor(counts), decoder)

    def finish(self, state: DecodingState) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.finish`."""
        counts = [self.policy.after_group([], mine, True) for mine in as_counts(state.counts)]
        tokens, decoder, counts = self._decode(_decoder_state(state), counts, [True] * len(counts))
        found = [NewTokens([], mine, 0) for mine in tokens]
        return _all_emitted(found), DecodingState(as_tensor(counts), decoder)

    def warm_up(self) -> None:
        """Decodes one token from a new state."""
        self._next(self.decoder.init_state(1))

    def _append(
        self, output: CtcOutput, start: int, stop: int, state: DecoderState
    ) -> DecoderState:
        """Appends the groups from `start` to `stop` to the frames of the decoder."""
        if start == stop:
            return state
        frames = slice(start * GROUP_OUTPUTS, stop * GROUP_OUTPUTS)
        return self.decoder.append_encoder_out(
            output.st_frames[:, frames], output.valid[:, frames], state
        )

    def _decode(
        self, state: DecoderState, counts: Sequence[TokenCounts], ends: Sequence[bool]
    ) -> tuple[list[list[int]], DecoderState, list[TokenCounts]]:
        """All tokens that the decoder writes now; `ends` marks streams whose utterance ends.

        A stream is decoded until the policy forbids another token, or its next token is refused by
        the policy or the boundary. The state before such a token is kept, and decoding is tried
        again after the next group: before the end, the boundary means "no token yet".
        """
        tokens: list[list[int]] = [[] for _ in counts]
        counts = list(counts)
        pairs = enumerate(zip(counts, ends, strict=True))
        rows = [row for row, (mine, end) in pairs if self.policy.may_decode(mine, end)]
        if not rows:
            return tokens, state, counts
        now, active = take_rows(state, rows), [True] * len(rows)
        while any(active):
            candidates, after = self._next(now)
            for position, (row, new) in enumerate(zip(rows, candidates, strict=True)):
                active[position] &= new.token != BOUNDARY_ID
                active[position] &= self.policy.accepts(new, counts[row], ends[row])
                if active[position]:
                    tokens[row].append(new.token)
                    counts[row] = self.policy.after_token(new.token, counts[row])
            now = after if all(active) else select_rows(_mask(active, now), after, now)
            for position, row in enumerate(rows):
                active[position] &= self.policy.may_decode(counts[row], ends[row])
        return tokens, replace_rows(state, rows, now), counts

    def _next(self, state: DecoderState) -> tuple[list[Candidate], DecoderState]:
        """The next token of each stream, with one transfer from the device for all."""
        if self.policy.needs_age:
            best, age, state = self.decoder.decode_aligned(state)
            pairs = torch.stack([best, age], dim=1).tolist()
        else:
            best, state = self.decoder.decode_next(state)
            pairs = [(token, -1) for token in best.tolist()]
        return [Candidate(*pair) for pair in pairs], state

    def _reset(
        self, state: DecoderState, counts: Sequence[TokenCounts], ends: Sequence[bool]
    ) -> tuple[DecoderState, list[TokenCounts]]:
        """Resets streams after a pause; only the frames of the pause are kept."""
        rows = [row for row, end in enumerate(ends) if end]
        if rows and self.pause_groups is not None:
            kept = self.pause_groups * GROUP_OUTPUTS
            fresh = self.decoder.reset(take_rows(state, rows), kept)
            state = replace_rows(state, rows, fresh)
        pairs = zip(counts, ends, strict=True)
        return state, [new_utterance(mine) if end else mine for mine, end in pairs]


def _all_emitted(found: Sequence[NewTokens]) -> list[NewTokens]:
    return [new._replace(num_emitted=len(new.target)) for new in found]


def _decoder_state(state: DecodingState) -> DecoderState:
    assert isinstance(state.decoder, DecoderState)
    return state.decoder


def _mask(active: Sequence[bool], state: DecoderState) -> Tensor:
    return torch.tensor(active, device=state.last_token.device)
