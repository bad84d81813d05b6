"""Writes recordings."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.files import replacing
from echostream.streaming.clock import SAMPLE_RATE


def save_audio(
    path: Path,
    samples: NDArray[np.floating] | NDArray[np.int16],
    sample_rate: int = SAMPLE_RATE,
    format: str = "WAV",
) -> None:
    """Writes a recording of 16 bits, under a temporary name that is then changed.

    `samples` (S,) or (S, C) are floats, clipped to [-1, 1], or int16. Raises OSError naming the
    file and what is free if it cannot be written.
    """
    with replacing(path) as temporary:
        try:
            # As bytes, because soundfile does not write to a name that is not UTF-8.
            name = os.fsencode(temporary)
            sf.write(name, samples, sample_rate, format=format, subtype="PCM_16")
        except sf.LibsndfileError as error:  # no OSError, whatever the reason
            free = shutil.disk_usage(temporary.parent).free
            raise OSError(
                f"cannot be written ({error.error_string} {free / 1e6:.0f} MB are free)."
            ) from error
