"""`echostream curve --longform`: streams through simuleval, scored by segments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from tiny_model import SAMPLE_RATE, TARGET_TEXT, babble, make_model_folder

from echostream.cli import main
from echostream.evaluation.joined import join, write_streams

pytest.importorskip("omnisteval")


def test_spans_are_those_of_the_recordings() -> None:
    recordings = [babble(0.3 + 0.1 * n, seed=n) for n in range(5)]
    for joined in (1, 2, 5, 6):
        streams = join(recordings, list("abcde"), joined, pause_ms=100)
        assert [t for stream in streams for t in stream.references] == list("abcde")
        found = [s.samples[a : a + n] for s in streams for a, n in s.spans]
        for recording, part in zip(recordings, found, strict=True):
            np.testing.assert_array_equal(part, recording)
        silence = sum(len(stream.samples) for stream in streams) - sum(map(len, recordings))
        assert silence == 1600 * (5 - len(streams))


def test_streams_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    streams = join([babble(0.5, seed=n) for n in range(3)], list("abc"), 2, pause_ms=100)
    before = [path.stat().st_mtime_ns for path in write_streams(streams, tmp_path)]
    assert [path.stat().st_mtime_ns for path in write_streams(streams, tmp_path)] == before
    segments = yaml.safe_load((tmp_path / "audio.yaml").read_text())
    assert [one["wav"] for one in segments] == ["stream-0000.wav"] * 2 + ["stream-0001.wav"]
    assert segments[1] == {"wav": "stream-0000.wav", "offset": 0.6, "duration": 0.5}


def test_a_point_for_each_number_of_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model_folder(tmp_path / "model")
    names = []
    for index in range(4):
        names.append(str(tmp_path / f"{index}.wav"))
        sf.write(names[-1], babble(1.5, seed=index), SAMPLE_RATE)
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))
    (tmp_path / "target.txt").write_text("".join(f"{text}\n" for text in TARGET_TEXT[:4]))
    output = tmp_path / "out"
    words = ["curve", "--longform", "1", "4", "--model-path", str(model), "--output", str(output)]
    words += ["--source", str(tmp_path / "list.txt"), "--target", str(tmp_path / "target.txt")]
    words += ["--segment-sizes", "500", "--max-future-frames", "0", "--pause-ms", "200"]
    assert main(words) == 0, capsys.readouterr().err
    rows = json.loads((output / "longform.json").read_text())
    assert [(r["joined"], r["num_recordings"], r["num_segments"]) for r in rows] == [
        *((1, 4, 4), (4, 1, 4))
    ]
    assert (output / "longform.png").stat().st_size > 10_000
    assert len((output / "longform.tsv").read_text().splitlines()) == 3
    capsys.readouterr()
    for row in rows:  # by the other command, from the files of the point
        folder = output / f"joined-{row['joined']}"
        files = ["--audio-yaml", str(folder / "audio.yaml")]
        files += ["--reference", str(folder / "reference.txt")]
        assert main(["score", "--longform", *files, str(folder / row["point"])]) == 0
        again = json.loads((folder / row["point"] / "echostream_longform.json").read_text())
        assert {key: again[key] for key in row if key in again} == {
            key: value for key, value in row.items() if key in again
        }
    capsys.readouterr()
    assert main(words) == 0
    assert "done in" not in capsys.readouterr().out  # nothing was run again


@pytest.mark.parametrize("flags", [["--task", "s2st"], ["--only-task", "0"], ["--merge-only"]])
def test_what_does_not_go_with_streams_is_named(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["curve", "--longform", "2", *flags]) == 2
    assert flags[0] in capsys.readouterr().err


def test_a_pause_without_streams_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["curve", "--pause-ms", "100"])
    assert "goes with --longform alone" in capsys.readouterr().err
