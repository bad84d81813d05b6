"""Decoding methods: from the outputs of the network to target tokens.

The policy is applied after every group (160 ms), independent of the size of the chunks, so that the
tokens, and the group after which each is written, depend on the audio alone. `ctc` writes the
tokens of the ST head. With `decoder`, that head only gives the number of tokens that may be
written; the text decoder predicts them, from the frames up to the group in which the policy allowed
them.

Errors in the number of tokens would add up from one sentence to the next. Therefore a pause ends an
utterance: when neither head has found a token for 640 ms, the decoder writes the remaining tokens
and is reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from echostream.backends.protocol import Decoder, Network
from echostream.models import BLANK_ID, CtcOutput
from echostream.models.ctc_decode import best_ids, merge
from echostream.models.text_decoder import BOUNDARY_ID, DecoderState
from echostream.session.policy import Counts, PolicyState, Write, decide
from echostream.session_config import SessionConfig
from echostream.streaming import GROUP_OUTPUTS, replace_rows, select_rows, take_rows

# Tokens beyond those of the ST head that the decoder may write at the end of an utterance. With
# more it repeats itself after a pause in the middle of a sentence (eval/LOG.md).
MAX_EXTRA_TOKENS = 1
PAUSE_GROUPS = 4  # the silence after an utterance in training, by default


class NewTokens(NamedTuple):
    """The new tokens of one stream after a step."""

    source: list[int]  # found by the ASR head
    target: list[int]  # to be appended to the pending tokens of the stream
    num_emitted: int  # number of pending tokens, oldest first, that are written now
    ends: bool = False  # whether a pause has ended the utterance


class TokenCounts(NamedTuple):
    """The counters of a stream, one row of `DecodingState.counts`."""

    asr_id: int = BLANK_ID  # of the last frame of each head
    st_id: int = BLANK_ID
    num_asr: int = 0  # tokens found
    num_st: int = 0
    gate_asr: int = 0  # the state of the policy
    gate_st: int = 0
    num_allowed: int = 0
    num_decoded: int = 0  # tokens of the text decoder since the last pause
    num_before: int = 0  # tokens of the ST head until the last pause
    num_silent: int = 0  # groups since the last one in which a head found a token


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


def make_decoding_method(network: Network, config: SessionConfig) -> DecodingMethod:
    """The decoding method of a configuration. ValueError if it needs a text decoder and there is
    none."""
    if config.decoding_method == "ctc":
        return CtcDecoding(config)
    if network.decoder is None:
        raise ValueError(
            "`decoding_method` must be ctc for this model, which has no text decoder, "
            f"but is {config.decoding_method!r} instead."
        )
    return DecoderDecoding(network.decoder, config)


class CtcDecoding:
    """Writes the tokens of the ST head."""

    def __init__(self, config: SessionConfig) -> None:
        self.config = config

    def init_state(self, batch_size: int) -> DecodingState:
        """The state of `batch_size` new streams."""
        return DecodingState(_as_tensor([TokenCounts()] * batch_size), ())

    def step(
        self, output: CtcOutput, state: DecodingState
    ) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.step`."""
        found, after = [], []
        for ids, counts in zip(_ids_of(output), _as_counts(state.counts), strict=True):
            source, target, num_emitted, ends = list[int](), list[int](), 0, False
            for group in range(_num_groups(output)):
                new, counts = _count(ids, group, counts)
                allowed, counts = _allow(counts, self.config)
                source += new.source
                target += new.target
                num_emitted += allowed
                ends |= counts.num_silent == PAUSE_GROUPS
            found.append(NewTokens(source, target, num_emitted, ends))
            after.append(counts)
        return found, DecodingState(_as_tensor(after), ())

    def finish(self, state: DecodingState) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.finish`."""
        last = [_allow(counts, self.config, True) for counts in _as_counts(state.counts)]
        found = [NewTokens([], [], allowed) for allowed, _ in last]
        return found, DecodingState(_as_tensor([counts for _, counts in last]), ())

    def warm_up(self) -> None:
        """Does nothing: there is no text decoder."""


class DecoderDecoding:
    """Writes the tokens of the text decoder, as many as the policy allows; batched over streams.

    Its tokens are emitted at once, so no token is ever pending.
    """

    def __init__(self, decoder: Decoder, config: SessionConfig) -> None:
        self.decoder = decoder
        self.config = config

    def init_state(self, batch_size: int) -> DecodingState:
        """The state of `batch_size` new streams."""
        counts = _as_tensor([TokenCounts()] * batch_size)
        return DecodingState(counts, self.decoder.init_state(batch_size))

    def step(
        self, output: CtcOutput, state: DecodingState
    ) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.step`."""
        counts, decoder = _as_counts(state.counts), _decoder_state(state)
        ids = _ids_of(output)
        found = [NewTokens([], [], 0) for _ in counts]
        num_groups, num_appended = _num_groups(output), 0
        for group in range(num_groups):
            for row, mine in enumerate(ids):
                heads, counts[row] = _count(mine, group, counts[row])
                found[row].source.extend(heads.source)
                pauses = counts[row].num_silent == PAUSE_GROUPS
                _, counts[row] = _allow(counts[row], self.config, pauses)
            ends = [count.num_silent == PAUSE_GROUPS for count in counts]
            if any(ends) or any(c.num_decoded < _num_allowed(c, False) for c in counts):
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
        return _all_emitted(found), DecodingState(_as_tensor(counts), decoder)

    def finish(self, state: DecodingState) -> tuple[list[NewTokens], DecodingState]:
        """See `DecodingMethod.finish`."""
        counts = [_allow(count, self.config, True)[1] for count in _as_counts(state.counts)]
        tokens, decoder, counts = self._decode(_decoder_state(state), counts, [True] * len(counts))
        found = [NewTokens([], mine, 0) for mine in tokens]
        return _all_emitted(found), DecodingState(_as_tensor(counts), decoder)

    def warm_up(self) -> None:
        """Decodes one token from a new state."""
        self.decoder.decode_next(self.decoder.init_state(1))

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

        A stream is decoded until it has the allowed number of tokens, or until its next token is
        the boundary. Before the end the boundary means "no token yet": the state before it is kept,
        and decoding is tried again after the next group.
        """
        tokens: list[list[int]] = [[] for _ in counts]
        num_left = [
            _num_allowed(count, end) - count.num_decoded
            for count, end in zip(counts, ends, strict=True)
        ]
        rows = [row for row, left in enumerate(num_left) if left > 0]
        if not rows:
            return tokens, state, list(counts)
        now, active = take_rows(state, rows), [True] * len(rows)
        while any(active):
            best, after = self.decoder.decode_next(now)
            for position, (row, index) in enumerate(zip(rows, best.tolist(), strict=True)):
                active[position] &= index != BOUNDARY_ID
                if active[position]:
                    tokens[row].append(index)
            now = after if all(active) else select_rows(_mask(active, best), after, now)
            for position, row in enumerate(rows):
                active[position] &= len(tokens[row]) < num_left[row]
        written = [
            count._replace(num_decoded=count.num_decoded + len(new))
            for count, new in zip(counts, tokens, strict=True)
        ]
        return tokens, replace_rows(state, rows, now), written

    def _reset(
        self, state: DecoderState, counts: Sequence[TokenCounts], ends: Sequence[bool]
    ) -> tuple[DecoderState, list[TokenCounts]]:
        """Resets streams after a pause; only the frames of the pause are kept."""
        rows = [row for row, end in enumerate(ends) if end]
        if rows:
            fresh = self.decoder.reset(take_rows(state, rows), PAUSE_GROUPS * GROUP_OUTPUTS)
            state = replace_rows(state, rows, fresh)
        after = [
            count._replace(num_decoded=0, num_before=count.num_st) if end else count
            for count, end in zip(counts, ends, strict=True)
        ]
        return state, after


