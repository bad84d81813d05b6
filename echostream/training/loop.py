"""The training run: multi-task CTC, a look-ahead drawn for each batch, exact resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from echostream.config import ConfigError, to_dict
from echostream.device import resolve_device
from echostream.model_folder import SOURCE_SPM, TARGET_SPM, save_model
from echostream.models.build import build_model
from echostream.models.echostream import EchoStreamModel
from echostream.training.augment import spec_augment
from echostream.training.checkpoint import Checkpoints
from echostream.training.config import LossConfig, OptimConfig, TrainConfig
from echostream.training.feed import Batch, Feed, Place, make_loader
from echostream.training.log import RunLog
from echostream.training.losses import alignment_loss, ctc_loss
from echostream.training.prepare import Prepared, prepare
from echostream.training.sources import Speech, open_sources
from echostream.training.validate import validate
from echostream.training.warm_start import warm_start

logger = logging.getLogger(__name__)


def train(config: TrainConfig) -> Path:
    """Runs, or goes on with, a training; returns the model folder it writes, `<output>/model`.

    Checkpoints, the log and the model are in `config.output`. A run that was killed goes on from
    its last checkpoint with the batch that would have come next.

    Raises:
        ConfigError: if the folder holds a run of another configuration.
    """
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, config)
    device = resolve_device(
        ("cuda" if torch.cuda.is_available() else "cpu")
        if config.device == "auto"
        else config.device
    )
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.data.seed)
    train_speech, dev_speech = open_sources(config.data)
    prepared = prepare(config, train_speech, dev_speech, folder)
    model = build_model(prepared.model_config).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.optim.lr,
        betas=(0.9, 0.98),
        weight_decay=config.optim.weight_decay,
        fused=True,
    )
    checkpoints = Checkpoints(folder / "checkpoints", config.keep_checkpoints)
    restored = checkpoints.restore(model, optimizer)
    num_workers = max(config.data.num_workers, 1)
    step, places = restored or (0, [Place(0, 0)] * num_workers)
    if restored is None and config.warm_start.steps:
        _warm_start(config, prepared, train_speech, model, device)
    feed = Feed(
        train_speech,
        prepared.make,
        config.data.block_size,
        config.data.reuse,
        config.data.batch_seconds,
        config.data.seed,
        places,
    )
    batches = iter(make_loader(feed, num_workers))
    with RunLog(folder, config.steps, step) as log:
        while step < config.steps:
            stop = min(config.steps, step + config.checkpoint_steps)
            places = _train_until(
                stop, step, batches, places, model, optimizer, config, device, log
            )
            step = stop
            checkpoints.save(step, model, optimizer, places)
            if step % config.validate_steps < config.checkpoint_steps or step == config.steps:
                _validate(step, model, prepared, device, log)
    model.load_state_dict(checkpoints.mean_weights())
    with RunLog(folder, config.steps, step) as log:
        scores = _validate(step, model, prepared, device, log, "mean of the last checkpoints")
    save_model(
        folder / "model",
        model,
        prepared.model_config,
        prepared.cmvn,
        folder / SOURCE_SPM,
        folder / TARGET_SPM,
        f"# A model trained by EchoStream\n\n{step} steps. Dev set: {scores}.\n",
    )
    return folder / "model"


def _train_until(
    stop: int,
    step: int,
    batches: Iterator[Batch],
    places: list[Place],
    model: EchoStreamModel,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    device: torch.device,
    log: RunLog,
) -> list[Place]:
    """Trains up to step `stop`; returns the places of the feed after it."""
    model.train()
    places = list(places)
    started, audio = time.perf_counter(), 0.0
    sums = torch.zeros(3)
    first = step
    while step < stop:
        batch = next(batches)
        # All that is random in a step follows from the step, so that resuming is exact.
        generator = torch.Generator().manual_seed(1_000_003 * config.data.seed + step)
        look_ahead = model.max_future_frames[
            int(torch.randint(len(model.max_future_frames), (), generator=generator))
        ]
        frames = spec_augment(
            batch.frames,
            config.augment.frequency_masks,
            config.augment.frequency_bins,
            config.augment.time_masks,
            config.augment.time_frames,
            generator,
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config.steps, config.optim)
        early = max(0.0, 1.0 - step / config.loss.align_steps) if config.loss.align_steps else 0.0
        loss, parts = batch_loss(model, frames, batch, look_ahead, early, config.loss, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
        if not norm.isfinite():
            raise FloatingPointError(
                f"The gradient of step {step} is {norm.item()}; the last checkpoint is sound."
            )
        optimizer.step()
        step += 1
        places[batch.worker] = batch.next_place
        sums += torch.tensor([*parts, norm.item()])
        audio += float(batch.frame_lengths.sum()) / 100
        log.advance(parts[0] + parts[1], audio / (time.perf_counter() - started))
    asr, st, norm_mean = (sums / (step - first)).tolist()
    log.write(
        "train",
        step,
        asr_loss=asr,
        st_loss=st,
        gradient_norm=norm_mean,
        learning_rate=learning_rate(step - 1, config.steps, config.optim),
        audio_seconds=audio,
        audio_rate=audio / (time.perf_counter() - started),
    )
    return places


def batch_loss(
    model: EchoStreamModel,
    frames: Tensor,
    batch: Batch,
    look_ahead: int,
    early: float,
    config: LossConfig,
    device: torch.device,
) -> tuple[Tensor, tuple[float, float]]:
    """The loss of a batch, and the CTC losses of the ASR and the ST head in it."""
    output = model(frames.to(device), batch.frame_lengths.to(device), look_ahead)
    lengths = output.valid.sum(1).cpu()
    asr = ctc_loss(output.asr_logits, lengths, batch.source, batch.source_lengths)
    st = ctc_loss(output.st_logits, lengths, batch.target, batch.target_lengths)
    loss = config.asr * asr + config.st * st
    if early > 0:
        asr_due = alignment_loss(
            output.asr_logits, batch.source_labels.to(device), config.align_blank_weight
        )
        st_due = alignment_loss(
            output.st_logits, batch.target_labels.to(device), config.align_blank_weight
        )
        loss = loss + early * (config.asr * asr_due + config.st * st_due)
    return loss, (asr.item(), st.item())


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The learning rate of a step: a linear way up, a linear way down."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.lr + (config.final_lr - config.lr) * done


def _warm_start(
    config: TrainConfig,
    prepared: Prepared,
    speech: Speech,
    model: EchoStreamModel,
    device: torch.device,
) -> None:
    start = config.warm_start
    loss = warm_start(
        model.st_head,
        lambda rng: speech.pair(rng.randrange(10**9)),
        prepared.source_tokenizer,
        prepared.target_tokenizer,
        prepared.aligner,
        config.network.tail_ms,
        start.steps,
        start.batch_sentences,
        start.lr,
        config.loss.align_blank_weight,
        config.data.seed,
        device,
    )
    logger.info("warm start on text: CTC loss %.3f a piece", loss)


def _validate(
    step: int,
    model: EchoStreamModel,
    prepared: Prepared,
    device: torch.device,
    log: RunLog,
    what: str = "",
) -> str:
    model.eval()
    said = []
    for look_ahead in model.max_future_frames:
        scores = validate(
            model,
            prepared.dev,
            prepared.source_tokenizer,
            prepared.target_tokenizer,
            look_ahead,
            device,
        )
        log.write(f"dev_L{look_ahead}", step, **scores._asdict())
        said.append(
            f"L={look_ahead} BLEU {scores.bleu:.1f} WER {scores.wer:.1f} exact {scores.exact:.0f} %"
        )
    text = "; ".join(said)
    log.say(f"step {step} {what}: {text}")
    return text


def _claim(folder: Path, config: TrainConfig) -> None:
    """Writes the configuration of the run, or refuses a folder that holds another one's."""
    path = folder / "train.yaml"
    text = yaml.safe_dump(to_dict(config), sort_keys=False)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{path} is another configuration; give another `output`, or remove the folder."
        )
    path.write_text(text, encoding="utf-8")
