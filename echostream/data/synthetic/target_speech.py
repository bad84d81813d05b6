"""Target speech of a corpus: one voice reads the translations, or what a model made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

from echostream.data.table import COLUMNS
from echostream.files import remove_unfinished, write_whole
from echostream.frontend.audio import read_audio
from echostream.frontend.resample import resample
from echostream.frontend.save_audio import save_audio
from echostream.model_folder import Model
from echostream.session.translator import StreamingTranslator, joined_text
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES
from echostream.voices.voice import Speech, Voice

WORD_ENDS = "tgt_word_ends"  # column: the unit with which each word ends, as in "12 31 40"
SPEECH_COLUMNS = (*COLUMNS, WORD_ENDS)


def write_target_speech(
    out_dir: Path, split: str, rows: Sequence[Mapping[str, str]], voice: Voice, model: Model | None
) -> Path:
    """Speaks the translation of each row of a split; returns the table, `SPLIT.speech.tsv`.

    The table has the columns of the corpus and `tgt_word_ends`, with `tgt_audio` a FLAC file at
    16 kHz and `tgt_n_frames` its number of units (20 ms). With a `model`, `tgt_text` of every
    second row is what the model writes for the recording, so that later training meets its errors.
    Existing recordings of the same texts are kept.
    """
    audio_dir = out_dir / "audio-target" / split
    audio_dir.mkdir(parents=True, exist_ok=True)
    remove_unfinished(audio_dir)
    lines = ["\t".join(SPEECH_COLUMNS)]
    for number, row in enumerate(rows):
        text = row["tgt_text"]
        if model is not None and number % 2:
            text = _translate(model, out_dir / row["src_audio"]) or text
        path = audio_dir / f"{row['id']}.flac"
        spoken = _spoken(path, text)
        if spoken is None:
            _write_speech(path, text, voice.speak(text))
            spoken = _spoken(path, text)
            assert spoken is not None
        about = {
            **row,
            "tgt_text": text,
            "tgt_audio": path.relative_to(out_dir).as_posix(),
            "tgt_n_frames": str(spoken.num_units),
            WORD_ENDS: spoken.word_ends,
        }
        lines.append("\t".join(about[column] for column in SPEECH_COLUMNS))
    table = out_dir / f"{split}.speech.tsv"
    write_whole(table, "".join(f"{line}\n" for line in lines))
    return table


def _translate(model: Model, path: Path) -> str:
    translator = StreamingTranslator(model)
    samples, sample_rate = read_audio(path)
    return joined_text([*translator.push(samples, sample_rate), *translator.finish()])


class _Spoken(NamedTuple):
    """What a table has of a recording."""

    num_units: int
    word_ends: str


def _spoken(path: Path, text: str) -> _Spoken | None:
    """What there is of the recording of a text; None if it is missing, damaged or of another."""
    about = path.with_suffix(".txt")
    if not (path.exists() and about.exists()):
        return None
    spoken, _, word_ends = about.read_text(encoding="utf-8").strip("\n").partition("\n")
    try:
        num_units = sf.info(path).frames // UNIT_SAMPLES
    except sf.LibsndfileError:
        return None
    return _Spoken(num_units, word_ends) if spoken == text else None


def _write_speech(path: Path, text: str, speech: Speech) -> None:
    """A recording of whole units, and beside it the text and the unit with which each word ends."""
    samples = np.clip(resample(speech.samples, speech.sample_rate), -1, 1)
    num_units = max(1, -(-len(samples) // UNIT_SAMPLES))
    samples = np.pad(samples, (0, num_units * UNIT_SAMPLES - len(samples)))
    ends = [round(end * SAMPLE_RATE / UNIT_SAMPLES) for end in speech.word_ends]
    ends = [*(min(end, num_units) for end in ends[:-1]), num_units] if ends else []
    path.unlink(missing_ok=True)  # the recording of another text must not stay beside this one
    write_whole(path.with_suffix(".txt"), f"{text}\n{' '.join(map(str, ends))}\n")
    save_audio(path, samples, format="FLAC")
