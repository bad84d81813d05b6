"""Training of the vocoder: pitch, the table in closed form, resume, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tones import buzz, write_speech_table

from echostream.config import ConfigError
from echostream.data.resynthesis import speech_of
from echostream.data.unit_table import read_unit_table
from echostream.data.units import UnitModel, learn_units
from echostream.frontend.audio import AudioError
from echostream.frontend.unit_features import unit_features
from echostream.speech_config import VocoderConfig
from echostream.speech_folder import load_vocoder
from echostream.training.part_config import AdamWConfig
from echostream.training.vocoder.config import VocoderDataConfig, VocoderTrainConfig
from echostream.training.vocoder.loss import spectral_loss
from echostream.training.vocoder.pitch import track_pitch
from echostream.training.vocoder.segments import SegmentSampler
from echostream.training.vocoder.targets import make_targets
from echostream.training.vocoder.train import losses_of, new_vocoder, train_vocoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings with their table, and a unit model of them."""
    folder = tmp_path_factory.mktemp("corpus")
    table = read_unit_table(write_speech_table(folder))
    learn_units([table.samples(row) for row in table.rows], 16).save(folder / "units")
    return folder


def tiny_run(corpus: Path, output: Path, steps: int = 5) -> VocoderTrainConfig:
    return VocoderTrainConfig(
        output=str(output),
        steps=steps,
        data=VocoderDataConfig(
            str(corpus / "units"),
            str(corpus / "train.speech.tsv"),
            batch_size=2,
            segment_units=12,
            context_units=3,
            lowest_hz=60,
            highest_hz=200,
        ),
        network=VocoderConfig(16, 8, 16, 1, 3, 24, 30),
        optim=AdamWConfig(warmup_steps=2),
        checkpoint_steps=2,
        keep_checkpoints=2,
    )


@pytest.mark.parametrize("hertz", [70.0, 100.0, 180.0])
def test_the_pitch_of_a_buzz_is_found(hertz: float) -> None:
    samples = buzz(100, seed=1, hertz=hertz)
    found = track_pitch(samples, 60, 220)
    time = (np.arange(200) * 160 + 80) / 16_000
    rng = np.random.default_rng(1)
    expected = hertz * (1 + 0.1 * np.sin(2 * np.pi * (1.5 * time + rng.random())))
    off = np.abs(np.log(found.hertz / expected))[4:-4]
    assert np.median(off) < 0.01
    assert np.quantile(off, 0.95) < 0.05
    assert found.voicing[4:-4].mean() > 0.8


def test_noise_and_silence_are_not_voiced() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert track_pitch(noise, 60, 200).voicing.mean() < 0.25
    assert track_pitch(np.zeros(16_000, np.float32), 60, 200).voicing.max() == 0


