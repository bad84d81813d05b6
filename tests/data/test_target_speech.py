"""The target speech of a corpus: its translations spoken by one voice, and their table."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from espeak_needed import needs_espeak
from limits import full_disk
from tiny_model import make_model_folder
from tiny_voice import make_voice_folder

from echostream.cli import main
from echostream.data.synthetic.corpus import write_corpus
from echostream.data.table import COLUMNS
from echostream.data.unit_table import read_unit_table
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator, joined_text

pytestmark = needs_espeak
Capture = pytest.CaptureFixture[str]


def write(folder: Path, voice: str, model: Path | None = None) -> Path:
    """Three utterances of training and one of dev, with their target speech."""
    write_corpus(
        folder,
        {"train": 3, "dev": 1},
        train_texts=10,
        target_voice=voice,
        hypotheses=None if model is None else load_model(model),
    )
    return folder


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"piper:{make_voice_folder(tmp_path_factory.mktemp('voice'))}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, voice: str) -> Path:
    return write(tmp_path_factory.mktemp("corpus"), voice)


def rows_of(table: Path) -> list[dict[str, str]]:
    header, *lines = (line.split("\t") for line in table.read_text().splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def content_of(folder: Path) -> dict[str, bytes]:
    paths = [*folder.glob("*.speech.tsv"), *folder.glob("audio-target/*/*.flac")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("split", ["train", "dev"])
def test_the_table_names_a_recording_of_whole_units_for_each_translation(
    corpus: Path, split: str
) -> None:
    path = corpus / f"{split}.speech.tsv"
    assert path.read_text().splitlines()[0].split("\t") == [*COLUMNS, "tgt_word_ends"]
    found, texts = rows_of(path), rows_of(corpus / f"{split}.tsv")
    assert [row["id"] for row in found] == [row["id"] for row in texts]
    table = read_unit_table(path)
    for row, text, line in zip(found, texts, table.rows, strict=True):
        assert row["tgt_text"] == text["tgt_text"] and row["src_audio"] == text["src_audio"]
        assert row["tgt_audio"] == f"audio-target/{split}/{row['id']}.flac"
        info = sf.info(corpus / row["tgt_audio"])
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")
        assert info.frames == 320 * int(row["tgt_n_frames"])
        samples = table.samples(line)
        assert len(samples) == info.frames and samples.any()


def test_each_word_ends_before_the_next_and_the_last_with_the_recording(corpus: Path) -> None:
    for row in rows_of(corpus / "train.speech.tsv"):
        ends = [int(end) for end in row["tgt_word_ends"].split()]
        assert len(ends) == len(row["tgt_text"].split())
        assert ends == sorted(ends) and ends[0] > 0
        assert ends[-1] == int(row["tgt_n_frames"])


def test_the_sound_of_a_word_is_before_its_end(corpus: Path) -> None:
    """In the tiny voice only phonemes sound: each word has some, and the pause after it is its."""
    for row in rows_of(corpus / "train.speech.tsv"):
        samples, _ = sf.read(corpus / row["tgt_audio"])
        ends = [320 * int(end) for end in row["tgt_word_ends"].split()]
        for start, end in zip([0, *ends], ends, strict=False):
            assert np.abs(samples[start:end]).max() > 0.1


def test_twice_the_same_corpus_is_the_same_to_the_bit(
    corpus: Path, voice: str, tmp_path: Path
) -> None:
    assert content_of(write(tmp_path, voice)) == content_of(corpus)


def test_the_command_speaks_with_espeak_as_well(tmp_path: Path, model: Path) -> None:
    words = ["--counts", "train=1", "--target-voice", "espeak:en-us", "--hypotheses", str(model)]
    assert main(["corpus", str(tmp_path), *words]) == 0
    (row,) = rows_of(tmp_path / "train.speech.tsv")
    assert len(row["tgt_word_ends"].split()) == len(row["tgt_text"].split())


def written_by(model: Path, path: Path) -> str:
    session = StreamingTranslator(load_model(model))
    samples, rate = sf.read(path, dtype="float32")
    return joined_text([*session.push(samples, rate), *session.finish()])


def test_every_second_text_is_what_a_model_writes_and_so_is_its_speech(
    corpus: Path, voice: str, model: Path, tmp_path: Path
) -> None:
    """Also where the corpus was there before, with the speech of the texts as they should be."""
    for number, was_there in enumerate([False, True]):
        folder = tmp_path / str(number)
        if was_there:
            write(folder, voice)
        write(folder, voice, model)
        plain, mixed = (rows_of(each / "train.speech.tsv") for each in (corpus, folder))
        assert mixed[0] == plain[0] and mixed[2] == plain[2]
        expected = written_by(model, folder / mixed[1]["src_audio"])
        assert expected and mixed[1]["tgt_text"] == expected != plain[1]["tgt_text"]
        assert len(mixed[1]["tgt_word_ends"].split()) == len(expected.split())
        same = [
            (folder / row["tgt_audio"]).read_bytes() == (corpus / row["tgt_audio"]).read_bytes()
            for row in plain
        ]
        assert same == [True, False, True]


def test_a_recording_that_is_missing_or_damaged_is_made_again_and_no_other(
    corpus: Path, voice: str, tmp_path: Path
) -> None:
    write(tmp_path, voice)
    one, other, kept = sorted((tmp_path / "audio-target" / "train").glob("*.flac"))
    one.unlink()
    other.write_bytes(b"")
    changed = kept.stat().st_mtime_ns
    write(tmp_path, voice)
    assert content_of(tmp_path) == content_of(corpus)
    assert kept.stat().st_mtime_ns == changed


def test_on_a_full_disk_the_recording_is_named_and_a_second_call_resumes(
    corpus: Path, voice: str, tmp_path: Path
) -> None:
    shutil.copytree(corpus, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "audio-target")
    small, large = sorted(
        (path.stat().st_size, path) for path in corpus.glob("audio-target/train/*.flac")
    )[1:]
    name = f"audio-target/train/{large[1].name}"
    with full_disk(small[0]), pytest.raises(OSError, match=rf"{name}: cannot be written \("):
        write(tmp_path, voice)
    assert not (tmp_path / name).exists()
    assert content_of(write(tmp_path, voice)) == content_of(corpus)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--hypotheses", "MODEL"], "`--hypotheses` needs `--target-voice`"),
        (["--target-voice", "festival"], "a voice must be piper, piper:FOLDER, espeak:LANGUAGE"),
        (["--target-voice", "piper:none"], "none must be a folder with one Piper voice"),
        (["--target-voice", "espeak:xx"], "espeak:xx"),
        (["--target-voice", "espeak:en-us", "--hypotheses", "none"], "none does not exist"),
    ],
)
def test_what_cannot_speak_or_translate_is_refused_before_anything_is_written(
    tmp_path: Path, model: Path, capsys: Capture, flags: list[str], message: str
) -> None:
    given = [str(model) if flag == "MODEL" else flag for flag in flags]
    assert main(["corpus", str(tmp_path / "corpus"), "--counts", "train=1", *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()
