"""The session of one stream: samples in, translated words out, as soon as the policy allows.

It and `StreamBatch` are the only mutable objects of EchoStream. The layers below are functions from
a state to the next; the layers above (agents, commands, servers) push samples and show the words.
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
    """One stream: `push` samples as they arrive, `finish` at the end, `reset` for the next stream.

    Args:
        model: as `load_model` returns it; any number of sessions may share one.
        config: the options; or each of them by its name, as in `max_future_frames=1`.

    The attribute `emission_unit` is word or char; with the option "auto" it is that of the model.
    `joined_text` of the outputs is the text with either.

    Not thread-safe: one thread at a time. A session can be neither pickled nor copied
    (`TypeError`); a model with the back end torch can. For processes that are forked, see
    `load_model`.

    Raises:
        ValueError: if the model was not trained for this L, if it has no text decoder and the
            decoding method needs one, or if an option is out of its range.
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
        *,
        voice: str | None = None,
        **options: Any,
    ) -> StreamingTranslator:
        """A session with the model of a folder, and the voice of that name (see `load_model`).

        `config` and options are as in the constructor.
        """
        return cls(load_model(path, device, backend, voice), config, **options)

    def reset(self) -> None:
        """Discards the stream; the next push begins another, at any sample rate."""
        with torch.inference_mode():
            self._state = self._settings.init_state(1)
            self._stream = Stream(self._settings)

    def warm_up(self) -> None:
        """Runs the network once on silence, so that the first stream is not slowed down by what the
        device initialises on first use; then resets the stream."""
        self.reset()
        self.push(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
        self.finish()
        with torch.inference_mode():
            self._settings.method.warm_up()
        self.reset()

    @property
    def delay_ms(self) -> float:
        """Source audio received since the stream began, in ms."""
        return self._stream.features.delay_ms

    @property
    def state_nbytes(self) -> int:
        """Bytes of the state tensors; constant within a stream."""
        return state_nbytes(self._state)

    @property
    def backlog_ms(self) -> float:
        """Speech that is committed and not yet played, on the clock of a player, in ms.

        Words that are written and wait to be spoken are not part of it: `words_waiting`.
        """
        return 1000 * self._stream.speech.backlog / SAMPLE_RATE

    @property
    def longest_backlog_ms(self) -> float:
        """The longest `backlog_ms` of the stream so far."""
        return 1000 * self._stream.speech.longest_backlog / SAMPLE_RATE

    @property
    def words_waiting(self) -> int:
        """Words that are written and not yet spoken, but for the one that may go on."""
        return len(self._stream.speech.waiting)

    def push(self, samples: NDArray[Any] | Sequence[float], sample_rate: int) -> list[Output]:
        """Translates samples; the new words as one output, or an empty list if there are none.

        `samples` (S,) or (S, C) in [-1, 1], S >= 0, C <= 64; channels are averaged; NaN, infinity
        and values beyond 1e6 become zeros, with one warning per stream.

        Raises:
            RuntimeError: if the stream is finished.
            ValueError: if the sample rate changes within a stream or is out of range, or if the
                samples have another shape or type. The stream is not changed then.
        """
        if self._stream.features.finished:
            raise RuntimeError("the stream is finished: call `reset()` before the next `push`.")
        self._stream.features.push(samples, sample_rate)
        return self._decode()

    def finish(self) -> list[Output]:
        """Ends the source; the remaining words, or an empty list in a second call. If it raises,
        nothing is lost: the next call returns the words.

        Appends `config.tail_ms` of digital silence, because CTC needs frames after the last word
        to find it, and flushes the last, short group and the look-ahead.
        """
        if self._stream.closed:
            return []
        if not self._stream.features.finished:
            self._stream.features.finish()
        return self._decode()

    def _decode(self) -> list[Output]:
        """Encodes and decodes all complete groups; returns the new words."""
        stream = self._stream
        with torch.inference_mode():
            while size := min(stream.features.num_groups, MAX_GROUPS_PER_STEP):
                self._state = step_streams(self._settings, [stream], size, self._state)
            if stream.at_end:
                self._state = close_streams(self._settings, [stream], self._state)
        return stream.take_output()