@pytest.mark.parametrize("size", [0, 159, 160, 161, 480])
def test_there_is_a_pitch_for_each_10_ms(size: int) -> None:
    found = track_pitch(buzz(3, 0)[:size], 60, 200)
    assert found.hertz.shape == found.voicing.shape == (size // 160,)
    assert np.isfinite(found.hertz).all()


def test_equal_waveforms_have_no_loss_and_a_shift_in_level_is_counted() -> None:
    samples = torch.from_numpy(buzz(20, 0))[None]
    assert spectral_loss(samples, samples) == 0
    assert spectral_loss(2 * samples, samples).item() == pytest.approx(1 + np.log(2), abs=0.1)


def test_the_table_alone_has_the_spectrum_of_the_recordings(corpus: Path, tmp_path: Path) -> None:
    """Without a step of gradients worth the name: the controls are a closed form."""
    config = dataclasses.replace(
        tiny_run(corpus, tmp_path / "run", steps=1), optim=AdamWConfig(lr=0.0)
    )
    vocoder = load_vocoder(train_vocoder(config))
    units, samples = UnitModel.load(corpus / "units"), buzz(40, 0)
    speech = speech_of(vocoder, units.extract(samples))
    a, b = unit_features(speech)[3:-3], unit_features(samples)[3:-3]
    loud = b > b.max() - 7  # 30 dB
    assert np.sqrt(((a - b)[loud] ** 2).mean()) < 1.5  # 6.5 dB
    assert speech.std() == pytest.approx(samples.std(), rel=0.4)


def test_a_run_improves_on_the_table_and_writes_its_log(corpus: Path, tmp_path: Path) -> None:
    config = tiny_run(corpus, tmp_path / "run", steps=30)
    config = dataclasses.replace(
        config, checkpoint_steps=10, optim=AdamWConfig(lr=1e-2, warmup_steps=2)
    )
    trained = load_vocoder(train_vocoder(config))
    units, table = UnitModel.load(corpus / "units"), read_unit_table(config.data.train_tsv)
    targets = make_targets(config, units, table)
    data = dataclasses.replace(config.data, batch_size=12, seed=5)
    segments = SegmentSampler(table, targets, data).draw(0)
    with torch.no_grad():
        before, after = (
            sum(losses_of(vocoder, segments)).item()
            for vocoder in (new_vocoder(config, units, targets), trained)
        )
    assert after < 0.97 * before
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20, 30]
    assert trained.config.silence_unit == 0
    assert "16 units" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_run_that_was_killed_and_resumed_has_the_weights_of_one_that_was_not(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    whole = train_vocoder(tiny_run(corpus, tmp_path / "whole"))
    config = tiny_run(corpus, tmp_path / "killed")
    revive = kill_after(killed_after, monkeypatch)
    with pytest.raises(Killed):
        train_vocoder(config)
    revive()
    found = load_file(train_vocoder(config) / "model.safetensors")
    expected = load_file(whole / "model.safetensors")
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_segment_is_5_ms_late_and_one_at_the_start_counts_from_its_first_unit(
    corpus: Path, tmp_path: Path
) -> None:
    config = tiny_run(corpus, tmp_path / "run")
    units, table = UnitModel.load(corpus / "units"), read_unit_table(config.data.train_tsv)
    sampler = SegmentSampler(table, make_targets(config, units, table), config.data)
    recordings = [table.samples(row) for row in table.rows]
    at_start = 0
    for step in range(20):
        batch = sampler.draw(step)
        for row in range(2):
            samples, counted = batch.samples[row].numpy(), batch.counted[row].tolist()
            matches = [
                (which, start)
                for which, whole in enumerate(recordings)
                for start in range(29)
                if np.array_equal(samples, np.pad(whole, (80, 0))[320 * start :][: 320 * 12])
            ]
            ((which, start),) = matches
            assert counted == [start == 0] * 3 + [True] * 9
            expected = units.extract(recordings[which])[start : start + 12]
            assert batch.units[row].tolist() == expected.tolist()
            at_start += start == 0
    assert 0 < at_start < 40


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    optim = AdamWConfig(lr=1.0, warmup_steps=4)
    rates = [optim.rate(step, 20) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.02


def test_a_unit_model_of_another_size_is_refused(corpus: Path, tmp_path: Path) -> None:
    config = tiny_run(corpus, tmp_path)
    config = dataclasses.replace(config, network=VocoderConfig(17, 8, 16, 1, 3, 24, 30))
    with pytest.raises(ConfigError, match=r"`network.num_units` must be 16.* but is 17"):
        train_vocoder(config)


def test_recordings_shorter_than_a_segment_are_refused(corpus: Path, tmp_path: Path) -> None:
    config = tiny_run(corpus, tmp_path)
    data = dataclasses.replace(config.data, segment_units=41)
    with pytest.raises(ConfigError, match=r"`data.segment_units` is 41, but the longest .* 40"):
        train_vocoder(dataclasses.replace(config, data=data))


def test_samples_that_are_whole_numbers_are_refused(corpus: Path, tmp_path: Path) -> None:
    path = write_speech_table(tmp_path)
    sf.write(tmp_path / "t2.wav", 32768 * buzz(40, 2), 16_000, "FLOAT")
    path.write_text(path.read_text().replace("t2.flac", "t2.wav"))
    config = tiny_run(corpus, tmp_path / "run")
    data = dataclasses.replace(config.data, train_tsv=str(path))
    with pytest.raises(AudioError, match=r"line 4.*must have samples in \[-1, 1\]"):
        train_vocoder(dataclasses.replace(config, data=data))


def test_silent_recordings_are_refused(corpus: Path, tmp_path: Path) -> None:
    path = write_speech_table(tmp_path, count=1)
    sf.write(tmp_path / "t0.flac", np.zeros(320 * 40), 16_000)
    config = tiny_run(corpus, tmp_path / "run")
    data = dataclasses.replace(config.data, train_tsv=str(path))
    with pytest.raises(ConfigError, match="silent"):
        train_vocoder(dataclasses.replace(config, data=data))


def test_a_folder_of_another_run_is_refused(corpus: Path, tmp_path: Path) -> None:
    config = tiny_run(corpus, tmp_path / "run", steps=2)
    train_vocoder(config)
    other = not config.half_precision
    with pytest.raises(ConfigError, match=f"`half_precision` is {not other} there and {other} h"):
        train_vocoder(dataclasses.replace(config, half_precision=other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "`data.batch_size`"),
        ({"context_units": 12}, "`data.context_units` must be at most 11"),
        ({"lowest_hz": 200}, "`data.lowest_hz` and `data.highest_hz`"),
        ({"lowest_hz": float("nan")}, "`data.lowest_hz` and `data.highest_hz`"),
    ],
)
def test_a_value_that_is_not_possible_is_named(
    corpus: Path, tmp_path: Path, change: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(tiny_run(corpus, tmp_path).data, **change)
