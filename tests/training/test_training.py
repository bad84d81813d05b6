"""Training: it learns, it goes on exactly where it was, and it writes a model that translates."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml
from espeak_needed import needs_espeak
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import SAMPLE_RATE, tiny_network, tiny_run, utterance, write_table

from echostream.config import ConfigError, from_dict, load_config
from echostream.frontend.audio import read_audio
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator
from echostream.training.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TextPretrainingConfig,
    TokenizerConfig,
    TrainConfig,
)
from echostream.training.folder import check_run_config
from echostream.training.train import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of seven steps that nothing has stopped."""
    config = tiny_run(tmp_path_factory.mktemp("finished"))
    train(config)
    return config


def newest_checkpoint(config: TrainConfig) -> dict[str, torch.Tensor]:
    path = max(Path(config.output, "checkpoints").glob("step-*.pt"))
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return weights


def read_log(config: TrainConfig) -> list[dict[str, Any]]:
    text = Path(config.output, "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def assert_same_weights(found: TrainConfig, expected: TrainConfig) -> None:
    a, b = (load_file(Path(c.output, "model", "model.safetensors")) for c in (found, expected))
    assert a.keys() == b.keys()
    assert [name for name in b if not torch.equal(a[name], b[name])] == []


def test_tensorboard_still_shows_the_last_step_after_the_run_is_opened_again(
    finished: TrainConfig, tmp_path: Path
) -> None:
    copytree(finished.output, tmp_path / "run")
    train(dataclasses.replace(finished, output=str(tmp_path / "run")))
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("train/st_loss")] == [3, 6, 7]


