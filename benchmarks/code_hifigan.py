"""StreamSpeech's vocoder, CodeHiFiGAN, in a stream, beside ours if it is there.

Weights are random: the time does not depend on them. Each unit is one frame of 20 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.figures import Figure, skipped
from benchmarks.fixtures import FULL, Bench
from benchmarks.timing import take_turns
from echostream.models.code_hifigan import CodeHiFiGAN

STEP_UNITS = 8  # 160 ms
LOOKAHEADS = (19, 0)
_HISTORY_UNITS = 100  # 2 s of speech before the write that StreamSpeech makes
_NUM_UNITS = 1000
_CHANNELS, _QUICK_CHANNELS = 512, 32
_WARM_STEPS = 6  # until the look-ahead and the left context are filled
_MS = 20 * STEP_UNITS


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    torch.manual_seed(0)
    channels = _CHANNELS if bench.scale is FULL else _QUICK_CHANNELS
    rounds = max(2, bench.scale.rounds // 4)
    units = torch.randint(_NUM_UNITS, (1, _HISTORY_UNITS))
    vocoders = {lookahead: _vocoder(channels, lookahead) for lookahead in LOOKAHEADS}
    streams = {lookahead: _Stream(vocoder) for lookahead, vocoder in vocoders.items()}
    calls: dict[str, Callable[[], object]] = {str(L): streams[L].step for L in LOOKAHEADS}
    ours = _ours()
    if ours is not None:
        calls["ours"] = _Stream(ours).step
    times = take_turns(calls, rounds, in_a_row=2)
    with torch.inference_mode():
        again = take_turns({"": lambda: vocoders[0](units)}, 2, in_a_row=1, untimed=0)[""]

    size = sum(weight.numel() for weight in vocoders[0].generator.parameters())
    name = f"CodeHiFiGAN, {size / 1e6:.1f} M weights, PyTorch"
    floor = times["ours"].median / _MS if ours is not None else None
    figures = [
        times[str(lookahead)].figure(
            f"RTF at steps of {STEP_UNITS} units with look-ahead {lookahead}, {name}",
            "",
            1 / _MS,
            floor,
            "our vocoder" if ours is not None else "",
            note=f"{_work(vocoders[lookahead]):.2f} times the arithmetic of the whole at once",
        )
        for lookahead in LOOKAHEADS
    ]
    figures.append(
        again.figure(
            f"a write of {STEP_UNITS} units after {20 * _HISTORY_UNITS / 1000:g} s of speech, all "
            f"of it again as in StreamSpeech, {name}",
            "ms",
            1.0,
            times["0"].median,
            "a step with look-ahead 0",
        )
    )
    name = f"RTF at steps of {STEP_UNITS} units, our vocoder, PyTorch"
    figures.append(
        skipped(name, "", "there is none")
        if ours is None
        else times["ours"].figure(name, "", 1 / _MS)
    )
    return figures


class _Stream:
    """A stream of random units; each step takes the next ones."""

    def __init__(self, vocoder: Any) -> None:
        self._vocoder = vocoder
        self._state = vocoder.init_state(1)
        for _ in range(_WARM_STEPS):
            self.step()

    @torch.inference_mode()
    def step(self) -> None:
        _, self._state = self._vocoder.step(_units(), self._state)


def _units() -> Tensor:
    return torch.randint(_NUM_UNITS, (1, STEP_UNITS))


def _vocoder(channels: int, lookahead_frames: int) -> CodeHiFiGAN:
    """A vocoder of StreamSpeech's sizes, but for the number of channels in a quick run."""
    return CodeHiFiGAN(
        num_units=_NUM_UNITS,
        embedding_dim=128,
        initial_channels=channels,
        upsample_rates=(5, 4, 4, 2, 2),
        upsample_kernel_sizes=(11, 8, 8, 4, 4),
        resblock_kernel_sizes=(3, 7, 11),
        resblock_dilation_sizes=((1, 3, 5),) * 3,
        duration_dim=128,
        predicts_durations=False,
        lookahead_frames=lookahead_frames,
    ).eval()


def _ours() -> Any:
    """Our own vocoder with new weights; None if this version has none."""
    try:
        from echostream.models.vocoder import UnitVocoder
        from echostream.speech_config import VocoderConfig
    except ImportError:
        return None
    return UnitVocoder(VocoderConfig(_NUM_UNITS)).eval()


@torch.inference_mode()
def _work(vocoder: CodeHiFiGAN) -> float:
    """Operations of a step by those of as many units in a long recording at once."""
    state = vocoder.init_state(1)
    for _ in range(_WARM_STEPS):
        _, state = vocoder.step(_units(), state)
    step, whole, longer = (FlopCounterMode(display=False) for _ in range(3))
    with step:
        vocoder.step(_units(), state)
    # Two lengths, so that the ends, which are not computed for nothing, do not count.
    with whole:
        vocoder(torch.zeros(1, 8 * STEP_UNITS, dtype=torch.int64))
    with longer:
        vocoder(torch.zeros(1, 9 * STEP_UNITS, dtype=torch.int64))
    return step.get_total_flops() / (longer.get_total_flops() - whole.get_total_flops())
