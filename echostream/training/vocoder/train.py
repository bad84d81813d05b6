"""The training run of a vocoder: a table in closed form, then gradients through the waveform."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.data.unit_table import UnitTable, read_unit_table
from echostream.data.units import UnitModel
from echostream.files import locked, remove_unfinished
from echostream.models.vocoder import KNOTS_PER_UNIT, UnitVocoder
from echostream.speech_folder import save_part
from echostream.streaming.clock import UNIT_MS, UNIT_SAMPLES
from echostream.training.checkpoint import Checkpoints
from echostream.training.folder import CHECKPOINTS, check_run_config
from echostream.training.log import RunLog
from echostream.training.vocoder.config import VocoderOptimConfig, VocoderTrainConfig
from echostream.training.vocoder.loss import spectral_loss
from echostream.training.vocoder.segments import Segments, SegmentSampler
from echostream.training.vocoder.targets import FILE, Targets, make_targets

_README = """\
# Unit vocoder

{num_units} units at 50 Hz to 16 kHz speech, {parameters:.1f} M parameters. Trained with
`echostream train` (`kind: vocoder`) for {steps} steps on {seconds:.0f} s of {table}. Unit model:
{units}, SHA-256 of its centroids {digest}.
"""


def train_vocoder(config: VocoderTrainConfig) -> Path:
    """Trains, or resumes a run; returns the folder of the vocoder, `<output>/model`.

    Batches depend on the seed and the step alone, so a resumed run has the weights of one that was
    not stopped.

    Raises:
        ConfigError: if the folder holds a run of another configuration, or a value is not possible.
        BlockingIOError: if another process trains in the folder.
        FloatingPointError: if a gradient is not finite.
    """
    if not config.output.strip():
        raise ConfigError("`output` must be the folder of the run, but is empty.")
    folder = Path(config.output)
    units = UnitModel.load(config.data.units)
    if units.num_units != config.network.num_units:
        raise ConfigError(
            f"`network.num_units` must be {units.num_units}, as in {config.data.units}, but is "
            f"{config.network.num_units} instead."
        )
    table = read_unit_table(config.data.train_tsv)
    with locked(folder):
        check_run_config(folder, config)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.data.seed)
        if not (folder / FILE).exists():
            make_targets(config, units, table).save(folder / FILE)
        targets = Targets.load(folder / FILE)
        vocoder = new_vocoder(config, units, targets)
        run = Run(config, folder, table, targets, vocoder)
        return run.complete()


def new_vocoder(config: VocoderTrainConfig, units: UnitModel, targets: Targets) -> UnitVocoder:
    """A vocoder with the table of the targets, whose embeddings are like for units that are."""
    network = dataclasses.replace(config.network, silence_unit=units.silence_unit)
    vocoder = UnitVocoder(network)
    centroids = torch.from_numpy(units.centroids)
    centroids = (centroids - centroids.mean(0)) / (centroids.std(0) + 1e-3)
    projection = torch.randn(centroids.shape[1], config.network.dim)
    with torch.no_grad():
        vocoder.table.weight.copy_(torch.from_numpy(targets.table))
        vocoder.embedding.weight.copy_(centroids @ projection / centroids.shape[1] ** 0.5)
    return vocoder


class Losses(NamedTuple):
    """The parts of the loss of a step."""

    spectral: float
    pitch: float


@dataclass
class Run:
    """A prepared run."""

    config: VocoderTrainConfig
    folder: Path
    table: UnitTable
    targets: Targets
    vocoder: UnitVocoder

    def complete(self) -> Path:
        """Trains from the last checkpoint, or from the beginning, and writes the folder."""
        config = self.config
        optimizer = torch.optim.AdamW(
            self.vocoder.parameters(),
            lr=config.optim.lr,
            betas=(0.8, 0.99),
            weight_decay=config.optim.weight_decay,
        )
        checkpoints = Checkpoints(self.folder / CHECKPOINTS, config.keep_checkpoints)
        restored = checkpoints.restore(self.vocoder, optimizer)
        step = restored[0] if restored else 0
        sampler = SegmentSampler(self.table, self.targets, config.data)
        with RunLog(self.folder, config.steps, step) as log:
            while step < config.steps:
                stop = min(config.steps, step + config.checkpoint_steps)
                self._train_until(stop, step, sampler, optimizer, log)
                step = stop
                checkpoints.save(step, self.vocoder, optimizer, [])
        self.vocoder.load_state_dict(checkpoints.mean_weights())
        remove_unfinished(self.folder / "model")
        save_part(self.folder / "model", self.vocoder.eval(), self._readme())
        return self.folder / "model"

    def _train_until(
        self,
        stop: int,
        first: int,
        sampler: SegmentSampler,
        optimizer: torch.optim.Optimizer,
        log: RunLog,
    ) -> None:
        started, audio, sums = time.perf_counter(), 0.0, torch.zeros(2)
        for step in range(first, stop):
            segments = sampler.draw(step)
            losses = self._step(step, segments, optimizer)
            sums += torch.tensor(losses)
            audio += segments.units.numel() * UNIT_MS / 1000
            log.advance(losses.spectral, audio / (time.perf_counter() - started))
        means = Losses(*(sums / (stop - first)).tolist())
        rate = learning_rate(stop - 1, self.config.steps, self.config.optim)
        log.write("train", stop, **means._asdict(), learning_rate=rate)
        log.print(f"step {stop}: spectral {means.spectral:.3f}, pitch {means.pitch:.3f}")

    def _step(self, step: int, segments: Segments, optimizer: torch.optim.Optimizer) -> Losses:
        optim = self.config.optim
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.steps, optim)
        spectral, pitch = losses_of(self.vocoder, segments)
        optimizer.zero_grad(set_to_none=True)
        (spectral + optim.pitch_weight * pitch).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.vocoder.parameters(), optim.clip_norm)
        if not norm.isfinite():
            raise FloatingPointError(f"The gradient of step {step + 1} is not finite.")
        optimizer.step()
        return Losses(spectral.item(), pitch.item())

    def _readme(self) -> str:
        config = self.config
        return _README.format(
            num_units=config.network.num_units,
            parameters=sum(each.numel() for each in self.vocoder.parameters()) / 1e6,
            steps=config.steps,
            seconds=len(self.targets.units) * UNIT_MS / 1000,
            table=Path(config.data.train_tsv).name,
            units=Path(config.data.units).name,
            digest=UnitModel.digest(config.data.units),
        )


def losses_of(vocoder: UnitVocoder, segments: Segments) -> tuple[Tensor, Tensor]:
    """The spectral loss with the pitch of the recording, and that of the predicted pitch.

    No gradient goes through the phase: the oscillators run at the recording's pitch, as the
    spectra would otherwise differ by it alone.
    """
    batch_size, num_units = segments.units.shape
    num_valid = torch.full((batch_size,), num_units)
    state = vocoder.init_state(batch_size)
    knots, _ = vocoder.controls(segments.units, num_valid, state.convolutions)
    given = knots._replace(pitch=segments.pitch)
    samples, _ = vocoder.synthesis.step(given, KNOTS_PER_UNIT * num_valid, state.synthesis)
    counted = segments.counted.repeat_interleave(UNIT_SAMPLES, dim=1)
    samples = torch.where(counted, samples, segments.samples)
    weight = segments.voicing * segments.counted.repeat_interleave(KNOTS_PER_UNIT, dim=1)
    off = (knots.pitch - segments.pitch).abs()
    pitch = (off * weight).sum() / weight.sum().clamp(min=1)
    return spectral_loss(samples, segments.samples), pitch


def learning_rate(step: int, steps: int, optim: VocoderOptimConfig) -> float:
    """A linear rise over the warm-up, then half a cosine down to zero at the last step."""
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    share = (step - optim.warmup_steps) / max(1, steps - optim.warmup_steps)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * share))
