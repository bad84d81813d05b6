"""Rows with one text only: the head of the other one gets no loss for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import tiny_run
from torch import Tensor
from words import word_example_maker

from echostream.data.utterance import Utterance
from echostream.models.build import build_model
from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import TextDecoder
from echostream.training.batch import DatasetPosition, collate
from echostream.training.concat import loses_text
from echostream.training.dataset import BatchDataset
from echostream.training.example import Example
from echostream.training.losses import ctc_loss, decoder_loss
from echostream.training.multitask import Counts, count_tokens
from echostream.training.trainer import Trainer

KNOWN = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
TEXTS = [[3, 5, 3], [4], [6, 7]]


def batch_of(known: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Valid frames, tokens in one vector and their lengths, of three rows."""
    texts = [text if is_known else None for text, is_known in zip(TEXTS, known, strict=True)]
    examples = [Example(np.zeros((64, 2), np.float16), [3], text, None, None) for text in texts]
    batch = collate(examples)
    return torch.tensor([16, 12, 14]), batch.target, batch.target_lengths


@pytest.mark.parametrize("known", KNOWN)
def test_the_ctc_loss_is_that_of_the_rows_with_a_text(known: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 16, 9, requires_grad=True)
    frames, tokens, lengths = batch_of(known)
    loss = ctc_loss(logits, frames, tokens, lengths)
    (gradient,) = torch.autograd.grad(loss, logits)
    wanted, num_tokens = 0.0, 0
    for row, text in enumerate(TEXTS):
        if known[row]:  # one row at a time
            each = torch.nn.functional.ctc_loss(
                logits[row].log_softmax(-1), torch.tensor(text), frames[row], lengths[row],
                reduction="sum",
            )  # fmt: skip
            wanted, num_tokens = wanted + each.item(), num_tokens + len(text)
        else:
            assert not gradient[row].any()
    assert loss.item() == pytest.approx(wanted / max(num_tokens, 1), rel=1e-5)


@pytest.mark.parametrize("known", KNOWN)
def test_the_loss_of_the_decoder_is_that_of_the_rows_with_a_text(known: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    decoder = TextDecoder(8, 2, 16, 1, 9, 16, 16, 2).eval()
    frames, tokens, lengths = batch_of(known)
    valid = torch.arange(16) < frames[:, None]
    fields = {"asr_logits": 9, "st_logits": 9, "st_frames": 8}
    made = {name: torch.randn(3, 16, width, requires_grad=True) for name, width in fields.items()}
    output = CtcOutput(**made, valid=valid)
    loss = decoder_loss(decoder, output, tokens, lengths, 1, 0.1)
    (gradient,) = torch.autograd.grad(loss, made["st_frames"])
    wanted, num_tokens = 0.0, 0
    for row, text in enumerate(TEXTS):
        if known[row]:
            alone = CtcOutput(*(field[row : row + 1] for field in output))
            size = torch.tensor([len(text)])
            each = decoder_loss(decoder, alone, torch.tensor(text), size, 1, 0.1)
            wanted += each.item() * (len(text) + 1)  # with the boundary
            num_tokens += len(text) + 1
        else:
            assert not gradient[row].any()
    assert loss.item() == pytest.approx(wanted / max(num_tokens, 1), rel=1e-4)


@pytest.mark.parametrize("known", KNOWN)
def test_a_step_divides_by_the_tokens_of_the_texts_that_are_known(known: tuple[int, ...]) -> None:
    texts = [text if is_known else None for text, is_known in zip(TEXTS, known, strict=True)]
    frames = np.zeros((64, 2), np.float16)
    counts = Counts(*count_tokens(collate([Example(frames, [3], t, None, None) for t in texts])))
    num_tokens = sum(len(text) for text in texts if text is not None)
    assert counts.source == 3 and counts.target == num_tokens
    assert counts.decoder == num_tokens + sum(known)  # a boundary after each


@pytest.mark.parametrize(("source", "target"), [("un", None), (None, "deux")])
def test_a_step_on_one_text_leaves_the_parts_for_the_other_alone(
    source: str | None, target: str | None, tmp_path: Path
) -> None:
    """The ST head is given what the ASR head finds, so a translation trains both."""
    config = tiny_run(tmp_path)
    make = word_example_maker(["un", "deux"], tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    trainer = Trainer(build_model(config.network), config, torch.device("cpu"))
    trainer.optimizer.param_groups[0]["weight_decay"] = 0.0
    before = {name: w.detach().clone() for name, w in trainer.model.named_parameters()}
    example = make(Utterance("u", noise, source, target, ""))
    assert example is not None
    report = trainer.step(1, collate([example]))
    changed = {n for n, w in trainer.model.named_parameters() if not w.equal(before[n])}
    assert (report.asr_loss == 0, report.st_loss == 0) == (source is None, target is None)
    assert any(name.startswith("st_head") for name in changed) == (target is not None)
    assert any(name.startswith("decoder") for name in changed) == (target is not None)
    assert any(name.startswith("encoder") for name in changed)


class Mixed:
    """Utterances with both texts, a transcript, a translation, and sounds without words."""

    def utterance(self, index: int) -> Utterance:
        source, target = [("un", "deux"), ("un", None), (None, "deux"), ("", "")][index % 4]
        noise = np.random.default_rng(index).normal(0, 0.1, 8_000).astype(np.float32)
        return Utterance(str(index), noise, source, target, "")


def test_no_text_is_lost_when_utterances_are_concatenated(tmp_path: Path) -> None:
    make = word_example_maker(["un", "deux"], tmp_path)
    dataset = BatchDataset(
        Mixed(), make, 400, 1, 2.0, 5, [DatasetPosition(0, 0)],
        concat_probability=0.9, concat_utterances=4,
    )  # fmt: skip
    examples = list(dataset._block(0))
    sources = [piece for e in examples for piece in e.source or []]
    targets = [piece for e in examples for piece in e.target or []]
    assert len(sources) == len(targets) == 200 * len(make.source_tokenizer.encode("un"))
    assert all(e.source is not None or e.target is not None for e in examples)
    assert any(len(e.frames) > 60 for e in examples), "some are concatenated"


def test_unknown_is_not_the_same_as_no_words() -> None:
    def example(source: list[int] | None, target: list[int] | None) -> Example:
        return Example(np.zeros((32, 2), np.float16), source, target, None, None)

    kinds = [example([3], [3]), example([3], None), example(None, [3]), example([], [])]
    lost = {(a, b): loses_text([kinds[a], kinds[b]]) for a in range(4) for b in range(4)}
    assert {pair for pair, loses in lost.items() if loses} == {
        (a, b) for a in range(3) for b in range(3) if a != b
    }
