"""The session: one speaker's audio in, translated words out, as soon as the policy allows.

It is the one object of EchoStream that changes. What is below it are functions from a state to the
next; what is above it (agents, command line, servers) hands over samples and shows what comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.detokenizer import WordAssembler
from echostream.frontend.audio import clean
from echostream.frontend.fbank import NUM_MEL_BINS, OnlineFbank
from echostream.frontend.resample import StreamingResampler
from echostream.model_folder import Model, load_model
from echostream.policy import Policy
from echostream.streaming import GROUP_FRAMES, SAMPLE_RATE, state_nbytes
from echostream.writer import Writer, Written, writer_nbytes

logger = logging.getLogger(__name__)

TASKS = ("st", "asr")
MAX_GROUPS_PER_STEP = 64  # 10.24 s: bounds the memory of a push of any length
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000  # Hz; what is outside is a mistake of the caller


@dataclass(frozen=True)
class Output:
    """Words that came out at one moment, never to be taken back."""

    text: str  # whole words separated by one space
    delay_ms: float  # source audio heard when they came out
    final: bool  # True for what `finish` returned
    source_text: str = ""  # source words new at this moment; only with `transcript=True`


class StreamingTranslator:
    """One stream: `push` samples as they come, `finish` at the end, `reset` for the next stream.

    Args:
        model: as `load_model` returns it; any number of sessions may share one.
        max_future_frames: look-ahead L in groups of 160 ms; the smallest of the model if None.
        lagging_k1: target tokens to stay behind what the ST head knows.
        lagging_k2: source tokens to hear before anything is written.
        stride_n: tokens by which both heads must grow before something is written.
        task: "st" writes the translation, "asr" each source word as soon as it is complete.
        transcript: also report source words. An output may then have source words and no `text`.
        writer: "ctc" writes the tokens of the ST head, "decoder" those of the text decoder.

    Raises:
        ValueError: if the model was not trained for this L or has no decoder though one is asked
            for, or if an argument is out of its range.
    """

    def __init__(
        self,
        model: Model,
        max_future_frames: int | None = None,
        lagging_k1: int = 0,
        lagging_k2: int = 0,
        stride_n: int = 1,
        task: str = "st",
        transcript: bool = False,
        writer: str = "ctc",
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {', '.join(TASKS)}, but is {task!r} instead.")
        self.model = model
        self.task = task
        self.max_future_frames = (
            min(model.network.max_future_frames) if max_future_frames is None else max_future_frames
        )
        policy = Policy(lagging_k1, lagging_k2, stride_n)
        self._writer = Writer(model.network, policy, writer)
        self._transcript = transcript
        self.reset()

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", **session: Any
    ) -> StreamingTranslator:
        """A session on the model of a folder; `session` are the other arguments of the class."""
        return cls(load_model(path, device), **session)

    def reset(self) -> None:
        """Forgets the stream; the next push begins another, at any sample rate."""
        network = self.model.network
        self._device = next(network.parameters()).device
        with torch.inference_mode():
            self._state = network.init_state(1, self.max_future_frames)
            self._writer_state = self._writer.init_state()
        self._sample_rate: int | None = None
        self._resampler: StreamingResampler | None = None
        self._fbank = OnlineFbank()
        self._rest: NDArray[np.float32] = np.empty((0, NUM_MEL_BINS), np.float32)
        self._num_samples = 0
        self._source = WordAssembler(self.model.source_tokenizer)
        self._target = WordAssembler(self.model.target_tokenizer)
        self._finished = False
        self._warned = False

    def warm_up(self) -> None:
        """Computes everything once, on silence, so that the first stream does not pay for what the
        device sets up on first use. The stream is a new one afterwards."""
        self.reset()
        self.push(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
        self.finish()
        with torch.inference_mode():
            self._writer.warm_up()
        self.reset()

    @property
    def delay_ms(self) -> float:
        """Source audio heard since the stream began."""
        return 1000 * self._num_samples / self._sample_rate if self._sample_rate else 0.0

    @property
    def state_nbytes(self) -> int:
        """Bytes of the tensors carried from push to push; the same all through a stream."""
        return state_nbytes(self._state) + writer_nbytes(self._writer_state)

    def push(self, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> list[Output]:
        """The words that these samples bring out: at most one output, none if nothing is new.

        `samples` (S,) or (S, C) in [-1, 1], S >= 0; channels are averaged; NaN, infinity
        and values beyond all reason become zeros, with one warning in a stream.

        Raises:
            RuntimeError: if the stream is finished.
            ValueError: if the sample rate changes within a stream or makes no sense, or if the
                samples have another shape or type. The stream is then as it was before.
        """
        if self._finished:
            raise RuntimeError("the stream is finished: call `reset()` before the next `push`.")
        rate = self._checked_rate(sample_rate)
        mono, num_bad = clean(np.asarray(samples))
        if num_bad and not self._warned:
            logger.warning("set to zero: %d samples that are NaN, infinite or too large.", num_bad)
            self._warned = True
        if self._resampler is None:
            self._sample_rate = rate
            self._resampler = StreamingResampler(rate, SAMPLE_RATE)
        self._num_samples += len(mono)
        return self._show(self._hear(self._resampler.push(mono)), final=False)

    def finish(self) -> list[Output]:
        """The words still owed, now that the source has ended; nothing the second time.

        The stream is closed with `config.tail_ms` of digital silence, because CTC needs frames
        after the last word to write it; then the look-ahead and the last, short group are flushed.
        """
        if self._finished:
            return []
        self._finished = True
        if self._resampler is None or self._num_samples == 0:
            return []
        silence = np.zeros(self.model.config.tail_ms * SAMPLE_RATE // 1000, np.float32)
        written = self._hear(np.concatenate([self._resampler.finish(), silence]))
        tail = torch.from_numpy(self._rest)[None].to(self._device) if len(self._rest) else None
        with torch.inference_mode():
            output, self._state = self.model.network.finish(self._state, tail)
            last, self._writer_state = self._writer.finish(output, self._writer_state)
        return self._show(_joined([written, last]), final=True)

    def _checked_rate(self, sample_rate: int) -> int:
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE or int(sample_rate) != sample_rate:
            raise ValueError(
                f"`sample_rate` must be a whole number of Hz from {MIN_SAMPLE_RATE} to "
                f"{MAX_SAMPLE_RATE}, but is {sample_rate!r} instead."
            )
        if self._sample_rate not in (None, sample_rate):
            raise ValueError(
                f"`sample_rate` must stay {self._sample_rate} within a stream, but is "
                f"{sample_rate} instead: call `finish()` and `reset()` between two recordings."
            )
        return int(sample_rate)

    def _hear(self, samples: NDArray[np.float32]) -> Written:
        """Encodes all groups that are complete; the tokens that they bring out."""
        frames = self.model.cmvn.apply(self._fbank.push(samples))  # (S,) -> (T, F)
        frames = np.concatenate([self._rest, frames])
        whole = len(frames) - len(frames) % GROUP_FRAMES
        self._rest = frames[whole:].copy()  # a view would keep the whole push alive
        parts = []
        size = GROUP_FRAMES * MAX_GROUPS_PER_STEP
        with torch.inference_mode():
            for start in range(0, whole, size):
                chunk = torch.from_numpy(frames[start : min(start + size, whole)])
                chunk = chunk[None].to(self._device)  # (T, F) -> (1, T, F)
                output, self._state = self.model.network.step(chunk, self._state)
                written, self._writer_state = self._writer.advance(output, self._writer_state)
                parts.append(written)
        return _joined(parts)

    def _show(self, written: Written, final: bool) -> list[Output]:
        source_text = _words(self._source, written.source, final)
        target_text = _words(self._target, written.target, final)
        text = source_text if self.task == "asr" else target_text
        shown = source_text if self._transcript else ""
        return [Output(text, self.delay_ms, final, shown)] if text or shown else []


def _joined(parts: list[Written]) -> Written:
    source = [token for part in parts for token in part.source]
    return Written(source, [token for part in parts for token in part.target])


def _words(assembler: WordAssembler, ids: list[int], final: bool) -> str:
    words = assembler.push(ids)
    if final:
        words += assembler.finish()
    return " ".join(words)
