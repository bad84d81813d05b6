"""Warm start of the ST layers on text alone: the source words are given, in time, as if heard."""

from __future__ import annotations

import random
from typing import Protocol

import torch
from tqdm import trange

from echostream.models.ctc import StHead
from echostream.training.config import TextPretrainingConfig
from echostream.training.losses import alignment_loss, ctc_loss
from echostream.training.pseudo_asr import ImaginedSpeech


class Text(Protocol):
    """Anything that draws sentence pairs, `(source, target)`."""

    def __call__(self, rng: random.Random) -> tuple[str, str]: ...


def warm_start(
    head: StHead,
    text: Text,
    imagine: ImaginedSpeech,
    config: TextPretrainingConfig,
    align_blank_weight: float,
    seed: int,
    device: torch.device,
) -> float:
    """Trains `head` in place on drawn text; returns the last CTC loss a piece.

    The input of the head is zero but for the posteriors of an imagined ASR head.
    """
    rng = random.Random(seed)
    lr, steps = config.lr, config.steps
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    loss_now = float("nan")
    for step in (bar := trange(steps, desc="text pre-training", unit="step")):
        heard = imagine([text(rng) for _ in range(config.batch_sentences)], rng)
        valid = torch.arange(heard.asr_logits.shape[1])[None] < heard.lengths[:, None]
        x = torch.zeros(*heard.asr_logits.shape[:2], head.dim)
        output, _ = head(x.to(device), heard.asr_logits.to(device), valid.to(device))
        loss = ctc_loss(output, heard.lengths, heard.target, heard.target_lengths)
        early = max(0.0, 1.0 - step / (0.5 * steps))
        due = alignment_loss(output, heard.target_labels.to(device), align_blank_weight)
        total = loss + early * due
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        loss_now = loss.item()
        bar.set_postfix_str(f"loss {loss_now:.3f}", refresh=False)
    return loss_now
