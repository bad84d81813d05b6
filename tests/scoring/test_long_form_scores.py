"""`echostream score --longform` gives what OmniSTEval's own command gives, to its last digit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from servers import environment

from echostream.cli import main

pytest.importorskip("omnisteval")

SENTENCES = [
    ["the cat sleeps", "a dog runs fast", "we go home now"],
    ["one two three", "four five"],
]


def write_inputs(folder: Path, sentences: Sequence[Sequence[str]] = SENTENCES) -> list[str]:
    """Segments of 2 s with 0.5 s between them; the flags that name the files."""
    segments = [
        {"wav": f"talk-{number}.wav", "offset": 2.5 * place, "duration": 2.0}
        for number, texts in enumerate(sentences)
        for place in range(len(texts))
    ]
    (folder / "audio.yaml").write_text(yaml.safe_dump(segments))
    (folder / "reference.txt").write_text("".join(f"{t}\n" for texts in sentences for t in texts))
    files = ("--audio-yaml", folder / "audio.yaml", "--reference", folder / "reference.txt")
    return list(map(str, files))


def write_log(folder: Path, seed: int, unit: str = "word") -> Path:
    """A log of SimulEval whose texts lack words of the references and have others."""
    generator = np.random.default_rng(seed)
    lines = []
    for number, texts in enumerate(SENTENCES):
        words = [w for w in " ".join(texts).split() if generator.random() > 0.2]
        words.insert(int(generator.integers(len(words))), "extra")
        text = " ".join(words)
        size = len(words) if unit == "word" else len(text)
        delays = np.sort(generator.uniform(300, 2500 * len(texts), size)).round()
        lines.append(
            {
                "index": number,
                "prediction": text,
                "delays": delays.tolist(),
                "elapsed": (delays + np.cumsum(generator.uniform(0, 40, size))).tolist(),
                "prediction_length": size,
                "reference": " ".join(texts),
                "source": [f"/somewhere/talk-{number}.wav", "samplerate: 16000"],
                "source_length": 2500.0 * len(texts),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instances.log"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_simulstream_log(path: Path, seed: int) -> Path:
    """A log of simulstream in which the last words are taken back now and then."""
    generator = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for number, texts in enumerate(SENTENCES):
        lines.append({"id": number, "metadata": {"wav_name": f"/elsewhere/talk-{number}.wav"}})
        last: list[str] = []
        for place, word in enumerate(" ".join(texts).split()):
            back = last if generator.random() < 0.3 else []
            lines.append(
                {
                    "id": number,
                    "total_audio_processed": 0.7 * (place + 1),
                    "computation_time": float(generator.uniform(0.01, 0.2)),
                    "generated_tokens": [*(["other"] if back else []), word],
                    "deleted_tokens": back,
                }
            )
            last = [word]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def omnisteval(folder: Path, log: Path, *flags: str) -> dict[str, str]:
    """The scores.tsv of the tool's own command."""
    command = [sys.executable, "-m", "omnisteval.cli", "longform", "--hypothesis_file", str(log)]
    command += ["--speech_segmentation", str(folder / "audio.yaml")]
    command += ["--ref_sentences_file", str(folder / "reference.txt")]
    output = folder / "omnisteval"
    done = subprocess.run(
        [*command, "--output_folder", str(output), *flags],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = (output / "scores.tsv").read_text().splitlines()[1:]
    return dict(row.split("\t") for row in rows)


def check(theirs: dict[str, str], ours: dict[str, Any]) -> None:
    for name, key in {
        "BLEU": "bleu",
        "chrF": "chrf",
        "LongYAAL (CU)": "long_yaal",
        "LongYAAL (CA)": "long_yaal_ca",
        "LongLAAL (CU)": "long_laal",
        "LongLAAL (CA)": "long_laal_ca",
    }.items():
        assert theirs[name] == f"{ours[key]:.4f}", name


def score(*words: object) -> int:
    return main(["score", "--longform", *map(str, words)])


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_a_simuleval_log_are_those_of_the_tool(tmp_path: Path, seed: int) -> None:
    flags = write_inputs(tmp_path)
    log = write_log(tmp_path / "run", seed)
    assert score(log.parent, *flags) == 0
    ours = json.loads((log.parent / "echostream_longform.json").read_text())
    check(omnisteval(tmp_path, log, "--word_level", "--fix_simuleval_emission_ca"), ours)
    assert ours["num_recordings"] == 2 and ours["num_segments"] == 5
    resegmented = (tmp_path / "omnisteval" / "instances.resegmented.jsonl").read_text()
    assert (log.parent / "echostream_longform.segments.jsonl").read_text() == resegmented


def test_scores_by_character_are_those_of_the_tool(tmp_path: Path) -> None:
    flags = write_inputs(tmp_path)
    log = write_log(tmp_path / "run", 4, unit="char")
    assert score(log, *flags, "--eval-latency-unit", "char") == 0
    ours = json.loads((log.parent / "instances_longform.json").read_text())
    fixed = ("--fix_simuleval_emission_ca", "--bleu_tokenizer", "char")
    check(omnisteval(tmp_path, log, "--char_level", *fixed), ours)


@pytest.mark.parametrize("given", [False, True])
def test_scores_of_a_simulstream_log_are_those_of_the_tool(tmp_path: Path, given: bool) -> None:
    pytest.importorskip("simulstream")
    flags = write_inputs(tmp_path)
    config = tmp_path / "eval.yaml"
    config.write_text("detokenizer_type: simuleval\nlatency_unit: word\n")
    log = write_simulstream_log(tmp_path / "metrics.jsonl", seed=1)
    assert score(log, *flags, *(["--simulstream-config", config] if given else [])) == 0
    ours = json.loads((tmp_path / "metrics_longform.json").read_text())
    theirs = ("--hypothesis_format", "simulstream", "--simulstream_config_file", str(config))
    check(omnisteval(tmp_path, log, "--word_level", *theirs), ours)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "simulstream.metrics.stats"),
            *("--eval-config", str(config), "--log-file", str(log)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    stats = json.loads(done.stdout.removeprefix("Stats: "))
    assert ours["normalized_erasure"] == stats["normalized_erasure"]["value"] > 0
    assert ours["compute_rtf"] == stats["real_time_factor"]["value"]


def test_the_time_of_computation_is_that_of_the_log(tmp_path: Path) -> None:
    flags = write_inputs(tmp_path)
    log = write_log(tmp_path / "run", 0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    computed = sum(line["elapsed"][-1] - line["delays"][-1] for line in lines)
    assert score(log.parent, *flags) == 0
    ours = json.loads((log.parent / "echostream_longform.json").read_text())
    assert ours["compute_rtf"] == pytest.approx(computed / sum(x["source_length"] for x in lines))


def test_one_bad_run_does_not_stop_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = write_inputs(tmp_path)
    good = write_log(tmp_path / "good", 1)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "instances.log").write_text("words\n")
    other = tmp_path / "other" / "instances.log"
    other.parent.mkdir()
    other.write_text(good.read_text().splitlines()[0] + "\n")
    missing = tmp_path / "missing"
    runs = (tmp_path / "text", other.parent, missing, good.parent)
    assert score(*runs, *flags, "--output", tmp_path / "table") == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 3
    assert "line 1" in err and "does not match" in err and str(missing) in err
    assert str(good.parent) in out
    header, row = (tmp_path / "table" / "echostream_longform.tsv").read_text().splitlines()
    assert header.startswith("run\tBLEU") and row.startswith(str(good.parent))


@pytest.mark.parametrize("name", ["audio.yaml", "reference.txt"])
@pytest.mark.parametrize("content", [None, "", "- {wav: 1}\n", ": :\n"])
def test_files_that_do_not_fit_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None
) -> None:
    flags = write_inputs(tmp_path)
    log = write_log(tmp_path / "run", 1)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    assert score(log.parent, *flags) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and str(tmp_path / name) in err


def test_flags_that_do_not_go_together_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = write_inputs(tmp_path)
    run = str(write_log(tmp_path / "run", 1).parent)
    for words, message in (
        (["score", run, "--lang", "en"], "`--lang` needs `--longform`."),
        (["score", run, "--longform"], "`--longform` needs `--audio-yaml`."),
        (["score", run, "--longform", *flags, "--task", "asr"], "`--task st`"),
        (["score", run, "--longform", *flags, "--text", run], "`--text` does not go with"),
    ):
        assert main(words) == 2
        assert message in capsys.readouterr().err
