"""Fields of a log line that are not what SimulEval writes: named, and no other line or run lost."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from run_logs import speech_line, text_line, write_run

from echostream.cli import main
from echostream.scoring.log import ScoringError, read_log
from echostream.scoring.log_line import MOST_BYTES, MOST_CHARACTERS
from echostream.scoring.metrics.wer import edit_distance
from echostream.scoring.score import Options, score_run

GOOD = text_line(0, "the small cat", [1000.0, 2000.0, 3000.0])
TIMES = "a list of numbers of ms from 0 to 1e+09"
Capture = pytest.CaptureFixture[str]

# Of the second line: the key, its value, what is allowed and found according to the message.
WRONG: dict[str, tuple[str, Any, str]] = {
    "prediction null": ("prediction", None, "`prediction` must be a text, but is null"),
    "prediction a number": ("prediction", 12, "`prediction` must be a text, but is 12"),
    "prediction a list": ("prediction", ["a"], '`prediction` must be a text, but is ["a"]'),
    "half a character": ("prediction", "a\ud800", "holds half a character, '\\ud800'"),
    "reference a number": ("reference", 4.5, "`reference` must be a text or null, but is 4.5"),
    "reference a list": ("reference", ["a", "b"], "`reference` must be a text or null, but is ["),
    "delays a text": ("delays", "123", f'`delays` must be {TIMES}, but is "123"'),
    "delays null": ("delays", None, f"`delays` must be {TIMES}, but is null"),
    "delays of texts": ("delays", ["1", "2", "3"], f'`delays` must be {TIMES}, but entry 1 is "1"'),
    "a delay true": ("delays", [1, True, 3], f"`delays` must be {TIMES}, but entry 2 is true"),
    "a delay null": ("delays", [1, 2, None], "but entry 3 is null"),
    "a negative delay": ("delays", [-1, 2, 3], "but entry 1 is -1"),
    "a delay infinite": ("delays", [1, 2, float("inf")], "but entry 3 is Infinity"),
    "a delay NaN": ("delays", [1, 2, float("nan")], "but entry 3 is NaN"),
    "a huge delay": ("delays", [1, 2, 10**400], "but entry 3 is 1000000000"),
    "a delay of years": ("delays", [1, 2, 1e300], "but entry 3 is 1e+300"),
    "elapsed a text": ("elapsed", "1 2 3", "`elapsed` must be a list of numbers of ms"),
    "elapsed zero": ("elapsed", 0, "`elapsed` must be a list of numbers of ms"),
    "elapsed infinite": ("elapsed", [1, 2, float("inf")], "but entry 3 is Infinity"),
    "source_length a text": (
        "source_length",
        "4000",
        "`source_length` must be positive, in ms and",
    ),
    "source_length true": ("source_length", True, "up to 1e+09, but is true"),
    "source_length infinite": ("source_length", float("inf"), "but is Infinity"),
    "source_length tiny": ("source_length", 5e-324, "but is 5e-324"),
    "source_length null": ("source_length", None, "but is null"),
    "index a text": ("index", "1", '`index` must be a whole number from 0 to 1e+09, but is "1"'),
    "index true": ("index", True, "`index` must be a whole number from 0 to 1e+09, but is true"),
    "index a fraction": ("index", 1.5, "but is 1.5"),
    "index negative": ("index", -1, "but is -1"),
    "index huge": ("index", 10**30, "but is 1000000"),
    "prediction_length a text": ("prediction_length", "3", "`prediction_length` must be a number"),
    "metric a number": ("metric", 3, "`metric` must be an object, but is 3"),
    "pieces a text": ("prediction_spm", "abc", "`prediction_spm` must be a list of texts"),
    "a piece null": ("prediction_spm", ["a", None, "b"], "but entry 2 is null"),
    "a piece too few": ("prediction_spm", ["a", "b"], "it has 3 delays, but 2 prediction_spm"),
    "durations a text": ("durations", "123", f'`durations` must be {TIMES}, but is "123"'),
    "a letter of many marks": (
        "reference",
        "a" + "\u0316\u0301" * 50,
        "over 30 marks on one letter",
    ),
}


@pytest.mark.parametrize(("key", "value", "message"), WRONG.values(), ids=WRONG)
def test_a_field_of_another_type_is_named_with_its_line_and_the_other_lines_are_scored(
    tmp_path: Path, capsys: Capture, key: str, value: Any, message: str
) -> None:
    wrong = {**text_line(1, "the cat sleeps", [1000.0, 2000.0, 3000.0]), key: value}
    path = write_run(tmp_path / "run", [GOOD, wrong])
    log = read_log(path)
    assert [entry.index for entry in log.utterances] == [0]
    assert log.skipped[0].startswith("line 2 cannot be read and was left out (")
    assert message in log.skipped[0]
    alone = write_run(tmp_path / "alone", [GOOD])
    assert score_run(path, Options()).simuleval_units == score_run(alone, Options()).simuleval_units
    # and through the command: no traceback, the other run scored, and the status shows it
    write_run(tmp_path / "bad", [wrong])
    assert main(["score", str(tmp_path / "bad"), str(tmp_path / "alone")]) == 1
    captured = capsys.readouterr()
    assert f"{tmp_path / 'bad' / 'instances.log'}: holds no utterance" in captured.err
    assert "line 1 cannot be read" in captured.err and message in captured.err
    assert f"| {tmp_path / 'alone'} | words" in captured.out


RAW = {
    "a number of thousands of digits": b'{"index": ' + b"9" * 5000 + b"}",
    "nested too deeply": b"[" * 200_000,
    "nested too deeply in a field": b'{"delays": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no UTF-8": json.dumps(text_line(1, "caf\xe9", [1.0]), ensure_ascii=False).encode("latin-1"),
    "UTF-16": json.dumps(text_line(1, "the", [1.0])).encode("utf-16"),
    "bytes": bytes(range(1, 256)) * 3,
    "a text": b'"text"',
    "null": b"null",
}


@pytest.mark.parametrize("line", RAW.values(), ids=RAW)
def test_a_line_that_is_no_json_object_costs_no_other_line(tmp_path: Path, line: bytes) -> None:
    path = write_run(tmp_path, [GOOD, text_line(2, "the cat", [1.0, 2.0])])
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line.replace(b"\n", b" ") + b"\n" + last)
    log = read_log(path)
    assert [entry.index for entry in log.utterances] == [0, 2]
    assert log.skipped[0].startswith("line 2 cannot be read") and len(log.skipped[0]) < 300


def test_a_log_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "instances.log")
    with pytest.raises(ScoringError, match=r"instances.log: cannot be read: it is not a file"):
        read_log(tmp_path / "instances.log")


def test_a_log_of_garbage_is_not_retold_line_by_line(tmp_path: Path) -> None:
    path = write_run(tmp_path, [GOOD])
    path.write_bytes(path.read_bytes() + b"garbage\n" * 5000)
    left_out = read_log(path).skipped
    assert len(left_out) == 21 and left_out[-1] == "4980 more lines were left out."


def test_times_at_the_limit_take_no_memory_of_their_own(tmp_path: Path) -> None:
    """ATD cuts the source into tokens of 300 ms: of eleven days there are three million."""
    line = text_line(0, "a cat", [1e9 - 1, 1e9], elapsed=[], source_length=1e9)
    path = write_run(tmp_path, [line])
    tracemalloc.start()
    scores = score_run(path, Options())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
    # The first two tokens of the source are the partners of the two words.
    assert scores.simuleval_units.values["ATD"] == pytest.approx((1e9 - 1 - 300 + 1e9 - 600) / 2)


def slow_distance(reference: list[str], hypothesis: list[str]) -> int:
    """The table of Levenshtein, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, word in enumerate(hypothesis, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (expected != word))
    return row[-1]


