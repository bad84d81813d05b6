"""Many streams on one network: one step encodes and decodes all that have complete groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import count
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.device import memory_nbytes
from echostream.model_folder import Model
from echostream.ranges import plain
from echostream.session.settings import SessionSettings, StreamState
from echostream.session.snapshot import SnapshotError, fingerprint, pack, unpack
from echostream.session.stream import (
    Output,
    Stream,
    close_streams,
    refuse_to_copy,
    step_streams,
)
from echostream.session_config import SessionConfig
from echostream.streaming import SAMPLE_RATE, map_state, put_rows, state_nbytes, take_rows

MAX_GROUPS_PER_STEP = 8  # 1.28 s: a backlog delays the other streams by at most one such step


class StreamBatch:
    """Up to `capacity` streams with the same options, which join and leave at any time.

    `push` only computes features; `step` encodes and decodes the complete groups of all streams and
    returns their words. The words of each stream are those of a `StreamingTranslator` of its own. A
    server pushes samples as they arrive and calls `step` while `ready` is not empty::

        stream = batch.join()
        batch.push(stream, samples, 16_000)
        for stream, outputs in batch.step().items(): ...

    The state of all streams is allocated once; a stream without a complete group costs nothing.
    Not thread-safe: use one thread, or a lock. It can be neither pickled nor copied (`TypeError`).

    Args:
        model: as `load_model` returns it.
        capacity: the most streams at once, at least 1.
        config: the options; or each of them by its name, as for `StreamingTranslator`.

    Raises:
        ValueError: as `StreamingTranslator`, and if `capacity` is less than 1, or so large that the
            states need more memory than the device has.
    """

    def __init__(
        self,
        model: Model,
        capacity: int,
        config: SessionConfig | None = None,
        **options: Any,
    ) -> None:
        capacity = plain(capacity)
        if type(capacity) is not int or capacity < 1:
            raise ValueError(f"`capacity` must be an integer >= 1, but is {capacity!r} instead.")
        self._settings = SessionSettings(model, SessionConfig.of(config, options))
        self.model = model
        self.capacity = capacity
        self.config = self._settings.config
        self.max_future_frames = self._settings.max_future_frames
        self.emission_unit = self._settings.emission_unit
        self._streams: dict[int, Stream] = {}
        self._rows: dict[int, int] = {}  # of the streams in `_state`
        self._names = count()
        with torch.inference_mode():
            one = state_nbytes(self._settings.init_state(1))
            memory = memory_nbytes(self._settings.network.device)
            if memory is not None and capacity * one > memory:
                raise ValueError(
                    f"`capacity` must be at most {memory // one}, but is {capacity} instead: the "
                    f"state of a stream has {one} bytes, all together {capacity * one}, and the "
                    f"memory of its device {memory}."
                )
            # Cloned, because `put_rows` writes in place and `init_state` may share tensors.
            self._state = map_state(torch.clone, self._settings.init_state(capacity))

    def __reduce__(self) -> NoReturn:
        refuse_to_copy(self)

    def __len__(self) -> int:
        """The number of streams that have joined and not left."""
        return len(self._streams)

    def __contains__(self, stream: int) -> bool:
        return stream in self._streams

    @property
    def ready(self) -> list[int]:
        """The streams that the next `step` encodes or closes."""
        return [name for name, stream in self._streams.items() if stream.ready]

    @property
    def state_nbytes(self) -> int:
        """Bytes of the state tensors, all rows together, in use or not."""
        return state_nbytes(self._state)

    def join(self) -> int:
        """Adds a stream and returns its number, which this batch never uses again.

        Raises:
            RuntimeError: if there are `capacity` streams already.
        """
        free = set(range(self.capacity)).difference(self._rows.values())
        if not free:
            raise RuntimeError(
                f"the batch is full: its `capacity` is {self.capacity} and as many streams have "
                "joined. One must end or `leave` first."
            )
        name, row = (
            next(self._names),
            min(free),
        )  # low rows, so that those in use are adjacent
        with torch.inference_mode():
            stream = Stream(self._settings)
            put_rows(self._state, [row], self._settings.init_state(1))
        self._streams[name], self._rows[name] = stream, row
        return name

    def push(self, stream: int, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> None:
        """Takes samples, as `StreamingTranslator.push`; a later `step` returns the words.

        Raises:
            KeyError: if there is no such stream.
            RuntimeError: if the stream is finished.
            ValueError: as `StreamingTranslator.push`. No stream is changed then.
        """
        self._stream(stream).features.push(samples, sample_rate)

    def finish(self, stream: int) -> None:
        """Ends the source. The next steps return the remaining words; after the last of them the
        stream leaves by itself.

        Raises:
            KeyError: if there is no such stream.
        """
        self._stream(stream).features.finish()

    def leave(self, stream: int) -> None:
        """Removes a stream at once; its remaining words are lost.

        Raises:
            KeyError: if there is no such stream.
        """
        self._stream(stream)
        del self._streams[stream], self._rows[stream]

    def take(self, stream: int) -> bytes:
        """Removes a stream and returns all of it, words that no `step` has returned included.

        `put` of another batch with the same model and options, in any process, goes on with it: the
        words, their delays and the speech are those of a stream that was never moved.

        Raises:
            KeyError: if there is no such stream.
        """
        values, row = self._stream(stream).get_state(), self._rows[stream]
        with torch.inference_mode():
            data = pack(values, take_rows(self._state, [row]), self.config, self._fingerprint)
        self.leave(stream)
        return data

    def put(self, data: bytes) -> int:
        """Adds a stream that `take` has returned; returns its number.

        Raises:
            RuntimeError: if there are `capacity` streams already.
            SnapshotError: a ValueError, if it is none, or of another model or other options. No
                stream is changed then.
        """
        template = self._settings.init_state(1)
        values, row = unpack(data, template, self.config, self._fingerprint)
        stream = Stream(self._settings)
        try:
            stream.set_state(values)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise SnapshotError(f"these bytes are no stream: {error!r}") from error
        name = self.join()
        with torch.inference_mode():
            put_rows(self._state, [self._rows[name]], row)
        self._streams[name] = stream
        return name

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model)

    def num_waiting(self, stream: int) -> int:
        """The number of complete groups (160 ms) of a stream that are not encoded yet.

        Raises:
            KeyError: if there is no such stream.
        """
        return self._stream(stream).features.num_groups

    def num_samples(self, stream: int) -> int:
        """Source samples received since the stream began, at its own rate.

        Raises:
            KeyError: if there is no such stream.
        """
        return self._stream(stream).features.num_samples

    def delay_ms(self, stream: int) -> float:
        """Source audio received since the stream began, in ms.

        Raises:
            KeyError: if there is no such stream.
        """
        return self._stream(stream).features.delay_ms

    def step(self) -> dict[int, list[Output]]:
        """Encodes and decodes every stream in `ready`; at most one output for each.

        Takes all complete groups of each stream, but at most 8. Streams with the same number of
        groups share one step of the network; each stream takes part in one step. Streams that have
        ended leave. If it raises, nothing is lost: the next call returns the words.
        """
        ready = self.ready
        by_size: dict[int, list[int]] = defaultdict(list)
        for name in sorted(ready, key=self._rows.__getitem__):
            num_groups = self._streams[name].features.num_groups
            by_size[min(num_groups, MAX_GROUPS_PER_STEP)].append(name)
        with torch.inference_mode():
            for size in sorted(by_size.keys() - {0}):
                self._apply(by_size[size], partial(step_streams, num_groups=size))
            if ended := [name for name in ready if self._streams[name].at_end]:
                self._apply(ended, close_streams)
        outputs = {name: self._streams[name].take_output() for name in ready}
        for name in ended:
            self.leave(name)
        return outputs

    def warm_up(self) -> None:
        """Runs the network once on silence with all rows, as `StreamingTranslator.warm_up`.

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
            self._settings.method.warm_up()

    def _apply(self, names: Sequence[int], function: Callable[..., StreamState]) -> None:
        """Applies `function` to the states of some streams, in place of the old ones."""
        rows = [self._rows[name] for name in names]
        streams = [self._streams[name] for name in names]
        state = take_rows(self._state, rows)
        put_rows(self._state, rows, function(self._settings, streams, state=state))

    def _stream(self, name: int) -> Stream:
        if name not in self._streams:
            raise KeyError(f"`stream` must be one that has joined and not left, but is {name!r}.")
        return self._streams[name]
