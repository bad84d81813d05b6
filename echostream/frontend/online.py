"""The streaming front end of one stream: samples in, whole groups of features out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.frontend.audio import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    mix_down,
    without_unusable,
)
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import NUM_MEL_BINS, OnlineFbank
from echostream.frontend.resample import StreamingResampler
from echostream.frontend.sample_check import SampleCheck
from echostream.streaming import GROUP_FRAMES, GROUP_OUTPUTS, SAMPLE_RATE
from echostream.streaming.clock import OUTPUT_STRIDE

logger = logging.getLogger(__name__)


class Chunk(NamedTuple):
    """The next groups of one stream."""

    frames: NDArray[np.float32]  # (16 g, F)
    num_frames: int  # valid ones; the others pad the end of the stream


class StreamFeatures:
    """The normalised fbank frames of one stream that are not encoded yet.

    Args:
        cmvn: the statistics of the model.
        tail_ms: digital silence appended at the end, because CTC needs frames after the last word
            to find it.
        max_future_frames: look-ahead L of the stream: padding groups appended at the end.
    """

    def __init__(self, cmvn: GlobalCmvn, tail_ms: int, max_future_frames: int) -> None:
        self._cmvn = cmvn
        self._tail_ms = tail_ms
        self._max_future_frames = max_future_frames
        self._fbank = OnlineFbank()
        self._resampler: StreamingResampler | None = None
        self._sample_rate: int | None = None
        self._num_samples = 0
        self._frames: NDArray[np.float32] = np.empty((0, NUM_MEL_BINS), np.float32)
        self._num_left: int | None = None  # groups until the end, once the source has ended
        self._warned = False
        self._check = SampleCheck()

    def get_state(self) -> dict[str, Any]:
        """All that the stream has, as values; `set_state` of another goes on to the bit."""
        resampler = None if self._resampler is None else self._resampler.get_state()
        return {
            "fbank": self._fbank.get_state(),
            "resampler": resampler,
            "check": self._check.get_state(),
            "sample_rate": self._sample_rate,
            "num_samples": self._num_samples,
            "frames": self._frames,
            "num_left": self._num_left,
            "warned": self._warned,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes the state of another stream with the same arguments."""
        self._fbank = OnlineFbank.from_state(state["fbank"])
        if state["resampler"] is not None:
            self._resampler = StreamingResampler.from_state(state["resampler"])
        self._check = SampleCheck.from_state(state["check"])
        self._sample_rate, self._num_samples = state["sample_rate"], state["num_samples"]
        self._frames, self._num_left = state["frames"], state["num_left"]
        self._warned = state["warned"]

    @property
    def delay_ms(self) -> float:
        """Source audio received since the stream began, in ms."""
        return 1000 * self._num_samples / self._sample_rate if self._sample_rate else 0.0

    @property
    def num_samples(self) -> int:
        """Source samples received since the stream began."""
        return self._num_samples

    @property
    def finished(self) -> bool:
        """Whether the source has ended."""
        return self._num_left is not None

    @property
    def num_groups(self) -> int:
        """Complete groups; when the source has ended, all remaining ones."""
        return len(self._frames) // GROUP_FRAMES if self._num_left is None else self._num_left

    def push(self, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> None:
        """Takes `samples` (S,) or (S, C); unusable values become zeros, with one warning.

        There is also one warning for samples far beyond [-1, 1], and one for channels that cancel
        each other out.

        Raises:
            RuntimeError: if the source has ended.
            ValueError: as `StreamingTranslator.push`. The stream is not changed then.
        """
        if self.finished:
            raise RuntimeError("the stream is finished: it takes no more samples.")
        rate = self._checked_rate(sample_rate)
        usable, num_bad = without_unusable(np.asarray(samples))
        if num_bad and not self._warned:
            logger.warning("set to zero: %d samples that are NaN, infinite or too large.", num_bad)
            self._warned = True
        if self._resampler is None:
            self._sample_rate = rate
            self._resampler = StreamingResampler(rate, SAMPLE_RATE)
        self._num_samples += len(usable)
        self._check.push(usable, rate)
        self._append(self._resampler.push(mix_down(usable)))

    def finish(self) -> None:
        """Ends the source: appends the last samples, the tail and the padding for the look-ahead.

        Appends nothing if there were no samples.
        """
        if self.finished:
            return
        self._num_left = 0
        if self._resampler is None or self._num_samples == 0:
            return
        self._check.finish()
        silence = np.zeros(self._tail_ms * SAMPLE_RATE // 1000, np.float32)
        self._append(np.concatenate([self._resampler.finish(), silence]))
        # Frames that do not fill an output frame of the encoder do not need a group.
        num_outputs = len(self._frames) // OUTPUT_STRIDE
        self._num_left = self._max_future_frames + -(-num_outputs // GROUP_OUTPUTS)

    def peek(self, num_groups: int) -> Chunk:
        """The next groups, without removing them."""
        frames = self._frames[: GROUP_FRAMES * num_groups]
        padding = GROUP_FRAMES * num_groups - len(frames)
        return Chunk(np.pad(frames, ((0, padding), (0, 0))) if padding else frames, len(frames))

    def pop(self, num_groups: int) -> None:
        """Removes the next groups."""
        if self._num_left is not None:
            self._num_left -= num_groups
        self._frames = self._frames[GROUP_FRAMES * num_groups :]
        if len(self._frames) < GROUP_FRAMES:
            self._frames = self._frames.copy()  # a view would keep the whole push alive

    def _append(self, samples: NDArray[np.float32]) -> None:
        frames = self._cmvn.apply(self._fbank.push(samples))  # (S,) -> (T, F)
        if len(frames):
            self._frames = np.concatenate([self._frames, frames])

    def _checked_rate(self, sample_rate: int) -> int:
        if (
            not isinstance(sample_rate, Real)
            or not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE
            or int(sample_rate) != sample_rate
        ):
            raise ValueError(
                f"`sample_rate` must be a whole number of Hz from {MIN_SAMPLE_RATE} to "
                f"{MAX_SAMPLE_RATE}, but is {sample_rate!r} instead."
            )
        if self._sample_rate not in (None, sample_rate):
            raise ValueError(
                f"`sample_rate` must stay {self._sample_rate} within a stream, but is "
                f"{sample_rate} instead: another recording is another stream."
            )
        return int(sample_rate)


def collate(chunks: Sequence[Chunk], device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch of chunks of g groups each: frames `(B, 16 g, F)`, valid mask `(B, 16 g)`."""
    x = torch.from_numpy(np.stack([chunk.frames for chunk in chunks]))
    num_frames = torch.tensor([chunk.num_frames for chunk in chunks])
    valid = torch.arange(x.shape[1]) < num_frames[:, None]
    return x.to(device), valid.to(device)
