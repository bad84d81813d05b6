"""A prepared run: from checkpoint to checkpoint, then the model folder."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from echostream.files import remove_unfinished
from echostream.model_folder import SOURCE_SPM, TARGET_SPM, save_model
from echostream.text.normalization import TextNormalization
from echostream.training.batch import DatasetPosition
from echostream.training.checkpoint import Checkpoints, step_of
from echostream.training.checkpoint_file import CheckpointError, check_like, reason_of
from echostream.training.config import TrainConfig
from echostream.training.folder import RunFolder
from echostream.training.follower import Start
from echostream.training.guard import BlankAlarm, SkippedBatches, check_output
from echostream.training.initial import Initial, PartReport
from echostream.training.log import Progress, RunLog
from echostream.training.losses import learning_rate
from echostream.training.model_card import model_card
from echostream.training.prepare import Prepared
from echostream.training.sources import Speech, random_pair
from echostream.training.steps import Steps, first_positions, opened_steps
from echostream.training.text_pretraining import PseudoPosteriors, pretrain_on_text
from echostream.training.trainer import Trainer
from echostream.training.validate import Scores, validate

logger = logging.getLogger(__name__)


class _Guards(NamedTuple):
    skipped: SkippedBatches
    blank: BlankAlarm


class _Mean(NamedTuple):
    value: float
    weights: dict[str, Tensor]
    steps: list[int]
    scores: dict[int, Scores]


@dataclass(frozen=True)
class Run:
    """A prepared run: trains, validates, writes checkpoints and then the model."""

    config: TrainConfig
    folder: RunFolder
    speech: Speech
    prepared: Prepared
    trainer: Trainer
    checkpoints: Checkpoints
    initial: Initial | None = None  # for a run that begins
    text: TextNormalization | None = None  # of the tables, if they come with one

    def complete(self, train: bool = True) -> Path:
        """Trains from the last checkpoint, or from the beginning, and writes the model folder.

        Without `train` no step is done: the model is that of the checkpoints that there are.
        """
        trainer = self.trainer
        restored = self.checkpoints.restore(trainer.model, trainer.optimizer)
        step, positions = restored or (0, first_positions(self.config))
        if not positions or len(positions) % self.config.accumulate:
            raise CheckpointError(
                f"{self.checkpoints.paths()[-1]} has {len(positions)} positions in the data, which "
                f"are not those of `accumulate`: {self.config.accumulate}."
            )
        reports = self._start() if restored is None else []
        with RunLog(self.folder.path, self.config.steps, step) as log:
            for report in reports:
                log.write(f"init_{report.part}", 0, taken=len(report.taken), left=len(report.left))
            selection = self.checkpoints.selection
            if (
                train
                and step
                and selection
                and self._is_validated(step)
                and not selection.has(step)
            ):
                self._validate_checkpoint(step, log)  # the run was killed before this was done
            if train and step < self.config.steps:
                self._train(step, positions, log)
                step = self.config.steps
            else:
                self.trainer.ranks.share(None)
            if selection and not self.checkpoints.kept():
                self._validate_checkpoint(step, log)
            return self._write_model(step, log)

    def _train(self, step: int, positions: list[DatasetPosition], log: RunLog) -> None:
        config, trainer = self.config, self.trainer
        checkpoints, weights = self.checkpoints, {"asr": config.loss.asr, "st": config.loss.st}
        num_kept = config.keep_checkpoints + 1 + (checkpoints.selection is not None)
        missing = max(1, num_kept - len(checkpoints.paths()))
        check_output(checkpoints.folder, trainer.model, missing)
        guards = _Guards(
            SkippedBatches(self.folder.path, config.max_skipped_batches, step), BlankAlarm(weights)
        )
        prepared = dataclasses.replace(self.prepared, dev=[])
        trainer.ranks.share(Start(prepared, step, positions, trainer.optimizer.state_dict()))
        with opened_steps(trainer, self.speech, prepared.make, step, positions) as steps:
            while step < config.steps:
                stop = min(config.steps, step + config.checkpoint_steps)
                positions = self._train_until(stop, step, steps, guards, log)
                step = stop
                checkpoints.save(step, trainer.model, trainer.optimizer, positions)
                if self._is_validated(step):
                    self._validate_checkpoint(step, log)

    def _is_validated(self, step: int) -> bool:
        """Whether the checkpoint of a step is scored on the dev set."""
        config = self.config
        return step % config.validate_steps < config.checkpoint_steps or step >= config.steps

    def _validate_checkpoint(self, step: int, log: RunLog) -> None:
        scores = self._validate("dev", step, log)
        if self.checkpoints.selection is not None:
            self.checkpoints.selection.record(step, scores)
            self.checkpoints.remove_old()

    def _write_model(self, step: int, log: RunLog) -> Path:
        """Writes the mean of the checkpoints, the last one of `step`, as a model folder."""
        model, prepared, folder = self.trainer.model, self.prepared, self.folder.path
        averaged, scores = self._load_best_mean(step, log)
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
                model_card(
                    self.config, model, scores, len(prepared.dev), step, averaged, self.text
                ),
            )
            if self.text is not None:
                self.text.save(folder / "model")
        except (OSError, SafetensorError) as error:
            reason = reason_of(error, folder)
            raise OSError(f"{folder / 'model'} cannot be written: {reason}.") from error
        return folder / "model"

    def _load_best_mean(self, step: int, log: RunLog) -> tuple[list[int], dict[int, Scores]]:
        """Gives the network the mean of its checkpoints, of as many as are best on the dev set.

        Returns the steps of the checkpoints and the scores; of equals, the mean of most.
        """
        model, selection = self.trainer.model, self.checkpoints.selection
        best: _Mean | None = None
        for paths in self.checkpoints.candidates():
            weights = self.checkpoints.mean_weights(paths)
            try:
                check_like(weights, model.state_dict())
            except CheckpointError as error:
                raise CheckpointError(
                    f"the checkpoints in {self.checkpoints.folder}: {error}"
                ) from error
            model.load_state_dict(weights)
            scores = self._validate("mean", step, log, num_averaged=len(paths))
            value = selection.value(scores) if selection else 0.0
            if best is None or value >= best.value:
                best = _Mean(value, weights, [step_of(path) for path in paths], scores)
        assert best is not None
        model.load_state_dict(best.weights)
        return best.steps, best.scores

    def _train_until(
        self, stop: int, first: int, steps: Steps, guards: _Guards, log: RunLog
    ) -> list[DatasetPosition]:
        """Trains from step `first` to `stop`; returns the positions in the dataset after it."""
        progress, num_ranks = Progress(log), self.trainer.ranks.size
        for step in range(first, stop):
            done = steps.do(step)
            if done.report is None:
                guards.skipped.add(step, done.batches, done.reason)
            report = done.report._asdict() if done.report is not None else {}
            progress.add(report, done.audio_seconds() * (num_ranks if report else 1))
        self.folder.restore()
        progress.write(stop, learning_rate(stop - 1, self.config.steps, self.config.optim))
        if means := progress.means():
            guards.blank.check(first, stop, {h: means[f"{h}_ratio"] for h in ("asr", "st")})
        elif stop - first > 1:  # one bad batch alone may be a stretch
            raise FloatingPointError(
                f"all steps from {first} to {stop - 1} had a loss or a gradient that is not "
                f"finite: the weights are beyond repair. Lower `optim.lr` in another `output`. The "
                f"batches are in {guards.skipped.folder}."
            )
        return steps.positions()

    def _start(self) -> list[PartReport]:
        """Gives the network the weights that it starts from; returns what was taken of models."""
        reports = [] if self.initial is None else self.initial.apply(self.trainer.model)
        for report in reports:
            logger.log(logging.WARNING if report.left else logging.INFO, "%s", report)
        if self.config.text_pretraining.steps:
            self._pretrain_on_text()
        return reports

    def _pretrain_on_text(self) -> None:
        config, prepared = self.config, self.prepared
        loss = pretrain_on_text(
            self.trainer.model.st_head,
            lambda rng: random_pair(self.speech, rng),
            PseudoPosteriors(
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

    def _validate(self, kind: str, step: int, log: RunLog, **extra: float) -> dict[int, Scores]:
        """Scores for each look-ahead; `kind` is "dev" for the weights as they are, or "mean".

        extra: goes into the records of the log.
        """
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
            log.write(f"{kind}_L{look_ahead}", step, **scores[look_ahead].known(), **extra)
        text = "; ".join(f"L={look_ahead} {score}" for look_ahead, score in scores.items())
        log.print(f"step {step} {kind}: {text}")
        return scores
