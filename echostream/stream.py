"""One stream beside the network: what a session of one and a batch of many have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echostream.detokenizer import WordAssembler
from echostream.features import StreamFeatures, collate
from echostream.interpreter import Interpreter
from echostream.models.echostream import ModelState
from echostream.writer import WriterState, Written, read_heard


@dataclass(frozen=True)
class Output:
    """Words that came out at one moment, never to be taken back."""

    text: str  # whole words separated by one space
    delay_ms: float  # source audio heard when they came out
    final: bool  # True for what came out with the end of the stream
    source_text: str = ""  # source words new at this moment; only with `transcript=True`


class Stream:
    """What a stream has of its own beside its row of the network's state."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        model = interpreter.model
        self.features = StreamFeatures(
            model.cmvn, model.config.tail_ms, interpreter.max_future_frames
        )
        self.writer_state = interpreter.writer.init_state()
        self._source = WordAssembler(model.source_tokenizer)
        self._target = WordAssembler(model.target_tokenizer)
        self._waiting = Written([], [])  # tokens that have not been shown

    @property
    def ended(self) -> bool:
        """Whether the source has ended and the network has had all of it."""
        return self.features.finished and not self.features.num_groups

    @property
    def ready(self) -> bool:
        """Whether there is something that the network can hear, or something to say."""
        return bool(self.features.num_groups) or self.ended or any(self._waiting)

    def add(self, written: Written, writer_state: WriterState) -> None:
        """Takes over what the writer has said and remembers."""
        self.writer_state = writer_state
        self._waiting.source.extend(written.source)
        self._waiting.target.extend(written.target)

    def close(self) -> None:
        """Lets the writer say all that is left of a stream that has ended."""
        target, writer_state = self._interpreter.writer.close(self.writer_state)
        self.add(Written([], target), writer_state)

    def show(self) -> list[Output]:
        """The words that are new since the last call, at most one output; the last of a stream
        that has ended holds back nothing."""
        final = self.ended
        source_text = _words(self._source, self._waiting.source, final)
        target_text = _words(self._target, self._waiting.target, final)
        self._waiting = Written([], [])
        text = source_text if self._interpreter.task == "asr" else target_text
        shown = source_text if self._interpreter.transcript else ""
        return [Output(text, self.features.delay_ms, final, shown)] if text or shown else []


def serve(
    interpreter: Interpreter, streams: Sequence[Stream], num_groups: int, state: ModelState
) -> ModelState:
    """Lets each stream hear its next groups, in one step of the network on the streams' states.

    Returns the states after it. If it raises, nothing has changed.
    """
    chunks = [stream.features.first(num_groups) for stream in streams]
    x, valid = collate(chunks, interpreter.network.device)
    output, state = interpreter.network.advance(x, valid, state)
    heard = read_heard(output)
    said = [
        interpreter.writer.write(mine, stream.writer_state)
        for stream, mine in zip(streams, heard, strict=True)
    ]
    for stream, (written, writer_state) in zip(streams, said, strict=True):
        stream.features.drop(num_groups)
        stream.add(written, writer_state)
    return state


def _words(assembler: WordAssembler, ids: list[int], final: bool) -> str:
    words = assembler.push(ids)
    if final:
        words += assembler.finish()
    return " ".join(words)
