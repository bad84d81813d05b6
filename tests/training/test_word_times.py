"""Word times by forced alignment."""

from __future__ import annotations

import numpy as np
import pytest
from documents import ROOT

from echostream.data.synthetic.grammar import Grammar
from echostream.data.synthetic.speech import TRAIN_VOICES, SyntheticSpeech
from echostream.data.utterance import Utterance
from echostream.model_folder import load_model
from echostream.training.example import OUTPUT_RATE
from echostream.training.word_times import _ends, word_ends


@pytest.mark.parametrize(
    ("alignment", "pieces", "ends"),
    [
        ([0, 3, 3, 0, 5], [[3], [5]], (3, 5)),
        ([3, 3, 5, 0, 0], [[3, 5]], (3,)),
        ([3, 0, 3, 4, 4], [[3], [3, 4]], (1, 5)),
        ([0, 3, 3, 3, 0], [[3], [3]], ()),  # both pieces do not fit
        ([0, 0, -100, -100], [], ()),
        ([3, 4, -100, -100], [[3], [4]], (1, 2)),
    ],
)
def test_a_word_ends_with_the_last_frame_of_its_last_piece(
    alignment: list[int], pieces: list[list[int]], ends: tuple[int, ...]
) -> None:
    found = _ends(np.array(alignment), pieces)
    assert found == pytest.approx(tuple(end / OUTPUT_RATE for end in ends))


def test_the_times_are_those_of_the_words_and_rows_are_as_if_alone() -> None:
    model = load_model(ROOT / "models" / "fr-en-demo")
    speech = SyntheticSpeech(Grammar.load(None), TRAIN_VOICES, 3, "dev")
    utterances = [speech.utterance(index) for index in range(6)]
    short = Utterance("short", np.zeros(160, np.float32), "bonjour " * 60, "hello", "")
    *found, none = word_ends(model, [*utterances, short])
    assert none == ()
    late = np.concatenate(
        [np.subtract(f, u.word_ends) for f, u in zip(found, utterances, strict=True)]
    )
    assert -0.1 < np.median(late) < 0.3 and np.quantile(abs(late), 0.9) < 0.6
    for utterance, ends in zip(utterances, found, strict=True):
        assert word_ends(model, [utterance]) == [ends]
        assert list(ends) == sorted(ends)
