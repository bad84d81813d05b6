"""Many sessions on one network, which hears all streams together that have something to hear."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.model_folder import Model
from echostream.session.decoding import writer_nbytes
from echostream.session.policy import Policy
from echostream.session.settings import Interpreter
from echostream.session.stream import Output, Stream, refuse_to_copy, serve
from echostream.streaming import SAMPLE_RATE, map_state, put_rows, state_nbytes, take_rows

MAX_GROUPS_PER_STEP = 8  # 1.28 s: who has sent a whole recording holds up nobody for longer


class StreamBatch:
    """Up to `capacity` streams, which join and leave at any time; all have one L and one policy.

    `push` only computes features; `step` lets the network hear the complete groups of all streams
    and gives back their words. What comes out of a stream is what `StreamingTranslator` says of it
    alone. A server pushes what arrives and calls `step` while `ready` is not empty:

        stream = batch.join()
        batch.push(stream, samples, 16_000)
        for stream, outputs in batch.step().items(): ...

    The state of all streams is allocated once; a stream that has nothing to hear costs nothing.
    Calls must not overlap: it is for one thread, or for several with a lock. It can be neither
    pickled nor copied (`TypeError`).

    Args:
        model: as `load_model` returns it.
        capacity: streams that may be in it at once, at least 1.
        max_future_frames, lagging_k1, lagging_k2, stride_n, task, transcript, writer,
            emission_unit: as for `StreamingTranslator`.

    Raises:
        ValueError: as `StreamingTranslator`, and if `capacity` is less than 1.
    """

    def __init__(
        self,
        model: Model,
        capacity: int,
        max_future_frames: int | None = None,
        lagging_k1: int = 0,
        lagging_k2: int = 0,
        stride_n: int = 1,
        task: str = "st",
        transcript: bool = False,
        writer: str = "ctc",
        emission_unit: str = "auto",
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ValueError(f"`capacity` must be an integer >= 1, but is {capacity!r} instead.")
        policy = Policy(lagging_k1, lagging_k2, stride_n)
        self._interpreter = Interpreter(
            model, max_future_frames, policy, writer, task, transcript, emission_unit
        )
        self.model = model
        self.capacity = capacity
        self.emission_unit = self._interpreter.unit
        self._streams: dict[int, Stream] = {}
        self._rows: dict[int, int] = {}  # of the streams in `_state`
        self._names = count()
        with torch.inference_mode():
            # Cloned, because `put_rows` wants tensors that are nobody else's.
            self._state = map_state(torch.clone, self._interpreter.init_state(capacity))

    def __reduce__(self) -> NoReturn:
        refuse_to_copy(self)

    def __len__(self) -> int:
        """The streams that have joined and not left."""
        return len(self._streams)

    def __contains__(self, stream: int) -> bool:
        return stream in self._streams

    @property
    def ready(self) -> list[int]:
        """The streams that the next `step` serves."""
        return [name for name, stream in self._streams.items() if stream.ready]

    @property
    def state_nbytes(self) -> int:
        """Bytes of the tensors carried from step to step: those of the network are always there,
        a stream that has joined adds those of its writer."""
        writers = sum(writer_nbytes(stream.writer_state) for stream in self._streams.values())
        return state_nbytes(self._state) + writers

    def join(self) -> int:
        """A new stream, under a name that no other stream of this batch has had or will have.

        Raises:
            RuntimeError: if `capacity` streams are there.
        """
        free = set(range(self.capacity)).difference(self._rows.values())
        if not free:
            raise RuntimeError(
                f"the batch is full: its `capacity` is {self.capacity} and as many streams have "
                "joined. One must end or `leave` first."
            )
        name, row = next(self._names), min(free)  # low rows: those in use then often adjoin
        with torch.inference_mode():
            stream = Stream(self._interpreter)
            put_rows(self._state, [row], self._interpreter.init_state(1))
        self._streams[name], self._rows[name] = stream, row
        return name

    def push(self, stream: int, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> None:
        """Hears samples, as `StreamingTranslator.push`; the words come with a later `step`.

        Raises:
            KeyError: if there is no such stream.
            RuntimeError: if the stream is finished.
            ValueError: as `StreamingTranslator.push`. Every stream is then as it was before.
        """
        self._stream(stream).features.push(samples, sample_rate)

    def finish(self, stream: int) -> None:
        """The source has ended. What is owed comes with the next steps, and with the last word the
        stream leaves by itself.

        Raises:
            KeyError: if there is no such stream.
        """
        self._stream(stream).features.finish()

    def leave(self, stream: int) -> None:
        """Hangs up: the stream leaves at once, and what is owed to it is lost.

        Raises:
            KeyError: if there is no such stream.
        """
        self._stream(stream)
        del self._streams[stream], self._rows[stream]

    def num_waiting(self, stream: int) -> int:
        """Complete groups of 160 ms that a stream has sent and the network has not heard.

        Raises:
            KeyError: if there is no such stream.
        """
        return self._stream(stream).features.num_groups

    def delay_ms(self, stream: int) -> float:
        """Source audio heard since the stream began.

        Raises:
            KeyError: if there is no such stream.
        """
        return self._stream(stream).features.delay_ms

    def step(self) -> dict[int, list[Output]]:
        """Serves every stream in `ready`; the words of each, at most one output.

        Each hears all groups that it has, but at most 8. Streams with equally many share one step
        of the network, the fewest groups first: there is no way with fewer steps, and no stream
        takes part in two. Streams that have ended have left when it returns. If it raises, nothing
        is lost: what was not said comes with the next call.
        """
        ready = self.ready
        by_size: dict[int, list[int]] = defaultdict(list)
        for name in sorted(ready, key=self._rows.__getitem__):
            num_groups = self._streams[name].features.num_groups
            by_size[min(num_groups, MAX_GROUPS_PER_STEP)].append(name)
        with torch.inference_mode():
            for size in sorted(by_size.keys() - {0}):
                self._hear(by_size[size], size)
            ended = [name for name in ready if self._streams[name].ended]
            for name in ended:
                self._streams[name].close()
        shown = {name: self._streams[name].show() for name in ready}
        for name in ended:
            self.leave(name)
        return shown

    def warm_up(self) -> None:
        """Computes everything once, on silence and in all rows, as `StreamingTranslator.warm_up`.

        Raises:
            RuntimeError: if a stream has joined.
        """
        if self._streams:
            raise RuntimeError(f"`warm_up` is for an empty batch, but {len(self)} have joined.")
        for _ in range(self.capacity):
            stream = self.join()
            self.push(stream, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
            self.finish(stream)
        while self.ready:
            self.step()
        with torch.inference_mode():
            self._interpreter.writer.warm_up()

    def _hear(self, names: list[int], num_groups: int) -> None:
        streams = [self._streams[name] for name in names]
        rows = [self._rows[name] for name in names]
        state = serve(self._interpreter, streams, num_groups, take_rows(self._state, rows))
        put_rows(self._state, rows, state)

    def _stream(self, name: int) -> Stream:
        if name not in self._streams:
            raise KeyError(f"`stream` must be one that has joined and not left, but is {name!r}.")
        return self._streams[name]
