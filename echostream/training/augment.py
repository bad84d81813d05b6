"""Volume and speed perturbation of samples, and SpecAugment on normalised fbank frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from echostream.data.utterance import Utterance
from echostream.frontend.resample import resample
from echostream.streaming.clock import SAMPLE_RATE


def change_volume(utterance: Utterance, gain_db: float) -> Utterance:
    """The utterance amplified by `gain_db`, clipped to [-1, 1] and rounded to 16 bits."""
    if gain_db == 0:
        return utterance
    samples = np.clip(utterance.samples * np.float32(10 ** (gain_db / 20)), -1, 1)
    rounded = np.round(samples * np.float32(2**15)) / np.float32(2**15)
    return dataclasses.replace(utterance, samples=rounded)


def change_speed(utterance: Utterance, speed: float) -> Utterance:
    """The utterance `speed` times as fast, with its pitch; word times follow.

    Ko et al. 2015 (Interspeech, "Audio augmentation for speech recognition").
    """
    if speed == 1:
        return utterance
    samples = resample(utterance.samples, round(SAMPLE_RATE * speed))
    word_ends = tuple(end / speed for end in utterance.word_ends)
    return dataclasses.replace(utterance, samples=samples, word_ends=word_ends)


def spec_augment(
    frames: Tensor,
    frequency_masks: int,
    frequency_bins: int,
    time_masks: int,
    time_frames: int,
    generator: torch.Generator,
) -> Tensor:
    """Frames `(B, T, F)` with random bands of bins and of frames set to zero, the mean.

    Each mask is 0 to `frequency_bins` bins or 0 to `time_frames` frames wide; each row has its own.
    Park et al. 2019 (arXiv:1904.08779).
    """
    masked = torch.zeros(frames.shape, dtype=torch.bool)
    for axis, count, widest in ((2, frequency_masks, frequency_bins), (1, time_masks, time_frames)):
        for _ in range(count):
            masked |= _band(frames.shape, axis, widest, generator)
    return frames.masked_fill(masked.to(frames.device), 0.0)


def _band(shape: torch.Size, axis: int, widest: int, generator: torch.Generator) -> Tensor:
    size = shape[axis]
    width = torch.randint(0, min(widest, size) + 1, (shape[0], 1), generator=generator)
    start = (torch.rand(shape[0], 1, generator=generator) * (size - width + 1)).long()
    index = torch.arange(size)[None]
    band = (index >= start) & (index < start + width)  # (B, size)
    return band[:, None, :] if axis == 2 else band[:, :, None]
