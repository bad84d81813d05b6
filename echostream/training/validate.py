"""Greedy decoding of the dev set: WER and BLEU for each look-ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sacrebleu
import torch
from torch import Tensor

from echostream.models.ctc import BLANK_ID
from echostream.models.echostream import EchoStreamModel
from echostream.tokenizer import Tokenizer
from echostream.training.batch import collate
from echostream.training.example import Example


class Scores(NamedTuple):
    """Scores of the dev set at one look-ahead, in percent."""

    wer: float
    bleu: float
    exact: float  # sentences that are the reference

    def __str__(self) -> str:
        return f"BLEU {self.bleu:.1f} WER {self.wer:.1f} exact {self.exact:.0f} %"


@torch.inference_mode()
def validate(
    model: EchoStreamModel,
    examples: Sequence[Example],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    max_future_frames: int,
    device: torch.device,
    batch_size: int = 24,
) -> Scores:
    """Scores of whole recordings, decoded greedily."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].frames))
    sources: dict[int, str] = {}
    targets: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        batch = collate([examples[i] for i in members])
        output = model(batch.frames.to(device), batch.frame_lengths.to(device), max_future_frames)
        for row, index in enumerate(members):
            sources[index] = source_tokenizer.decode(
                _greedy(output.asr_logits[row], output.valid[row])
            )
            targets[index] = target_tokenizer.decode(
                _greedy(output.st_logits[row], output.valid[row])
            )
    source_refs = [source_tokenizer.decode(e.source) for e in examples]
    target_refs = [target_tokenizer.decode(e.target) for e in examples]
    target_hyps = [targets[i] for i in range(len(examples))]
    edits = sum(_edits(r.split(), sources[i].split()) for i, r in enumerate(source_refs))
    return Scores(
        wer=100 * edits / sum(len(r.split()) for r in source_refs),
        bleu=sacrebleu.corpus_bleu(target_hyps, [target_refs]).score,
        exact=100
        * sum(h == r for h, r in zip(target_hyps, target_refs, strict=True))
        / len(examples),
    )


def _greedy(logits: Tensor, valid: Tensor) -> list[int]:
    ids = torch.unique_consecutive(logits[valid].argmax(-1))
    return [int(i) for i in ids if i != BLANK_ID]


def _edits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(hypothesis) + 1))
    for i, r in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, h in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (r != h))
    return row[-1]
