"""CVSS-C and its Common Voice in the layout in which they are downloaded, in the language of tones.

Its sentences have two words, which are learned soon. Unlike the corpus of `tiny_corpora.py`, which
has the traps, this one can be trained on and scored.
"""

from __future__ import annotations

from pathlib import Path

import soundfile as sf
from tiny_corpora import write_text
from tiny_training import SAMPLE_RATE, utterance

COUNTS = {"train": 12, "dev": 2, "test": 2}


def write_tiny_cvss(root: Path) -> None:
    """Writes `covost2/fr` and `cvss/cvss-c/fr-en` into a folder."""
    common_voice, cvss = root / "covost2" / "fr", root / "cvss" / "cvss-c" / "fr-en"
    (common_voice / "clips").mkdir(parents=True)
    validated, covost = ["client_id\tpath\tsentence"], ["path\ttranslation\tsplit"]
    first = 1
    for split, count in COUNTS.items():
        lines = []
        (cvss / split).mkdir(parents=True)
        for number in range(first, first + count):
            item, name = utterance(number, num_words=2), f"common_voice_fr_{number}.mp3"
            sf.write(common_voice / "clips" / name, item.samples, SAMPLE_RATE)
            sf.write(cvss / split / f"{name}.wav", item.samples[:8000], SAMPLE_RATE)
            sentence = f"{item.source.capitalize()}."
            validated.append(f"speaker{number}\t{name}\t{sentence}")
            covost.append(f"{name}\t{item.target.capitalize()}.\t{split}")
            lines.append(f"{name}\t{item.target}")
        first += count
        write_text(cvss / f"{split}.tsv", *lines)
    write_text(common_voice / "validated.tsv", *validated)
    write_text(common_voice / "covost_v2.fr_en.tsv", *covost)
