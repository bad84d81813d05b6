"""The shipped model at other recording levels, and with sounds that are not speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from echostream import Model, StreamBatch, load_model
from echostream.evaluation.long_form import load
from echostream.evaluation.robustness import at_level, main
from echostream.evaluation.sounds import PEAK, sounds
from echostream.streaming import SAMPLE_RATE

pytestmark = pytest.mark.slow  # the file as a whole

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "fr-en"
SECONDS = 6.0


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ROOT / "models" / "fr-en-demo")


def texts(model: Model, method: str, look_ahead: int, streams: list[np.ndarray]) -> list[str]:
    """What a batch of streams writes, each as if it were alone."""
    batch = StreamBatch(model, len(streams), max_future_frames=look_ahead, decoding_method=method)
    found = {}
    for samples in streams:
        found[stream := batch.join()] = list[str]()
        batch.push(stream, samples, SAMPLE_RATE)
        batch.finish(stream)
    while batch.ready:
        for stream, outputs in batch.step().items():
            found[stream] += [output.text for output in outputs]
    return [" ".join(words) for words in found.values()]


@pytest.mark.parametrize("look_ahead", [0, 1])
@pytest.mark.parametrize("method", ["ctc", "decoder"])
def test_nothing_is_written_where_nothing_is_spoken(
    model: Model, method: str, look_ahead: int
) -> None:
    made = sounds(SECONDS)
    found = texts(model, method, look_ahead, list(made.values()))
    assert {name: text for name, text in zip(made, found, strict=True) if text} == {}


@pytest.mark.parametrize("gain_db", [-30, -20, -10, 12])
def test_the_recording_level_costs_few_words(model: Model, gain_db: float) -> None:
    """Of 16 recordings; echostream/evaluation/robustness.py measures all 64."""
    paths = (EXAMPLES / "wav_list.txt").read_text(encoding="utf-8").splitlines()[::4]
    plain = texts(model, "ctc", 0, recordings := [load(ROOT / path) for path in paths])
    found = texts(model, "ctc", 0, [at_level(samples, gain_db) for samples in recordings])
    assert sacrebleu.corpus_bleu(found, [plain]).score > 85


def test_every_sound_has_its_length_and_its_peak() -> None:
    for name, samples in sounds(1.5).items():
        assert samples.shape == (24_000,)
        assert np.abs(samples).max() == pytest.approx(0 if name == "silence" else PEAK)


def test_a_level_is_what_a_file_of_16_bits_holds() -> None:
    samples = np.array([0.5, -0.5, 0.001, 2**-15], np.float32)
    assert at_level(samples, 0).tolist() == pytest.approx([0.5, -0.5, 33 / 2**15, 2**-15])
    assert at_level(samples, 20)[:2].tolist() == [1 - 2**-15, -1.0]
    assert at_level(samples, -60).tolist() == [16 / 2**15, -16 / 2**15, 0.0, 0.0]


def test_both_tables_have_a_column_for_each_method(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("wav_list.txt", "target.txt"):
        lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()[:2]
        lines = [str(ROOT / line) if name == "wav_list.txt" else line for line in lines]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = ["--model-path", str(ROOT / "models" / "fr-en-demo")]
    lists = ["--source", str(tmp_path / "wav_list.txt"), "--target", str(tmp_path / "target.txt")]
    assert main([*model, *lists, "--gains", "-3", "--seconds", "1"]) == 0
    levels, found = capsys.readouterr().out.split("\n\n")
    header = "| level | ctc, L=0 | decoder, L=0 |"
    assert levels.splitlines()[0] == header
    assert levels.splitlines()[2].startswith("| -3 dB | ")
    assert len(found.splitlines()) == 2 + len(sounds(1))
