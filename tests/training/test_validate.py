"""Dev scores are those of the texts that the network writes, whatever the order of decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sacrebleu
import torch
from tiny_model import SAMPLE_RATE, babble, make_model_folder
from torch import Tensor
from torch.nn import functional

from echostream.frontend.fbank import fbank
from echostream.model_folder import load_model
from echostream.models.echostream import CtcOutput, EchoStreamModel
from echostream.session.translator import StreamingTranslator
from echostream.text.tokenizer import Tokenizer
from echostream.training.example import Example
from echostream.training.free_decoding import decode_freely
from echostream.training.validate import Scores, validate

WORDS = "le la chat chien dort mange ici là".split()  # noqa: SIM905

# Reference and hypothesis, of the source and of the target; (words wrong in the source).
TEXTS = (
    ("le chat dort ici", "le chat dort ici", 0),
    ("le chien mange là ici", "la chien mange ici", 2),  # one other word, one left out
    ("chat dort", "le chat dort ici là", 3),  # three more
    ("ici la chat dort là", "la chat ici dort là", 2),  # one left out here, one more there
    ("le chien dort ici là", "", 5),
)


class Parrot:
    """A network that writes the text whose number is in the first frame of a recording."""

    decoder = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.look_aheads: list[int] = []

    def __call__(self, frames: Tensor, lengths: Tensor, look_ahead: int) -> CtcOutput:
        self.look_aheads.append(look_ahead)
        num_outputs = frames.shape[1] // 4
        ids = torch.zeros(len(frames), num_outputs, dtype=torch.long)
        for row, number in enumerate(frames[:, 0, 0].int().tolist()):
            for position, piece in enumerate(self.tokenizer.encode(TEXTS[number][1])):
                ids[row, 3 * position + 1 : 3 * position + 3] = (
                    piece  # held for two frames, then blank
                )
        valid = torch.arange(num_outputs)[None] < lengths[:, None] // 4
        ids[~valid] = self.tokenizer.encode("mange")[0]  # noise that must not be read
        logits = functional.one_hot(ids, self.tokenizer.vocab_size).float()
        return CtcOutput(logits, logits, valid, logits)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("spm") / "words.model"
    return Tokenizer.train([" ".join(WORDS)] * 3, 10, path, model_type="word")


def slow_distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance by its definition, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[:], i
        for j, y in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
    return row[-1]


def score(tokenizer: Tokenizer, batch_size: int) -> Scores:
    examples = []
    for number, (reference, _, _) in enumerate(TEXTS):
        frames = np.zeros((80 - 4 * number, 80), np.float16)
        frames[0, 0] = number
        ids = tokenizer.encode(reference)
        examples.append(Example(frames, ids, ids, None, None))
    parrot: Any = Parrot(tokenizer)
    model = cast("EchoStreamModel", parrot)
    scores = validate(model, examples, tokenizer, tokenizer, 2, torch.device("cpu"), batch_size)
    assert set(parrot.look_aheads) == {2}
    return scores


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_the_scores_are_those_counted_by_hand(tokenizer: Tokenizer, batch_size: int) -> None:
    scores = score(tokenizer, batch_size)
    num_words = sum(len(reference.split()) for reference, _, _ in TEXTS)
    assert scores.wer == pytest.approx(100 * sum(wrong for _, _, wrong in TEXTS) / num_words)
    assert scores.exact == pytest.approx(100 * 1 / 5)
    hypotheses, references = [h for _, h, _ in TEXTS], [r for r, _, _ in TEXTS]
    assert scores.bleu == sacrebleu.corpus_bleu(hypotheses, [references]).score
    letters = [[c for c in reference if c != " "] for reference in references]
    edits = sum(
        slow_distance(wanted, [c for c in text if c != " "])
        for wanted, text in zip(letters, hypotheses, strict=True)
    )
    assert scores.cer == pytest.approx(100 * edits / sum(map(len, letters)))
    written = sum(len(text.split()) for text in hypotheses)
    assert scores.st_ratio == pytest.approx(written / num_words)
    assert scores.free_bleu is None and scores.decoder_bleu is None


def test_scores_are_logged_in_one_line() -> None:
    scores = Scores(wer=12.34, bleu=56.78, exact=9.6)
    assert str(scores) == "BLEU 56.8 WER 12.3 exact 10 %"
    scores = scores._replace(cer=7.0, st_ratio=0.5, decoder_bleu=1.0, decoder_exact=2.0)
    assert str(scores._replace(free_bleu=33.33, free_ratio=1.0)) == (
        "BLEU 56.8 WER 12.3 exact 10 % CER 7.0 length 0.50, "
        "decoder BLEU 1.0 exact 2 %, on its own 33.3 length 1.00"
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_decoder_is_scored_on_the_text_of_a_stream(tmp_path: Path, batch_size: int) -> None:
    """The references are the output of sessions with the decoder, so that its error rate is 0."""
    model = load_model(make_model_folder(tmp_path, decoder_layers=2))
    session = StreamingTranslator(model, max_future_frames=1, writer="decoder")
    examples = []
    for seed, seconds in enumerate((8.0, 9.1, 8.56)):
        samples = babble(seconds, seed + 50)
        outputs = session.push(samples, SAMPLE_RATE) + session.finish()
        session.reset()
        silence = np.zeros(16 * model.config.tail_ms, np.float32)
        frames = model.cmvn.apply(fbank(np.concatenate([samples, silence])))
        target = model.target_tokenizer.encode(" ".join(output.text for output in outputs))
        examples.append(Example(frames, target, target, None, None))
    tokenizers = model.source_tokenizer, model.target_tokenizer
    scores = validate(model.network, examples, *tokenizers, 1, torch.device("cpu"), batch_size)
    assert scores.decoder_exact == 100 and scores.exact < 100
    assert scores.decoder_bleu == pytest.approx(100)


def test_a_decoder_is_scored_on_its_own_while_the_st_head_writes_only_blanks(
    tmp_path: Path,
) -> None:
    model = load_model(make_model_folder(tmp_path, decoder_layers=2))
    network = cast("EchoStreamModel", model.network)
    assert network.decoder is not None
    with torch.no_grad():
        network.st_head.project.bias[0] += 100
    frames = [model.cmvn.apply(fbank(babble(seconds, 3))) for seconds in (4.0, 5.1)]
    lengths = torch.tensor([len(f) for f in frames])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(f) for f in frames], True)
    with torch.inference_mode():
        alone = decode_freely(network.decoder, network(padded, lengths, 1))
    assert min(map(len, alone)) > 4
    examples = [Example(f, ids, ids, None, None) for f, ids in zip(frames, alone, strict=True)]
    tokenizers = model.source_tokenizer, model.target_tokenizer
    scores = validate(network, examples, *tokenizers, 1, torch.device("cpu"), target_unit="char")
    assert scores.st_ratio == 0 and scores.decoder_bleu is not None
    assert scores.decoder_bleu < 50 and scores.free_bleu == pytest.approx(100)
    assert scores.free_ratio == pytest.approx(1)
