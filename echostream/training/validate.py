"""Greedy decoding of the dev set: error rates and BLEU for each look-ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import sacrebleu
import torch
from torch import Tensor

from echostream.models.ctc_decode import best_ids, merge
from echostream.models.echostream import CtcOutput, EchoStreamModel
from echostream.scoring.metrics.wer import word_error_rate
from echostream.session.decoding import DecodingMethod, make_decoding_method
from echostream.session_config import SessionConfig
from echostream.text.tokenizer import Tokenizer
from echostream.training.batch import collate
from echostream.training.example import Example
from echostream.training.free_decoding import decode_freely


class Scores(NamedTuple):
    """Scores of the dev set at one look-ahead, in percent; the ratios are not.

    A ratio is the length of what was written to that of the references, both in words (characters
    for languages without spaces) as sacrebleu counts them. `decoder_bleu` is that of the decoder in
    a stream, where it writes no more than the ST head has counted; `free_bleu` that of the decoder
    on its own (`decode_freely`), which does not depend on the counts.
    """

    wer: float
    bleu: float
    exact: float  # sentences equal to the reference
    decoder_bleu: float | None = None  # with the text decoder, if there is one
    decoder_exact: float | None = None
    cer: float | None = None  # character error rate of the transcript
    st_ratio: float | None = None  # of the ST head: 0 while it writes only blanks
    free_bleu: float | None = None
    free_ratio: float | None = None

    def __str__(self) -> str:
        text = f"BLEU {self.bleu:.1f} WER {self.wer:.1f} exact {self.exact:.0f} %"
        if self.cer is not None:
            text += f" CER {self.cer:.1f} length {self.st_ratio:.2f}"
        if self.decoder_bleu is not None:
            text += f", decoder BLEU {self.decoder_bleu:.1f} exact {self.decoder_exact:.0f} %"
        if self.free_bleu is not None:
            text += f", on its own {self.free_bleu:.1f} length {self.free_ratio:.2f}"
        return text

    def known(self) -> dict[str, float]:
        """The scores that are not None, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@torch.inference_mode()
def validate(
    model: EchoStreamModel,
    examples: Sequence[Example],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    max_future_frames: int,
    device: torch.device,
    batch_size: int = 24,
    source_unit: str = "word",
    target_unit: str = "word",
) -> Scores:
    """Scores of whole recordings, decoded greedily.

    BLEU and WER are of characters where the emission unit of the language is the character.
    """
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].frames))
    sources: dict[int, str] = {}
    targets: dict[int, str] = {}
    decoded: dict[int, str] = {}
    free: dict[int, str] = {}
    method = None
    if model.decoder is not None:
        method = make_decoding_method(model, SessionConfig(decoding_method="decoder"))
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        batch = collate([examples[i] for i in members])
        output = model(batch.frames.to(device), batch.frame_lengths.to(device), max_future_frames)
        alone = [] if model.decoder is None else decode_freely(model.decoder, output)
        for row, index in enumerate(members):
            sources[index] = source_tokenizer.decode(
                _greedy(output.asr_logits[row], output.valid[row])
            )
            targets[index] = target_tokenizer.decode(
                _greedy(output.st_logits[row], output.valid[row])
            )
            if method is not None:
                decoded[index] = target_tokenizer.decode(_decoded(method, output, row))
                free[index] = target_tokenizer.decode(alone[row])
    # Utterances without a transcript or a translation have no part in the scores of that text.
    source_refs, sources = _known([e.source for e in examples], source_tokenizer, sources)
    _, decoded = _known([e.target for e in examples], target_tokenizer, decoded)
    _, free = _known([e.target for e in examples], target_tokenizer, free)
    target_refs, targets = _known([e.target for e in examples], target_tokenizer, targets)
    transcripts = [sources[i] for i in range(len(sources))]
    st = _quality(targets, target_refs, target_unit)
    scores = Scores(
        wer=word_error_rate(source_refs, transcripts, source_unit),
        bleu=st.bleu,
        exact=st.exact,
        cer=word_error_rate(source_refs, transcripts, "char"),
        st_ratio=st.ratio,
    )
    if method is None:
        return scores
    gated, alone_too = (_quality(texts, target_refs, target_unit) for texts in (decoded, free))
    return scores._replace(
        decoder_bleu=gated.bleu,
        decoder_exact=gated.exact,
        free_bleu=alone_too.bleu,
        free_ratio=alone_too.ratio,
    )


def _known(
    references: Sequence[list[int] | None], tokenizer: Tokenizer, texts: dict[int, str]
) -> tuple[list[str], dict[int, str]]:
    """The references that are known, and the texts of their utterances, counted anew."""
    known = [(index, ids) for index, ids in enumerate(references) if ids is not None]
    found = {new: texts[old] for new, (old, _) in enumerate(known) if texts}
    return [tokenizer.decode(ids) for _, ids in known], found


class _Quality(NamedTuple):
    bleu: float
    exact: float  # percentage of sentences equal to the reference
    ratio: float


def _quality(texts: dict[int, str], references: list[str], unit: str) -> _Quality:
    """NaN without references."""
    if not references:
        return _Quality(math.nan, math.nan, math.nan)
    hypotheses = [texts[index] for index in range(len(references))]
    right = sum(h == r for h, r in zip(hypotheses, references, strict=True))
    tokenizer = "char" if unit == "char" else "13a"
    bleu = sacrebleu.corpus_bleu(hypotheses, [references], tokenize=tokenizer)
    ratio = bleu.sys_len / max(1, bleu.ref_len)
    return _Quality(bleu.score, 100 * right / len(references), ratio)


def _decoded(method: DecodingMethod, output: CtcOutput, row: int) -> list[int]:
    """The target tokens of one row of a batch."""
    length = int(output.valid[row].sum())
    mine = CtcOutput(*(field[row : row + 1, :length] for field in output))
    first, state = method.step(mine, method.init_state(1))
    last, _ = method.finish(state)
    return first[0].target + last[0].target


def _greedy(logits: Tensor, valid: Tensor) -> list[int]:
    return merge(best_ids(logits, valid).tolist()).tokens
