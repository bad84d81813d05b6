"""A corpus on disk: synthetic speech as FLAC files, with tables for training and for SimulEval."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile as sf

from echostream.data.synthetic.corpus_report import CorpusReport, report_corpus
from echostream.data.synthetic.grammar import Grammar, Pair
from echostream.data.synthetic.speech import (
    SPLITS,
    TRAIN_VOICES,
    UNSEEN_VOICES,
    Split,
    SyntheticSpeech,
)
from echostream.data.synthetic.target_speech import write_target_speech
from echostream.data.table import COLUMNS
from echostream.data.utterance import Utterance
from echostream.files import locked, remove_unfinished, replacing, write_whole
from echostream.model_folder import Model
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE
from echostream.voices.make import make_voice
from echostream.voices.voice import Voice

logger = logging.getLogger(__name__)

_SETTINGS = "corpus.json"
_BYTES_EACH = 20_000  # less than the FLAC file of any but the shortest utterance
_MAX_REPEATED = 500  # draws in a row without a new sentence, after which a split is full


class CorpusError(ValueError):
    """A corpus that cannot be written; the message names the folder."""


def write_corpus(
    out_dir: str | Path,
    counts: Mapping[Split, int],
    *,
    grammar: Grammar | None = None,
    seed: int = 0,
    train_voices: Sequence[str] = TRAIN_VOICES,
    unseen_voices: Sequence[str] = UNSEEN_VOICES,
    train_texts: int = 20_000,
    target_voice: str | None = None,
    hypotheses: Model | None = None,
) -> CorpusReport:
    """Writes `counts[split]` utterances of each split to `out_dir`, and returns the report on them.

    For each split: `SPLIT.tsv` (columns `table.COLUMNS`, audio relative to `out_dir`),
    `audio/SPLIT/ID.flac` (16 kHz mono), and `simuleval/SPLIT/` with `wav_list.txt` (absolute
    paths), `src.txt` and `target.txt`; and `report.md` for all. A split other than train has no
    sentence twice. Every file is renamed into place when it is complete, so the same call continues
    a killed run: existing recordings are kept. `train_texts`: training sentences, as text, against
    which the report counts unseen n-grams.

    With `target_voice` (see `echostream.voices.make`) the translations are spoken as well:
    `SPLIT.speech.tsv` and `audio-target/SPLIT/ID.flac`. With a model as `hypotheses`, every second
    text is what the model writes for the recording.

    Raises:
        CorpusError: for a count that is not positive, an unknown split, or if `out_dir` holds a
            corpus of another seed, other sentences or other voices; if the disk is too small, or
            the grammar has too few sentences.
        BlockingIOError: if another process writes to the folder.
        VoiceError: for a target voice that cannot be used.
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
    voice = None if target_voice is None else make_voice(target_voice, word_times=True)
    train = SyntheticSpeech(grammar, train_voices, seed, "train")
    settings = _settings(
        train, unseen_voices, target_voice
    )  # draws sentences, which raises for a bad grammar
    _check_space(out_dir, sum(counts.values()))
    with locked(out_dir):
        remove_unfinished(out_dir)
        _check_settings(out_dir, settings)
        return _write(out_dir, counts, train, unseen_voices, train_texts, voice, hypotheses)


def _write(
    out_dir: Path,
    counts: Mapping[Split, int],
    train: SyntheticSpeech,
    unseen_voices: Sequence[str],
    train_texts: int,
    voice: Voice | None,
    hypotheses: Model | None,
) -> CorpusReport:
    texts: dict[str, list[Pair]] = {}
    seconds: dict[str, list[float]] = {}
    for split, count in counts.items():
        voices = unseen_voices if split == "test-unseen" else train.voices
        speech = SyntheticSpeech(train.grammar, voices, train.seed, split)
        rows = _write_split(out_dir, speech, count)
        if voice is not None:
            write_target_speech(out_dir, split, rows, voice, hypotheses)
        texts[split] = [Pair(row["src_text"], row["tgt_text"]) for row in rows]
        seconds[split] = [int(row["src_n_frames"]) * HOP_LENGTH / SAMPLE_RATE for row in rows]
        logger.info("%s: %d utterances, %.0f s", out_dir / split, count, sum(seconds[split]))
    report = report_corpus(texts, seconds, [train.pair(index) for index in range(train_texts)])
    write_whole(out_dir / "report.md", report.to_markdown())
    return report


