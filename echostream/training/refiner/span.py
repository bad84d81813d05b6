"""Spans of frames for the training of a refiner: words as they are when they are to be spoken."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from echostream.models.ctc_align import best_alignment
from echostream.models.unit_decoder import UnitDecoder
from echostream.modules.masks import length_mask
from echostream.speech_config import CTC
from echostream.training.refiner.config import SpanConfig
from echostream.training.unit_decoder.example import NO_UNIT, UnitBatch


class Drafts(NamedTuple):
    """What a unit decoder gives for whole texts, and what it should give."""

    frames: Tensor  # (B, T, F)
    logits: Tensor  # (B, T, C)
    classes: Tensor  # (B, T), its own
    wanted: Tensor  # (B, T), NO_UNIT for padding
    lengths: Tensor  # (B, N) frames of each word, 0 for padding


class Spans(NamedTuple):
    """A batch of S spans, each after W spoken frames; see `UnitRefiner.forward`."""

    classes: Tensor  # (S, W + T), masks and errors included
    frames: Tensor  # (S, W + T, F)
    valid: Tensor  # (S, W + T)
    logits: Tensor  # (S, T, C)
    wanted: Tensor  # (S, T), NO_UNIT where there is nothing to learn


@torch.no_grad()
def make_drafts(decoder: UnitDecoder, batch: UnitBatch) -> Drafts:
    """The drafts of a batch: at the durations of the speech, or over the best alignment."""
    states = decoder.encode(batch.words, batch.following)
    lengths = batch.positions if decoder.config.kind == CTC else batch.durations
    output = decoder(states, lengths)
    wanted = batch.units
    if decoder.config.kind == CTC:
        log_probs = output.logits.float().log_softmax(-1)
        wanted = best_alignment(log_probs, output.num_frames, wanted, decoder.num_units)
    classes = output.logits.argmax(-1)
    return Drafts(output.frames, output.logits, classes, wanted, lengths)


def draw_spans(
    drafts: Drafts, config: SpanConfig, window: int, mask_id: int, generator: torch.Generator
) -> Spans:
    """Random words of each text, with random classes masked: the share cos(pi/2 u), u uniform.

    The classes that are visible, and those that were spoken, are the unit decoder's own in the
    share `drafts` of the spans, as they are when it speaks. In the others they are those of the
    speech, with some errors.
    """

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator)

    num_words = (drafts.lengths > 0).sum(1).clamp(min=1)
    row = torch.arange(len(num_words)).repeat_interleave(config.words)
    chosen = drafts.lengths > 0
    order = torch.where(chosen, uniform(*chosen.shape), -1.0).argsort(dim=1, descending=True)
    pick = torch.arange(config.words) % num_words[:, None]  # (B, words)
    word = order.gather(1, pick).flatten()  # (S,)
    size = drafts.lengths[row, word]
    start = drafts.lengths.cumsum(1)[row, word] - size
    index = start[:, None] - window + torch.arange(window + int(size.max()))
    valid = (index >= 0) & (index < (start + size)[:, None])
    index = index.clamp(0, drafts.wanted.shape[1] - 1)
    own, wanted = (each[row[:, None], index] for each in (drafts.classes, drafts.wanted))
    wrong = torch.where(uniform(len(row), 1) < config.drafts, 1.0, config.errors)
    classes = torch.where((uniform(*own.shape) < wrong) | (wanted == NO_UNIT), own, wanted)
    is_error = (classes != wanted)[:, window:]
    share = torch.cos(math.pi / 2 * uniform(len(row)))
    rank = uniform(len(row), int(size.max())).masked_fill(~length_mask(size, int(size.max())), 2.0)
    masked = rank.argsort(1).argsort(1) < (share * size).ceil()[:, None]
    classes[:, window:] = torch.where(masked, mask_id, classes[:, window:])
    learned = (masked | is_error) & valid[:, window:]
    span = torch.where(learned, wanted[:, window:], NO_UNIT)
    frames, logits = (
        drafts.frames[row[:, None], index],
        drafts.logits[row[:, None], index[:, window:]],
    )
    return Spans(classes, frames, valid, logits, span)
