"""Warm start on text: what is imagined is in time and in order, and the ST layers learn from it."""

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
from echostream.training.pseudo_asr import MISHEARD, Imagined, ImaginedSpeech
from echostream.training.text_pretraining import warm_start

TAIL_MS = 200


@pytest.fixture(scope="module")
def imagine(tmp_path_factory: pytest.TempPathFactory) -> ImaginedSpeech:
    path = tmp_path_factory.mktemp("spm")
    rng = random.Random(7)
    pairs = [sentence(rng) for _ in range(60)]
    source, target = (
        Tokenizer.train([pair[side] for pair in pairs], 10, path / f"{side}", model_type="word")
        for side in (0, 1)
    )
    aligner = WordAligner([(s.split(), t.split()) for s, t in pairs])
    return ImaginedSpeech(source, target, aligner, TAIL_MS)


def draw(imagine: ImaginedSpeech, count: int, seed: int) -> tuple[list[tuple[str, str]], Imagined]:
    rng = random.Random(seed)
    pairs = [sentence(rng, rng.randint(1, 6)) for _ in range(count)]
    return pairs, imagine(pairs, rng)


def spikes(ids: torch.Tensor) -> list[tuple[int, int]]:
    """Frame and piece of all that is neither blank nor unknown."""
    return [(frame, int(piece)) for frame, piece in enumerate(ids) if piece > 0]


def test_the_words_are_heard_and_are_due_in_their_order(imagine: ImaginedSpeech) -> None:
    pairs, batch = draw(imagine, 200, seed=1)
    heard = batch.asr_logits.argmax(-1)
    num_words = num_misheard = 0
    targets = batch.target.split(batch.target_lengths.tolist())
    for row, (source, target) in enumerate(pairs):
        said = [piece for _, piece in spikes(heard[row])]
        wanted = imagine.source_tokenizer.encode(source)
        assert len(said) == len(wanted)
        num_words += len(wanted)
        num_misheard += sum(a != b for a, b in zip(said, wanted, strict=True))
        due = [piece for _, piece in spikes(batch.target_labels[row])]
        assert due == targets[row].tolist() == imagine.target_tokenizer.encode(target)
    assert 0 < num_misheard < 3 * MISHEARD * num_words


def test_a_word_is_due_when_its_source_word_is_heard_and_never_before(
    imagine: ImaginedSpeech,
) -> None:
    _, batch = draw(imagine, 100, seed=2)  # word by word: the n-th target is of the n-th source
    for row in range(100):
        heard = [frame for frame, _ in spikes(batch.asr_logits[row].argmax(-1))]
        due = [frame for frame, _ in spikes(batch.target_labels[row])]
        assert heard == due
        assert all(2 <= b - a <= 18 for a, b in pairwise(heard))  # 25 Hz


def test_a_sentence_ends_with_the_tail_and_nothing_is_known_after_it(
    imagine: ImaginedSpeech,
) -> None:
    _, batch = draw(imagine, 50, seed=3)
    size = batch.asr_logits.shape[1]
    assert size % GROUP_OUTPUTS == 0 and int(batch.lengths.max()) > size - GROUP_OUTPUTS
    for row, length in enumerate(batch.lengths.tolist()):
        assert (batch.target_labels[row, length:] == -1).all()
        assert (batch.target_labels[row, :length] >= 0).all()
        last, _ = spikes(batch.target_labels[row])[-1]
        assert length - last >= TAIL_MS * 25 // 1000


def test_training_on_text_lowers_the_loss_on_other_text(imagine: ImaginedSpeech) -> None:
    head = StHead(16, 2, 32, 1, 16, len(LEXICON) + 2, len(LEXICON) + 2)
    _, held_out = draw(imagine, 40, seed=9)

    def loss() -> float:
        frames = held_out.asr_logits.shape[1]
        valid = torch.arange(frames)[None] < held_out.lengths[:, None]
        with torch.no_grad():
            output, _ = head(torch.zeros(40, frames, 16), held_out.asr_logits, valid)
        return ctc_loss(output, held_out.lengths, held_out.target, held_out.target_lengths).item()

    before = loss()
    config = TextPretrainingConfig(steps=60, batch_sentences=16, lr=1e-2)
    last = warm_start(head, sentence, imagine, config, 0.1, 1, torch.device("cpu"))
    after = loss()
    assert after < before / 4
    assert last == pytest.approx(after, rel=1.0)


def test_the_same_seed_trains_the_same(imagine: ImaginedSpeech) -> None:
    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        head = StHead(16, 2, 32, 1, 16, len(LEXICON) + 2, len(LEXICON) + 2)
        config = TextPretrainingConfig(steps=2, batch_sentences=4)
        warm_start(head, sentence, imagine, config, 0.1, seed, torch.device("cpu"))
        return head.project.weight.detach()

    first, again, other = trained(1), trained(1), trained(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