def _settings(
    train: SyntheticSpeech, unseen_voices: Sequence[str], target_voice: str | None
) -> dict[str, object]:
    """The settings on which a corpus depends."""
    return {
        **({} if target_voice is None else {"target_voice": target_voice}),
        "seed": train.seed,
        "train_voices": list(train.voices),
        "unseen_voices": list(unseen_voices),
        # The first sentences identify the grammar: another one draws others.
        "first_sentences": [list(train.pair(index)) for index in range(20)],
    }


def _check_space(out_dir: Path, count: int) -> None:
    existing = out_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    needed, free = count * _BYTES_EACH, shutil.disk_usage(existing).free
    if needed > free:
        raise CorpusError(
            f"{out_dir}: {count} utterances need about {_show_size(needed)}, "
            f"but {_show_size(free)} are free on the disk."
        )


def _show_size(num_bytes: int) -> str:
    size, unit = next(
        (pair for pair in ((1e9, "GB"), (1e6, "MB")) if num_bytes >= pair[0]), (1e3, "kB")
    )
    return f"{num_bytes / size:.1f} {unit}"


def _check_settings(out_dir: Path, settings: Mapping[str, object]) -> None:
    """Writes the settings of the corpus, or compares them with those in the folder."""
    path = out_dir / _SETTINGS
    if not path.exists():
        write_whole(path, json.dumps(settings, ensure_ascii=False, indent=1) + "\n")
        return
    try:
        existing = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{path} is damaged ({error}); remove it if the corpus is yours."
        ) from error
    for key, value in settings.items():
        if not isinstance(existing, dict) or existing.get(key) != value:
            raise CorpusError(
                f"{out_dir} holds a corpus with another `{key}` (see {path.name}); "
                "continue it with the same settings or choose another folder."
            )


def _write_split(out_dir: Path, speech: SyntheticSpeech, count: int) -> list[dict[str, str]]:
    audio_dir = out_dir / "audio" / speech.split
    audio_dir.mkdir(parents=True, exist_ok=True)
    remove_unfinished(audio_dir)
    rows: list[dict[str, str]] = []
    sentences: set[str] = set()
    index, repeated = -1, 0
    while len(rows) < count:
        index += 1
        pair = speech.pair(index)
        if speech.split != "train" and pair.source in sentences:
            repeated += 1
            if repeated == _MAX_REPEATED:
                raise CorpusError(
                    f"{out_dir}: {count} different sentences are wanted for {speech.split}, but "
                    f"after {len(rows)} the last {repeated} draws from the grammar gave no new one."
                )
            continue
        repeated = 0
        sentences.add(pair.source)
        path = audio_dir / f"{speech.name(index)}.flac"
        if not path.exists():
            _write_audio(path, speech.utterance(index))
        num_frames = _num_samples(path) // HOP_LENGTH
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
    # The table is written last: if it exists, so do all files that it names.
    lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows)]
    _write_lines(out_dir / f"{speech.split}.tsv", lines)
    return rows


def _num_samples(path: Path) -> int:
    try:
        return int(sf.info(path).frames)
    except sf.LibsndfileError as error:
        raise CorpusError(
            f"{path} cannot be read ({error.error_string}); remove it, and it is made anew."
        ) from error


def _write_audio(path: Path, utterance: Utterance) -> None:
    try:
        with replacing(path) as temporary:
            sf.write(temporary, utterance.samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    except sf.LibsndfileError as error:
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"{path} cannot be written ({error.error_string} {free / 1e6:.0f} MB are free). The "
            "same command resumes from here."
        ) from error


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_whole(path, "".join(f"{line}\n" for line in lines))
