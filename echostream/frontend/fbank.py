"""Log-mel filterbank features, computed once per frame as the audio arrives.

Computed by kaldi-native-fbank as in Kaldi (DC offset removed, pre-emphasis 0.97, povey window,
natural log of the mel power). Only the timing differs: frame t ends at sample 160 * (t + 1), so S
samples have exactly `S // 160` frames and no frame of a segment waits for the next segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

from echostream.frontend.audio import check_samples
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE

WINDOW_LENGTH = 400
NUM_MEL_BINS = 80

# Kaldi works on 16-bit integers; the log-mel values of StreamSpeech's models assume the same.
_KALDI_SCALE = np.float32(2**15)
# The extractor holds all frames of a call until they are fetched: hundreds of megabytes for an
# hour of audio.
_BLOCK_SAMPLES = SAMPLE_RATE


class OnlineFbank:
    """Streaming log-mel features of one stream: samples in, new frames out.

    16 kHz, 80 bins from 20 Hz to 8 kHz, 25 ms windows every 10 ms, no dither. The stream is
    preceded by 240 zeros (15 ms), the difference of window and hop. The frames do not depend on how
    the samples are split into pushes, to the bit. Less than one window is kept between pushes.
    """

    def __init__(self) -> None:
        self._begin(np.zeros(WINDOW_LENGTH - HOP_LENGTH, np.float32))
        self._num_frames = 0

    def _begin(self, samples: NDArray[np.float32]) -> None:
        """Begins an extractor with the samples (S,) before the next ones, scaled."""
        options = knf.FbankOptions()
        options.frame_opts.samp_freq = SAMPLE_RATE
        options.frame_opts.frame_length_ms = 1000 * WINDOW_LENGTH / SAMPLE_RATE
        options.frame_opts.frame_shift_ms = 1000 * HOP_LENGTH / SAMPLE_RATE
        options.frame_opts.window_type = "povey"
        options.frame_opts.snip_edges = True
        options.frame_opts.dither = 0.0
        options.mel_opts.num_bins = NUM_MEL_BINS
        self._extractor = knf.OnlineFbank(options)
        self._extractor.accept_waveform(SAMPLE_RATE, samples.data)
        self._recent = samples  # less than a window
        self._num_extracted = 0

    def get_state(self) -> dict[str, Any]:
        """All that the stream has, as values; `from_state` makes it again."""
        return {"num_frames": self._num_frames, "recent": self._recent}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> OnlineFbank:
        """The stream of `get_state`. It goes on to the bit: a frame needs its own window alone."""
        made = cls()
        made._num_frames = state["num_frames"]
        made._begin(state["recent"])
        return made

    @property
    def num_frames(self) -> int:
        """Frames returned since the stream began."""
        return self._num_frames

    def push(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """The newly complete frames: (S,) at 16 kHz in [-1, 1] -> (T, 80).

        Raises ValueError for another number of axes, integer samples, or values that are not
        finite; the stream is not changed then.
        """
        check_samples(samples)
        scaled = np.multiply(samples, _KALDI_SCALE, dtype=np.float32)
        blocks = [
            self._push_block(scaled[start : start + _BLOCK_SAMPLES])
            for start in range(0, len(scaled), _BLOCK_SAMPLES)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, NUM_MEL_BINS), np.float32)

    def _push_block(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        # It takes any sequence; a memoryview is the fastest, a numpy array the slowest.
        self._extractor.accept_waveform(SAMPLE_RATE, scaled.data)
        ready = self._extractor.num_frames_ready
        # get_frame returns a view into the extractor, so it is copied before pop frees it.
        frames = np.empty((ready - self._num_extracted, NUM_MEL_BINS), np.float32)
        for row, index in enumerate(range(self._num_extracted, ready)):
            frames[row] = self._extractor.get_frame(index)
        self._extractor.pop(len(frames))
        self._num_extracted = ready
        self._num_frames += len(frames)
        self._recent = np.concatenate([self._recent, scaled])[HOP_LENGTH * len(frames) :].copy()
        return frames


def fbank(samples: NDArray[np.floating]) -> NDArray[np.float32]:
    """Log-mel features of a whole recording: (S,) at 16 kHz in [-1, 1] -> (S // 160, 80)."""
    return OnlineFbank().push(samples)
