"""Committed words to samples by a voice, several words at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.frontend.resample import resample
from echostream.session.speech_queue import FAST, GROUP_SAMPLES, SpeechQueue
from echostream.streaming.clock import SAMPLE_RATE
from echostream.text.tokenizer import Tokenizer
from echostream.voices.voice import Voice

_WINDOW = SAMPLE_RATE // 200  # 5 ms, in which loudness is measured
_QUIET = 10 ** (-45 / 20)  # of the loudest window; what is softer at either end is silence
_MARGIN = 6 * _WINDOW  # of this silence is kept
_ALONE = 0.9  # speed of a word that is spoken alone, which is hard to understand otherwise
_CONTINUES = ","  # after words that others of the text follow, so that the voice does not fall


class VoiceSpeaker(NamedTuple):
    """The speaker with a voice, for a model with or without units. It has no state.

    A voice speaks several words better than each alone. Words wait for those after them while the
    player has more than a group of speech left, because until the next group it does not run dry.
    """

    voice: Voice
    tokenizer: Tokenizer
    target_unit: str

    def init_state(self, batch_size: int) -> tuple[()]:
        """Nothing: the words that wait are in the queue."""
        return ()

    def speak(
        self, queues: Sequence[SpeechQueue], state: tuple[()]
    ) -> tuple[list[SpeechQueue], tuple[()]]:
        """Speaks the words that wait in each queue whose text or speech ends."""
        return [self._speak(queue) for queue in queues], state

    def _speak(self, queue: SpeechQueue) -> SpeechQueue:
        ends, is_alone = queue.text_has_ended, len(queue.waiting) == 1
        if not queue.waiting or (queue.backlog > GROUP_SAMPLES and not ends):
            return queue
        text = self.tokenizer.decode([token for word in queue.waiting for token in word.tokens])
        queue = replace(queue, waiting=())
        if not text.strip():
            return queue
        text = text if ends else text + _CONTINUES
        samples = self._samples(text, _ALONE if is_alone else 1.0)
        if queue.is_late(len(samples)):
            samples = self._samples(text, FAST)
        return queue.play(samples, (), silent=True) if len(samples) else queue

    def _samples(self, text: str, speed: float) -> NDArray[np.float32]:
        speech = self.voice.speak(text, speed)
        return trim(resample(speech.samples, speech.sample_rate))


def trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples (S,) at 16 kHz without the silence at both ends, but for 30 ms each.

    They fade in and out over 5 ms, so that there is no click between two stretches of speech. Of
    nothing but silence nothing is left.
    """
    padded = np.pad(samples, (0, -len(samples) % _WINDOW))
    loudness = np.sqrt(np.square(padded.reshape(-1, _WINDOW)).mean(1))
    loud = np.flatnonzero(loudness > _QUIET * loudness.max(initial=0))
    if not len(loud):
        return samples[:0]
    start, stop = loud[0] * _WINDOW - _MARGIN, (loud[-1] + 1) * _WINDOW + _MARGIN
    kept: NDArray[np.float32] = samples[max(0, start) : stop].copy()
    ramp = np.linspace(0, 1, min(_WINDOW, len(kept)), dtype=np.float32)
    kept[: len(ramp)] *= ramp
    kept[len(kept) - len(ramp) :] *= ramp[::-1]
    return kept
