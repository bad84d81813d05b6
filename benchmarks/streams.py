"""Streams for benchmarks: features through a module, samples through a session."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.synthetic_audio import SyntheticAudio
from echostream.session.translator import Output, StreamingTranslator
from echostream.streaming import GROUP_FRAMES, GROUP_MS, SAMPLE_RATE, state_nbytes

STEP_MS = 320
_SEED = 0
_NUM_INPUTS = 50  # different segments, used in turn


class FeatureStream:
    """A batch of streams through an encoder or a network, with frames of noise."""

    def __init__(
        self, module: Any, step_ms: int = STEP_MS, batch: int = 1, max_future_frames: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(_SEED)
        shape = (_NUM_INPUTS, batch, step_ms // GROUP_MS * GROUP_FRAMES, 80)
        self._inputs = torch.randn(shape, generator=generator)
        self._module = module
        self._count = 0
        self.state = module.init_state(batch, max_future_frames)
        self.step_ms = step_ms

    def step(self) -> None:
        """One chunk of whole groups."""
        x = self._inputs[self._count % _NUM_INPUTS]
        _, self.state = self._module.step(x, self.state)
        self._count += 1

    def advance_to(self, seconds: float) -> None:
        """Steps until `seconds` of audio have been encoded since the beginning."""
        while self._count * self.step_ms < 1000 * seconds:
            self.step()

    def nbytes(self) -> int:
        """Bytes of the module's state, of all streams together."""
        return state_nbytes(self.state)


class SessionStream:
    """A session with the same few seconds of synthetic audio again and again."""

    def __init__(self, session: StreamingTranslator, step_ms: int = STEP_MS) -> None:
        audio = SyntheticAudio(_SEED)
        size = step_ms * SAMPLE_RATE // 1000
        self.inputs = [audio.next(size) for _ in range(_NUM_INPUTS)]
        self._session = session
        self._count = 0

    def step(self) -> list[Output]:
        """One push of a segment."""
        samples = self.inputs[self._count % _NUM_INPUTS]
        self._count += 1
        return self._session.push(samples, SAMPLE_RATE)


def noise_frames(seconds: float) -> Tensor:
    """Frames of noise (1, T, 80)."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn((1, round(100 * seconds), 80), generator=generator)


def count_flops(module: Any, batch: int, step_ms: int = STEP_MS) -> int:
    """Floating-point operations of the products and convolutions of one step in PyTorch."""
    stream = FeatureStream(module, step_ms, batch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        stream.step()
    return int(counter.get_total_flops())
