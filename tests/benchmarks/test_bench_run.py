"""The whole benchmark on a tiny model: every figure's code runs. No time is judged here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.figures import Figure
from benchmarks.fixtures import FULL, QUICK, Bench, Scale

ISSUE_KEYS = {"name", "value", "unit", "floor", "ratio", "target", "meets"}
# Without these, a figure may be skipped.
OPTIONAL = ("GPU", "peer", "encoders of transformers")


@pytest.fixture(autouse=True)
def cores() -> Iterator[None]:
    """A run keeps to one core; the tests that follow do not."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def ready(
    exported: Path,
    exported_speech: Path,
    exported_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run finds its encoder and its model exported already, which is most of its time."""
    folder = Path(shutil.copytree(exported_encoder, tmp_path / "fixtures"))
    (folder / "onnx-int8.onnx").unlink()  # quantising is quick
    model = Path(shutil.copytree(exported, folder / "exported"))
    (model / "step.int8.onnx").unlink()

    def opened(scale: Scale) -> AbstractContextManager[Bench]:
        bench = Bench(scale, folder)
        bench.__dict__["model_folder"] = model
        bench.__dict__["speaking_folder"] = exported_speech
        return nullcontext(bench)

    monkeypatch.setattr(run, "opened", opened)


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
def test_every_figure_is_measured_or_has_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--quick", "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert list(report["seconds"]) == list(run.GROUPS)
    assert report["machine"]["cpu"]
    assert report["versions"]["torch"]
    assert report["threads"] == 1
    figures = report["figures"]
    assert all(set(figure) >= ISSUE_KEYS for figure in figures)
    names = [figure["name"] for figure in figures]
    assert len(set(names)) == len(names)
    skipped = {figure["name"]: figure["skipped"] for figure in figures if figure["value"] is None}
    assert all(reason.startswith("skipped: ") for reason in skipped.values())
    assert [name for name in skipped if not name.startswith(OPTIONAL)] == []
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("| ratio |")
    assert len([line for line in table if line.startswith("|")]) == len(figures) + 2
    assert "these figures are not those of the real one" in table[-1]
    # What depends on the processor is bounded by something of the same run.
    absolute = {
        figure["unit"] for figure in figures if (figure["target"] or "").startswith("value")
    }
    assert absolute <= {"bytes", "MB", "", "s of speech"}
    never_grows = [figure for figure in figures if " less second " in figure["name"]]
    assert never_grows
    assert {figure["value"] for figure in never_grows if figure["unit"] == "bytes"} == {0}


def test_a_group_that_was_measured_is_on_disk_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bench: object) -> list[Figure]:
        raise RuntimeError("the machine went away")

    figures = [Figure("a", 1.0, "ms")]
    monkeypatch.setattr(run, "GROUPS", {"one": lambda bench: figures, "two": fail})
    with pytest.raises(RuntimeError, match="went away"):
        run.main(["--quick", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [figure["name"] for figure in report["figures"]] == ["a"]
    assert list(tmp_path.iterdir()) == [tmp_path / "bench.json"]


def test_only_the_selected_groups_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {
        name: lambda bench, name=name: [Figure(name, 1.0, "ms")] for name in ("one", "two", "three")
    }
    monkeypatch.setattr(run, "GROUPS", groups)
    run.main(["--only", "one", "two", "--skip", "one", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [figure["name"] for figure in report["figures"]] == ["two"]


def test_a_quick_run_does_all_that_a_full_one_does_and_less_of_it() -> None:
    for name in (
        "rounds",
        "in_a_row",
        "batch",
        "stream_s",
        "long_s",
        "file_s",
        "processes",
        "talk_s",
    ):
        assert 0 < getattr(QUICK, name) < getattr(FULL, name), name
    assert FULL.reencode_s == (5, 20, 60)
    assert FULL.long_s == 3600
