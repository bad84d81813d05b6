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

from echostream.models import CtcOutput, EchoStreamModel
from echostream.models.ctc_decode import CollapseState, collapse, init_collapse
from echostream.models.text_decoder import BOUNDARY_ID, DecoderState, TextDecoder
from echostream.policy import Counts, Policy, PolicyState, Write, decide
from echostream.streaming import GROUP_OUTPUTS, state_nbytes

WRITERS = ("ctc", "decoder")
# To end an utterance, the decoder may write this much more than the ST head found. With more room
# it tells a part of it again, after a pause in the middle of a sentence (eval/LOG.md).
MAX_EXTRA_TOKENS = 1
PAUSE_GROUPS = 4  # as long as the silence that closes an utterance in training, unless told else


class WriterState(NamedTuple):
    """What a writer must remember of one stream. Like every state, it is a value."""

    asr: CollapseState
    st: CollapseState
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


class Writer:
    """Writes the tokens of one stream at a time; it holds nothing of a stream itself.

    Raises:
        ValueError: if `kind` is no writer, or the network has no decoder and `kind` wants one.
    """

    def __init__(self, network: EchoStreamModel, policy: Policy, kind: str = "ctc") -> None:
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
        self.network = network

    def init_state(self) -> WriterState:
        """The state of a new stream."""
        decoder = None if self.decoder is None else self.decoder.init_state(1)
        device = self.network.asr_head.project.weight.device
        asr, st = init_collapse(1, device), init_collapse(1, device)
        return WriterState(asr, st, 0, 0, PolicyState(), (), decoder, 0, 0, 0)

    def warm_up(self) -> None:
        """Asks the decoder, if there is one, for a token that nobody reads."""
        if self.decoder is not None:
            self.decoder.predict(self.decoder.init_state(1))

    def advance(self, output: CtcOutput, state: WriterState) -> tuple[Written, WriterState]:
        """What the network's next output `(1, 4 g, ...)` brings out."""
        written = Written([], [])
        for start in range(0, output.valid.shape[1], GROUP_OUTPUTS):
            group = CtcOutput(*(field[:, start : start + GROUP_OUTPUTS] for field in output))
            found, state = self._hear(group, state)
            target, state = self._write(found.target, state, source_finished=False)
            written.source.extend(found.source)
            written.target.extend(target)
        return written, state

    def finish(self, output: CtcOutput, state: WriterState) -> tuple[Written, WriterState]:
        """The network's last output, and with it all that is left to write."""
        written, state = self.advance(output, state)
        target, state = self._write([], state, source_finished=True)
        return Written(written.source, written.target + target), state

    def _hear(self, group: CtcOutput, state: WriterState) -> tuple[Written, WriterState]:
        """The tokens that both heads found in a group."""
        source, _, asr = collapse(group.asr_logits, group.valid, state.asr)
        target, _, st = collapse(group.st_logits, group.valid, state.st)
        decoder = state.decoder
        if self.decoder is not None and decoder is not None:
            decoder = self.decoder.observe(group.st_frames, group.valid, decoder)
        return Written(source[0], target[0]), state._replace(
            asr=asr,
            st=st,
            num_asr=state.num_asr + len(source[0]),
            num_st=state.num_st + len(target[0]),
            decoder=decoder,
            num_silent=0 if source[0] or target[0] else state.num_silent + 1,
        )

    def _write(
        self, found: list[int], state: WriterState, source_finished: bool
    ) -> tuple[list[int], WriterState]:
        pause = self.decoder is not None and state.num_silent == PAUSE_GROUPS
        counts = Counts(state.num_asr, state.num_st, source_finished or pause)
        action, policy = decide(counts, state.policy, self.policy)
        state = state._replace(policy=policy)
        if self.decoder is not None:
            tokens, state = self._decode(self.decoder, state, counts.source_finished)
            return tokens, self._begin_anew(self.decoder, state) if pause else state
        held = (*state.held, *found)
        size = action.num_tokens if isinstance(action, Write) else 0
        return list(held[:size]), state._replace(held=held[size:])

    def _decode(
        self, decoder: TextDecoder, state: WriterState, is_end: bool
    ) -> tuple[list[int], WriterState]:
        """Asks the decoder for all tokens that the policy has allowed so far."""
        assert state.decoder is not None
        allowed = state.policy.num_written - state.num_before
        if is_end and (allowed > 0 or state.num_decoded > 0):
            allowed += MAX_EXTRA_TOKENS
        now, tokens = state.decoder, list[int]()
        while state.num_decoded + len(tokens) < allowed:
            token, after = decoder.predict(now)
            # Before the end, "nothing more" is only for now: the decoder keeps the state that it
            # had, and is asked again after the next group.
            if (index := int(token)) == BOUNDARY_ID:
                break
            now = after
            tokens.append(index)
        return tokens, state._replace(decoder=now, num_decoded=state.num_decoded + len(tokens))

    def _begin_anew(self, decoder: TextDecoder, state: WriterState) -> WriterState:
        """After a pause: of what was heard, only the pause may belong to the next utterance."""
        assert state.decoder is not None
        return state._replace(
            decoder=decoder.restart(state.decoder, PAUSE_GROUPS * GROUP_OUTPUTS),
            num_decoded=0,
            num_before=state.num_st,
        )


def writer_nbytes(state: WriterState) -> int:
    """Bytes of all tensors in a writer's state."""
    tensors = [state.asr, state.st, *([] if state.decoder is None else [state.decoder])]
    return sum(map(state_nbytes, tensors))
