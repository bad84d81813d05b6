"""A training step: batches whose lengths differ against batches of one length, in both precisions.

The network is that of `configs/train/mboshi-fr.yaml`; frames and texts are random. In bfloat16 a
CPU needs a kernel for each shape, and PyTorch keeps a limited number of them. The lengths are more
than could be kept if each were a shape of its own, as in a training.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice

import torch

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import FULL, Bench
from benchmarks.timing import take_turns
from echostream.config import ModelConfig
from echostream.evaluation.provenance import ROOT
from echostream.models.build import build_model
from echostream.training.batch import Batch, DatasetPosition
from echostream.training.config import PRECISIONS, TrainConfig
from echostream.training.kinds import load_run_config
from echostream.training.trainer import Trainer

RECIPE = ROOT / "configs" / "train" / "mboshi-fr.yaml"
BATCH_SECONDS = 30
STEPS = 2  # of a call
LEAST, MOST = 220, 620  # frames of the utterances of a batch
TOKENS_A_SECOND = 4
MAX_OF_ONE_LENGTH = 1.3


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    is_full = bench.scale is FULL
    num_lengths, seconds = (30, BATCH_SECONDS) if is_full else (2, 8)
    draw = random.Random(0)
    drawn = [draw.randrange(LEAST, MOST) for _ in range(num_lengths)]
    with _training():
        config = _config(None if is_full else bench.scale.config)
        calls: dict[str, Callable[[], object]] = {}
        speech = {}  # seconds of a call, on average
        for precision in PRECISIONS:
            for name, lengths in (("differ", drawn), ("same", [sum(drawn) // num_lengths])):
                batches = [_batch(config.network, size, seconds) for size in lengths]
                total = sum(float(batch.frame_lengths.sum()) for batch in batches) / 100
                speech[name] = STEPS * total / len(batches)
                calls[f"{precision} {name}"] = step = _steps(config, precision, batches)
                for _ in range(len(set(lengths)) // STEPS):
                    step()  # every length once, before the times
        times = take_turns(calls, max(2, bench.scale.rounds // 4), in_a_row=1)
    figures = []
    for precision in PRECISIONS:
        differ, same = times[f"{precision} differ"], times[f"{precision} same"]
        scale = BATCH_SECONDS / speech["differ"]
        figures.append(
            differ.figure(
                f"training step, {precision}, batches of {num_lengths} lengths, for "
                f"{BATCH_SECONDS} s of speech",
                *("ms", scale, same.median * BATCH_SECONDS / speech["same"]),
                "batches of one length",
                at_most(MAX_OF_ONE_LENGTH, "ratio"),
                note=f"{1000 / (scale * differ.median) * BATCH_SECONDS:.0f} s of speech a second",
            )
        )
    return figures


@contextmanager
def _training() -> Iterator[None]:
    """The other benchmarks run in inference mode, and time nothing with gradients."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _config(tiny: ModelConfig | None) -> TrainConfig:
    """The recipe's network, loss, dropout and optimizer; `tiny` is another network."""
    recipe = load_run_config(RECIPE)
    assert isinstance(recipe, TrainConfig)
    return TrainConfig(
        output="",
        steps=10**6,
        network=tiny or recipe.network,
        loss=recipe.loss,
        optim=recipe.optim,
        dropout=recipe.dropout,
    )


def _steps(config: TrainConfig, precision: str, batches: Sequence[Batch]) -> Callable[[], object]:
    """A call that does `STEPS` steps on the next batches, with a network of its own."""
    torch.manual_seed(0)
    values = {**vars(config), "precision": precision}
    trainer = Trainer(build_model(config.network), TrainConfig(**values), torch.device("cpu"))
    turns = enumerate(cycle(batches))
    return lambda: [trainer.step(step, batch) for step, batch in islice(turns, STEPS)]


def _batch(network: ModelConfig, num_frames: int, seconds: float) -> Batch:
    """Utterances of one length that fill a batch, with random texts."""
    rows = max(1, int(100 * seconds) // num_frames)
    num_tokens = max(1, TOKENS_A_SECOND * num_frames // 100)
    texts = [
        torch.randint(3, size, (rows * num_tokens,))
        for size in (network.source_vocab_size, network.target_vocab_size)
    ]
    lengths, labels = torch.full((rows,), num_tokens), torch.zeros(rows, num_frames // 4).long()
    return Batch(
        torch.randn(rows, num_frames, network.encoder.input_dim),
        torch.full((rows,), num_frames),
        *(texts[0], lengths, texts[1], lengths, labels, labels),
        lane=0,
        next_position=DatasetPosition(0, 0),
    )
