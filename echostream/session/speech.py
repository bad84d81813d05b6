"""Committed words to units to samples: unit decoder, refiner and vocoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from echostream.session.speech_queue import SpeechQueue
from echostream.streaming import leaves, replace_rows, select_rows, take_rows
from echostream.text.tokenizer import Tokenizer

# Units of silence that close a stretch of speech before a gap. The vocoder would stop in the middle
# of a wave without them, which is a click.
GAP_UNITS = 2
NO_CLASS = -1


class UnitSpeaker(NamedTuple):
    """The speaker of a model with units; `silence_unit`, if known, is spoken before a gap."""

    unit_decoder: UnitDecoder
    vocoder: Vocoder[Any]
    tokenizer: Tokenizer
    target_unit: str
    silence_unit: int | None
    refiner: UnitRefiner | None = None
    refine_steps: int = 0  # without a refiner

    def init_state(self, batch_size: int) -> SpeechState:
        """The state of `batch_size` new streams."""
        refines = self.refiner is not None and self.refine_steps
        blank = self.unit_decoder.blank
        unit_decoder = self.unit_decoder.init_state(batch_size)
        device, last_class = leaves(unit_decoder)[0].device, NO_CLASS if blank is None else blank
        return SpeechState(
            unit_decoder,
            self.refiner.init_state(batch_size) if self.refiner and refines else (),
            torch.full((batch_size,), last_class, device=device),
            self.vocoder.init_state(batch_size),
        )

    def speak(
        self, queues: Sequence[SpeechQueue], state: SpeechState
    ) -> tuple[list[SpeechQueue], SpeechState]:
        """Speaks words that wait, until the backlog is at its bound; closes speech before a gap."""
        queues = list(queues)
        rows = [row for row, queue in enumerate(queues) if queue.may_speak]
        while rows:
            now, part = [queues[row] for row in rows], take_rows(state, rows)
            spoken, after = _speak_word(self, now, part)
            new = [q.tried(s) for q, s in zip(now, spoken, strict=True)]
            speaks = [one is other for one, other in zip(new, spoken, strict=True)]
            if not all(speaks):
                after = select_rows(torch.tensor(speaks, device=state.device), after, part)
            state = _put(queues, state, rows, new, after)
            rows = [row for row in rows if queues[row].may_speak]
        gaps = [row for row, queue in enumerate(queues) if queue.runs_dry and not queue.silent]
        if gaps:
            now, part = [queues[row] for row in gaps], take_rows(state, gaps)
            size = 0 if self.silence_unit is None else GAP_UNITS
            units = torch.full((len(gaps), GAP_UNITS), self.silence_unit or 0, device=state.device)
            num_units = torch.full((len(gaps),), size, device=state.device)
            closed, after = _play(self, now, units, num_units, [True] * len(gaps), part)
            state = _put(queues, state, gaps, closed, after)
        return queues, state


class SpeechState(NamedTuple):
    """The tensors of the speech of `B` streams."""

    unit_decoder: UnitDecoderState
    refiner: RefinerState | tuple[()]  # empty without refinement
    last_class: Tensor  # (B,) of the last frame, for the merge of an alignment
    vocoder: Any

    @property
    def device(self) -> torch.device:
        """Where the parts compute."""
        return self.last_class.device


def _put(
    queues: list[SpeechQueue],
    state: SpeechState,
    rows: Sequence[int],
    new: Sequence[SpeechQueue],
    after: SpeechState,
) -> SpeechState:
    """Puts queues into their rows; returns the state of all streams with that of these rows."""
    for row, queue in zip(rows, new, strict=True):
        queues[row] = queue
    return replace_rows(state, rows, after) if len(rows) < len(queues) else after


def _speak_word(
    speaker: UnitSpeaker, queues: Sequence[SpeechQueue], state: SpeechState
) -> tuple[list[SpeechQueue], SpeechState]:
    """Speaks the next word of each stream."""
    now = [queue.waiting[0] for queue in queues]
    size = max(len(word.tokens) for word in now)
    given = (
        [[*word.tokens, *[NO_TOKEN] * (size - len(word.tokens))] for word in now],
        [word.following for word in now],
        [True] * len(queues),
        [queue.speed for queue in queues],
    )
    words = NextWords(*(torch.tensor(values, device=state.device) for values in given))
    ends = (words.following == END_OF_TEXT) & words.active
    output, unit_decoder = speaker.unit_decoder.step(words, state.unit_decoder)
    classes, refiner = output.logits.argmax(-1), state.refiner
    if speaker.refiner is not None and isinstance(refiner, RefinerState):
        classes, refiner = speaker.refiner.step(output, ends, speaker.refine_steps, refiner)
    state = state._replace(unit_decoder=unit_decoder, refiner=refiner)
    queues = [replace(queue, waiting=queue.waiting[1:]) for queue in queues]
    units, num_units, state = _units(speaker, classes, output.num_frames, words.speed, ends, state)
    return _play(speaker, queues, units, num_units, ends.tolist(), state)


def _units(
    speaker: UnitSpeaker,
    classes: Tensor,
    num_frames: Tensor,
    speed: Tensor,
    ends: Tensor,
    state: SpeechState,
) -> tuple[Tensor, Tensor, SpeechState]:
    """The units `(B, T)` of the frames of a word of each row, and their number `(B,)`."""
    blank = speaker.unit_decoder.blank
    if blank is None:
        return classes, num_frames, state
    units, num_units, last = merge_units(classes, num_frames, blank, state.last_class)
    if not speaker.vocoder.reduced:  # to drop one of units without repeats would drop a sound
        units, num_units = drop_some(units, num_units, speed)
    last = torch.where(ends, blank, last)
    return units, num_units, state._replace(last_class=last)


def _play(
    speaker: UnitSpeaker,
    queues: Sequence[SpeechQueue],
    units: Tensor,
    num_units: Tensor,
    silent: Sequence[bool],
    state: SpeechState,
) -> tuple[list[SpeechQueue], SpeechState]:
    """Vocodes the first `num_units (B,)` of the `units (B, T)` of each row.

    `silent` rows end in silence after them: what the vocoder holds back comes out, too.
    """
    valid = length_mask(num_units, units.shape[1])
    wave, vocoder = speaker.vocoder.step(units, state.vocoder, valid)
    waves = [_rows(wave)]
    ends = torch.tensor(silent, device=state.device)
    if speaker.vocoder.latency_units and bool(ends.any()):  # what waits for units after it
        wave, flushed = speaker.vocoder.finish(vocoder)
        waves.append(_rows(wave._replace(num_samples=wave.num_samples * ends)))
        vocoder = select_rows(ends, flushed, vocoder)
    played = []
    for row, queue in enumerate(queues):
        count = int(num_units[row])
        if count or silent[row]:
            samples = np.concatenate([part[row] for part in waves])
            queue = queue.play(samples, units[row, :count].tolist(), silent[row])
        played.append(queue)
    return played, state._replace(vocoder=vocoder)


def _rows(wave: Waveform) -> list[NDArray[np.float32]]:
    """The samples of each row."""
    samples = wave.samples.float().cpu().numpy()
    return [row[:count] for row, count in zip(samples, wave.num_samples.tolist(), strict=True)]
