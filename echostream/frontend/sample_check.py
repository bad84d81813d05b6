"""Warnings for samples that are most likely a mistake of the caller, and their context."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

# Float samples may exceed 1 a little (8 is +18 dB); int16 values exceed this almost at once.
_TOO_LOUD = 8.0
_INTERVAL_MS = 1000  # of the intervals in which channels are compared with their mean
_SILENT = 1e-3  # RMS of channels without speech: -60 dB
# The mean of C uncorrelated channels has 1 / C of their power. Speech that is
# attenuated by 20 dB or more is too weak to be recognised.
_LEFT_OVER = 0.02


@contextlib.contextmanager
def prefix_log(name: str) -> Iterator[None]:
    """Prefixes log records inside the block with the name of a recording."""
    make = logging.getLogRecordFactory()

    def make_prefixed(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        escaped = name.replace("%", "%%") if record.args else name
        record.msg = f"{escaped}: {record.msg}"
        return record

    logging.setLogRecordFactory(make_prefixed)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)


class SampleCheck:
    """Checks the samples (S,) or (S, C) of one stream for two mistakes, and warns of each once.

    Values far beyond [-1, 1], mostly integers that were not divided by 32768; and channels of
    opposite sign, whose mean is silence. The warnings do not depend on how the samples are split
    into pushes. It keeps at most one second of samples.
    """

    def __init__(self) -> None:
        self._sample_rate = 0
        self._num_samples = 0
        self._is_loud = False
        self._cancels = False
        self._waiting: list[NDArray[np.float32]] = []  # samples of the current interval
        self._num_waiting = 0

    def get_state(self) -> dict[str, Any]:
        """All that the stream has, as values; `from_state` makes it again."""
        waiting = np.concatenate(self._waiting) if self._waiting else None
        return {
            "sample_rate": self._sample_rate,
            "num_samples": self._num_samples,
            "is_loud": self._is_loud,
            "cancels": self._cancels,
            "waiting": waiting,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SampleCheck:
        """The stream of `get_state`."""
        made = cls()
        made._sample_rate, made._num_samples = state["sample_rate"], state["num_samples"]
        made._is_loud, made._cancels = state["is_loud"], state["cancels"]
        if state["waiting"] is not None:
            made._waiting, made._num_waiting = [state["waiting"]], len(state["waiting"])
        return made

    def push(self, samples: NDArray[np.floating[Any]], sample_rate: int) -> None:
        """Checks the next samples, which are finite and not mixed down."""
        self._sample_rate = sample_rate
        if not self._is_loud:
            self._check_level(samples)
        if not self._cancels:
            self._collect(samples)
        self._num_samples += len(samples)

    def finish(self) -> None:
        """Ends the stream; checks the last, shorter interval."""
        if self._num_waiting:
            self._compare(self._num_samples)

    def _check_level(self, samples: NDArray[np.floating[Any]]) -> None:
        beyond = np.abs(samples) > _TOO_LOUD
        if not beyond.any():
            return
        self._is_loud = True
        first = np.argwhere(beyond)[0]
        logger.warning(
            "the sample at %.3f s is %.5g, but samples must be in [-1, 1]: the words may be wrong. "
            "Integers must be divided by their full scale, 32768 if they have 16 bits.",
            (self._num_samples + first[0]) / self._sample_rate,
            float(samples[tuple(first)]),
        )

    def _collect(self, samples: NDArray[np.floating[Any]]) -> None:
        interval = self._sample_rate * _INTERVAL_MS // 1000
        if samples.ndim == 1 or samples.shape[1] == 1:
            self._waiting, self._num_waiting = [], 0
            return
        if self._waiting and self._waiting[0].shape[1] != samples.shape[1]:
            self._waiting, self._num_waiting = [], 0
        start = 0
        while start < len(samples) and not self._cancels:
            piece = samples[start : start + interval - self._num_waiting]
            self._waiting.append(piece.astype(np.float32))
            self._num_waiting += len(piece)
            start += len(piece)
            if self._num_waiting == interval:
                self._compare(self._num_samples + start)

    def _compare(self, end: int) -> None:
        """Compares channels and mean in the interval that ends with sample `end` of the stream."""
        channels = np.concatenate(self._waiting).astype(np.float64)  # (S, C)
        start = end - len(channels)
        self._waiting, self._num_waiting = [], 0
        power = np.mean(channels**2)
        if power > _SILENT**2 and np.mean(channels.mean(axis=1) ** 2) < (
            _LEFT_OVER / channels.shape[1] * power
        ):
            self._cancels = True
            logger.warning(
                "the channels cancel out: from %.3f to %.3f s their mean, which is translated, is "
                "nearly silent though they are not. Give one channel, or turn the sign of one.",
                start / self._sample_rate,
                end / self._sample_rate,
            )