def test_the_edit_distance_is_that_of_the_table() -> None:
    rng = random.Random(3)
    for _ in range(500):
        one, other = ([rng.choice("abc") for _ in range(rng.randrange(9))] for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other)
    words = [str(rng.randrange(900)) for _ in range(10_000)]  # an hour: 20 s by the table
    assert edit_distance(words, words[1:]) == 1


NFD = unicodedata.normalize("NFD", "l'été où le garçon naïf")


def test_decomposed_unicode_is_compared_in_its_composed_form_and_said(
    tmp_path: Path, capsys: Capture
) -> None:
    text = unicodedata.normalize("NFC", NFD)
    delays = [500.0 * (i + 1) for i in range(len(text.split()))]
    for prediction, reference in ((text, NFD), (NFD, text)):
        write_run(tmp_path, [text_line(0, prediction, delays, reference=reference)])
        assert main(["score", str(tmp_path), "--task", "asr"]) == 0
        scores = json.loads((tmp_path / "echostream_scores.json").read_text())
        assert scores["quality"]["BLEU"] == pytest.approx(100)
        assert scores["quality"]["chrF"] == pytest.approx(100) and scores["quality"]["WER"] == 0
        captured = capsys.readouterr().out
        assert "1 predictions or references are not in Unicode's composed form (NFC)." in captured
        assert "as written they give BLEU " in captured
    write_run(tmp_path, [text_line(0, text, delays, reference=text)])
    assert main(["score", str(tmp_path)]) == 0
    assert "NFC" not in capsys.readouterr().out


