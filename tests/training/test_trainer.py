"""One step of a training, the schedules of its steps, and the values that a run may have."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_training import tiny_network, utterance

from echostream.config import ConfigError, ModelConfig, from_dict
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.models import build_model
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import WordAligner
from echostream.training.batch import Batch, collate
from echostream.training.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TrainConfig,
)
from echostream.training.example import ExampleMaker
from echostream.training.losses import alignment_weight, learning_rate
from echostream.training.trainer import Trainer


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Batch, ModelConfig]:
    """Four utterances of the language of tones as one batch, and a network for them."""
    folder = tmp_path_factory.mktemp("four")
    utterances = [utterance(index) for index in range(4)]
    texts = [(u.source, u.target) for u in utterances]
    source, target = (
        Tokenizer.train([t[side] for t in texts], 9, folder / f"{side}", model_type="word")
        for side in (0, 1)
    )
    frames = np.concatenate([fbank(u.samples) for u in utterances])
    make = ExampleMaker(
        source,
        target,
        GlobalCmvn(frames.mean(0), frames.std(0)),
        WordAligner([(s.split(), t.split()) for s, t in texts]),
        tail_ms=640,
    )
    examples = [example for u in utterances if (example := make(u)) is not None]
    assert len(examples) == 4
    network = tiny_network()
    model = ModelConfig(
        source.vocab_size,
        target.vocab_size,
        network.encoder,
        network.st_layers,
        network.st_ffn_dim,
        network.st_left_context,
        decoder_layers=1,
        decoder_ffn_dim=32,
    )
    return collate(examples), model


def test_a_tiny_network_memorises_four_utterances(four: tuple[Batch, ModelConfig]) -> None:
    batch, model_config = four
    config = TrainConfig(
        output="",
        steps=60,
        network=tiny_network(),
        loss=LossConfig(asr=1.0, align_steps=30, decoder_label_smoothing=0.0),
        optim=OptimConfig(lr=2e-2, warmup_steps=5),
        augment=AugmentConfig(frequency_masks=0),
    )
    trainer = Trainer(build_model(model_config), config, torch.device("cpu"))
    reports = [trainer.step(step, batch) for step in range(config.steps)]
    assert reports[-1].asr_loss < reports[0].asr_loss / 10
    assert reports[-1].st_loss < reports[0].st_loss / 10
    assert reports[-1].decoder_loss < reports[0].decoder_loss / 3


def test_a_step_repeats_from_its_number_alone(four: tuple[Batch, ModelConfig]) -> None:
    batch, model_config = four
    config = TrainConfig(output="", steps=10, dropout=0.2, augment=AugmentConfig(time_masks=2))

    def step(number: int, seed: int) -> tuple[float, ...]:
        torch.manual_seed(0)
        changed = dataclasses.replace(config, data=DataConfig(seed=seed))
        trainer = Trainer(build_model(model_config), changed, torch.device("cpu"))
        torch.manual_seed(number * 17)  # random numbers that others draw do not matter
        return tuple(trainer.step(3, batch))

    assert step(1, seed=1) == step(2, seed=1)
    assert step(1, seed=1) != step(1, seed=2)


def test_a_gradient_that_is_not_finite_stops_the_run_and_spares_the_weights(
    four: tuple[Batch, ModelConfig],
) -> None:
    batch, model_config = four
    trainer = Trainer(
        build_model(model_config), TrainConfig(output="", steps=10), torch.device("cpu")
    )
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    poisoned = batch._replace(frames=batch.frames.clone())
    poisoned.frames[0, 5] = torch.nan
    with pytest.raises(FloatingPointError, match="the loss of step 4 is nan, and its gradient nan"):
        trainer.step(4, poisoned)
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_encoder_and_asr_head_keep_their_weights_while_they_are_frozen(
    four: tuple[Batch, ModelConfig],
) -> None:
    batch, model_config = four
    optim = OptimConfig(warmup_steps=0)
    config = TrainConfig(output="", steps=10, init_from="m", freeze_steps=2, optim=optim)
    trainer = Trainer(build_model(model_config), config, torch.device("cpu"))
    moved = []
    for step in range(3):
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        trainer.step(step, batch)
        after = trainer.model.state_dict()
        moved.append({n.partition(".")[0] for n in after if not torch.equal(after[n], before[n])})
    heads = {"st_head", "decoder"}
    assert moved == [heads, heads, heads | {"encoder", "asr_head"}]


def test_freezing_changes_no_loss(four: tuple[Batch, ModelConfig]) -> None:
    batch, model_config = four
    reports = []
    for freeze_steps in (0, 1):
        torch.manual_seed(4)
        config = TrainConfig(output="", steps=10, init_from="m", freeze_steps=freeze_steps)
        trainer = Trainer(build_model(model_config), config, torch.device("cpu"))
        reports.append(trainer.step(0, batch)._replace(gradient_norm=0.0))
    assert reports[0] == reports[1]


def test_nothing_to_train_while_frozen_is_refused() -> None:
    with pytest.raises(ConfigError, match="`freeze_steps` must be 0 without"):
        TrainConfig(output="", steps=3, freeze_steps=1, loss=LossConfig(st=0, decoder=0))
    with pytest.raises(ConfigError, match="`freeze_steps` must be 0 without `init_from`"):
        TrainConfig(output="", steps=3, freeze_steps=1)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (1, 0.2), (3, 0.4), (4, 0.4), (5, 0.35), (8, 0.2), (11, 0.05), (12, 0.0)],
)
def test_the_learning_rate_goes_up_and_down_in_straight_lines(step: int, rate: float) -> None:
    config = OptimConfig(lr=0.4, final_lr=0.0, warmup_steps=4)
    assert learning_rate(step, 12, config) == pytest.approx(rate)


@pytest.mark.parametrize(("precision", "num_frames"), [("float32", 160), ("bf16", 192)])
def test_the_network_computes_batches_of_few_lengths_in_bf16(
    four: tuple[Batch, ModelConfig], precision: str, num_frames: int
) -> None:
    batch, model_config = four
    config = TrainConfig(output="", steps=10, precision=precision)
    trainer = Trainer(build_model(model_config), config, torch.device("cpu"))
    lengths: list[int] = []
    trainer.model.encoder.register_forward_pre_hook(lambda _, x: lengths.append(x[0].shape[1]))
    labels = batch.source_labels[:, :37], batch.target_labels[:, :37]
    cut = batch._replace(
        frames=batch.frames[:, :150],
        frame_lengths=batch.frame_lengths.clamp(max=150),
        source_labels=labels[0],
        target_labels=labels[1],
    )
    trainer.step(0, cut)
    assert lengths == [num_frames]


def test_the_decoder_is_trained_with_the_shares_of_horizons_of_the_configuration(
    four: tuple[Batch, ModelConfig],
) -> None:
    batch, model_config = four
    losses = {}
    for shares in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        torch.manual_seed(4)
        loss = LossConfig(decoder_diagonal=shares[0], decoder_whole=shares[1], decoder_max_lag=0)
        trainer = Trainer(
            build_model(model_config),
            TrainConfig(output="", steps=10, loss=loss),
            torch.device("cpu"),
        )
        losses[shares] = trainer.step(0, batch).decoder_loss
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("step", [0, 1, 3, 4, 30, 1000])
def test_eden_falls_by_the_inverse_of_the_step_whatever_the_last_one(step: int) -> None:
    config = OptimConfig(schedule="eden", lr=0.4, warmup_steps=4, eden_steps=30)
    expected = 0.4 * min(1, (step + 1) / 4) * ((step**2 + 30**2) / 30**2) ** -0.5
    assert learning_rate(step, 12, config) == pytest.approx(expected)
    assert learning_rate(step, 10**6, config) == learning_rate(step, 12, config)


def test_the_learning_rate_of_a_run_shorter_than_its_warm_up_is_on_the_way_up() -> None:
    config = OptimConfig(lr=0.4, warmup_steps=4)
    assert [learning_rate(s, 3, config) for s in range(3)] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(("step", "weight"), [(0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0), (9, 0.0)])
def test_the_weight_of_the_alignments_fades_out(step: int, weight: float) -> None:
    assert alignment_weight(step, LossConfig(align_steps=4)) == weight
    assert alignment_weight(step, LossConfig(align_steps=0)) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1, but is 0 instead"),
        ({"keep_checkpoints": 0}, "`keep_checkpoints` must be at least 1"),
        ({"threads": -1}, "`threads` must be at least 0, but is -1 instead"),
        ({"data": {"reuse": 0}}, "`data.reuse` must be at least 1, but is 0 instead"),
        ({"data": {"num_workers": -1}}, "`data.num_workers` must be at least 0"),
        ({"data": {"batch_seconds": 0}}, "`data.batch_seconds` must be positive, but is 0"),
        (
            {"text_pretraining": {"batch_sentences": 0}},
            "`text_pretraining.batch_sentences`",
        ),
        ({"threads": 10**6}, "`threads` must be at most 1024, but is 1000000"),
        ({"data": {"seed": 10**19}}, "`data.seed` must be at most"),
        ({"data": {"block_size": 10**9}}, "`data.block_size` must be at most 1000000"),
        ({"data": {"batch_seconds": 10**9}}, "`data.batch_seconds` must be at most 86400"),
        ({"loss": {"align_steps": -1}}, "`loss.align_steps` must be at least 0, but is -1"),
        ({"loss": {"decoder_max_lag": -1}}, "`loss.decoder_max_lag` must be at least 0"),
        (
            {"loss": {"decoder_label_smoothing": 1.5}},
            "`loss.decoder_label_smoothing` must be at mo",
        ),
        ({"loss": {"st": -1}}, "`loss.st` must be at least 0, but is -1.0"),
        ({"optim": {"lr": -1}}, "`optim.lr` must be at least 0, but is -1.0"),
        ({"optim": {"clip_norm": 0}}, "`optim.clip_norm` must be positive, but is 0.0"),
        ({"augment": {"time_frames": -1}}, "`augment.time_frames` must be at least 0, but is -1"),
        ({"augment": {"speeds": []}}, "`augment.speeds` must be one or more numbers from 0.5 to 2"),
        ({"augment": {"speeds": [1, 3]}}, r"to 2, but is \[1.0, 3.0\] instead"),
        ({"dropout": 1}, "`dropout` must be at most 0.9, but is 1.0 instead"),
        ({"tokenizer": {"type": "char"}}, "one of unigram, bpe, word, but is 'char'"),
        ({"network": {"tokenizer_normalization": "nfc"}}, "identity, but is 'nfc' instead"),
        ({"network": {"target_vocab_size": 2}}, "`network.target_vocab_size` must be at least 3"),
        ({"tokenizer": {"sentences": 0}}, "`tokenizer.sentences` must be at least 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(TrainConfig, {"output": "run", "steps": 1} | values)
