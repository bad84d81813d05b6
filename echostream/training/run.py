"""A prepared run: trains, validates and writes checkpoints, then the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError

from echostream.files import remove_unfinished
from echostream.model_folder import SOURCE_SPM, TARGET_SPM, save_model
from echostream.training.batch import Batch, Place
from echostream.training.checkpoint import Checkpoints
from echostream.training.checkpoint_file import CheckpointError, check_like, reason_of
from echostream.training.config import TrainConfig
from echostream.training.dataset import Feed
from echostream.training.folder import RunFolder
from echostream.training.loader import explained, load_batches
from echostream.training.log import RunLog
from echostream.training.model_card import model_readme
from echostream.training.prepare import Prepared
from echostream.training.pseudo_asr import ImaginedSpeech
from echostream.training.schedule import learning_rate
from echostream.training.sources import Speech, random_pair
from echostream.training.text_pretraining import warm_start
from echostream.training.trainer import StepReport, Trainer
from echostream.training.validate import Scores, validate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """All that a training is made of, once it is prepared."""

    config: TrainConfig
    folder: RunFolder
    speech: Speech
    prepared: Prepared
    trainer: Trainer
    checkpoints: Checkpoints

    def complete(self) -> Path:
        """Trains from the last checkpoint, or from the beginning, and writes the model."""
        trainer = self.trainer
        restored = self.checkpoints.restore(trainer.model, trainer.optimizer)
        num_places = max(self.config.data.num_workers, 1)
        step, places = restored or (0, [Place(0, 0)] * num_places)
        if len(places) != num_places:
            raise CheckpointError(
                f"{self.checkpoints.paths()[-1]} is of a run with {len(places)} workers, "
                f"but `data.num_workers` is {self.config.data.num_workers}."
            )
        if restored is None and self.config.text_pretraining.steps:
            self._warm_start()
        with RunLog(self.folder.path, self.config.steps, step) as log:
            if step < self.config.steps:
                try:
                    self._go_on(step, places, log)
                except RuntimeError as error:
                    if (meaning := explained(error)) is None:
                        raise
                    raise meaning from error
            return self._write_model(log)

    def _go_on(self, step: int, places: list[Place], log: RunLog) -> None:
        config, trainer = self.config, self.trainer
        with closing(self._batches(step, places)) as batches:
            while step < config.steps:
                stop = min(config.steps, step + config.checkpoint_steps)
                places = self._train_until(stop, step, batches, places, log)
                step = stop
                self.checkpoints.save(step, trainer.model, trainer.optimizer, places)
                if step % config.validate_steps < config.checkpoint_steps or step == config.steps:
                    self._validate("dev", step, log)

    def _write_model(self, log: RunLog) -> Path:
        """Writes the mean of the last checkpoints as a model folder."""
        model, prepared, folder = self.trainer.model, self.prepared, self.folder.path
        weights = self.checkpoints.mean_weights()
        try:
            check_like(weights, model.state_dict())
        except CheckpointError as error:
            raise CheckpointError(
                f"the checkpoints in {self.checkpoints.folder}: {error}"
            ) from error
        model.load_state_dict(weights)
        num_averaged = len(self.checkpoints.kept())
        scores = self._validate("mean", self.config.steps, log)
        self.folder.restore()
        remove_unfinished(folder / "model")
        try:
            save_model(
                folder / "model",
                model,
                prepared.model_config,
                prepared.cmvn,
                folder / SOURCE_SPM,
                folder / TARGET_SPM,
                model_readme(self.config, model, scores, len(prepared.dev), num_averaged),
            )
        except (OSError, SafetensorError) as error:
            reason = reason_of(error, folder)
            raise OSError(f"{folder / 'model'} cannot be written: {reason}.") from error
        return folder / "model"

    def _batches(self, step: int, places: list[Place]) -> Generator[Batch, None, None]:
        data = self.config.data
        feed = Feed(
            self.speech,
            self.prepared.make,
            data.block_size,
            data.reuse,
            data.batch_seconds,
            data.seed,
            places,
            turn=step % len(places),  # every step so far took one batch from one worker
            join_probability=data.concat_probability,
            join_utterances=data.concat_utterances,
            nonspeech_probability=data.nonspeech_probability,
            gain_db=self.config.augment.gain_db,
        )
        return load_batches(feed, data.num_workers)

    def _train_until(
        self, stop: int, first: int, batches: Iterator[Batch], places: list[Place], log: RunLog
    ) -> list[Place]:
        """Trains from step `first` to `stop`; returns the places of the feed after it."""
        places = list(places)
        started, audio = time.perf_counter(), 0.0
        sums = torch.zeros(len(StepReport._fields))
        for step in range(first, stop):
            batch = next(batches)
            report = self.trainer.step(step, batch)
            places[batch.worker] = batch.next_place
            sums += torch.tensor(report)
            audio += float(batch.frame_lengths.sum()) / 100
            log.advance(report.asr_loss + report.st_loss, audio / (time.perf_counter() - started))
        self.folder.restore()
        means = StepReport(*(sums / (stop - first)).tolist())
        log.write(
            "train",
            stop,
            **means._asdict(),
            learning_rate=learning_rate(stop - 1, self.config.steps, self.config.optim),
            audio_seconds=audio,
            audio_rate=audio / (time.perf_counter() - started),
        )
        return places

    def _warm_start(self) -> None:
        config, prepared = self.config, self.prepared
        loss = warm_start(
            self.trainer.model.st_head,
            lambda rng: random_pair(self.speech, rng),
            ImaginedSpeech(
                prepared.source_tokenizer,
                prepared.target_tokenizer,
                prepared.aligner,
                config.network.tail_ms,
                config.network.source_emission_unit,
                config.network.target_emission_unit,
            ),
            config.text_pretraining,
            config.loss.align_blank_weight,
            config.data.seed,
            self.trainer.device,
        )
        logger.info("text pre-training: CTC loss %.3f per token", loss)

    def _validate(self, kind: str, step: int, log: RunLog) -> dict[int, Scores]:
        """Scores for each look-ahead; `kind` is "dev" for the weights as they are, or "mean"."""
        model, prepared = self.trainer.model, self.prepared
        model.eval()
        scores = {}
        for look_ahead in model.max_future_frames:
            scores[look_ahead] = validate(
                model,
                prepared.dev,
                prepared.source_tokenizer,
                prepared.target_tokenizer,
                look_ahead,
                self.trainer.device,
                source_unit=prepared.model_config.source_emission_unit,
                target_unit=prepared.model_config.target_emission_unit,
            )
            log.write(f"{kind}_L{look_ahead}", step, **scores[look_ahead].known())
        said = "; ".join(f"L={look_ahead} {score}" for look_ahead, score in scores.items())
        log.say(f"step {step} {kind}: {said}")
        return scores
