"""Text pre-training: pseudo posteriors are in time and in order, and they train the ST head."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from tiny_training import LEXICON, sentence

from echostream.models.ctc import StHead
from echostream.streaming.clock import GROUP_OUTPUTS
from echostream.text.tokenizer import Tokenizer
from echostream.training.align import WordAligner
from echostream.training.config import TextPretrainingConfig
from echostream.training.losses import ctc_loss
from echostream.training.text_pretraining import (
    SUBSTITUTION_RATE,
    PseudoBatch,
    PseudoPosteriors,
    pretrain_on_text,
)

TAIL_MS = 200


@pytest.fixture(scope="module")
def pseudo(tmp_path_factory: pytest.TempPathFactory) -> PseudoPosteriors:
    path = tmp_path_factory.mktemp("spm")
    rng = random.Random(7)
    pairs = [sentence(rng) for _ in range(60)]
    source, target = (
        Tokenizer.train([pair[side] for pair in pairs], 10, path / f"{side}", model_type="word")
        for side in (0, 1)
    )
    aligner = WordAligner([(s.split(), t.split()) for s, t in pairs])
    return PseudoPosteriors(source, target, aligner, TAIL_MS)


def draw(
    pseudo: PseudoPosteriors, count: int, seed: int
) -> tuple[list[tuple[str, str]], PseudoBatch]:
    rng = random.Random(seed)
    pairs = [sentence(rng, rng.randint(1, 6)) for _ in range(count)]
    return pairs, pseudo(pairs, rng)


def spikes(ids: torch.Tensor) -> list[tuple[int, int]]:
    """Frame and piece of all that is neither blank nor unknown."""
    return [(frame, int(piece)) for frame, piece in enumerate(ids) if piece > 0]


def test_source_and_target_pieces_come_in_their_order(pseudo: PseudoPosteriors) -> None:
    pairs, batch = draw(pseudo, 200, seed=1)
    ids = batch.asr_logits.argmax(-1)
    num_words = num_substituted = 0
    targets = batch.target.split(batch.target_lengths.tolist())
    for row, (source, target) in enumerate(pairs):
        pieces = [piece for _, piece in spikes(ids[row])]
        expected = pseudo.source_tokenizer.encode(source)
        assert len(pieces) == len(expected)
        num_words += len(expected)
        num_substituted += sum(a != b for a, b in zip(pieces, expected, strict=True))
        labels = [piece for _, piece in spikes(batch.target_labels[row])]
        assert labels == targets[row].tolist() == pseudo.target_tokenizer.encode(target)
    assert 0 < num_substituted < 3 * SUBSTITUTION_RATE * num_words


def test_a_target_piece_stands_at_the_frame_of_its_source_piece(
    pseudo: PseudoPosteriors,
) -> None:
    _, batch = draw(pseudo, 100, seed=2)  # translated word by word
    for row in range(100):
        source_frames = [frame for frame, _ in spikes(batch.asr_logits[row].argmax(-1))]
        target_frames = [frame for frame, _ in spikes(batch.target_labels[row])]
        assert source_frames == target_frames
        assert all(2 <= b - a <= 18 for a, b in pairwise(source_frames))  # 25 Hz


def test_a_sentence_ends_with_the_tail_and_has_no_labels_after_it(
    pseudo: PseudoPosteriors,
) -> None:
    _, batch = draw(pseudo, 50, seed=3)
    size = batch.asr_logits.shape[1]
    assert size % GROUP_OUTPUTS == 0 and int(batch.lengths.max()) > size - GROUP_OUTPUTS
    for row, length in enumerate(batch.lengths.tolist()):
        assert (batch.target_labels[row, length:] == -1).all()
        assert (batch.target_labels[row, :length] >= 0).all()
        last, _ = spikes(batch.target_labels[row])[-1]
        assert length - last >= TAIL_MS * 25 // 1000


def test_training_on_text_lowers_the_loss_on_other_text(
    pseudo: PseudoPosteriors,
) -> None:
    head = StHead(16, 2, 32, 1, 16, len(LEXICON) + 2, len(LEXICON) + 2)
    _, held_out = draw(pseudo, 40, seed=9)

    def loss() -> float:
        frames = held_out.asr_logits.shape[1]
        valid = torch.arange(frames)[None] < held_out.lengths[:, None]
        with torch.no_grad():
            output, _ = head(torch.zeros(40, frames, 16), held_out.asr_logits, valid)
        return ctc_loss(output, held_out.lengths, held_out.target, held_out.target_lengths).item()

    before = loss()
    config = TextPretrainingConfig(steps=60, batch_sentences=16, lr=1e-2)
    last = pretrain_on_text(head, sentence, pseudo, config, 0.1, 1, torch.device("cpu"))
    after = loss()
    assert after < before / 4
    assert last == pytest.approx(after, rel=1.0)


def test_the_same_seed_trains_the_same(pseudo: PseudoPosteriors) -> None:
    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        head = StHead(16, 2, 32, 1, 16, len(LEXICON) + 2, len(LEXICON) + 2)
        config = TextPretrainingConfig(steps=2, batch_sentences=4)
        pretrain_on_text(head, sentence, pseudo, config, 0.1, seed, torch.device("cpu"))
        return head.project.weight.detach()

    first, again, other = trained(1), trained(1), trained(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
