"""A training on recordings that are bad, silent, wordless, short or long, through the real run."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import yaml
from tiny_training import SAMPLE_RATE, tiny_run, write_table

from echostream.cli import main
from echostream.config import ConfigError, to_dict
from echostream.data.table import COLUMNS
from echostream.model_folder import load_model
from echostream.training.config import DataConfig, TextPretrainingConfig, TrainConfig
from echostream.training.log import RunLog
from echostream.training.train import train

Capture = pytest.CaptureFixture[str]
Log = pytest.LogCaptureFixture


def command(config: TrainConfig, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(to_dict(config)))
    return ["train", str(path)]


def with_data(config: TrainConfig, **changes: object) -> TrainConfig:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def finite(folder: Path) -> bool:
    weights = load_model(folder / "model").network
    return all(bool(p.isfinite().all()) for p in weights.parameters())  # type: ignore[attr-defined]


def test_batches_without_a_single_word_are_trained_on(tmp_path: Path) -> None:
    """Every utterance is a batch of its own, and every second one is a sound that is not speech."""
    config = with_data(tiny_run(tmp_path), nonspeech_probability=1.0, batch_seconds=0.1)
    gains = dataclasses.replace(config.augment, gain_db=(-40.0, 12.0))
    config = dataclasses.replace(config, steps=12, augment=gains)
    train(config)
    assert finite(tmp_path / "run")


def test_recordings_of_any_length_and_of_silence_or_nan_are_trained_on(
    tmp_path: Path, caplog: Log
) -> None:
    config = tiny_run(tmp_path)
    loud = np.random.default_rng(0).normal(0, 0.1, 8 * SAMPLE_RATE).astype(np.float32)
    holes = loud.copy()
    holes[1000:3000] = np.nan
    sounds = {
        "u0": loud[:160],  # a single frame
        "u1": loud[:1],
        "u2": loud,  # longer than a batch
        "u3": np.zeros(SAMPLE_RATE, np.float32),
        "u4": holes,
    }
    for name, samples in sounds.items():
        sf.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    table = tmp_path / "train.tsv"
    for name in sounds:
        table.write_text(table.read_text().replace(f"{name}.flac", f"{name}.wav"))
    train(with_data(config, batch_seconds=2.0))
    assert finite(tmp_path / "run")
    assert "u4.wav: 2000 samples are NaN" in caplog.text


def test_recordings_that_are_all_silent_are_refused_by_name(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    for path in tmp_path.glob("u*.flac"):
        sf.write(path, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(ConfigError, match="first 6 utterances are silent"):
        train(config)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_recording_that_cannot_be_read_is_left_out_and_counted(
    num_workers: int, tmp_path: Path, capfd: Capture
) -> None:
    config = tiny_run(tmp_path, num_workers)
    (tmp_path / "u1.flac").unlink()
    (tmp_path / "u3.flac").write_bytes(b"fLaC and no more")
    (tmp_path / "u6.flac").write_text("not audio")
    handler = logging.StreamHandler()  # what the processes that make batches log goes there
    logging.getLogger("echostream").addHandler(handler)
    try:
        train(with_data(config, block_size=6))
    finally:
        logging.getLogger("echostream").removeHandler(handler)
    out = capfd.readouterr().err
    assert "train.tsv: 1 of 6 rows cannot be used (0 lines, 1 recordings), the first: " in out
    assert "block 0 of utterances: 2 of 6 utterances have a recording that cannot be read" in out
    assert f"{tmp_path / 'train.tsv'}, line " in out
    one = "dev set: 1 of 2 utterances have a recording that cannot be read and are left out"
    assert f"{one}, the first: {tmp_path}" in out
    assert finite(tmp_path / "run")


def test_a_recording_drawn_several_times_in_a_block_is_counted_once(
    tmp_path: Path, caplog: Log
) -> None:
    """A table of six in a block of 24: a message of "8 of 24" was taken for eight files."""
    config = tiny_run(tmp_path)
    (tmp_path / "u1.flac").unlink()
    sf.write(tmp_path / "u2.flac", np.zeros(800), SAMPLE_RATE)
    network = dataclasses.replace(config.network, tail_ms=0)
    train(with_data(dataclasses.replace(config, network=network), block_size=24))
    (message,) = [m for m in caplog.messages if m.startswith("block 0 of utterances: ")]
    assert "1 of 6 utterances are too short" in message
    assert "1 of 6 utterances have a recording that cannot be read and are left out" in message


def test_a_table_most_of_whose_recordings_are_missing_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: Capture
) -> None:
    config = tiny_run(tmp_path)
    for number in range(4):
        (tmp_path / f"u{number}.flac").unlink()
    assert main(command(config, tmp_path / "c.yaml")) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"{tmp_path / 'train.tsv'}: 4 of 6 rows cannot be used (0 lines, 4 recordings), the first: "
        in last
    )
    assert "line 2: " in last and "no such file" in last
    assert not Path(config.output).exists()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_table_most_of_whose_recordings_are_damaged_ends_the_training_with_2(
    num_workers: int, tmp_path: Path, capsys: Capture
) -> None:
    config = tiny_run(tmp_path, num_workers)
    for number in range(4):
        (tmp_path / f"u{number}.flac").write_text("not audio")
    assert main(command(config, tmp_path / "c.yaml")) == 2
    captured = capsys.readouterr()
    assert (
        "of 6 utterances have a recording that cannot be read, the last: "
        in captured.err.splitlines()[-1]
    )
    assert "Traceback" not in captured.err


def test_utterances_too_short_for_their_text_are_counted_once_a_block(
    tmp_path: Path, caplog: Log
) -> None:
    config = tiny_run(tmp_path)
    for number in (0, 2):
        sf.write(tmp_path / f"u{number}.flac", np.zeros(800), SAMPLE_RATE)
    network = dataclasses.replace(config.network, tail_ms=0)
    train(with_data(dataclasses.replace(config, network=network), block_size=6))
    messages = [
        m for m in caplog.messages if m.startswith("block 0 of utterances: 2 of 6 utterances")
    ]
    assert len(messages) == 1
    assert "too short for their own text" in messages[0] and "the first is u" in messages[0]


def test_an_error_in_a_process_that_makes_batches_ends_the_training_without_a_traceback(
    tmp_path: Path, capsys: Capture
) -> None:
    """All utterances too short: found where batches are made, in another process."""
    config = tiny_run(tmp_path, num_workers=1)
    for number in range(6):
        sf.write(tmp_path / f"u{number}.flac", 0.1 * np.random.randn(800), SAMPLE_RATE)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, tail_ms=0))
    assert main(command(config, tmp_path / "c.yaml")) == 2
    captured = capsys.readouterr()
    assert "none of the 4 utterances of a block can be trained on" in captured.err.splitlines()[-1]
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_ends_the_training_with_1_and_is_named(
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    config = dataclasses.replace(tiny_run(tmp_path, num_workers=1), steps=100_000)
    advance, done = RunLog.advance, []

    def advance_and_kill(self: RunLog, loss: float, audio_rate: float) -> None:
        advance(self, loss, audio_rate)
        done.append(loss)
        if len(done) == 4:
            for worker in set(multiprocessing.active_children()) - before:
                assert worker.pid is not None
                os.kill(worker.pid, number)

    before = set(multiprocessing.active_children())
    monkeypatch.setattr(RunLog, "advance", advance_and_kill)
    assert main(command(config, tmp_path / "c.yaml")) == 1
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert "a process that makes batches" in last and "out of memory" in last
    assert f"The last checkpoint is in {config.output}" in last
    assert "Traceback" not in captured.err
    assert set(multiprocessing.active_children()) <= before
    assert list((tmp_path / "run" / "checkpoints").glob("step-*3.pt"))


def test_a_normalisation_that_changes_the_target_is_reported_with_the_key_to_set(
    tmp_path: Path, caplog: Log
) -> None:
    config = tiny_run(tmp_path)
    for name in ("train.tsv", "dev.tsv"):
        table = tmp_path / name
        table.write_text(table.read_text().replace("black", "½"))
    train(dataclasses.replace(config, steps=1))
    (message,) = [m for m in caplog.messages if "normalisation" in m]
    assert (
        "tokenizer_normalization: identity" in message
        and "of 6 texts" in message
        and "½" in message
    )
    model = load_model(tmp_path / "run" / "model")
    assert model.config.tokenizer_normalization == "nmt_nfkc"
    caplog.clear()
    network = dataclasses.replace(config.network, tokenizer_normalization="identity")
    kept = dataclasses.replace(config, steps=1, network=network, output=str(tmp_path / "kept"))
    train(kept)
    assert "normalisation" not in caplog.text
    model = load_model(tmp_path / "kept" / "model")
    assert model.config.tokenizer_normalization == "identity"
    assert model.target_tokenizer.decode(model.target_tokenizer.encode("½")) == "½"


def test_decomposed_texts_make_the_tokenizers_of_composed_ones(tmp_path: Path, caplog: Log) -> None:
    models = []
    for form in ("NFC", "NFD"):
        (tmp_path / form).mkdir()
        config = tiny_run(tmp_path / form)
        for name in ("train.tsv", "dev.tsv"):
            table = tmp_path / form / name
            text = table.read_text().replace("noir", "bébé").replace("black", "café")
            table.write_text(unicodedata.normalize(form, text))
        network = dataclasses.replace(config.network, tokenizer_normalization="identity")
        train(dataclasses.replace(config, steps=1, network=network))
        models.append((tmp_path / form / "run" / "spm_tgt.model").read_bytes())
    assert models[0] == models[1]
    assert "were not in composed Unicode (NFC)" in caplog.text


def test_a_folded_case_leaves_a_word_tokenizer_with_fewer_words_than_were_counted(
    tmp_path: Path,
) -> None:
    config = tiny_run(tmp_path)
    table = tmp_path / "train.tsv"
    head, *lines = table.read_text().splitlines()
    lines[0] = lines[0].replace("\tthe", "\tThe")
    lines[1] = lines[1].replace("cat", "CAT").replace("dog", "DOG").replace("the", "THE")
    table.write_text("\n".join([head, *lines]) + "\n")
    network = dataclasses.replace(config.network, tokenizer_normalization="nmt_nfkc_cf")
    train(dataclasses.replace(config, steps=1, network=network))


def test_a_text_of_signs_that_the_tokenizer_leaves_out_can_be_pretrained_on(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    lines = ["\t".join(COLUMNS)]
    lines += [f"a{n}\tu{n}.flac\t0\t\u200b\t\u200b\t\t0" for n in range(2)]
    table = tmp_path / "train.tsv"
    table.write_text(table.read_text() + "\n".join(lines[1:]) + "\n")
    text = TextPretrainingConfig(steps=3, batch_sentences=8)
    train(dataclasses.replace(config, steps=1, text_pretraining=text))


def test_one_table_may_be_named_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_run(tmp_path)
    write_table(Path("train.tsv"), range(2))
    data = dataclasses.replace(config.data, train_tsv="train.tsv", dev_tsv="dev.tsv")
    assert isinstance(data, DataConfig)
    train(dataclasses.replace(config, steps=1, data=data, output="run"))
    assert finite(tmp_path / "run")
