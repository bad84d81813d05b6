"""One thread that steps the streams of all sessions; coroutines push audio and take words.

The thread owns every `StreamBatch`; coroutines reach it through one queue of calls, and it reaches
them through the event loop. Sessions with the same options share a batch.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from echostream.model_folder import Model
from echostream.session.batch import StreamBatch
from echostream.session.stream import Output
from echostream.session_config import SessionConfig

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What a step gave one stream, and how long its audio took."""

    outputs: tuple[Output, ...]
    queue_ms: float  # from the arrival of the newest audio to the start of the step
    compute_ms: float  # of the step, which the streams of a batch share
    last: bool  # True for the last step of the stream
    error: Exception | None = None  # why the stream was lost


@dataclass(eq=False)
class Seat:
    """The place of one stream in the engine, to be used on the event loop's thread only.

    `steps` gets a `Step` whenever there are new words, and a last one after `finish`.
    """

    config: SessionConfig
    deliver: Callable[[Step], None]
    batch: StreamBatch
    stream: int
    arrived: float = 0.0  # `time.monotonic` of the newest audio
    waiters: deque[Future[None]] = field(default_factory=deque)  # pushes that wait for the network


class Engine:
    """Steps the streams of all sessions on one thread.

    Args:
        model: as `load_model` returns it.
        capacity: the most streams at once, over all options.
        max_backlog_groups: groups (160 ms) of a stream that may wait before `push` waits too.
        on_step: called on the thread with the number of streams and the seconds of each step.
    """

    def __init__(
        self,
        model: Model,
        capacity: int,
        max_backlog_groups: int = 8,
        on_step: Callable[[int, float], None] = lambda streams, seconds: None,
    ) -> None:
        self.model = model
        self.capacity = capacity
        self._max_backlog_groups = max_backlog_groups
        self._on_step = on_step
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._batches: dict[SessionConfig, StreamBatch] = {}
        self._seats: dict[tuple[int, int], Seat] = {}  # by batch and stream
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="echostream-engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current step; streams that are left are lost."""
        if self._thread.is_alive():
            self._calls.put(self._stop)
            self._thread.join()

    async def prepare(self, config: SessionConfig) -> None:
        """Makes the batch of these options and runs its network once.

        Raises:
            ValueError: if the options do not fit the model.
        """
        await self._call(lambda: self._batch(config))

    async def join(self, config: SessionConfig, deliver: Callable[[Step], None]) -> Seat:
        """A stream with these options; `deliver` is called on the event loop with each `Step`.

        Raises:
            ValueError: if the options do not fit the model.
            RuntimeError: if there are `capacity` streams already.
        """
        return await self._join(config, deliver, StreamBatch.join)

    async def _join(
        self,
        config: SessionConfig,
        deliver: Callable[[Step], None],
        add: Callable[[StreamBatch], int],
    ) -> Seat:
        loop = asyncio.get_running_loop()

        def on_loop(step: Step) -> None:
            loop.call_soon_threadsafe(deliver, step)

        made: list[Seat] = []

        def join() -> Seat:
            if len(self._seats) >= self.capacity:
                raise RuntimeError(f"the server is full: it has {self.capacity} streams.")
            batch = self._batch(config)
            seat = Seat(config, on_loop, batch, add(batch), time.monotonic())
            self._seats[id(batch), seat.stream] = seat
            made.append(seat)
            return seat

        def remove() -> None:
            for seat in made:
                self._remove(seat)

        try:
            return await self._call(join)
        except asyncio.CancelledError:  # nobody will have the seat that the thread makes
            self._calls.put(remove)
            raise

    async def take(self, seat: Seat) -> tuple[bytes, int]:
        """Removes a stream and returns it, with the number of samples that it has received.

        Its steps so far have been delivered when this returns.

        Raises:
            RuntimeError: if the stream is finished or gone.
        """

        def take() -> tuple[bytes, int]:
            batch = self._present(seat)
            received = batch.num_samples(seat.stream)
            data = batch.take(seat.stream)
            self._remove(seat)
            return data, received

        return await self._call(take)

    async def put(
        self, config: SessionConfig, data: bytes, deliver: Callable[[Step], None]
    ) -> Seat:
        """As `join`, with a stream that `take` has returned, here or in another process.

        Raises:
            ValueError: also if the stream is of another model or other options.
        """
        return await self._join(config, deliver, lambda batch: batch.put(data))

    async def push(
        self, seat: Seat, samples: NDArray[np.float32], sample_rate: int
    ) -> asyncio.Future[None]:
        """Takes samples (S,); the future is done when few enough groups of the stream wait.

        Raises:
            ValueError: for another sample rate than before, or one out of range.
            RuntimeError: if the stream is finished or gone.
        """
        done: Future[None] = Future()
        arrived = time.monotonic()

        def push() -> None:
            batch = self._present(seat)
            seat.arrived = arrived
            batch.push(seat.stream, samples, sample_rate)
            seat.waiters.append(done)
            self._release(seat)

        await self._call(push)
        return asyncio.wrap_future(done)

    async def finish(self, seat: Seat) -> None:
        """Ends the source of a stream; its last `Step` follows.

        Raises:
            RuntimeError: if the stream is gone.
        """

        def finish() -> None:
            batch = self._present(seat)
            seat.arrived = time.monotonic()
            batch.finish(seat.stream)

        await self._call(finish)

    def leave(self, seat: Seat) -> None:
        """Removes a stream at once, if it is still there; its remaining words are lost."""
        self._calls.put(lambda: self._remove(seat))

    async def _call(self, function: Callable[[], T]) -> T:
        """The value of a function that the thread calls between two steps."""
        if not self._thread.is_alive():
            raise RuntimeError("the engine is not running.")
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # for the coroutine that waits
                future.set_exception(error)

        self._calls.put(call)
        # A coroutine that is cancelled must not cancel the call: the thread runs it in any case.
        return await asyncio.shield(asyncio.wrap_future(future))

    # What follows runs on the thread.

    def _run(self) -> None:
        while not self._stopping:
            ready = [batch for batch in self._batches.values() if batch.ready]
            self._drain_calls(block=not ready)
            for batch in ready:
                self._step(batch)
                self._drain_calls(block=False)

    def _drain_calls(self, block: bool) -> None:
        """Runs the calls that have come in; with `block`, waits for one first."""
        try:
            self._calls.get(block)()
            while True:
                self._calls.get_nowait()()
        except queue.Empty:
            return

    def _stop(self) -> None:
        self._stopping = True
        for seat in list(self._seats.values()):
            self._lose(seat, RuntimeError("the server has stopped."))

    def _batch(self, config: SessionConfig) -> StreamBatch:
        if config not in self._batches:
            batch = StreamBatch(self.model, self.capacity, config)
            batch.warm_up()
            self._batches[config] = batch
        return self._batches[config]

    def _step(self, batch: StreamBatch) -> None:
        started, count = time.monotonic(), len(batch.ready)
        if not count:  # a call has removed the last of them
            return
        try:
            found = batch.step()
        except Exception as error:  # the streams of this batch are lost, the others go on
            logger.exception("a step failed; its streams are lost")
            for seat in [seat for seat in self._seats.values() if seat.batch is batch]:
                self._lose(seat, error)
            return
        seconds = time.monotonic() - started
        self._on_step(count, seconds)
        for stream, outputs in found.items():
            seat = self._seats[id(batch), stream]
            last = stream not in batch
            if outputs or last:
                queued = 1000 * max(0.0, started - seat.arrived)
                seat.deliver(Step(tuple(outputs), queued, 1000 * seconds, last))
            if last:
                self._remove(seat)
            else:
                self._release(seat)

    def _present(self, seat: Seat) -> StreamBatch:
        if (id(seat.batch), seat.stream) not in self._seats:
            raise RuntimeError("the stream has ended.")
        return seat.batch

    def _release(self, seat: Seat) -> None:
        """Lets pushes return if few enough groups of the stream are waiting."""
        if seat.batch.num_waiting(seat.stream) <= self._max_backlog_groups:
            _resolve(seat.waiters)

    def _remove(self, seat: Seat) -> None:
        if self._seats.pop((id(seat.batch), seat.stream), None) is not None:
            if seat.stream in seat.batch:
                seat.batch.leave(seat.stream)
            _resolve(seat.waiters)

    def _lose(self, seat: Seat, error: Exception) -> None:
        self._remove(seat)
        seat.deliver(Step((), 0.0, 0.0, True, error))


def _resolve(waiters: deque[Future[Any]]) -> None:
    while waiters:
        future = waiters.popleft()
        if future.set_running_or_notify_cancel():
            future.set_result(None)
