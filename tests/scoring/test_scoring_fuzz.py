"""Logs and files of runs with bytes and fields changed at random: named, never a traceback."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_logs import fork_line, speech_line, text_line, write_run

from echostream.cli import main
from echostream.evaluation.point import read_marker
from echostream.evaluation.remote.log import RemoteLog, RemoteLogError
from echostream.scoring.log import ScoringError, read_complete_log
from echostream.scoring.report import markdown
from echostream.scoring.score import Options, score_run
from echostream.scoring.score_files import to_json, to_tsv
from echostream.scoring.simuleval_scores import compare_with_simuleval
from echostream.scoring.simuleval_scores import score as score_like_simuleval

GOOD: dict[str, dict[str, Any]] = {
    "words": text_line(0, "the small cat", [1000.0, 2000.0, 4000.0]),
    "characters": text_line(0, "猫が寝る", [1000, 2000, 3000, 4000], reference="猫が寝\te\u0301"),
    "pieces": text_line(0, "the cat", [1.0, 2.0, 3.0], prediction_spm=["▁the", "▁c", "at"]),
    "the fork": fork_line(0, ["▁the", "▁c", "at"], [1.0, 2.0, 3.0]),
    "speech": speech_line(0, [1000, 4000], [600, 900]),
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
OPTIONS = (Options("asr"), Options("asr", latency_unit="char"), Options("st", tokenizer="zh"))


def survives(path: Path) -> None:
    """A log is scored or refused by name, whatever is in it."""
    for options in OPTIONS:
        try:
            run = score_run(path, options)
        except ScoringError as error:
            assert str(path) in str(error) and len(str(error)) < 2000
            continue
        markdown({"run": run}, has_yaal=False)
        to_tsv({"run": run})
        json.loads(to_json(run))
    for unit in ("word", "char", "spm"):
        try:
            score_like_simuleval(read_complete_log(path, unit=unit))
        except ScoringError as error:
            assert str(path) in str(error) and len(str(error)) < 2000


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(kind=st.sampled_from(sorted(GOOD)), data=st.data())
def test_any_value_in_any_field_is_scored_or_named(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    line = dict(GOOD[kind])
    for key in data.draw(st.lists(st.sampled_from(sorted(line)), min_size=1, max_size=3)):
        line[key] = data.draw(VALUES)
    survives(write_run(tmp_path, [GOOD[kind], {**line, "index": line.get("index", 1)}]))


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A file with bytes changed, doubled, taken out or cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(changed) or 1)
        kind = rng.randrange(5)
        if kind == 0:
            del changed[position:]
        elif kind == 1:
            del changed[position : position + rng.randint(1, 20)]
        elif kind == 2:
            changed[position:position] = changed[position : position + rng.randint(1, 40)]
        elif kind == 3:
            changed[position:position] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        else:
            changed[position : position + 1] = bytes(
                [rng.choice(b'0123456789eE-+.,"[]{}\\\n\tNInfu')]
            )
    return bytes(changed)


@pytest.mark.parametrize("kind", GOOD)
def test_a_log_with_bytes_changed_is_scored_or_named(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    path = write_run(tmp_path, [{**GOOD[kind], "index": index} for index in range(2)])
    content = path.read_bytes()
    for _ in range(80):
        path.write_bytes(flipped(content, rng))
        survives(path)


def test_no_damaged_log_costs_another_run_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)
    good = write_run(tmp_path / "good", [GOOD["words"]])
    names = []
    for number in range(25):
        kind = rng.choice(sorted(GOOD))
        path = write_run(tmp_path / f"bad-{number}", [GOOD[kind]])
        path.write_bytes(flipped(path.read_bytes(), rng))
        names.append(str(path.parent))
    assert main(["score", *names, str(good.parent)]) == 1
    captured = capsys.readouterr()
    assert f"| {good.parent}" in captured.out
    assert (good.parent / "echostream_scores.json").is_file()
    assert all("cannot be scored" not in line for line in captured.err.splitlines())


def readers(folder: Path) -> Iterator[tuple[str, bytes, Callable[[], object]]]:
    """Files beside a log: name, what a run writes there, and what reads it."""
    scores = score_like_simuleval(read_complete_log(write_run(folder, [GOOD["words"]])))
    columns = ("BLEU", "AL", "LAAL", "AP", "DAL")
    row = "\t".join(str(round(getattr(scores, name), 3)) for name in columns)
    table = ("\t".join(columns) + "\n" + row + "\n").encode()
    yield "scores.tsv", table, lambda: compare_with_simuleval(scores, folder / "scores.tsv")
    record = {"command": ["a"], "inputs": {"code": "1"}, "instances_sha256": "0" * 64}
    yield "point.json", json.dumps(record).encode(), lambda: read_marker(folder, ["a"], {})
    given = {"agent": "a", "source_segment_size": 320, "eval_latency_unit": "word"}
    yield "remote.json", json.dumps(given).encode(), lambda: RemoteLog(folder, given, rerun=False)


@pytest.mark.parametrize("position", range(3))
def test_a_file_beside_the_log_with_bytes_changed_is_refused_by_name(
    tmp_path: Path, position: int
) -> None:
    rng = random.Random(position)
    name, content, read = list(readers(tmp_path))[position]
    (tmp_path / name).write_bytes(content)
    read()  # as it is, it is read
    for _ in range(300):
        (tmp_path / name).write_bytes(flipped(content, rng))
        try:
            read()
        except (ScoringError, RemoteLogError) as error:
            assert str(tmp_path) in str(error) and len(str(error)) < 2000