def test_references_with_a_tab_between_them_are_several(tmp_path: Path, capsys: Capture) -> None:
    first, second = "the small cat sleeps here", "a little cat is sleeping in this place"
    delays = [1000.0, 2000.0, 3000.0, 4000.0, 4000.0]
    line = text_line(0, first, delays, reference=f"{second}\t{first}")
    other = text_line(1, first, delays, reference=first)
    run = score_run(write_run(tmp_path, [line, other]), Options(task="asr"))
    assert run.quality is not None and abs(run.quality.BLEU - 100) < 1e-9
    assert run.error_rate == 0  # of the nearest
    assert "nrefs:var" in run.quality.signatures["BLEU"]
    assert run.words is not None
    # Latency by the first, of eight words: 1000, 1500 ... against shares of 500 ms.
    only = score_run(write_run(tmp_path, [{**line, "reference": second}]), Options())
    assert only.words is not None
    both = score_run(write_run(tmp_path, [line]), Options())
    assert both.words is not None and both.words.values["AL"] == only.words.values["AL"]
    assert main(["score", str(tmp_path)]) == 0
    captured = capsys.readouterr().out
    assert "1 of 1 utterances have several references, with a tab between them" in captured
    assert "SimulEval takes them as one sentence, which gives BLEU" in captured


def test_a_line_beyond_all_measure_is_left_out_before_it_costs_time_or_memory(
    tmp_path: Path,
) -> None:
    long_text = text_line(1, "a" * (MOST_CHARACTERS + 1), [1.0])
    long_speech = speech_line(0, [1.0], [1.1e8])
    path = write_run(tmp_path, [GOOD, long_text, text_line(3, "a cat", [1.0, 2.0])])
    first, second, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second + b"[" * (3 * MOST_BYTES) + b"\n" + last)
    log = read_log(path)
    assert [entry.line for entry in log.utterances] == [1, 4]
    assert f"`prediction` must have at most {MOST_CHARACTERS} characters" in log.skipped[0]
    assert (
        f"line 3 cannot be read and was left out (it must have at most {MOST_BYTES} bytes"
        in (log.skipped[1])
    )
    with pytest.raises(ScoringError, match=r"its durations must be at most 1e\+08 ms together"):
        read_log(write_run(tmp_path, [long_speech]))
