"""Streaming resampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.frontend.audio import check_samples
from echostream.streaming.clock import SAMPLE_RATE

_BLOCK_SECONDS, _LEAD_SECONDS = 2, 1
_NOTHING = np.zeros(0, np.float32)


class StreamingResampler:
    """Resamples one stream from `source_rate` to `target_rate` (Hz), by soxr at its HQ setting.

    The filter has linear phase and its delay is compensated: output sample k corresponds to input
    sample k * source_rate / target_rate. Therefore `push` holds back samples that depend on future
    input (measured: up to 37 ms at 48 kHz, 115 ms at 8 kHz), and `finish` returns them; S samples
    become round(S * target_rate / source_rate) in all. The output does not depend on how the
    samples are split into pushes, to the bit. With equal rates, samples are not changed.

    soxr has no state that could be taken out. So each block of 2 s has a filter of its own, which
    begins 1 s before it: from the last samples of a stream its filter can be made again, to the
    bit. Rates that are not whole numbers have one filter and no state.
    """

    def __init__(self, source_rate: float, target_rate: float = SAMPLE_RATE) -> None:
        for name, rate in (("source_rate", source_rate), ("target_rate", target_rate)):
            if rate <= 0:
                raise ValueError(
                    f"`{name}` must be a positive number of Hz, but is {rate} instead."
                )
        self.source_rate = source_rate
        self.target_rate = target_rate
        self._finished = False
        self._changes = source_rate != target_rate
        self._has_blocks = float(source_rate).is_integer() and float(target_rate).is_integer()
        self._begin(0)
        self._block = 0
        self._returned = 0  # samples in all
        self._recent: list[NDArray[np.float32]] = []  # input of the filter

    def push(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """The newly complete samples: (S,) at the source rate -> (S',) at the target rate.

        Raises ValueError for another number of axes, integer samples, or values that are not
        finite, and RuntimeError after `finish`.
        """
        self._check_open()
        check_samples(samples)
        samples = samples.astype(np.float32)
        if not self._changes:  # a copy, like all else that is returned
            return samples
        size = int(_BLOCK_SECONDS * self.source_rate)
        starts = range(0, len(samples), size)
        return np.concatenate([_NOTHING, *(self._feed(samples[i : i + size]) for i in starts)])

    def finish(self) -> NDArray[np.float32]:
        """Ends the stream and returns the samples held back, (S',)."""
        self._check_open()
        self._finished = True
        return self._feed(_NOTHING, last=True) if self._changes else _NOTHING.copy()

    def get_state(self) -> dict[str, Any]:
        """All that the stream has, as values; `from_state` makes it again.

        Raises ValueError for rates that are not whole numbers.
        """
        if not self._has_blocks:
            raise ValueError("a resampler between rates that are not whole numbers has no state.")
        return {
            "source_rate": int(self.source_rate),
            "target_rate": int(self.target_rate),
            "finished": self._finished,
            "block": self._block,
            "returned": self._returned,
            "recent": np.concatenate([_NOTHING, *self._recent]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> StreamingResampler:
        """The stream of `get_state`, which goes on to the bit."""
        made = cls(state["source_rate"], state["target_rate"])
        made._finished, made._block = state["finished"], state["block"]
        made._begin(made._block)
        made._recent, made._returned = [state["recent"]], state["returned"]
        if made._changes:
            made._run(state["recent"], last=False)  # has been returned
        return made

    def _begin(self, block: int) -> None:
        """Begins the filter of a block."""
        rates = (self.source_rate, self.target_rate)
        self._filter = soxr.ResampleStream(*rates, 1, dtype="float32") if self._changes else None
        seconds = max(0, _BLOCK_SECONDS * block - _LEAD_SECONDS)
        self._first = int(seconds * self.source_rate)  # of the filter's input in the stream
        self._made = int(seconds * self.target_rate)  # where in the stream the filter's output is

    def _run(self, samples: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        assert self._filter is not None
        made: NDArray[np.float32] = self._filter.resample_chunk(samples, last=last)
        self._made += len(made)
        return made

    def _feed(self, samples: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """The samples that at most one block of input completes."""
        if not self._has_blocks:
            return self._run(samples, last)
        parts = []
        self._recent.append(samples)
        while True:
            made = self._run(samples, last)
            end = int(_BLOCK_SECONDS * (self._block + 1) * self.target_rate)
            start = self._made - len(made)
            parts.append(made[max(0, self._returned - start) : max(0, end - start)])
            self._returned += len(parts[-1])
            if self._made < end:
                return np.concatenate(parts)
            self._block += 1
            before = self._first
            self._begin(self._block)
            samples = np.concatenate(self._recent)[self._first - before :].copy()
            self._recent = [samples]

    def _check_open(self) -> None:
        if self._finished:
            raise RuntimeError("The stream is finished; a new one needs a new StreamingResampler.")


def resample(
    samples: NDArray[np.floating], source_rate: float, target_rate: float = SAMPLE_RATE
) -> NDArray[np.float32]:
    """A whole recording at another rate: (S,) -> (round(S * target_rate / source_rate),)."""
    stream = StreamingResampler(source_rate, target_rate)
    return np.concatenate([stream.push(samples), stream.finish()])
