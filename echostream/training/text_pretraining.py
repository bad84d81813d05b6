"""Pre-training of the ST head on text alone: its input are pseudo CTC posteriors of the source."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from echostream.config import BLANK_ID
from echostream.extras import extra
from echostream.models.ctc import StHead
from echostream.streaming.clock import GROUP_OUTPUTS
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import (
    WordAligner,
    align_pieces_to_frames,
    emission_times,
    split_text,
)
from echostream.training.config import TextPretrainingConfig
from echostream.training.example import NO_LABEL, OUTPUT_RATE
from echostream.training.losses import alignment_loss, ctc_loss

with extra("train", "training"):
    from tqdm import trange

CERTAINTY = 12.0  # logit of the piece of a frame; all others are 0
SUBSTITUTION_RATE = 0.03  # share of source pieces replaced by another one, as recognition errors
NO_LIMIT = 10**6  # frames

Spikes = list[tuple[int, int]]  # (frame, piece)


class PseudoBatch(NamedTuple):
    """A batch of sentences as pseudo posteriors of the ASR head, with the labels of the ST head."""

    asr_logits: Tensor  # (B, T, V source)
    lengths: Tensor  # (B,)
    target: Tensor  # (sum of lengths,)
    target_lengths: Tensor  # (B,)
    target_labels: Tensor  # (B, T) target piece of each frame, blank elsewhere, -1 after the end


class _Sentence(NamedTuple):
    source: Spikes
    target: Spikes
    length: int


@dataclass(frozen=True)
class PseudoPosteriors:
    """Makes pseudo CTC posteriors of sentence pairs, without audio.

    A word lasts 0.12 to 0.5 s at a rate that is drawn for each sentence, and silence follows the
    last one. A source piece stands at the frame after the end of its word, a target piece at the
    frame after the end of its source word and of those of all target words before it.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    aligner: WordAligner
    tail_ms: int
    source_unit: str = "word"
    target_unit: str = "word"

    def __call__(self, pairs: Sequence[tuple[str, str]], rng: random.Random) -> PseudoBatch:
        """A batch of `(source, target)` sentences."""
        sentences = [self._sentence(source, target, rng) for source, target in pairs]
        longest = max(sentence.length for sentence in sentences)
        size = -(-longest // GROUP_OUTPUTS) * GROUP_OUTPUTS
        pieces = torch.full((len(sentences), size), BLANK_ID)
        labels = torch.full((len(sentences), size), BLANK_ID)
        for row, sentence in enumerate(sentences):
            for frame, piece in sentence.source:
                pieces[row, frame] = piece
            for frame, piece in sentence.target:
                labels[row, frame] = piece
            labels[row, sentence.length :] = NO_LABEL
        target = [piece for sentence in sentences for _, piece in sentence.target]
        return PseudoBatch(
            CERTAINTY * functional.one_hot(pieces, self.source_tokenizer.vocab_size).float(),
            torch.tensor([sentence.length for sentence in sentences]),
            torch.tensor(target, dtype=torch.long),
            torch.tensor([len(sentence.target) for sentence in sentences]),
            labels,
        )

    def _sentence(self, source: str, target: str, rng: random.Random) -> _Sentence:
        words, word_pieces = split_text(source, self.source_tokenizer, self.source_unit)
        target_words, target_pieces = split_text(target, self.target_tokenizer, self.target_unit)
        pace = rng.uniform(0.7, 1.3)
        ends, now = [], rng.uniform(0.05, 0.3)
        for word in words:
            now += pace * min(0.5, max(0.12, 0.06 * len(word) * rng.uniform(0.8, 1.2)))
            ends.append(now)
        length = int((now + rng.uniform(0.1, 0.4) + self.tail_ms / 1000) * OUTPUT_RATE)
        times = emission_times(self.aligner.align(words, target_words), ends)
        source_spikes = _spikes(word_pieces, ends)
        target_spikes = _spikes(target_pieces, times)
        # A text may have no pieces at all: characters that the normalisation removes.
        last = (*source_spikes[-1:], *target_spikes[-1:])
        length = max([length, *(frame + 1 for frame, _ in last)])
        source_spikes = [(frame, self._substitute(piece, rng)) for frame, piece in source_spikes]
        return _Sentence(source_spikes, target_spikes, length)

    def _substitute(self, piece: int, rng: random.Random) -> int:
        """Substitution noise, so that the head does not rely on every posterior."""
        if rng.random() < SUBSTITUTION_RATE:
            return rng.randrange(1, self.source_tokenizer.vocab_size)
        return piece


def _spikes(pieces: Sequence[list[int]], times: Sequence[float]) -> Spikes:
    frames = align_pieces_to_frames(times, [len(p) for p in pieces], NO_LIMIT, OUTPUT_RATE)
    assert frames is not None, times
    return list(zip(frames, [piece for word in pieces for piece in word], strict=True))


class DrawPair(Protocol):
    """Draws a sentence pair `(source, target)`."""

    def __call__(self, rng: random.Random) -> tuple[str, str]: ...


def pretrain_on_text(
    head: StHead,
    draw_pair: DrawPair,
    pseudo_posteriors: PseudoPosteriors,
    config: TextPretrainingConfig,
    align_blank_weight: float,
    seed: int,
    device: torch.device,
) -> float:
    """Trains `head` in place on sentence pairs; returns the last CTC loss per token.

    The encoder frames are zero: the input of the head are the pseudo posteriors alone.
    """
    rng = random.Random(seed)
    lr, steps = config.lr, config.steps
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    last_loss = float("nan")
    for step in (bar := trange(steps, desc="text pre-training", unit="step")):
        batch = pseudo_posteriors([draw_pair(rng) for _ in range(config.batch_sentences)], rng)
        valid = torch.arange(batch.asr_logits.shape[1])[None] < batch.lengths[:, None]
        x = torch.zeros(*batch.asr_logits.shape[:2], head.dim)
        output, _ = head(x.to(device), batch.asr_logits.to(device), valid.to(device))
        loss = ctc_loss(output, batch.lengths, batch.target, batch.target_lengths)
        align_weight = max(0.0, 1.0 - step / (0.5 * steps))
        aligned = alignment_loss(output, batch.target_labels.to(device), align_blank_weight)
        total = loss + align_weight * aligned
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        last_loss = loss.item()
        bar.set_postfix_str(f"loss {last_loss:.3f}", refresh=False)
    return last_loss
