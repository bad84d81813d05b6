"""Several ranks train as one process does, and a run goes on with another number of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from killed_run import Killed, kill_after
from rank_processes import run_ranks
from tiny_training import tiny_network, tiny_run, utterance
from torch import Tensor
from words import word_example_maker

from echostream.config import ConfigError, to_dict
from echostream.model_folder import load_model
from echostream.models import build_model
from echostream.training.batch import Batch, collate, padded
from echostream.training.command import main
from echostream.training.config import (
    AugmentConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from echostream.training.example import NO_LABEL, Example
from echostream.training.horizons import CTC
from echostream.training.losses import ctc_loss, decoder_loss
from echostream.training.multitask import Counts, Draws, MultitaskLoss, count_tokens
from echostream.training.ranks import Ranks, joined
from echostream.training.train import train
from echostream.training.trainer import Trainer

CPU = torch.device("cpu")
Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Six utterances of one to six words."""
    items = [utterance(n, num_words=n + 1) for n in range(6)]
    words = sorted({word for u in items for text in (u.source, u.target) for word in text.split()})
    make = word_example_maker(words, tmp_path_factory.mktemp("spm"))
    found = [make(item) for item in items]
    frames = np.concatenate([e.frames for e in found if e is not None]).astype(np.float32)
    mean, std = frames.mean(0), frames.std(0)
    return [e._replace(frames=(e.frames - mean) / std) for e in found if e is not None]


def config_of(**changes: Any) -> TrainConfig:
    return TrainConfig(
        output="",
        steps=10,
        accumulate=2,
        network=dataclasses.replace(tiny_network(), max_future_frames=(1,)),
        optim=OptimConfig(clip_norm=1e9),
        **changes,
    )


def gradients(config: TrainConfig, ranks: Ranks, batches: list[Batch]) -> Gradients:
    """Those of one step of this rank."""
    torch.manual_seed(1)
    network = dataclasses.replace(config.network, source_vocab_size=30, target_vocab_size=30)
    trainer = Trainer(build_model(network).to(batches[0].frames.dtype), config, CPU, ranks)
    trainer.distribute()
    trainer.step(0, *(batches[slot] for slot in ranks.slots(2)))
    return {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}


def write_gradients(rank: int, config: TrainConfig, batches: list[Batch], folder: Path) -> None:
    with joined(CPU) as (ranks, _):
        torch.save(gradients(config, ranks, batches), folder / f"{rank}.pt")


def assert_close(found: Gradients, wanted: Gradients) -> None:
    """Equal to 1e-6 of the length of the gradient, as a vector of all weights."""
    assert found.keys() == wanted.keys() and len(wanted) > 100
    a, b = (torch.cat([g[name].flatten() for name in wanted]) for g in (found, wanted))
    assert float((a - b).norm() / b.norm()) < 1e-6


def test_the_gradients_of_two_ranks_are_those_of_one_process(
    examples: list[Example], tmp_path: Path
) -> None:
    augment = AugmentConfig(frequency_masks=1, frequency_bins=8, time_masks=1, time_frames=5)
    config = config_of(dropout=0.2, augment=augment)
    batches = [collate(examples[:1]), collate(examples[1:])]  # of very different size
    assert run_ranks(2, write_gradients, config, batches, tmp_path) == [0, 0]
    alone = gradients(config, Ranks(), batches)
    for rank in (0, 1):
        assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), alone)


def exactly(examples: list[Example]) -> Batch:
    """A batch in float64: in float32 the size of a batch alone changes a gradient by 3e-6."""
    batch = collate(examples)
    return batch._replace(frames=batch.frames.double())


