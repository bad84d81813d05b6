"""`echostream translate --speech-output` and `echostream speak`: files, the page, bad input."""

from __future__ import annotations

import base64
import io
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from espeak_needed import needs_espeak
from limits import full_disk
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import make_speaking_folder

from echostream.cli import main
from echostream.frontend.audio import read_audio
from echostream.session.playback import Playback
from echostream.session.translator import StreamingTranslator
from echostream.voices.espeak import Espeak
from echostream.voices.voice import Speech

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Names = Callable[[Path], str]

# The command, the flag of its folder, and the file that it writes for a recording.
COMMANDS: dict[str, tuple[str, Names]] = {
    "translate": ("--speech-output", lambda path: f"{path.name}.wav"),
    "speak": ("--output", lambda path: f"{path.stem}.wav"),
}
both_commands = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_folder(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A folder with two recordings, of which the first is at 8 kHz."""
    folder = tmp_path / "audio"
    folder.mkdir()
    sf.write(folder / "a.wav", babble(2, seed=1, sample_rate=8000), 8000)
    sf.write(folder / "b.flac", babble(1.5, seed=2), SAMPLE_RATE)
    return folder


def run(command: str, model: Path, output: Path, *recordings: Path, segment_ms: int = 320) -> int:
    flag, _ = COMMANDS[command]
    words = [command, str(model), *map(str, recordings), flag, str(output)]
    return main([*words, "--segment-ms", str(segment_ms)])


def speech_of(model: Path, path: Path) -> np.ndarray:
    """The translation as a player plays it, from one push of all samples."""
    session = StreamingTranslator.load(model, speech=True)
    playback = Playback()
    for output in session.push(*read_audio(path)) + session.finish():
        playback.add(output)
    return playback.samples.clip(-1, 1)


def test_translate_writes_the_speech_on_the_time_of_the_recording(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture
) -> None:
    recordings, out = sorted(audio.iterdir()), tmp_path / "out"
    assert run("translate", speaking, out, *recordings, segment_ms=9000) == 0
    for path in recordings:
        found, rate = sf.read(out / f"{path.name}.wav", dtype="float32")
        assert rate == SAMPLE_RATE and found.any()
        np.testing.assert_allclose(found, speech_of(speaking, path), atol=1e-4)
    assert f"speech in {out / 'b.flac.wav'}" in capsys.readouterr().out


def test_speak_has_the_recording_on_the_left_and_its_translation_on_the_right(
    speaking: Path, audio: Path, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", audio / "b.flac"
    assert run("speak", speaking, out, path, segment_ms=9000) == 0
    found, rate = sf.read(out / "b.wav", dtype="float32")
    assert rate == SAMPLE_RATE
    for side, wanted in enumerate((read_audio(path)[0], speech_of(speaking, path))):
        np.testing.assert_allclose(found[: len(wanted), side], wanted, atol=1e-4)
        assert not found[len(wanted) :, side].any()


class Page(HTMLParser):
    """The elements of a page and their attributes, and the text of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attributes}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "h2" and data.strip():
            self.headings.append(data)


def test_the_page_of_speak_has_a_player_for_each_recording_and_needs_nothing_else(
    speaking: Path, audio: Path, tmp_path: Path
) -> None:
    shutil.copy(audio / "b.flac", audio / "<script>&.flac")
    recordings = sorted(audio.iterdir())
    out = tmp_path / "out"
    assert run("speak", speaking, out, *recordings) == 0
    text = (out / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.headings == [path.stem for path in recordings]
    tags = [tag for tag, _ in page.found]
    assert tags.count("audio") == tags.count("svg") == len(recordings) and tags.count("script") == 1
    players = [about for tag, about in page.found if tag == "audio"]
    for path, about in zip(recordings, players, strict=True):
        kind, _, data = about["src"].partition(",")
        assert kind == "data:audio/flac;base64" and "controls" in about
        played, _ = sf.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
        written, _ = sf.read(out / f"{path.stem}.wav", dtype="int16")
        assert np.abs(played.astype(int) - written).max() <= 1
    # Nothing is loaded: no address but those of the data, no style sheet, no script file, no font.
    assert not {"link", "img", "iframe", "object", "source"} & set(tags)
    for _, about in page.found:
        assert about.get("src", "data:").startswith("data:") and "href" not in about
    outside = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"https?:|//|@import|url\(|fetch\(|import\(", outside)


def test_the_words_of_the_page_stand_in_order_before_their_speech(
    speaking: Path, audio: Path, tmp_path: Path
) -> None:
    out, path = tmp_path / "out", audio / "b.flac"
    assert run("speak", speaking, out, path) == 0
    text = (out / "index.html").read_text(encoding="utf-8")
    (seconds,) = (float(found) for found in re.findall(r'data-seconds="([\d.]+)"', text))
    places = [
        float(x) * seconds / 1000 for x in re.findall(r'<text x="([\d.]+)"[^>]*>(?!\d+ s<)', text)
    ]
    assert places == sorted(places) and places
    words = re.findall(r'<text x="[\d.]+"[^>]*>(?!\d+ s<)([^<]*)<', text)
    assert f"<p>{' '.join(words)}</p>" in text
    assert text.count('class="tick"') == math.ceil(seconds) - 1
    translated, _ = sf.read(out / "b.wav", dtype="float32")
    first_sound = np.flatnonzero(translated[:, 1])[0] / SAMPLE_RATE
    assert min(places) <= first_sound + 0.01


