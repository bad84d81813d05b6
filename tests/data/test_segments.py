"""Segments of long recordings: the samples of a cut of the whole, and only their part is read."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from tiny_training import utterance, write_table

from echostream.data.table import Table, TableError, read_tsv
from echostream.frontend.audio import AudioError, FaultyFiles, read_audio
from echostream.frontend.audio_segment import Segment, SegmentReader
from echostream.frontend.resample import resample

RATE = 24_000


def talk(seconds: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.3 * np.sin(np.arange(round(seconds * RATE)) / 9) + rng.normal(0, 0.05)).astype("f")


def without_xing(path: Path) -> Path:
    """An MP3 without its first frame, which counts the others."""
    data = path.read_bytes()
    second = data.find(data[:2], max(data.find(b"Xing"), data.find(b"Info")))
    path = path.with_name("uncounted.mp3")
    path.write_bytes(data[second:])
    return path


def written(folder: Path, kind: str) -> Path:
    path = folder / f"talk.{kind.removeprefix('uncounted.')}"
    sf.write(path, talk(), RATE)
    return without_xing(path) if kind.startswith("uncounted") else path


def bytes_read() -> int:
    """What this process has read from files so far."""
    try:
        first = Path("/proc/self/io").read_text().split()
    except OSError:
        pytest.skip("the system does not count what a process reads")
    return int(first[1])


@pytest.mark.parametrize(
    ("offset", "duration", "part"),
    [
        (0.2, 0.5, (0.2, 0.7)),
        (0.2, None, (0.2, 1.0)),
        (0.2, 0.85, (0.2, 1.0)),  # as far as the recording goes
        (0.2, 0.95, None),
        (1.0, 0.05, None),  # within the tolerance, but nothing of it is there
        (1.05, None, None),
    ],
)
def test_a_segment_is_within_its_recording_but_for_a_tolerance(
    offset: float, duration: float | None, part: tuple[float, float] | None
) -> None:
    for segment in (
        Segment(offset, duration),
        Segment(offset * RATE, None if duration is None else duration * RATE, in_samples=True),
    ):
        assert segment.within(1.0, RATE) == (None if part is None else pytest.approx(part))


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "uncounted.mp3"])
def test_a_segment_has_the_samples_of_the_whole_recording_cut(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, kind)
    whole, rate = read_audio(path)
    assert rate == RATE
    reader = SegmentReader()
    for start in (0, 1, 1151, 1152, 4096, 30_000, len(whole) - 1000):
        for length in (1, 999, 1000):
            by_samples, _ = reader.read(path, Segment(start, length, in_samples=True))
            by_seconds, _ = reader.read(path, Segment(start / RATE, length / RATE))
            for found in (by_samples, by_seconds):
                assert found.shape == (length,)
                np.testing.assert_allclose(found, whole[start : start + length], atol=1e-6)
    rest, _ = reader.read(path, Segment(1.0, None))
    np.testing.assert_allclose(rest, whole[RATE:], atol=1e-6)


def test_only_the_part_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with sf.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(200):
            file.write(np.zeros(RATE, np.float32))
    before = bytes_read()
    SegmentReader().read(path, Segment(150.0, 2.0))
    assert bytes_read() - before < 2 * 2 * RATE + 50_000 < path.stat().st_size / 10


def test_segments_of_a_file_that_must_be_decoded_whole_decode_it_once(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"
    sf.write(path, talk(60.0), RATE)
    reader = SegmentReader()
    reader.read(path, Segment(0.5, 0.1))
    before = bytes_read()
    for number in range(20):
        reader.read(path, Segment(number / 10, 0.1))
    assert bytes_read() - before < 5 * path.stat().st_size


def test_a_segment_of_samples_that_the_header_does_not_count_is_read(tmp_path: Path) -> None:
    """As of a recorder that was killed: the sizes in the header are of an earlier moment."""
    path = written(tmp_path, "wav")
    whole = path.read_bytes()
    size = 2 * RATE  # one second is declared, three follow
    path.write_bytes(whole[:40] + size.to_bytes(4, "little") + whole[44:])
    samples, _ = SegmentReader(FaultyFiles()).read(path, Segment(2.0, 0.5))
    np.testing.assert_allclose(samples, talk()[2 * RATE : 2 * RATE + RATE // 2], atol=1e-4)


@pytest.mark.parametrize(("duration", "warnings"), [(0.5, 0), (0.55, 0), (0.65, 1), (9.0, 1)])
def test_a_segment_beyond_the_end_is_read_up_to_it_and_named_once(
    duration: float, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "wav")
    reader = SegmentReader(FaultyFiles())
    for _ in range(3):
        samples, _ = reader.read(path, Segment(2.5, duration))
        assert len(samples) == RATE // 2
    assert caplog.text.count("has only 0.500 s") == warnings


@pytest.mark.parametrize("offset", [3.0, 3.5])
def test_a_segment_after_the_end_is_refused(offset: float, tmp_path: Path) -> None:
    path = written(tmp_path, "flac")
    with pytest.raises(AudioError, match=r"talk\.flac cannot .* from 3.* to .* s: .* ends before"):
        SegmentReader().read(path, Segment(offset, 1.0))


def table(folder: Path, header: str, *rows: str) -> Table:
    path = folder / "table.tsv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return read_tsv(path)


def test_the_ways_to_name_a_segment_give_the_same_samples(tmp_path: Path) -> None:
    path = written(tmp_path, "flac")
    ours = table(
        tmp_path, "id\tsrc_audio\toffset\tduration\tsrc_text\ttgt_text\tspeaker\tlanguage",
        f"a\t{path.name}\t0.5\t1.25\tun\tone\tanna\tfr",
    )  # fmt: skip
    fairseq = table(
        tmp_path, "id\taudio\tn_frames\ttgt_text\tspeaker\tsrc_text\tsrc_lang",
        f"a\t{path.name}:{RATE // 2}:{5 * RATE // 4}\t125\tone\tanna\tun\tfr",
    )  # fmt: skip
    wanted = resample(read_audio(path)[0][RATE // 2 :][: 5 * RATE // 4], RATE)
    for found in (ours, fairseq):
        assert found[0].samples.tolist() == wanted.tolist()
        assert (found[0].source, found[0].target, found[0].voice) == ("un", "one", "anna")
        assert found.rows[0].language == "fr" and found.missing() == []


def test_a_file_whose_name_looks_like_a_segment_is_a_file(tmp_path: Path) -> None:
    written(tmp_path, "flac").rename(tmp_path / "talk.flac:0:100")
    found = table(tmp_path, "id\tsrc_audio\tsrc_text", "a\ttalk.flac:0:100\tun")
    assert len(found[0].samples) == 3 * 16_000


@pytest.mark.parametrize(("offset", "seconds"), [("", 3.0), ("0", 1.0), ("0.0", 1.0)])
def test_a_duration_without_an_offset_is_only_the_length_of_the_file(
    offset: str, seconds: float, tmp_path: Path
) -> None:
    written(tmp_path, "wav")
    found = table(
        tmp_path, "id\tsrc_audio\toffset\tduration\tsrc_text", f"a\ttalk.wav\t{offset}\t1.0\tun"
    )
    assert len(found[0].samples) == seconds * 16_000 and found.rows[0].duration == 1.0


SECONDS = "must be seconds"
RISING = "must be seconds in rising order"
IMPOSSIBLE = {
    "offset": {"-1": SECONDS, "nan": SECONDS, "1,5": SECONDS},
    "duration": {"0": "must be more than 0 s", "inf": SECONDS},
    "word_ends": {"0.2 0.1": RISING, "0.2 x": RISING, "-0.2 0.1": RISING},
}


@pytest.mark.parametrize("column", IMPOSSIBLE)
def test_a_number_that_is_not_possible_is_named(column: str, tmp_path: Path) -> None:
    for value, message in IMPOSSIBLE[column].items():
        with pytest.raises(TableError, match=f"line 2: `{column}` {message}.* but is '?{value}"):
            table(tmp_path, f"id\tsrc_audio\tsrc_text\t{column}", f"a\ta.wav\tun\t{value}")


def test_a_part_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"`offset` is 1, but `a.wav:1:2` names a part already"):
        table(tmp_path, "id\tsrc_audio\tsrc_text\toffset", "a\ta.wav:1:2\tun\t1")


def test_word_ends_are_those_of_the_utterance(tmp_path: Path) -> None:
    written(tmp_path, "wav")
    found = table(
        tmp_path, "id\tsrc_audio\tsrc_text\tword_ends",
        "a\ttalk.wav\tun deux\t0.25 1e0", "b\ttalk.wav\tun\t",
    )  # fmt: skip
    assert [item.word_ends for item in found] == [(0.25, 1.0), ()]


def test_a_row_needs_one_text_and_the_other_is_unknown(tmp_path: Path) -> None:
    header = "id\tsrc_audio\tsrc_text\ttgt_text"
    found = table(tmp_path, header, "a\ta.wav\tun\t", "b\tb.wav\t  \tone", "c\tc.wav\tun\tone")
    assert [found.texts(n) for n in range(3)] == [("un", None), (None, "one"), ("un", "one")]


def test_bad_lines_are_collected_and_the_others_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.tsv", range(3))
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2:2] = ["cut\tline", lines[1], "d\td.wav\t0\t\t \t\t0"]
    path.write_text("\n".join(lines), encoding="utf-8")
    faults: list[TableError] = []
    found = read_tsv(path, faults)
    assert [item.id for item in found] == ["u0", "u1", "u2"]
    assert [str(fault).partition(": ")[0] for fault in faults] == [
        f"{path}, line {n}" for n in (3, 4, 5)
    ]
    assert found[0].source == utterance(0).source
    with pytest.raises(TableError, match="line 3"):
        read_tsv(path)


def test_a_recording_with_a_wrong_header_is_named_once_in_many_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for name in "ab":
        path = written(tmp_path, "wav").rename(tmp_path / f"{name}.wav")
        path.write_bytes(path.read_bytes()[:-1000])
    found = table(tmp_path, "id\tsrc_audio\tsrc_text", "a\ta.wav\tun", "b\tb.wav\tun")
    for _ in range(3):
        assert all(len(item.samples) > 40_000 for item in found)
    assert len(caplog.records) == 1, "the second file is counted with the first"
