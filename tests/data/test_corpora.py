"""Corpora as they are downloaded become tables; each trap of a layout is read as it is meant."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tiny_corpora import WRITERS, write_mboshi, write_must_c, write_text, write_tone
from tiny_training import tiny_run

from echostream.cli import data as data_command
from echostream.cli import main
from echostream.data.corpora import LAYOUTS
from echostream.data.corpora.entry import CorpusError, Entry, Options
from echostream.data.corpora.mboshi import read_mboshi
from echostream.data.table import Table, read_tsv
from echostream.text.normalization import TextNormalization, load_normalization
from echostream.training.train import train


def prepare(root: Path, layout: str, *flags: str) -> Path:
    """The prepared folder of a tiny corpus."""
    output = root / "prepared"
    words = WRITERS[layout](root / "corpus")
    assert main(["data", "prepare", *words, "--output", str(output), "--jobs", "1", *flags]) == 0
    return output


def texts(table: Table) -> dict[str, tuple[str | None, str | None]]:
    return {row.id: (row.source, row.target) for row in table.rows}


def left_out(output: Path) -> dict[tuple[str, str], int]:
    report = json.loads((output / "report.json").read_text())
    return {(each["split"], each["reason"]): each["count"] for each in report["left_out"]}


def seconds(table: Table) -> list[float]:
    return [round(len(item.samples) / 16_000, 2) for item in table]


def test_each_layout_has_a_reader_a_help_text_and_a_tiny_corpus() -> None:
    assert set(LAYOUTS) == set(data_command.LAYOUTS) == set(WRITERS)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_prepared_corpus_is_whole(layout: str, tmp_path: Path) -> None:
    """Every layout: tables that can be read and trained on, a report, and nothing unfinished."""
    output = prepare(tmp_path, layout)
    tables = sorted(output.glob("*.tsv"))
    wanted = {"test"} if layout == "asterisk" else {"train", "dev"}
    assert wanted <= {path.stem for path in tables}
    report = json.loads((output / "report.json").read_text())
    for path in tables:
        table = read_tsv(path)
        assert table.missing() == [] and len(table) == report["splits"][path.stem]["utterances"]
        for item, row in zip(table, table.rows, strict=True):
            assert row.duration == pytest.approx(len(item.samples) / 16_000, abs=0.002)
        assert main(["data", "check", str(path), "--jobs", "1"]) == 0
    assert (output / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "text.yaml").is_file() and list(output.glob(".tmp-*")) == []
    page = (output / "report.md").read_text(encoding="utf-8")
    assert all(f"| {path.stem} | " in page for path in tables)


def test_mboshi_has_the_conditions_of_the_published_results(tmp_path: Path) -> None:
    output = prepare(tmp_path, "mboshi")
    tables = {split: read_tsv(output / f"{split}.tsv") for split in ("train", "dev", "test")}
    assert {split: len(table) for split, table in tables.items()} == {
        "train": 3, "dev": 1, "test": 2,
    }  # fmt: skip
    assert texts(tables["test"]) == {
        "abiayi_2015_Part0_dev": ("wa áyεi", "l'eau est-elle bonne"),
        "abiayi_2015_Part1_dev": ("ngá", "j'ai mangé"),
    }
    assert left_out(output) == {("train", "no fr.cleaned"): 1}
    report = json.loads((output / "report.json").read_text())
    assert report["files_with_fewer_samples_than_declared"] == 2
    references = (output / "test.target").read_text(encoding="utf-8").splitlines()
    assert references == ["l'eau est-elle bonne", "j'ai mangé"]
    assert all(map(Path.is_file, map(Path, (output / "test.source").read_text().split())))


def test_the_dev_set_of_mboshi_follows_from_the_seed(tmp_path: Path) -> None:
    write_mboshi(tmp_path)
    found = []
    for seed in (1, 1, 2, 3, 4, 5):
        entries = read_mboshi(Options(tmp_path, held_out=2, seed=seed))
        found.append(
            [each.id for each in entries if isinstance(each, Entry) and each.split == "dev"]
        )
    assert found[0] == found[1] and len({tuple(names) for names in found}) > 1
    assert {len(names) for names in found} == {2}


def test_cvss_joins_common_voice_covost_and_its_own_text(tmp_path: Path) -> None:
    output = prepare(tmp_path, "cvss")
    assert texts(read_tsv(output / "train.tsv")) == {
        "common_voice_fr_1": ('Il dit "oui"', "translation number 1"),
        "common_voice_fr_2": ("L\u2019eau froide", "translation number 2"),
    }
    assert texts(read_tsv(output / "dev.tsv")) == {
        "common_voice_fr_3": ("NA", "translation number 3")
    }
    assert not (output / "test.tsv").exists()
    assert left_out(output) == {
        ("dev_covost", "in a split of CoVoST that no one uses"): 1,
        ("test", "in CoVoST 2 but not in CVSS-C"): 1,
        ("test", "not in validated.tsv (of another Common Voice?)"): 1,
        ("test", "in CVSS-C but not in CoVoST 2 and validated.tsv"): 1,
        ("train", "a recording that cannot be read"): 1,
    }
    line = (output / "train.tsv").read_text(encoding="utf-8").splitlines()[1]
    assert line.endswith("cvss-c/fr-en/train/common_voice_fr_1.mp3.wav"), "the target speech"
    assert seconds(read_tsv(output / "train.tsv")) == pytest.approx([0.6, 0.6], abs=0.08)


def test_a_prepared_corpus_is_trained_on(tmp_path: Path) -> None:
    output = prepare(tmp_path, "cvss", "--audio", "flac", "--case", "lower")
    config = tiny_run(tmp_path)
    tables = {"train_tsv": str(output / "train.tsv"), "dev_tsv": str(output / "dev.tsv")}
    data = dataclasses.replace(config.data, **tables)
    model = train(dataclasses.replace(config, data=data, steps=1, checkpoint_steps=1))
    assert load_normalization(model) == TextNormalization(case="lower")


def test_covost_has_its_own_translation(tmp_path: Path) -> None:
    output = prepare(tmp_path, "covost2", "--case", "lower", "--punctuation", "drop")
    assert texts(read_tsv(output / "train.tsv")) == {
        "common_voice_fr_1": ("il dit oui", "translation 1"),
        "common_voice_fr_2": ("l\u2019eau froide", "translation 2"),
    }
    assert texts(read_tsv(output / "test.tsv")) == {
        "common_voice_fr_4": ("quatre", "translation 4")
    }


@pytest.mark.parametrize(
    ("layout", "languages", "names"),
    [
        # As text, 0.1608 < 0.7 < 1.5 < 1.9 < 100.2e-2.
        ("mustc", ("en", "de"), {0: "0.1608", 1: "0.7", 4: "100.2e-2"}),
        ("mtedx", ("fr", "en"), {0: "0.1608", 1: "0.7", 2: "100.2e-2"}),
    ],
)
def test_a_segment_of_a_talk_is_its_part_with_its_line(
    layout: str, languages: tuple[str, str], names: dict[int, str], tmp_path: Path
) -> None:
    output = prepare(tmp_path, layout)
    table = read_tsv(output / "train.tsv")
    said = {"0.1608": "One. (Applause)", "0.7": '-- "3"', "100.2e-2": "Two. Two."}
    wanted = {
        f"ted_train_{rank}": tuple(f"{language} {said[offset]}" for language in languages)
        for rank, offset in names.items()
    }
    assert texts(table) == wanted
    assert sorted(seconds(table)) == [0.3, 0.4, 0.5]
    assert left_out(output)[("train", "a segment of no length")] == 1
    assert left_out(output)[("train", "a segment beyond the end of its recording")] == 1
    assert {row.speaker for row in table.rows} == {"spk.1"}
    assert not (output / "test.source").exists(), "SimulEval reads whole files only"


def test_parts_of_talks_become_files_for_simuleval(tmp_path: Path) -> None:
    output = prepare(tmp_path, "mustc", "--audio", "flac")
    table = read_tsv(output / "test.tsv")
    assert [row.segment for row in table.rows] == [None] * 3
    listed = [Path(line) for line in (output / "test.source").read_text().splitlines()]
    assert [path.suffix for path in listed] == [".flac"] * 3 and all(map(Path.is_file, listed))
    assert sorted(seconds(table)) == [0.3, 0.4, 0.5]
    moved = output.rename(tmp_path / "moved")
    assert sorted(seconds(read_tsv(moved / "test.tsv"))) == [0.3, 0.4, 0.5]


def test_europarl_st_has_ends_and_recordings_that_must_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = prepare(tmp_path, "europarl-st")
    table = read_tsv(output / "train.tsv")
    assert list(texts(table).values()) == [("Un.", "One."), ("Trois.", "Three.")]
    assert seconds(table) == [0.5, 0.5]
    assert left_out(output)[("train", "a segment without `audio start end`")] == 1
    assert left_out(output)[("train", "the recording is missing or not converted from AAC")] == 1
    (tmp_path / "corpus/fr/audios/speech.1.flac").unlink()
    words = ["europarl-st", str(tmp_path / "corpus"), "--languages", "fr", "en"]
    assert main(["data", "prepare", *words, "--output", str(tmp_path / "y")]) == 2
    assert "ffmpeg -i X.m4a" in capsys.readouterr().err


def test_a_sentence_of_fleurs_that_two_people_read_is_two_utterances(tmp_path: Path) -> None:
    output = prepare(tmp_path, "fleurs")
    pair = "L'eau, c'est la vie.", '"Water" is life.'
    assert texts(read_tsv(output / "train.tsv")) == {"7_70": pair, "7_71": pair}
    assert left_out(output) == {("train", "a sentence that is not in en_us"): 1}


def test_librispeech_has_transcripts_alone(tmp_path: Path) -> None:
    output = prepare(tmp_path, "librispeech")
    assert sorted(path.stem for path in output.glob("*.tsv")) == ["dev", "test-other", "train"]
    assert texts(read_tsv(output / "train.tsv")) == {"84-121550-0000": ("but don't", None)}
    assert left_out(output)[("train", "a recording without a transcript")] == 1
    assert left_out(output)[("train", "a recording that cannot be read")] == 1
    assert (output / "test-other.target").read_text() == "but don't\n"


def test_prompts_of_a_telephone_have_spelt_digits_and_nothing_that_is_not_spoken(
    tmp_path: Path,
) -> None:
    output = prepare(tmp_path, "asterisk")
    table = read_tsv(output / "test.tsv")
    assert texts(table) == {"vm-press": ("appuyez sur un", "press one")}
    assert seconds(table) == [0.4] and table.rows[0].speaker == "fr_CA_f_June"
    assert load_normalization(output) == TextNormalization("lower", "drop", "straight")
    assert (output / "test.target").read_text() == "press one\n"
    assert left_out(output) == {
        ("test", "a character that is no Latin letter and no common punctuation"): 2,
        ("test", "fewer than 3 words"): 2,
        ("test", "no text in en"): 1,
        ("test", "no text in fr"): 1,
    }
    output = prepare(tmp_path / "all", "asterisk", "--min-words", "1", "--punctuation", "keep")
    assert texts(read_tsv(output / "test.tsv"))["dir/who"] == ("qui appelle?", "who calls?")


def test_a_folder_without_prompts_says_what_to_unpack(tmp_path: Path) -> None:
    _, corpus = WRITERS["asterisk"](tmp_path / "corpus")
    for languages, message in ((("it", "en"), "core-sounds-it.txt.gz"), (("en", "fr"), "")):
        options = Options(Path(corpus), languages)
        if message:
            with pytest.raises(CorpusError, match=message):
                list(LAYOUTS["asterisk"](options))
        else:
            assert any(isinstance(each, Entry) for each in LAYOUTS["asterisk"](options))
    shutil.rmtree(Path(corpus) / "usr/share/asterisk")
    with pytest.raises(CorpusError, match="must hold a folder such as sounds/fr_CA_f_June"):
        list(LAYOUTS["asterisk"](Options(Path(corpus))))


def test_tables_of_fairseq_are_read_as_they_were_meant(tmp_path: Path) -> None:
    output = prepare(tmp_path, "tsv")
    table = read_tsv(output / "train.tsv")
    assert texts(table) == {
        "train_0": ("elle dit oui", 'she said "yes"'), "train_1": (None, "no"),
    }  # fmt: skip
    assert seconds(table) == [0.5, 0.5]
    assert left_out(output)[("train", "a line that cannot be read")] == 1


def test_a_call_is_repeated_without_measuring_anew_and_gives_the_same(tmp_path: Path) -> None:
    output = prepare(tmp_path, "mtedx", "--audio", "flac")
    files = {path: path.read_bytes() for path in output.glob("*.tsv")}
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("audio/**/*.flac")}
    measured = (output / ".measured.jsonl").read_text()
    (output / ".measured.jsonl").write_text(measured[:-20])  # as of a killed call
    first = min(stamps)
    first.unlink()
    prepare(tmp_path, "mtedx", "--audio", "flac")
    assert {path: path.read_bytes() for path in output.glob("*.tsv")} == files
    assert {path for path in stamps if path.stat().st_mtime_ns != stamps[path]} >= {first}
    known = (output / ".measured.jsonl").read_text()
    assert known.count('"ted') == 0 and len(known.split("\n")) <= len(measured.split("\n")) + 5


def test_the_limits_hold_for_training_only_and_each_reason_is_counted(tmp_path: Path) -> None:
    output = prepare(tmp_path, "mustc", "--max-rate", "20", "--min-seconds", "0.35")
    counts = left_out(output)
    assert counts[("train", "shorter than 0.35 s")] == 1
    assert counts[("train", "more than 20 characters a second")] == 2
    assert len(read_tsv(output / "test.tsv")) == 3


def test_many_processes_measure_the_same_as_one(tmp_path: Path) -> None:
    rows = ["id\tsrc_audio\tsrc_text"]
    for number in range(140):
        write_tone(tmp_path / "corpus" / f"{number}.wav", 0.3 + number / 1000)
        rows.append(f"u{number}\t{number}.wav\tun")
    write_text(tmp_path / "corpus" / "train.tsv", *rows)
    found = []
    for jobs in ("1", "2"):
        output = tmp_path / jobs
        words = ["tsv", str(tmp_path / "corpus"), "--output", str(output), "--jobs", jobs]
        assert main(["data", "prepare", *words]) == 0
        found.append((output / "train.tsv").read_text())
    assert found[0] == found[1] and found[0].count("\n") == 141


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("remove", "must hold train, dev, tst-COMMON, tst-HE, or some of them"),
        ("cut", r"train.de must have a line for each of the 5 segments"),
        ("yaml", "must be YAML"),
        ("name", "must be a folder named after its languages"),
    ],
)
def test_a_corpus_of_another_layout_is_named(
    change: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, source = write_must_c(tmp_path)
    text = Path(source) / "data" / "train" / "txt"
    if change == "remove":
        shutil.rmtree(Path(source) / "data")
        (Path(source) / "data").mkdir()
    elif change == "cut":
        write_text(text / "train.de", "one", "two")
    elif change == "yaml":
        write_text(text / "train.yaml", "- {a: [")
    else:
        source = str(Path(source).rename(tmp_path / "corpus"))
    assert main(["data", "prepare", layout, source, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("echostream data: ") and message in line


def test_a_corpus_without_any_usable_utterance_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = write_mboshi(tmp_path / "corpus")
    for path in (tmp_path / "corpus").glob("*/*.wav"):
        path.write_bytes(b"RIFF")
    assert main(["data", "prepare", *words, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no utterance can be used: " in error and "a recording that cannot be read" in error
    assert list((tmp_path / "out").glob("*.tsv")) == []
