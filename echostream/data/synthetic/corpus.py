"""A corpus on disk: synthetic speech as FLAC files, with tables for training and for SimulEval."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from echostream.data.synthetic.corpus_report import CorpusReport, report_corpus
from echostream.data.synthetic.corpus_split import CorpusError, CorpusSpeech, write_split
from echostream.data.synthetic.grammar import Grammar, Pair
from echostream.data.synthetic.speech import (
    SPLITS,
    TRAIN_VOICES,
    UNSEEN_VOICES,
    Split,
    SyntheticSpeech,
)
from echostream.data.synthetic.target_speech import write_target_speech
from echostream.files import locked, remove_unfinished, write_whole
from echostream.model_folder import Model
from echostream.streaming.clock import HOP_LENGTH, SAMPLE_RATE
from echostream.voices.make import make_voice

logger = logging.getLogger(__name__)

_SETTINGS = "corpus.json"
_BYTES_EACH = 20_000  # less than the FLAC file of any but the shortest utterance


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
    jobs: int = 1,
) -> CorpusReport:
    """Writes `counts[split]` utterances of each split to `out_dir`, and returns the report on them.

    For each split: `SPLIT.tsv` (columns `table.COLUMNS`, audio relative to `out_dir`),
    `audio/SPLIT/ID.flac` (16 kHz mono), and `simuleval/SPLIT/` with `wav_list.txt` (absolute
    paths), `src.txt` and `target.txt`; and `report.md` for all. A split other than train has no
    sentence twice. Every file is renamed into place when it is complete, so the same call continues
    a killed run: existing recordings are kept. `train_texts`: training sentences, as text, against
    which the report counts unseen n-grams. `jobs`: processes that synthesise.

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
    grammar = grammar or Grammar.load()
    train = SyntheticSpeech(grammar, train_voices, seed, "train")

    def speech_of(split: Split) -> CorpusSpeech:
        voices = unseen_voices if split == "test-unseen" else train_voices
        return SyntheticSpeech(grammar, voices, seed, split)

    return write_splits(
        Path(out_dir),
        counts,
        speech_of,
        # This draws sentences, which raises for a bad grammar.
        lambda: _settings(train, unseen_voices, target_voice),
        lambda: [train.pair(index) for index in range(train_texts)],
        jobs,
        target_voice,
        hypotheses,
    )


def write_splits(
    out_dir: Path,
    counts: Mapping[Split, int],
    speech_of: Callable[[Split], CorpusSpeech],
    settings_of: Callable[[], Mapping[str, object]],
    train_texts: Callable[[], list[Pair]],
    jobs: int = 1,
    target_voice: str | None = None,
    hypotheses: Model | None = None,
) -> CorpusReport:
    """Writes `counts[split]` utterances of the speech of each split, as `write_corpus` does.

    `settings_of`: all that the corpus depends on; a folder with other settings is refused.
    """
    for split, count in counts.items():
        if split not in SPLITS:
            raise CorpusError(f"`counts` names {split!r}, but the splits are {SPLITS}.")
        if count <= 0:
            raise CorpusError(f"`counts[{split!r}]` must be a positive number, but is {count}.")
    if not counts:
        raise CorpusError(f"`counts` must name at least one of the splits {SPLITS}.")
    voice = None if target_voice is None else make_voice(target_voice, word_times=True)
    settings = settings_of()
    _check_space(out_dir, sum(counts.values()))
    texts: dict[str, list[Pair]] = {}
    seconds: dict[str, list[float]] = {}
    with locked(out_dir):
        remove_unfinished(out_dir)
        _check_settings(out_dir, settings)
        for split, count in counts.items():
            rows = write_split(out_dir, speech_of(split), count, jobs)
            if voice is not None:
                write_target_speech(out_dir, split, rows, voice, hypotheses)
            texts[split] = [Pair(row["src_text"], row["tgt_text"]) for row in rows]
            seconds[split] = [int(row["src_n_frames"]) * HOP_LENGTH / SAMPLE_RATE for row in rows]
            logger.info("%s: %d utterances, %.0f s", out_dir / split, count, sum(seconds[split]))
        report = report_corpus(texts, seconds, train_texts())
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