def slow_gradients(config: TrainConfig, examples: list[Example]) -> Gradients:
    """Utterance by utterance: each loss is a sum over all tokens, divided by their number."""
    torch.manual_seed(1)
    network = dataclasses.replace(config.network, source_vocab_size=30, target_vocab_size=30)
    model = build_model(network).double()
    assert model.decoder is not None
    num_source = sum(len(e.source) for e in examples)
    num_target = sum(len(e.target) for e in examples)
    weights, total = config.loss, torch.zeros(())
    for example in examples:
        batch = exactly([example])
        output = model(batch.frames, batch.frame_lengths, 1)
        lengths = output.valid.sum(1)
        asr = ctc_loss(output.asr_logits, lengths, batch.source, batch.source_lengths)
        st = ctc_loss(output.st_logits, lengths, batch.target, batch.target_lengths)
        decoder = decoder_loss(model.decoder, output, batch.target, batch.target_lengths, 0, 0.1)
        total = total + weights.asr * asr * len(example.source) / num_source
        total = total + weights.st * st * len(example.target) / num_target
        share = (len(example.target) + 1) / (num_target + len(examples))
        total = total + weights.decoder * decoder * share
    total.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_however_a_step_is_divided_its_gradient_is_that_of_all_its_utterances(
    examples: list[Example], cut: int
) -> None:
    config = config_of(
        augment=AugmentConfig(frequency_masks=0), loss=LossConfig(align_steps=0, decoder_max_lag=0)
    )
    batches = [exactly(examples[:cut]), exactly(examples[cut:])]
    assert_close(gradients(config, Ranks(), batches), slow_gradients(config, examples))


def shared_run(folder: Path) -> TrainConfig:
    """A run whose steps two ranks can share, with checkpoints after two, four and six."""
    return dataclasses.replace(
        tiny_run(folder), steps=6, checkpoint_steps=2, accumulate=2, dropout=0.1, threads=1
    )


def train_and_die(rank: int, config: TrainConfig, victim: int, after: int) -> None:
    """Trains; the process of one rank is killed outright in the middle of a step."""
    do_step, done = Trainer.step, 0

    def step(self: Trainer, number: int, *batches: Batch) -> object:
        nonlocal done
        done += 1
        if rank == victim and done > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return do_step(self, number, *batches)

    Trainer.step = step  # type: ignore[assignment, method-assign]
    train(config)


