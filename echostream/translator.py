"""The session: one speaker's audio in, translated words out, as soon as the policy allows.

It and `StreamBatch` are the objects of EchoStream that change. What is below them are functions
from a state to the next; what is above them (agents, command line, servers) hands over samples and
shows what comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.interpreter import Interpreter
from echostream.model_folder import Model, load_model
from echostream.policy import Policy
from echostream.stream import Output, Stream, joined_source_text, joined_text, refuse_to_copy, serve
from echostream.streaming import SAMPLE_RATE, state_nbytes
from echostream.writer import writer_nbytes

__all__ = ["Output", "StreamingTranslator", "joined_source_text", "joined_text"]

MAX_GROUPS_PER_STEP = 64  # 10.24 s: bounds the memory of a push of any length


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
        emission_unit: "word" gives out whole words, "char" every character at once, for a language
            without spaces; "auto" is the model's, which its configuration says for the language
            written. The attribute of this name is one of the first two. `joined_text` of the
            outputs is the text either way.

    A session can be neither pickled nor copied (`TypeError`); its model can, if PyTorch computes
    it. For processes that are forked, see `load_model`.

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
        emission_unit: str = "auto",
    ) -> None:
        policy = Policy(lagging_k1, lagging_k2, stride_n)
        self._interpreter = Interpreter(
            model, max_future_frames, policy, writer, task, transcript, emission_unit
        )
        self.model = model
        self.task = task
        self.max_future_frames = self._interpreter.max_future_frames
        self.emission_unit = self._interpreter.unit
        self.reset()

    def __reduce__(self) -> NoReturn:
        refuse_to_copy(self)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        backend: str = "torch",
        **session: Any,
    ) -> StreamingTranslator:
        """A session on the model of a folder; `session` are the other arguments of the class."""
        return cls(load_model(path, device, backend), **session)

    def reset(self) -> None:
        """Forgets the stream; the next push begins another, at any sample rate."""
        with torch.inference_mode():
            self._state = self._interpreter.init_state(1)
            self._stream = Stream(self._interpreter)

    def warm_up(self) -> None:
        """Computes everything once, on silence, so that the first stream does not pay for what the
        device sets up on first use. The stream is a new one afterwards."""
        self.reset()
        self.push(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
        self.finish()
        with torch.inference_mode():
            self._interpreter.writer.warm_up()
        self.reset()

    @property
    def delay_ms(self) -> float:
        """Source audio heard since the stream began."""
        return self._stream.features.delay_ms

    @property
    def state_nbytes(self) -> int:
        """Bytes of the tensors carried from push to push; the same all through a stream."""
        return state_nbytes(self._state) + writer_nbytes(self._stream.writer_state)

    def push(self, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> list[Output]:
        """The words that these samples bring out: at most one output, none if nothing is new.

        `samples` (S,) or (S, C) in [-1, 1], S >= 0, C <= 64; channels are averaged; NaN, infinity
        and values beyond all reason become zeros, with one warning in a stream.

        Raises:
            RuntimeError: if the stream is finished.
            ValueError: if the sample rate changes within a stream or makes no sense, or if the
                samples have another shape or type. The stream is then as it was before.
        """
        if self._stream.features.finished:
            raise RuntimeError("the stream is finished: call `reset()` before the next `push`.")
        self._stream.features.push(samples, sample_rate)
        return self._speak()

    def finish(self) -> list[Output]:
        """The words still owed, now that the source has ended; nothing the second time.

        The stream is closed with `config.tail_ms` of digital silence, because CTC needs frames
        after the last word to write it; then the look-ahead and the last, short group are flushed.
        """
        if self._stream.features.finished:
            return []
        self._stream.features.finish()
        return self._speak()

    def _speak(self) -> list[Output]:
        """Encodes all groups that are complete; the words that they bring out."""
        stream = self._stream
        with torch.inference_mode():
            while size := min(stream.features.num_groups, MAX_GROUPS_PER_STEP):
                self._state = serve(self._interpreter, [stream], size, self._state)
            if stream.ended:
                stream.close()
        return stream.show()
