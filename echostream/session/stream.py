"""One stream beside the network: what a session of one and a batch of many have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from echostream.device import adapt_to_fork
from echostream.frontend.online import StreamFeatures, collate
from echostream.models.echostream import ModelState
from echostream.session.decoding import WriterState, Written, read_heard
from echostream.session.settings import Interpreter
from echostream.text.detokenizer import Assembler, join_text, make_assembler


@dataclass(frozen=True)
class Output:
    """Text that came out at one moment, never to be taken back.

    By the word, a text is whole words with one space between them, and a space belongs between two
    outputs; by the character, it is the next characters with their own spaces, and nothing belongs
    between two outputs. `joined_text` puts outputs together either way.
    """

    text: str
    delay_ms: float  # source audio heard when it came out
    final: bool  # True for what came out with the end of the stream
    source_text: str = ""  # source text new at this moment; only with `transcript=True`
    unit: str = "word"  # of `text`: word or char
    source_unit: str = "word"  # of `source_text`


def joined_text(outputs: Iterable[Output]) -> str:
    """The text of outputs of one stream, one after the other."""
    outputs = list(outputs)
    return join_text((output.text for output in outputs), outputs[0].unit) if outputs else ""


def joined_source_text(outputs: Iterable[Output]) -> str:
    """The source text of outputs of one stream, one after the other."""
    outputs = list(outputs)
    texts = (output.source_text for output in outputs)
    return join_text(texts, outputs[0].source_unit) if outputs else ""


def refuse_to_copy(session: object) -> NoReturn:
    """Raises the `TypeError` of a session that is to be pickled or copied."""
    raise TypeError(
        f"a {type(session).__name__} cannot be pickled or copied, because the resampler and the "
        "filter bank of a stream cannot: make another one of the same `Model`, which can."
    )


class Stream:
    """What a stream has of its own beside its row of the network's state."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        model = interpreter.model
        self.features = StreamFeatures(
            model.cmvn, model.config.tail_ms, interpreter.max_future_frames
        )
        self.writer_state = interpreter.writer.init_state()
        self._source = make_assembler(model.source_tokenizer, interpreter.source_unit)
        self._target = make_assembler(model.target_tokenizer, interpreter.target_unit)
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
        """What is new since the last call, at most one output; the last of a stream that has ended
        holds back nothing."""
        interpreter = self._interpreter
        final = self.ended
        source_text = _new_text(self._source, self._waiting.source, final, interpreter.source_unit)
        target_text = _new_text(self._target, self._waiting.target, final, interpreter.target_unit)
        self._waiting = Written([], [])
        text = source_text if interpreter.task == "asr" else target_text
        shown = source_text if interpreter.transcript else ""
        if not (text or shown):
            return []
        delay_ms = self.features.delay_ms
        return [Output(text, delay_ms, final, shown, interpreter.unit, interpreter.source_unit)]


def serve(
    interpreter: Interpreter, streams: Sequence[Stream], num_groups: int, state: ModelState
) -> ModelState:
    """Lets each stream hear its next groups, in one step of the network on the streams' states.

    Returns the states after it. If it raises, nothing has changed.
    """
    adapt_to_fork()
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


def _new_text(assembler: Assembler, ids: list[int], final: bool, unit: str) -> str:
    text = assembler.push(ids)
    return join_text((text, assembler.finish()), unit) if final else text
