"""Speech from the units of a table, by a vocoder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.data.table_text import TableError
from echostream.data.unit_table import UnitTable
from echostream.files import make_folder, remove_unfinished
from echostream.frontend.save_audio import save_audio
from echostream.models.vocoder import UnitVocoder

_CHUNK = 50  # units of a step: a second, so that memory stays bounded
_NAME = re.compile(r"[\w.+=@, -]{1,200}")  # a file directly in the folder


def resynthesise(vocoder: UnitVocoder, table: UnitTable, folder: Path) -> None:
    """Writes `ID.wav` for each row of a table of units.

    Every row is checked before the first file is written.

    Raises:
        TableError: naming the line, for an id that is no unit of the vocoder or a row whose name
            cannot be that of a file.
    """
    units = [table.units(row, vocoder.config.num_units) for row in table.rows]
    for row in table.rows:
        name = row.fields["id"]
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise TableError(
                f"{table.path}, line {row.line}: the id must do as the name of a file, but is "
                f"{name[:80]!r}."
            )
    remove_unfinished(make_folder(folder))
    for row, ids in zip(table.rows, units, strict=True):
        save_audio(folder / f"{row.fields['id']}.wav", speech_of(vocoder, ids))


def speech_of(vocoder: UnitVocoder, units: NDArray[np.int64]) -> NDArray[np.float32]:
    """The samples (320 T,) of units (T,), at 16 kHz, clipped to [-1, 1]."""
    state = vocoder.init_state(1)
    pieces = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(units), _CHUNK):
            chunk = torch.from_numpy(units[None, start : start + _CHUNK])
            wave, state = vocoder.step(chunk, state)
            pieces.append(wave.samples[0].float().cpu().numpy())
    return np.concatenate(pieces).clip(-1, 1)
