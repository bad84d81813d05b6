"""Data as StreamSpeech has it: the folders that make_data.py lays out, and the fbank2unit table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import SAMPLE_RATE, babble

from echostream.agents.streamspeech_data import read_data_bin
from echostream.data.table import TableError, read_tsv
from echostream.frontend.audio import AudioError
from echostream.frontend.cmvn import GlobalCmvn
from eval.streamspeech.make_data import main


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lists of two recordings with relative paths, and the folder of a model; it is run there."""
    (tmp_path / "my audio").mkdir()
    for seed, name in enumerate(("a.flac", "b c.wav")):
        soundfile.write(tmp_path / "my audio" / name, babble(0.1, seed), SAMPLE_RATE)
    (tmp_path / "w.txt").write_text("my audio/a.flac\nmy audio/b c.wav\n")
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    (tmp_path / "s.txt").write_text("un\ndeux\n")
    (tmp_path / "m").mkdir()
    statistics = GlobalCmvn(np.arange(80, dtype=np.float32), np.full(80, 2, np.float32))
    statistics.save(tmp_path / "m" / "gcmvn.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = ("--wav-list", "w.txt", "--target", "t.txt", "--src", "s.txt")


def make(*flags: str) -> int:
    return main(["out", "--model", "m", *flags])


def made(folder: Path) -> dict[str, str]:
    test = folder / "out/fr-en/simuleval/test"
    return {path.name: path.read_text() for path in sorted(test.glob("*"))}


def test_recordings_get_absolute_paths_and_all_lists_their_places(lists: Path) -> None:
    assert make(*ALL) == 0
    audio = lists / "my audio"
    recordings = f"{audio / 'a.flac'}\n{audio / 'b c.wav'}\n"
    assert made(lists) == {
        "src.txt": "un\ndeux\n",
        "target.demo.txt": "one\ntwo\n",
        "target.txt": "one\ntwo\n",
        "wav_list.demo.txt": recordings,
        "wav_list.txt": recordings,
    }


def test_a_test_set_may_have_one_text_only(lists: Path) -> None:
    assert make("--wav-list", "w.txt", "--src", "s.txt", "--lang", "fr") == 0
    assert sorted(made(lists)) == ["src.txt", "wav_list.txt"]


def test_windows_line_ends_are_not_passed_on(lists: Path) -> None:
    for name in ("w.txt", "t.txt", "s.txt"):
        path = lists / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert make(*ALL) == 0
    written = (lists / "out/fr-en/simuleval/test").glob("*.txt")
    assert not any(b"\r" in path.read_bytes() for path in written)


def test_the_data_bin_is_one_that_the_agents_read(lists: Path) -> None:
    assert make(*ALL, "--lang", "es") == 0
    folder = lists / "out/es-en/fbank2unit"
    found = read_data_bin(folder, "config_gcmvn.yaml")
    assert found.statistics == folder / "gcmvn.npz"  # absolute, as StreamSpeech needs it
    assert found.cmvn is not None
    assert found.cmvn.mean.tolist() == list(range(80))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "one\n", "w.txt has 2 lines and t.txt has 1: t.txt is shorter by 1"),
        ("s.txt", "un\n\ndeux\n", "s.txt, line 2: is blank"),
        (
            "w.txt",
            "my audio/a.flac\nnone.wav\n",
            "line 2: none.wav cannot be read as audio: there is no such file",
        ),
        ("m/gcmvn.npz", "", "m/gcmvn.npz is not a file of CMVN statistics"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    name: str, content: str, message: str, lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lists / name).write_text(content)
    assert make(*ALL) == 2
    assert message in capsys.readouterr().err
    assert not (lists / "out").exists()


@pytest.mark.parametrize("lang", ["", "../../other", "fr/x"])
def test_a_language_that_would_lead_out_of_the_folder_is_refused(
    lang: str, lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(*ALL, "--lang", lang) == 2
    assert f"`--lang` must be a code like fr, but is {lang!r}" in capsys.readouterr().err
    assert not (lists / "out").exists()


@pytest.mark.parametrize("flags", [ALL[:2], ALL[2:4], ALL[2:]])
def test_lists_that_need_each_other_are_named(
    flags: tuple[str, ...], lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(*flags) == 2
    assert "`--wav-list` must be given together with" in capsys.readouterr().err


def test_a_file_that_differs_is_replaced_only_on_request(
    lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DATA_ROOT may hold what StreamSpeech's preparation made."""
    assert make(*ALL) == make(*ALL) == 0  # the same again
    before = made(lists)
    (lists / "t.txt").write_text("three\nfour\n")
    (lists / "s.txt").write_text("trois\nquatre\n")
    (lists / "out/fr-en/simuleval/test/src.txt").unlink()
    assert make(*ALL) == 2
    target = lists / "out/fr-en/simuleval/test/target.txt"
    demo = target.with_name("target.demo.txt")
    assert f"--overwrite would replace {target}, {demo}; nothing" in capsys.readouterr().err
    del before["src.txt"]
    assert made(lists) == before
    assert make(*ALL, "--overwrite") == 0
    assert made(lists)["target.txt"] == "three\nfour\n"
    assert made(lists)["src.txt"] == "trois\nquatre\n"


# The table of fbank2unit

HEADER = "id\tsrc_audio\tsrc_n_frames\tsrc_text\ttgt_text\ttgt_audio\ttgt_n_frames"
UNITS = "63 991 162 73 338 359"


def table(folder: Path, *sources: tuple[str, str], end: str = "\n") -> Path:
    """A table as StreamSpeech's preparation writes it: audio and source text of each line."""
    rows = [
        f"common_voice_fr_{number}\t{audio}\t394\t{text}\tmadam pfeffers the baroness\t{UNITS}\t59"
        for number, (audio, text) in enumerate(sources)
    ]
    path = folder / "train.tsv"
    path.write_bytes("".join(line + end for line in [HEADER, *rows]).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quotation_mark_in_a_table_is_a_letter(end: str, lists: Path) -> None:
    """One that is opened and not closed would swallow lines in a reader of CSV."""
    texts = ['Il dit : "non.', "Madame la baronne Pfeffers.", '"oui" et « non »', "l'assemblée"]
    path = table(lists, *(("my audio/b c.wav", text) for text in texts), end=end)
    read = read_tsv(path)
    assert [read.texts(index)[0] for index in range(len(read))] == texts
    assert read.texts(3)[1] == "madam pfeffers the baroness"
    assert read[0].id == "common_voice_fr_0"
    assert len(read[0].samples) == SAMPLE_RATE // 10


def test_features_in_an_archive_are_not_taken_for_audio(lists: Path) -> None:
    """`src_audio` of StreamSpeech's own tables is FILE:OFFSET:LENGTH; training needs recordings."""
    archive = "/data/cvss-c/fr-en/src_fbank80.zip:17614448698:126208"
    read = read_tsv(table(lists, (archive, "Madame la baronne Pfeffers.")))
    assert read.texts(0)[0] == "Madame la baronne Pfeffers."
    wanted = r"must be a recording, but .*src_fbank80\.zip:17614448698:126208 is a part"
    with pytest.raises(AudioError, match=wanted):
        read[0]


def test_a_cut_line_of_a_table_is_named(lists: Path) -> None:
    path = table(lists, ("my audio/a.flac", "un"), ("my audio/a.flac", "deux"))
    path.write_bytes(path.read_bytes()[: -len(UNITS)])
    with pytest.raises(TableError, match=r"train\.tsv, line 3: 7 fields are needed, but it has 6"):
        read_tsv(path)
