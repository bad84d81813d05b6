"""Warm start of the ST layers on text alone: the source words are given, in time, as if heard."""

from __future__ import annotations

import random
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import trange

from echostream.models.ctc import BLANK_ID, StHead
from echostream.streaming.clock import GROUP_OUTPUTS
from echostream.tokenizer import Tokenizer
from echostream.training.align import WordAligner, emission_times, place_pieces
from echostream.training.example import OUTPUT_RATE
from echostream.training.losses import alignment_loss, ctc_loss

CERTAINTY = 12.0  # logit of a piece that is heard
MISHEARD = 0.03  # share of pieces replaced by another, so that the layers do not trust blindly


class Text(Protocol):
    """Anything that draws sentence pairs, `(source, target)`."""

    def __call__(self, rng: random.Random) -> tuple[str, str]: ...


def warm_start(
    head: StHead,
    text: Text,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    aligner: WordAligner,
    tail_ms: int,
    steps: int,
    batch_sentences: int,
    lr: float,
    align_blank_weight: float,
    seed: int,
    device: torch.device,
) -> float:
    """Trains `head` in place on drawn text; returns the last CTC loss a piece.

    The input of the head is zero but for the posteriors of an imagined ASR head: one-hot pieces at
    the ends of words that last 0.12 to 0.5 s.
    """
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    loss_now = float("nan")
    for step in (bar := trange(steps, desc="warm start on text", unit="step")):
        drawn = [text(rng) for _ in range(batch_sentences)]
        logits, lengths, labels, tokens = _imagine(
            drawn, source_tokenizer, target_tokenizer, aligner, tail_ms, rng
        )
        valid = torch.arange(logits.shape[1])[None] < lengths[:, None]
        x = torch.zeros(*logits.shape[:2], head.dim)
        output = head(x.to(device), logits.to(device), valid.to(device))
        flat = torch.tensor([i for ids in tokens for i in ids])
        loss = ctc_loss(output, lengths, flat, torch.tensor([len(ids) for ids in tokens]))
        early = max(0.0, 1.0 - step / (0.5 * steps))
        total = loss + early * alignment_loss(output, labels.to(device), align_blank_weight)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        loss_now = loss.item()
        bar.set_postfix_str(f"loss {loss_now:.3f}", refresh=False)
    return loss_now


def _imagine(
    drawn: list[tuple[str, str]],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    aligner: WordAligner,
    tail_ms: int,
    rng: random.Random,
) -> tuple[Tensor, Tensor, Tensor, list[list[int]]]:
    """ASR logits `(B, T, V)`, lengths `(B,)`, target labels `(B, T)` and target pieces."""
    heard, due, lengths, tokens = [], [], [], []
    for source, target in drawn:
        words = source.split()
        pace = rng.uniform(0.7, 1.3)
        ends, now = [], rng.uniform(0.05, 0.3)
        for word in words:
            now += pace * min(0.5, max(0.12, 0.06 * len(word) * rng.uniform(0.8, 1.2)))
            ends.append(now)
        length = int((now + rng.uniform(0.1, 0.4) + tail_ms / 1000) * OUTPUT_RATE)
        source_pieces = [source_tokenizer.encode(word) for word in words]
        target_pieces = [target_tokenizer.encode(word) for word in target.split()]
        times = emission_times(aligner.align(words, target.split()), ends)
        source_places = (
            place_pieces(ends, [len(p) for p in source_pieces], 10**6, OUTPUT_RATE) or []
        )
        target_places = (
            place_pieces(times, [len(p) for p in target_pieces], 10**6, OUTPUT_RATE) or []
        )
        length = max(length, source_places[-1] + 1, target_places[-1] + 1)
        source_ids = [i for ids in source_pieces for i in ids]
        target_ids = [i for ids in target_pieces for i in ids]
        heard.append(
            [
                (
                    place,
                    rng.randrange(1, source_tokenizer.vocab_size)
                    if rng.random() < MISHEARD
                    else piece,
                )
                for place, piece in zip(source_places, source_ids, strict=True)
            ]
        )
        due.append(list(zip(target_places, target_ids, strict=True)))
        lengths.append(length)
        tokens.append(target_ids)
    size = -(-max(lengths) // GROUP_OUTPUTS) * GROUP_OUTPUTS
    pieces = torch.full((len(drawn), size), BLANK_ID)
    labels = torch.full((len(drawn), size), BLANK_ID)
    for row, (spikes, wanted) in enumerate(zip(heard, due, strict=True)):
        for place, piece in spikes:
            pieces[row, place] = piece
        for place, piece in wanted:
            labels[row, place] = piece
        labels[row, lengths[row] :] = -1
    logits = CERTAINTY * functional.one_hot(pieces, source_tokenizer.vocab_size).float()
    return logits, torch.tensor(lengths), labels, tokens
