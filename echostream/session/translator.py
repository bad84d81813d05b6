"""The session of one stream: samples in, translated words out, as soon as the policy allows.

It and `StreamBatch` are the objects of EchoStream that change. What lies below them are functions
from a state to the next; what lies above them (agents, commands, servers) passes samples in and
shows the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.model_folder import Model, load_model
from echostream.session.settings import SessionSettings
from echostream.session.stream import (
    Output,
    Stream,
    close_streams,
    joined_source_text,
    joined_text,
    refuse_to_copy,
    step_streams,
)
from echostream.session_config import SessionConfig
from echostream.streaming import SAMPLE_RATE, state_nbytes

__all__ = ["Output", "StreamingTranslator", "joined_source_text", "joined_text"]

MAX_GROUPS_PER_STEP = 64  # 10.24 s: bounds the memory of a push of any length


class StreamingTranslator:
    """One stream: `push` samples as they come, `finish` at the end, `reset` for the next stream.

    Args:
        model: as `load_model` returns it; any number of sessions may share one.
        config: the options; or each of them by its name, as in `max_future_frames=1`.

    The attribute `emission_unit` is word or char, with "auto" that of the model. `joined_text` of
    the outputs is the text with either.

    A session can be neither pickled nor copied (`TypeError`); its model can, if PyTorch computes
    it. For processes that are forked, see `load_model`.

    Raises:
        ValueError: if the model was not trained for this L or has no decoder though one is asked
            for, or if an option is out of its range.
    """

    def __init__(self, model: Model, config: SessionConfig | None = None, **options: Any) -> None:
        self._settings = SessionSettings(model, SessionConfig.of(config, options))
        self.model = model
        self.config = self._settings.config
        self.max_future_frames = self._settings.max_future_frames
        self.emission_unit = self._settings.emission_unit
        self.reset()

    def __reduce__(self) -> NoReturn:
        refuse_to_copy(self)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        backend: str = "torch",
        config: SessionConfig | None = None,
        **options: Any,
    ) -> StreamingTranslator:
        """A session on the model of a folder; `config` and options as of the class."""
        return cls(load_model(path, device, backend), config, **options)

    def reset(self) -> None:
        """Forgets the stream; the next push begins another, at any sample rate."""
        with torch.inference_mode():
            self._state = self._settings.init_state(1)
            self._stream = Stream(self._settings)

    def warm_up(self) -> None:
        """Computes everything once, on silence, so that the first stream does not pay for what the
        device sets up on first use. The stream is a new one afterwards."""
        self.reset()
        self.push(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
        self.finish()
        with torch.inference_mode():
            self._settings.method.warm_up()
        self.reset()

    @property
    def delay_ms(self) -> float:
        """Source audio received since the stream began."""
        return self._stream.features.delay_ms

    @property
    def state_nbytes(self) -> int:
        """Bytes of the tensors carried from push to push; the same all through a stream."""
        return state_nbytes(self._state)

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
        return self._decode()

    def finish(self) -> list[Output]:
        """The remaining words, now that the source has ended; nothing the second time.

        The stream is closed with `config.tail_ms` of digital silence, because CTC needs frames
        after the last word to write it; then the look-ahead and the last, short group are flushed.
        """
        if self._stream.features.finished:
            return []
        self._stream.features.finish()
        return self._decode()

    def _decode(self) -> list[Output]:
        """Encodes and decodes all groups that are complete; the new words."""
        stream = self._stream
        with torch.inference_mode():
            while size := min(stream.features.num_groups, MAX_GROUPS_PER_STEP):
                self._state = step_streams(self._settings, [stream], size, self._state)
            if stream.at_end:
                self._state = close_streams(self._settings, [stream], self._state)
        return stream.take_output()
