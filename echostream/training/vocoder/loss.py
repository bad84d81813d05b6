"""The loss of the vocoder: spectra at three resolutions.

Yamamoto et al. 2020 (Parallel WaveGAN, arXiv:1910.11480).
"""

from __future__ import annotations

import torch
from torch import Tensor

FFT_SIZES = (256, 512, 1024)
_FLOOR = 1e-7  # power density, -70 dB: below it differences count for little


def spectral_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """The distance of two batches of samples `(B, S)`, a mean over `FFT_SIZES`.

    For each: the mean difference of the log magnitudes, and the sum of the differences of the
    magnitudes over the sum of the wanted ones.
    """
    total = found.new_zeros(())
    for size in FFT_SIZES:
        a, b = _magnitudes(found, size), _magnitudes(wanted, size)
        total = total + (a.log() - b.log()).abs().mean() + (a - b).abs().sum() / b.sum()
    return total / len(FFT_SIZES)


def _magnitudes(samples: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, dtype=samples.dtype, device=samples.device)
    window = window / window.norm()
    frames = samples.unfold(1, size, size // 4) * window  # (B, T, size)
    spectrum = torch.fft.rfft(frames)
    power: Tensor = spectrum.real.square() + spectrum.imag.square()
    return (power + _FLOOR).sqrt()
