"""From what the network says of a group to the target tokens that may be written.

The policy is asked after every group (160 ms), whatever the chunks are, so which tokens come out,
and after which group, is a function of the audio alone. The writer "ctc" writes what the ST head
found. The writer "decoder" takes from it only how many tokens may be written; which ones, the text
decoder says, from what had been heard when the policy allowed them.

A count says where the decoder is in a sentence, and counts that are wrong add up from one sentence
to the next. So a pause ends an utterance for the decoder: when neither head has found anything for
640 ms, it writes what is left and begins anew.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from echostream.backends.protocol import Decoder, Network
from echostream.models import BLANK_ID, CtcOutput
from echostream.models.ctc_decode import best_ids, merge
from echostream.models.text_decoder import BOUNDARY_ID, DecoderState
from echostream.session.policy import Counts, Policy, PolicyState, Write, decide
from echostream.streaming import GROUP_OUTPUTS, state_nbytes

WRITERS = ("ctc", "decoder")
# To end an utterance, the decoder may write this much more than the ST head found. With more room
# it tells a part of it again, after a pause in the middle of a sentence (eval/LOG.md).
MAX_EXTRA_TOKENS = 1
PAUSE_GROUPS = 4  # as long as the silence that closes an utterance in training, unless told else


class Heard(NamedTuple):
    """What the network says of some groups of one stream."""

    asr_ids: list[int]  # the likeliest of each frame; -1 for a frame that is none
    st_ids: list[int]
    st_frames: Tensor  # (1, T, D) for the decoder
    valid: Tensor  # (1, T) bool


class WriterState(NamedTuple):
    """What a writer must remember of one stream. Like every state, it is a value."""

    asr_id: int  # of the last frame of each head
    st_id: int
    num_asr: int
    num_st: int
    policy: PolicyState
    held: tuple[int, ...]  # tokens of the ST head that are not written yet; for "ctc"
    # For "decoder":
    decoder: DecoderState | None
    num_decoded: int  # tokens that it has written since the last pause
    num_before: int  # tokens that the ST head had found until the last pause
    num_silent: int  # groups in which neither head has found anything, up to now


class Written(NamedTuple):
    """New tokens: source tokens as they were found, target tokens that may be written."""

    source: list[int]
    target: list[int]


def read_heard(output: CtcOutput) -> list[Heard]:
    """What an output `(B, T, ...)` says of each of its streams; one transfer for all ids."""
    heads = (output.asr_logits, output.st_logits)
    asr_ids, st_ids = torch.stack([best_ids(head, output.valid) for head in heads]).tolist()
    return [
        Heard(*ids, output.st_frames[row : row + 1], output.valid[row : row + 1])
        for row, ids in enumerate(zip(asr_ids, st_ids, strict=True))
    ]


class Writer:
    """Writes the tokens of one stream at a time; it holds nothing of a stream itself.

    Raises:
        ValueError: if `kind` is no writer, or the network has no decoder and `kind` wants one.
    """

    def __init__(self, network: Network, policy: Policy, kind: str = "ctc") -> None:
        if kind not in WRITERS:
            raise ValueError(
                f"`writer` must be one of {', '.join(WRITERS)}, but is {kind!r} instead."
            )
        if kind == "decoder" and network.decoder is None:
            raise ValueError(
                "`writer` must be ctc for this model, which has no text decoder, "
                "but is 'decoder' instead."
            )
        self.policy = policy
        self.decoder = network.decoder if kind == "decoder" else None

    def init_state(self) -> WriterState:
        """The state of a new stream."""
        decoder = None if self.decoder is None else self.decoder.init_state(1)
        return WriterState(BLANK_ID, BLANK_ID, 0, 0, PolicyState(), (), decoder, 0, 0, 0)

    def warm_up(self) -> None:
        """Asks the decoder, if there is one, for a token that nobody reads."""
        if self.decoder is not None:
            self.decoder.predict(self.decoder.init_state(1))

    def advance(self, output: CtcOutput, state: WriterState) -> tuple[Written, WriterState]:
        """What the network's next output `(1, T, ...)` brings out; only the last may be short."""
        return self.write(read_heard(output)[0], state)

    def finish(self, output: CtcOutput, state: WriterState) -> tuple[Written, WriterState]:
        """The network's last output, and with it all that is left to write."""
        written, state = self.advance(output, state)
        last, state = self.close(state)
        return Written(written.source, written.target + last), state

    def write(self, heard: Heard, state: WriterState) -> tuple[Written, WriterState]:
        """What these groups bring out: `advance`, with the output already read."""
        written = Written([], [])
        num_groups = -(-len(heard.asr_ids) // GROUP_OUTPUTS)
        observed = 0  # groups that the decoder has heard
        for group in range(num_groups):
            found, state = _count(heard, group, state)
            pause = self.decoder is not None and state.num_silent == PAUSE_GROUPS
            size, state = self._allow(state, pause)
            written.source.extend(found.source)
            if self.decoder is None:
                held = (*state.held, *found.target)
                written.target.extend(held[:size])
                state = state._replace(held=held[size:])
            # It hears late and several groups at once: a call costs as much for one.
            elif pause or state.num_decoded < _num_allowed(state, pause):
                state = _observe(self.decoder, heard, observed, group + 1, state)
                observed = group + 1
                tokens, state = _decode(self.decoder, state, pause)
                written.target.extend(tokens)
                state = _begin_anew(self.decoder, state) if pause else state
        if self.decoder is not None:
            state = _observe(self.decoder, heard, observed, num_groups, state)
        return written, state

    def close(self, state: WriterState) -> tuple[list[int], WriterState]:
        """All that is left to write when the source has ended: target tokens."""
        size, state = self._allow(state, ends=True)
        if self.decoder is not None:
            return _decode(self.decoder, state, is_end=True)
        return list(state.held[:size]), state._replace(held=state.held[size:])

    def _allow(self, state: WriterState, ends: bool) -> tuple[int, WriterState]:
        """Asks the policy how many tokens more may be written."""
        counts = Counts(state.num_asr, state.num_st, ends)
        action, policy = decide(counts, state.policy, self.policy)
        return action.num_tokens if isinstance(action, Write) else 0, state._replace(policy=policy)


def _count(heard: Heard, group: int, state: WriterState) -> tuple[Written, WriterState]:
    """The tokens that both heads found in a group."""
    frames = slice(group * GROUP_OUTPUTS, (group + 1) * GROUP_OUTPUTS)
    source, _, asr_id = merge(heard.asr_ids[frames], state.asr_id)
    target, _, st_id = merge(heard.st_ids[frames], state.st_id)
    return Written(source, target), state._replace(
        asr_id=asr_id,
        st_id=st_id,
        num_asr=state.num_asr + len(source),
        num_st=state.num_st + len(target),
        num_silent=0 if source or target else state.num_silent + 1,
    )


def _observe(
    decoder: Decoder, heard: Heard, start: int, stop: int, state: WriterState
) -> WriterState:
    """Lets the decoder hear the groups from `start` to `stop`."""
    if start == stop:
        return state
    assert state.decoder is not None
    frames = slice(start * GROUP_OUTPUTS, stop * GROUP_OUTPUTS)
    return state._replace(
        decoder=decoder.observe(heard.st_frames[:, frames], heard.valid[:, frames], state.decoder)
    )


def _num_allowed(state: WriterState, is_end: bool) -> int:
    """Tokens that the decoder may have written since the last pause."""
    allowed = state.policy.num_written - state.num_before
    return allowed + MAX_EXTRA_TOKENS * (is_end and (allowed > 0 or state.num_decoded > 0))


def _decode(decoder: Decoder, state: WriterState, is_end: bool) -> tuple[list[int], WriterState]:
    """Asks the decoder for all tokens that the policy has allowed so far."""
    assert state.decoder is not None
    now, tokens = state.decoder, list[int]()
    allowed = _num_allowed(state, is_end)
    while state.num_decoded + len(tokens) < allowed:
        token, after = decoder.predict(now)
        # Before the end, "nothing more" is only for now: the decoder keeps the state that it
        # had, and is asked again after the next group.
        if (index := int(token)) == BOUNDARY_ID:
            break
        now = after
        tokens.append(index)
    return tokens, state._replace(decoder=now, num_decoded=state.num_decoded + len(tokens))


def _begin_anew(decoder: Decoder, state: WriterState) -> WriterState:
    """After a pause: of what was heard, only the pause may belong to the next utterance."""
    assert state.decoder is not None
    return state._replace(
        decoder=decoder.restart(state.decoder, PAUSE_GROUPS * GROUP_OUTPUTS),
        num_decoded=0,
        num_before=state.num_st,
    )


def writer_nbytes(state: WriterState) -> int:
    """Bytes of all tensors in a writer's state."""
    return 0 if state.decoder is None else state_nbytes(state.decoder)
