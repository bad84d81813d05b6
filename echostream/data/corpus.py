"""A corpus on disk: synthetic speech as FLAC files, with tables for training and for SimulEval."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile as sf

from echostream.data.corpus_report import CorpusReport, report_corpus
from echostream.data.grammar import Grammar, Pair
from echostream.data.synthetic import (
    SPLITS,
    TRAIN_VOICES,
    UNSEEN_VOICES,
    Split,
    SyntheticSpeech,
)
from echostream.data.table import COLUMNS, Table, TableError, read_tsv
from echostream.data.utterance import Utterance
from echostream.files import replacing, write_whole
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE

__all__ = ["CorpusError", "Table", "TableError", "read_tsv", "write_corpus"]

logger = logging.getLogger(__name__)

_SETTINGS = "corpus.json"


class CorpusError(ValueError):
    """A corpus that cannot be written as asked; the message names the folder."""


def write_corpus(
    out_dir: str | Path,
    counts: Mapping[Split, int],
    *,
    grammar: Grammar | None = None,
    seed: int = 0,
    train_voices: Sequence[str] = TRAIN_VOICES,
    unseen_voices: Sequence[str] = UNSEEN_VOICES,
    train_texts: int = 20_000,
) -> CorpusReport:
    """Writes `counts[split]` utterances of each split to `out_dir`, and returns the report on them.

    For each split: `SPLIT.tsv` (columns `table.COLUMNS`, audio relative to `out_dir`),
    `audio/SPLIT/ID.flac` (16 kHz mono), and `simuleval/SPLIT/` with `wav_list.txt` (absolute
    paths), `src.txt` and `target.txt`; and `report.md` for all. Sentences come once in a split
    other than train. Every file is renamed into place when it is complete, so a killed run is
    continued by the same call: recordings that are there are not made again. `train_texts`:
    sentences drawn (as text) to count what a training has seen.

    Raises:
        CorpusError: for a count that is not positive, an unknown split, or if `out_dir` holds a
            corpus of another seed, other sentences or other voices.
        EspeakError: without espeak-ng.
    """
    out_dir = Path(out_dir)
    for split, count in counts.items():
        if split not in SPLITS:
            raise CorpusError(f"`counts` names {split!r}, but the splits are {SPLITS}.")
        if count <= 0:
            raise CorpusError(f"`counts[{split!r}]` must be a positive number, but is {count}.")
    if not counts:
        raise CorpusError(f"`counts` must name at least one of the splits {SPLITS}.")
    grammar = grammar or Grammar.load()
    out_dir.mkdir(parents=True, exist_ok=True)
    train = SyntheticSpeech(grammar, train_voices, seed, "train")
    _claim(out_dir, train, unseen_voices)
    texts: dict[str, list[Pair]] = {}
    seconds: dict[str, list[float]] = {}
    for split, count in counts.items():
        voices = unseen_voices if split == "test-unseen" else train_voices
        speech = SyntheticSpeech(grammar, voices, seed, split)
        rows = _write_split(out_dir, speech, count)
        texts[split] = [Pair(row["src_text"], row["tgt_text"]) for row in rows]
        seconds[split] = [int(row["src_n_frames"]) * HOP_LENGTH / SAMPLE_RATE for row in rows]
        logger.info("%s: %d utterances, %.0f s", out_dir / split, count, sum(seconds[split]))
    report = report_corpus(texts, seconds, [train.pair(index) for index in range(train_texts)])
    write_whole(out_dir / "report.md", report.to_markdown())
    return report


def _claim(out_dir: Path, train: SyntheticSpeech, unseen_voices: Sequence[str]) -> None:
    """Notes what the corpus is made of, or compares it with what was noted."""
    settings = {
        "seed": train.seed,
        "train_voices": list(train.voices),
        "unseen_voices": list(unseen_voices),
        # The first sentences stand for the grammar: another grammar draws others.
        "first_sentences": [list(train.pair(index)) for index in range(20)],
    }
    path = out_dir / _SETTINGS
    if not path.exists():
        write_whole(path, json.dumps(settings, ensure_ascii=False, indent=1) + "\n")
        return
    noted = json.loads(path.read_text(encoding="utf-8"))
    for key, value in settings.items():
        if noted.get(key) != value:
            raise CorpusError(
                f"{out_dir} holds a corpus with another `{key}` (see {path.name}); "
                "continue it with the same settings or choose another folder."
            )


def _write_split(out_dir: Path, speech: SyntheticSpeech, count: int) -> list[dict[str, str]]:
    audio_dir = out_dir / "audio" / speech.split
    audio_dir.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    sentences: set[str] = set()
    index = -1
    while len(rows) < count:
        index += 1
        pair = speech.pair(index)
        if speech.split != "train" and pair.source in sentences:
            continue
        sentences.add(pair.source)
        path = audio_dir / f"{speech.name(index)}.flac"
        if not path.exists():
            _write_audio(path, speech.utterance(index))
        num_frames = sf.info(path).frames // HOP_LENGTH
        fields = (
            speech.name(index),
            path.relative_to(out_dir).as_posix(),
            str(num_frames),
            pair.source,
            pair.target,
            "",
            "0",
        )
        rows.append(dict(zip(COLUMNS, fields, strict=True)))
    wav_paths = [str((out_dir / row["src_audio"]).resolve()) for row in rows]
    simuleval = out_dir / "simuleval" / speech.split
    simuleval.mkdir(parents=True, exist_ok=True)
    _write_lines(simuleval / "wav_list.txt", wav_paths)
    _write_lines(simuleval / "src.txt", [row["src_text"] for row in rows])
    _write_lines(simuleval / "target.txt", [row["tgt_text"] for row in rows])
    # The table comes last: where it is, everything it names is there too.
    lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows)]
    _write_lines(out_dir / f"{speech.split}.tsv", lines)
    return rows


def _write_audio(path: Path, utterance: Utterance) -> None:
    with replacing(path) as temporary:
        sf.write(temporary, utterance.samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_whole(path, "".join(f"{line}\n" for line in lines))