def curve(config: TrainConfig) -> dict[int, list[float]]:
    """The losses by step, the last record of each."""
    lines = Path(config.output, "log.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "train"]
    names = ("asr_loss", "st_loss", "decoder_loss", "audio_seconds")
    return {record["step"]: [record[name] for name in names] for record in records}


def poison_the_second_batch(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature of it is not a number in that step, on the rank that trains on it."""
    do_step = Trainer.step

    def poisoned(self: Trainer, number: int, *batches: Batch) -> object:
        if number == step and self.ranks.slots(2)[-1] == 1:
            batches[-1].frames[0, 5] = math.nan
        return do_step(self, number, *batches)

    monkeypatch.setattr(Trainer, "step", poisoned)


def test_a_rank_is_killed_and_the_run_goes_on_alone_and_again_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_second_batch(4, monkeypatch)  # which all ranks must skip
    (tmp_path / "whole").mkdir()
    whole = shared_run(tmp_path / "whole")
    train(whole)
    config = shared_run(tmp_path)
    after = random.Random(7).choice([2, 3])  # with a checkpoint, and before the next
    first, second = run_ranks(2, train_and_die, config, 1, after)
    assert second == -signal.SIGKILL and first not in (0, None)
    assert max(curve(config)) == 2
    revive = kill_after(3, monkeypatch)  # alone from step 2, to step 5
    with pytest.raises(Killed):
        train(config)
    revive()
    assert max(curve(config)) == 4
    assert run_ranks(2, train_and_die, config, -1, 0) == [0, 0]
    found, wanted = curve(config), curve(whole)
    assert found.keys() == wanted.keys() == {2, 4, 6}
    for step, losses in wanted.items():
        assert found[step] == pytest.approx(losses, rel=1e-3)
    assert (
        load_model(tmp_path / "run" / "model").config
        == load_model(tmp_path / "whole" / "run" / "model").config
    )


def test_ranks_that_cannot_share_a_step_are_refused() -> None:
    assert [list(Ranks(rank, 2).slots(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]
    with pytest.raises(ConfigError, match="multiple of the number of ranks, which is 2, but is 3"):
        Ranks(0, 2).slots(3)


def test_in_bf16_the_network_computes_in_another_precision_and_its_weights_stay_float32(
    examples: list[Example],
) -> None:
    batches = [collate(examples[:3]), collate(examples[3:])]
    exact = gradients(config_of(), Ranks(), batches)
    rough = gradients(config_of(precision="bf16"), Ranks(), batches)
    assert {value.dtype for value in rough.values()} == {torch.float32}
    a, b = (torch.cat([g[n].flatten() for n in sorted(g)]) for g in (exact, rough))
    distance = float((a - b).norm() / a.norm())
    assert 1e-4 < distance < 0.2 and math.isfinite(distance)


def test_intermediate_ctc_is_that_of_the_head_on_the_second_stack(examples: list[Example]) -> None:
    torch.manual_seed(1)
    config = config_of()
    network = dataclasses.replace(config.network, source_vocab_size=30, target_vocab_size=30)
    model, batch = build_model(network).double(), exactly(examples)
    counts, lags = Counts(*count_tokens(batch).clamp(min=1)), torch.full((len(examples),), CTC)
    losses = [
        MultitaskLoss(model, LossConfig(asr_intermediate=weight), CPU, "float32")(
            batch, Draws(1, 1, lags, align_weight=0.0), counts
        )[0]
        for weight in (0.0, 0.5)
    ]
    stacks = model.encoder(batch.frames, batch.frame_lengths, 1, return_stacks=True).stack_outputs
    lengths, total = batch.frame_lengths // 4, torch.zeros(())
    for row, example in enumerate(examples):
        logits = model.asr_head(stacks[1][row : row + 1, : lengths[row]])
        one = torch.tensor(example.source), torch.tensor([len(example.source or ())])
        total = total + ctc_loss(logits, lengths[row : row + 1], *one) * len(example.source or ())
    torch.testing.assert_close(losses[1] - losses[0], 0.5 * total / len(batch.source))


@pytest.mark.parametrize("multiple", [4, 16, 64, 512])
def test_padding_a_batch_changes_no_loss_and_no_draw(
    examples: list[Example], multiple: int
) -> None:
    torch.manual_seed(1)
    config = config_of()
    network = dataclasses.replace(config.network, source_vocab_size=30, target_vocab_size=30)
    loss = MultitaskLoss(build_model(network).double(), config.loss, CPU, "float32")
    batch = exactly(examples)
    labels = torch.randint(-1, 5, batch.source_labels.shape)
    labels[torch.arange(labels.shape[1]) >= batch.frame_lengths[:, None] // 4] = NO_LABEL
    batch = batch._replace(source_labels=labels, target_labels=labels)
    wide = padded(batch, multiple)
    assert wide.frames.shape[1] == -(-batch.frames.shape[1] // multiple) * multiple
    assert wide.source_labels.shape[1] == wide.frames.shape[1] // 4
    counts = Counts(*count_tokens(batch).clamp(min=1))
    assert count_tokens(wide).equal(count_tokens(batch))
    for lags in (torch.full((len(examples),), CTC), torch.full((len(examples),), 0.4)):
        draws = Draws(1, 1, lags, align_weight=0.5)
        for found, expected in zip(
            loss(wide, draws, counts), loss(batch, draws, counts), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("start", [[], ["-m", "torch.distributed.run", "--nproc_per_node", "2"]])
def test_a_training_is_one_process_or_the_ranks_of_torchrun(
    tmp_path: Path, start: list[str]
) -> None:
    config = dataclasses.replace(shared_run(tmp_path), steps=2)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(to_dict(config)))
    command = [sys.executable, *start, "-m", "echostream.training.train"]
    command.append(str(tmp_path / "run.yaml"))
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, capture_output=True, text=True, env=buffered)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n"
    assert set(curve(config)) == {2}


def test_the_process_of_a_rank_has_the_status_and_the_message_of_the_command(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "echostream.training.train", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "none.yaml" in done.stderr


def test_the_command_of_a_rank_ends_with_2_and_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "3")
    assert main([str(tmp_path / "none.yaml")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("echostream train, rank 3: ") and "none.yaml" in last