@both_commands
def test_a_recording_that_cannot_be_read_does_not_stop_the_next(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    bad = audio / "bad.wav"
    bad.write_bytes((audio / "a.wav").read_bytes()[:20])
    missing, out = audio / "none.wav", tmp_path / "out"
    assert run(command, speaking, out, bad, missing, audio / "b.flac") == 1
    error = capsys.readouterr().err
    for path in (bad, missing):
        assert f"echostream {command}: {path} cannot be read as audio" in error
    name = COMMANDS[command][1](audio / "b.flac")
    written = {path.name for path in out.iterdir()} - {"index.html"}
    assert written == {name}


@both_commands
def test_samples_that_are_no_numbers_are_warned_of_by_the_name_of_the_file(
    speaking: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    samples = babble(1, seed=1)
    samples[100:200] = np.nan
    sf.write(path := tmp_path / "a.wav", samples, SAMPLE_RATE, "FLOAT")
    assert run(command, speaking, tmp_path / "out", path) == 0
    assert f"{path}: set to zero: 100 samples that are NaN" in caplog.text


@both_commands
def test_a_model_that_cannot_speak_is_refused_before_anything_is_written(
    model: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    assert run(command, model, tmp_path / "out", audio / "b.flac") == 2
    message = "`speech` needs a model with a unit decoder and a vocoder, which this one lacks"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@both_commands
@pytest.mark.parametrize("place", ["out", "out/below"])
def test_a_file_where_the_folder_should_be_is_named_before_anything_is_translated(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str, place: str
) -> None:
    (tmp_path / "out").write_text("mine")
    assert run(command, speaking, tmp_path / place, audio / "b.flac") == 2
    printed = capsys.readouterr()
    assert f"{tmp_path / place}: Not a directory" in printed.err and printed.out == ""
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@both_commands
def test_a_folder_that_cannot_be_written_is_named(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    (out := tmp_path / "out").mkdir(mode=0o500)
    assert run(command, speaking, out, audio / "b.flac") == 2
    assert f"{out}: Permission denied" in capsys.readouterr().err


@both_commands
def test_recordings_of_one_name_are_refused_before_one_replaces_the_other(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    other = tmp_path / "other" / "b.flac"
    other.parent.mkdir()
    shutil.copy(audio / "b.flac", other)
    out = tmp_path / "out"
    assert run(command, speaking, out, audio / "b.flac", other) == 2
    assert f"{audio / 'b.flac'} and {other} would both become {out}" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_speak_does_not_replace_the_recording_that_it_reads(
    speaking: Path, audio: Path, capsys: Capture
) -> None:
    path = audio / "a.wav"
    before = path.read_bytes()
    assert run("speak", speaking, audio, path) == 2
    assert f"{path} would replace the file {path} itself" in capsys.readouterr().err
    assert path.read_bytes() == before


@both_commands
def test_on_a_full_disk_the_file_is_named_and_those_before_it_stay(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    name = COMMANDS[command][1]
    long = audio / "long.flac"
    sf.write(long, babble(6, seed=3), SAMPLE_RATE)
    out = tmp_path / "out"
    assert run(command, speaking, out, audio / "b.flac") == 0
    before = (out / name(audio / "b.flac")).read_bytes()
    with full_disk(len(before) + 100):
        assert run(command, speaking, out, audio / "b.flac", long) == 1
    assert f"{out / name(long)}: cannot be written (" in capsys.readouterr().err
    assert (out / name(audio / "b.flac")).read_bytes() == before
    assert {path.name for path in out.iterdir()} - {"index.html"} == {name(audio / "b.flac")}


@both_commands
def test_a_file_that_cannot_be_written_does_not_stop_the_next(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str
) -> None:
    name, out = COMMANDS[command][1], tmp_path / "out"
    (out / name(audio / "b.flac")).mkdir(parents=True)
    assert run(command, speaking, out, audio / "b.flac", audio / "a.wav") == 1
    assert f"{out / name(audio / 'b.flac')}: Is a directory" in capsys.readouterr().err
    assert (out / name(audio / "a.wav")).is_file()


@needs_espeak
@both_commands
def test_a_voice_whose_process_dies_stops_only_the_recording_that_it_spoke(
    speaking: Path, audio: Path, tmp_path: Path, capsys: Capture, command: str, monkeypatch: Patch
) -> None:
    said = []
    speak = Espeak.speak

    def dying(self: Espeak, *args: Any, **options: Any) -> Speech:
        if not said:
            self._process.kill()
        said.append(args)
        return speak(self, *args, **options)

    monkeypatch.setattr(Espeak, "speak", dying)
    name, out = COMMANDS[command][1], tmp_path / "out"
    files = [audio / "b.flac", audio / "a.wav"]
    assert run(command, speaking, out, *files, "--voice", "espeak:en") == 1
    error = capsys.readouterr().err
    assert "b.flac: the process that runs espeak-ng has ended" in error and "Traceback" not in error
    assert not (out / name(files[0])).exists() and (out / name(files[1])).is_file()


@pytest.mark.skipif(sys.platform == "darwin", reason="its names are UTF-8")
@both_commands
def test_a_name_that_is_not_utf_8_is_written(
    speaking: Path, audio: Path, tmp_path: Path, command: str
) -> None:
    path = audio / os.fsdecode(b"caf\xe9.flac")
    (audio / "b.flac").rename(path)
    out = tmp_path / "out"
    assert run(command, speaking, out, path) == 0
    assert (out / COMMANDS[command][1](path)).is_file()