class _Ids(NamedTuple):
    """The most likely id of each frame of a stream, -1 for a frame that is not valid."""

    asr: list[int]
    st: list[int]


class _Found(NamedTuple):
    source: list[int]
    target: list[int]


def _ids_of(output: CtcOutput) -> list[_Ids]:
    """The ids of each stream, with one transfer from the device for all."""
    heads = (output.asr_logits, output.st_logits)
    asr, st = torch.stack([best_ids(head, output.valid) for head in heads]).tolist()
    return [_Ids(*ids) for ids in zip(asr, st, strict=True)]


def _num_groups(output: CtcOutput) -> int:
    return -(-output.valid.shape[1] // GROUP_OUTPUTS)


def _count(ids: _Ids, group: int, counts: TokenCounts) -> tuple[_Found, TokenCounts]:
    """The tokens of both heads in one group of a stream."""
    frames = slice(group * GROUP_OUTPUTS, (group + 1) * GROUP_OUTPUTS)
    source, _, asr_id = merge(ids.asr[frames], counts.asr_id)
    target, _, st_id = merge(ids.st[frames], counts.st_id)
    return _Found(source, target), counts._replace(
        asr_id=asr_id,
        st_id=st_id,
        num_asr=counts.num_asr + len(source),
        num_st=counts.num_st + len(target),
        num_silent=0 if source or target else counts.num_silent + 1,
    )


def _allow(
    counts: TokenCounts, config: SessionConfig, ends: bool = False
) -> tuple[int, TokenCounts]:
    """The number of tokens that the policy newly allows; all, if the utterance `ends`."""
    before = PolicyState(counts.gate_asr, counts.gate_st, counts.num_allowed)
    action, after = decide(Counts(counts.num_asr, counts.num_st, ends), before, config)
    size = action.num_tokens if isinstance(action, Write) else 0
    return size, counts._replace(
        gate_asr=after.num_asr, gate_st=after.num_st, num_allowed=after.num_written
    )


def _num_allowed(counts: TokenCounts, ends: bool) -> int:
    """The number of tokens that the decoder may have written since the last pause."""
    allowed = counts.num_allowed - counts.num_before
    return allowed + MAX_EXTRA_TOKENS * (ends and (allowed > 0 or counts.num_decoded > 0))


def _all_emitted(found: Sequence[NewTokens]) -> list[NewTokens]:
    return [new._replace(num_emitted=len(new.target)) for new in found]


def _decoder_state(state: DecodingState) -> DecoderState:
    assert isinstance(state.decoder, DecoderState)
    return state.decoder


def _as_counts(counts: Tensor) -> list[TokenCounts]:
    return [TokenCounts(*row) for row in counts.tolist()]


def _as_tensor(counts: Sequence[TokenCounts]) -> Tensor:
    return torch.tensor(counts, dtype=torch.int64)


def _mask(active: Sequence[bool], like: Tensor) -> Tensor:
    return torch.tensor(active, device=like.device)
