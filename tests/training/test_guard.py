"""A run survives a bad batch, says when a head writes nothing, and finds a full disk at once."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import resource
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tiny_training import tiny_run

from echostream.cli import main
from echostream.config import ConfigError, to_dict
from echostream.models.ctc_decode import best_ids, merge
from echostream.training.batch import Batch
from echostream.training.config import TrainConfig
from echostream.training.guard import BlankAlarm
from echostream.training.losses import num_written
from echostream.training.train import train
from echostream.training.trainer import StepReport, Trainer
from echostream.weights_file import save_weights


def poison(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature of the batches of these steps is not a number."""
    do_step = Trainer.step

    def poisoned(self: Trainer, step: int, batch: Batch) -> StepReport:
        if step in steps:
            batch.frames[0, 5] = math.nan
        return do_step(self, step, batch)

    monkeypatch.setattr(Trainer, "step", poisoned)


def weights_of(config: TrainConfig) -> dict[str, torch.Tensor]:
    return load_file(Path(config.output, "model", "model.safetensors"))


def records_of(config: TrainConfig) -> list[dict[str, Any]]:
    lines = Path(config.output, "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "train"]


def test_a_batch_that_is_not_finite_is_skipped_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poison({1}, monkeypatch)
    config = tiny_run(tmp_path)
    train(config)
    assert all(value.isfinite().all() for value in weights_of(config).values())
    (path,) = (tmp_path / "run" / "skipped").iterdir()
    assert f"saved in {path}" in caplog.text and "the loss of step 1 is nan" in caplog.text
    (batch,) = torch.load(path, weights_only=True)
    assert batch["frames"].isnan().any() and batch.keys() == set(Batch._fields)
    first, second, _ = records_of(config)
    assert first["skipped"] == 1 and "skipped" not in second
    assert math.isfinite(first["st_loss"]) and math.isfinite(first["gradient_norm"])


def test_a_run_ends_when_no_step_from_a_checkpoint_to_the_next_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison({3, 4, 5}, monkeypatch)
    config = tiny_run(tmp_path)
    with pytest.raises(FloatingPointError, match=r"all steps from 3 to 5 .* beyond repair"):
        train(config)
    record = records_of(config)[1]
    assert record["skipped"] == 3 and "st_loss" not in record
    assert not (tmp_path / "run" / "checkpoints" / "step-0000006.pt").exists()


def test_more_bad_batches_than_allowed_end_the_training_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison({0, 2, 4}, monkeypatch)
    config = dataclasses.replace(tiny_run(tmp_path), max_skipped_batches=2)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(to_dict(config)))
    assert main(["train", str(tmp_path / "c.yaml")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the loss of step 4 is nan" in last and "`max_skipped_batches` is 2" in last
    assert f"The last checkpoint is in {config.output}" in last
    assert [path.name for path in Path(config.output, "checkpoints").iterdir()] == [
        "step-0000003.pt"
    ]
    train(dataclasses.replace(config, max_skipped_batches=3))  # it may be raised


def test_a_resumed_run_counts_a_step_that_is_done_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison({1, 4}, monkeypatch)
    runs = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        config = dataclasses.replace(tiny_run(tmp_path / name), max_skipped_batches=2)
        if name == "killed":
            revive = kill_after(5, monkeypatch)
            with pytest.raises(Killed):
                train(config)
            assert len(list(Path(config.output, "skipped").iterdir())) == 2
            revive()
        train(config)
        runs.append(weights_of(config))
    assert [name for name in runs[0] if not torch.equal(runs[0][name], runs[1][name])] == []


def test_a_head_that_writes_only_blanks_is_named_once_until_it_has_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    alarm, counts = BlankAlarm({"asr": 0.3, "st": 1.0}), []
    for step, (asr, st) in enumerate(
        [(0.1, 0.0), (0.2, 0.0), (0.0, 0.01), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0)]
    ):
        alarm.check(10 * step, 10 * step + 10, {"asr": asr, "st": st})
        counts.append((caplog.text.count("the ASR head"), caplog.text.count("the ST head")))
    assert counts == [(0, 1), (0, 1), (1, 1), (1, 2), (2, 2), (2, 2)]
    assert "the ST head wrote only blanks from step 30 to 40" in caplog.text
    caplog.clear()
    BlankAlarm({"asr": 1.0, "st": 0.0}).check(0, 10, {"asr": 1.0, "st": 0.0})
    assert not caplog.text  # nor of a head that is not trained


def test_what_a_head_writes_is_counted_as_ctc_merges_it() -> None:
    generator = torch.Generator().manual_seed(3)
    for size in (1, 2, 9, 40):
        logits = torch.randn(5, size, 3, generator=generator)
        valid = torch.arange(size)[None] < torch.tensor([0, 1, size // 2, size, size])[:, None]
        wanted = sum(len(merge(row).tokens) for row in best_ids(logits, valid).tolist())
        assert num_written(logits, valid) == wanted


def test_a_file_that_cannot_hold_a_checkpoint_is_found_before_the_first_step(
    tmp_path: Path,
) -> None:
    config = tiny_run(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, before[1]))  # the tokenizers fit
    try:
        with pytest.raises(ConfigError, match=r"`output`: a checkpoint of \d.\d MB cannot be"):
            train(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert records_of(config) == []


def test_a_disk_without_space_for_all_checkpoints_is_found_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**5))
    message = r"`output`: 3 checkpoints of \d.\d MB are to be written, but only 0.1 MB are free"
    with pytest.raises(ConfigError, match=message):
        train(tiny_run(tmp_path))


def test_a_model_folder_that_is_a_file_is_found_before_the_first_step(tmp_path: Path) -> None:
    config = tiny_run(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").write_text("mine")
    with pytest.raises(ConfigError, match="run/model: Not a directory"):
        train(config)
    assert records_of(config) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_not_written(value: float, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    good = {
        "a": torch.ones(3),
        "b": torch.zeros(2, 2),
        "c": torch.zeros(0),
        "d": torch.ones(1).long(),
    }
    save_weights(good, path)
    before = path.read_bytes()
    with pytest.raises(FloatingPointError, match="`b` holds NaN or infinity"):
        save_weights({**good, "b": torch.tensor([[0.0, 1.0], [value, 2.0]])}, path)
    assert path.read_bytes() == before
