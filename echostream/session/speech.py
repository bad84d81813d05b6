"""Speech out: committed words to units to samples, and the clock of a player.

Speech is a queue. Its clock is that of the source, in whole groups, so that the samples depend on
the audio alone and not on how it is cut into pushes. A player begins a stretch of speech when the
one before it has ended, or at once. What is committed and not yet played is the backlog.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.backends.protocol import UnitDecoder, UnitRefiner, Vocoder
from echostream.models.refiner import RefinerState
from echostream.models.unit_decoder import NextWords, UnitDecoderState
from echostream.models.unit_merge import drop_some, merge_units
from echostream.models.waveform import Waveform
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.modules.masks import length_mask
from echostream.streaming import select_rows
from echostream.streaming.clock import GROUP_UNITS, SAMPLE_RATE, UNIT_SAMPLES
from echostream.text.spoken_words import SpokenWord, last_word, spoken_words
from echostream.text.tokenizer import Tokenizer

GROUP_SAMPLES = GROUP_UNITS * UNIT_SAMPLES
MAX_BACKLOG = SAMPLE_RATE  # samples; while there is more, words are spoken faster
FAST = 1.25  # divides the durations
# Units of silence that close a stretch of speech before a gap. The vocoder would stop in the middle
# of a wave without them, which is a click.
GAP_UNITS = 2
NO_CLASS = -1


class Speech(NamedTuple):
    """All that turns words into samples; `silence_unit` is spoken before a gap."""

    unit_decoder: UnitDecoder
    vocoder: Vocoder[Any]
    tokenizer: Tokenizer
    target_unit: str
    silence_unit: int
    max_backlog: int = MAX_BACKLOG
    refiner: UnitRefiner | None = None
    refine_steps: int = 0  # without a refiner

    def init_state(self, batch_size: int) -> SpeechState:
        """The state of `batch_size` new streams."""
        refines = self.refiner is not None and self.refine_steps
        blank = self.unit_decoder.blank
        return SpeechState(
            self.unit_decoder.init_state(batch_size),
            self.refiner.init_state(batch_size) if self.refiner and refines else (),
            torch.full((batch_size,), NO_CLASS if blank is None else blank),
            self.vocoder.init_state(batch_size),
        )


class SpeechState(NamedTuple):
    """The tensors of the speech of `B` streams."""

    unit_decoder: UnitDecoderState
    refiner: RefinerState | tuple[()]  # empty without refinement
    last_class: Tensor  # (B,) of the last frame, for the merge of an alignment
    vocoder: Any


@dataclass(frozen=True)
class SpeechQueue:
    """The speech of one stream on the clock of its player. A value: each step makes a new one."""

    unfinished: tuple[int, ...] = ()  # tokens of the last word, which has no units yet
    waiting: tuple[SpokenWord, ...] = ()  # complete words without units
    clock: int = 0  # samples of the source in the groups so far
    end: int = 0  # clock at which the player ends
    longest_backlog: int = 0  # in samples
    silent: bool = True  # whether the speech so far ends in silence
    samples: tuple[NDArray[np.float32], ...] = ()  # not taken yet
    units: tuple[int, ...] = ()  # spoken since the last take

    @property
    def backlog(self) -> int:
        """Samples that are committed and not yet played."""
        return max(0, self.end - self.clock)

    def play(self, samples: NDArray[np.float32], units: Sequence[int], silent: bool) -> SpeechQueue:
        """Appends samples and their units; `silent` says whether they end in silence."""
        queue = replace(
            self,
            samples=(*self.samples, samples),
            units=(*self.units, *units),
            end=max(self.end, self.clock) + len(samples),
            silent=silent,
        )
        return replace(queue, longest_backlog=max(queue.backlog, self.longest_backlog))


def speak_group(
    speech: Speech,
    queues: Sequence[SpeechQueue],
    tokens: Sequence[Sequence[int]],
    ends: Sequence[bool],
    state: SpeechState,
    num_samples: int = GROUP_SAMPLES,
) -> tuple[list[SpeechQueue], SpeechState]:
    """Speaks the words that are complete after one more group of the source.

    `tokens` are the newly committed ones of each stream, `ends` marks streams whose text has ended
    with them; `num_samples` is the length of the group.
    """
    queues = [
        _commit(speech, replace(queue, clock=queue.clock + num_samples), new, end)
        for queue, new, end in zip(queues, tokens, ends, strict=True)
    ]
    while any(queue.waiting for queue in queues):
        queues, state = _speak_word(speech, queues, state)
    if any(gaps := [queue.end <= queue.clock and not queue.silent for queue in queues]):
        units = torch.full((len(queues), GAP_UNITS), speech.silence_unit)
        num_units = torch.tensor(gaps).long() * GAP_UNITS
        queues, state = _play(speech, queues, units, num_units, [True] * len(queues), state)
    return queues, state


def speak_text(speech: Speech, text: str) -> NDArray[np.float32]:
    """The speech (S,) of a whole text, in [-1, 1]; without words it is empty."""
    tokens = speech.tokenizer.encode(text)
    unhurried = speech._replace(max_backlog=sys.maxsize)
    (queue,), _ = speak_group(unhurried, [SpeechQueue()], [tokens], [True], speech.init_state(1))
    return np.concatenate([np.zeros(0, np.float32), *queue.samples]).clip(-1, 1)


def _commit(speech: Speech, queue: SpeechQueue, tokens: Sequence[int], ends: bool) -> SpeechQueue:
    words, unfinished = spoken_words(speech.tokenizer, speech.target_unit, tokens, queue.unfinished)
    if ends:
        words, unfinished = [*words, *last_word(unfinished)], ()
    return replace(queue, unfinished=unfinished, waiting=(*queue.waiting, *words))


def _speak_word(
    speech: Speech, queues: Sequence[SpeechQueue], state: SpeechState
) -> tuple[list[SpeechQueue], SpeechState]:
    """Speaks the next word of each stream that has one."""
    now = [queue.waiting[0] if queue.waiting else SpokenWord((), END_OF_TEXT) for queue in queues]
    size = max(len(word.tokens) for word in now)
    words = NextWords(
        torch.tensor([[*word.tokens, *[NO_TOKEN] * (size - len(word.tokens))] for word in now]),
        torch.tensor([word.following for word in now]),
        torch.tensor([bool(queue.waiting) for queue in queues]),
        torch.tensor([FAST if queue.backlog > speech.max_backlog else 1.0 for queue in queues]),
    )
    ends = words.following == END_OF_TEXT
    output, unit_decoder = speech.unit_decoder.step(words, state.unit_decoder)
    classes, refiner = output.logits.argmax(-1), state.refiner
    if speech.refiner is not None and isinstance(refiner, RefinerState):
        done = ends & words.active
        classes, refiner = speech.refiner.step(output, done, speech.refine_steps, refiner)
    state = state._replace(unit_decoder=unit_decoder, refiner=refiner)
    queues = [replace(queue, waiting=queue.waiting[1:]) for queue in queues]
    units, num_units, state = _units(speech, classes, output.num_frames, words.speed, ends, state)
    return _play(speech, queues, units, num_units, ends.tolist(), state)


def _units(
    speech: Speech,
    classes: Tensor,
    num_frames: Tensor,
    speed: Tensor,
    ends: Tensor,
    state: SpeechState,
) -> tuple[Tensor, Tensor, SpeechState]:
    """The units `(B, T)` of the frames of a word of each row, and their number `(B,)`."""
    blank = speech.unit_decoder.blank
    if blank is None:
        return classes, num_frames, state
    units, num_units, last = merge_units(classes, num_frames, blank, state.last_class)
    if not speech.vocoder.reduced:  # to drop one of units without repeats would drop a sound
        units, num_units = drop_some(units, num_units, speed > 1)
    last = torch.where(ends & (num_frames > 0), blank, last)
    return units, num_units, state._replace(last_class=last)


def _play(
    speech: Speech,
    queues: Sequence[SpeechQueue],
    units: Tensor,
    num_units: Tensor,
    silent: Sequence[bool],
    state: SpeechState,
) -> tuple[list[SpeechQueue], SpeechState]:
    """Vocodes the first `num_units (B,)` of the `units (B, T)` of each row."""
    valid = length_mask(num_units, units.shape[1])
    wave, vocoder = speech.vocoder.step(units, state.vocoder, valid)
    waves = [_rows(wave)]
    ends = valid[:, 0] & torch.tensor(silent)
    if speech.vocoder.latency_units and bool(ends.any()):  # what waits for units after it
        wave, flushed = speech.vocoder.finish(vocoder)
        waves.append(_rows(wave._replace(num_samples=wave.num_samples * ends)))
        vocoder = select_rows(ends, flushed, vocoder)
    played = []
    for row, queue in enumerate(queues):
        count = int(num_units[row])
        if count:
            samples = np.concatenate([part[row] for part in waves])
            queue = queue.play(samples, units[row, :count].tolist(), silent[row])
        played.append(queue)
    return played, state._replace(vocoder=vocoder)


def _rows(wave: Waveform) -> list[NDArray[np.float32]]:
    """The samples of each row."""
    samples = wave.samples.float().cpu().numpy()
    return [row[:count] for row, count in zip(samples, wave.num_samples.tolist(), strict=True)]