@pytest.mark.parametrize("killed_after", [1, 3, 5])
def test_a_run_that_was_killed_and_resumed_has_the_weights_of_one_that_was_not(
    finished: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    config = tiny_run(tmp_path)
    revive = kill_after(killed_after, monkeypatch)
    with pytest.raises(Killed):
        train(config)
    assert not Path(config.output, "model").exists()
    revive()
    train(config)
    found, expected = newest_checkpoint(config), newest_checkpoint(finished)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert_same_weights(config, finished)


def test_after_an_odd_number_of_batches_of_two_workers_a_run_is_resumed_exactly_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        config = dataclasses.replace(tiny_run(tmp_path / name, num_workers=2), steps=5)
        if name == "killed":
            revive = kill_after(4, monkeypatch)
            with pytest.raises(Killed):
                train(config)  # the checkpoint is that of step 3
            revive()
            data = dataclasses.replace(config.data, num_workers=0)
            config = dataclasses.replace(config, data=data)
        train(config)
        runs.append(config)
    assert_same_weights(*runs)


def test_another_seed_gives_other_weights(finished: TrainConfig, tmp_path: Path) -> None:
    config = tiny_run(tmp_path, seed=2)
    train(config)
    found, expected = newest_checkpoint(config), newest_checkpoint(finished)
    assert any(not torch.equal(found[name], expected[name]) for name in expected)


def test_the_model_that_a_run_writes_translates_what_it_was_trained_on(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    write_table(tmp_path / "train.tsv", range(4))
    config = dataclasses.replace(
        config,
        steps=170,
        checkpoint_steps=5,
        data=dataclasses.replace(config.data, reuse=1, batch_seconds=12),
        loss=LossConfig(asr=1.0, align_steps=0),
        optim=OptimConfig(lr=2e-2, warmup_steps=10),
        augment=AugmentConfig(frequency_masks=0),
    )
    model = load_model(train(config))
    assert model.config.max_future_frames == (0, 1, 2)
    for look_ahead in (0, 1, 2):
        session = StreamingTranslator(model, max_future_frames=look_ahead)
        for item in map(utterance, range(4)):
            session.reset()
            samples, sample_rate = read_audio(tmp_path / f"{item.id}.flac")
            outputs = session.push(samples, sample_rate) + session.finish()
            assert " ".join(output.text for output in outputs) == item.target


def test_the_weights_of_the_model_are_the_mean_of_the_checkpoints_kept(
    finished: TrainConfig,
) -> None:
    paths = sorted(Path(finished.output, "checkpoints").glob("step-*.pt"))
    assert [path.name for path in paths] == ["step-0000006.pt", "step-0000007.pt"]
    a, b = (torch.load(path, weights_only=True)["model"] for path in paths)
    for name, value in load_file(Path(finished.output, "model", "model.safetensors")).items():
        torch.testing.assert_close(value, (a[name] + b[name]) / 2, rtol=1e-6, atol=1e-7)


def test_the_readme_of_the_model_has_its_provenance(finished: TrainConfig) -> None:
    folder = Path(finished.output, "model")
    text = (folder / "README.md").read_text(encoding="utf-8")
    size = sum(value.numel() for value in load_file(folder / "model.safetensors").values())
    assert "`echostream train`" in text and "7 steps" in text
    assert f"{size:,} parameters" in text and "at the last 2 checkpoints" in text
    records = read_log(finished)
    for look_ahead in (0, 1, 2):
        scores = [r for r in records if r["kind"] == f"mean_L{look_ahead}"][-1]
        assert scores["step"] == 7
        row = f"| {look_ahead} | {160 * (1 + look_ahead)} ms | {scores['bleu']:.1f} |"
        decoder = f"| {scores['decoder_bleu']:.1f} | {scores['decoder_exact']:.0f} % |"
        assert any(line.startswith(row) and line.endswith(decoder) for line in text.splitlines())
    written = from_dict(TrainConfig, yaml.safe_load(text.split("```")[1].removeprefix("yaml")))
    assert written == finished


def test_the_log_has_the_losses_and_the_dev_scores(finished: TrainConfig) -> None:
    records = read_log(finished)
    assert [r["step"] for r in records if r["kind"] == "train"] == [3, 6, 7]
    for record in records:
        if record["kind"] == "train":
            assert record["asr_loss"] > 0 and record["st_loss"] > 0 and record["audio_seconds"] > 0
    assert [r["step"] for r in records if r["kind"] == "dev_L0"] == [7]


def test_training_a_finished_run_again_changes_nothing(finished: TrainConfig) -> None:
    weights = Path(finished.output, "model", "model.safetensors")
    before = weights.read_bytes()
    assert train(finished) == weights.parent
    assert weights.read_bytes() == before


def test_the_folder_of_another_configuration_is_refused_by_the_key_that_differs(
    finished: TrainConfig,
) -> None:
    other = dataclasses.replace(finished, optim=OptimConfig(lr=5e-3, warmup_steps=4))
    before = sorted(Path(finished.output).rglob("*"))
    message = r"train.yaml is of another run: `optim.warmup_steps` is 3 there and 4 here"
    with pytest.raises(ConfigError, match=message):
        train(other)
    assert sorted(Path(finished.output).rglob("*")) == before
    assert load_config(TrainConfig, Path(finished.output, "train.yaml")) == finished


def test_a_folder_that_was_moved_is_still_that_of_its_run(
    finished: TrainConfig, tmp_path: Path
) -> None:
    copytree(finished.output, tmp_path / "moved")
    moved = dataclasses.replace(finished, output=str(tmp_path / "moved"))
    train(moved)
    assert_same_weights(moved, finished)


def test_a_run_whose_folder_has_the_former_keys_is_resumed(
    finished: TrainConfig, tmp_path: Path
) -> None:
    folder = Path(copytree(finished.output, tmp_path / "run"))
    content = yaml.safe_load((folder / "train.yaml").read_text())
    tokenizer = content.pop("tokenizer")
    content["warm_start"] = content.pop("text_pretraining")
    content["network"] |= {f"tokenizer_{key}": value for key, value in tokenizer.items()}
    for key in ("probability", "utterances"):
        content["data"][f"join_{key}"] = content["data"].pop(f"concat_{key}")
    (folder / "train.yaml").write_text(yaml.safe_dump(content))
    check_run_config(folder, finished)
    other = dataclasses.replace(finished, tokenizer=TokenizerConfig("bpe"))
    with pytest.raises(ConfigError, match=r"`tokenizer.type` is 'word' there and 'bpe' here"):
        check_run_config(folder, other)


def test_dev_recordings_too_short_for_their_text_are_refused(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    for path in tmp_path.glob("u[67].flac"):
        sf.write(path, np.zeros(80, np.float32), SAMPLE_RATE)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, tail_ms=0))
    with pytest.raises(ConfigError, match=r"none of 2 dev utterances .* 2 of 2 .* too short"):
        train(config)


def test_a_vocabulary_that_the_text_cannot_fill_is_refused_by_its_side(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    network = dataclasses.replace(config.network, source_vocab_size=20, target_vocab_size=5000)
    with pytest.raises(ConfigError, match=r"target text .*`vocab_size` must be at most \d+"):
        train(dataclasses.replace(config, network=network, tokenizer=TokenizerConfig("unigram")))


def test_text_pretraining_comes_before_the_first_step_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny_run(tmp_path)
    text = TextPretrainingConfig(steps=2, batch_sentences=4)
    config = dataclasses.replace(config, text_pretraining=text)
    revive = kill_after(5, monkeypatch)
    with pytest.raises(Killed):
        train(config)
    assert "text pre-training" in capfd.readouterr().err
    revive()
    train(config)
    assert "text pre-training" not in capfd.readouterr().err


@needs_espeak
def test_a_run_on_the_grammar_is_spoken_and_aligned_as_it_goes(tmp_path: Path) -> None:
    config = dataclasses.replace(
        tiny_run(tmp_path),
        steps=2,
        data=DataConfig(block_size=6, reuse=2, batch_seconds=20, dev_utterances=2),
        tokenizer=TokenizerConfig("word", sentences=300),
        network=dataclasses.replace(tiny_network(), source_vocab_size=900, target_vocab_size=900),
        loss=LossConfig(align_steps=10),
    )
    assert load_model(train(config)).source_tokenizer.has_only_words


def test_a_table_of_one_recording_can_be_trained_on(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    write_table(tmp_path / "train.tsv", range(1))
    train(dataclasses.replace(config, steps=1))
