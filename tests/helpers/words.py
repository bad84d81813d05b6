"""Examples of made-up words, for tests of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from echostream.frontend.cmvn import GlobalCmvn
from echostream.text.tokenizer import Tokenizer
from echostream.training.example import ExampleMaker


def word_example_maker(words: Sequence[str], path: Path) -> ExampleMaker:
    """A maker of examples with a piece for each word, without normalisation, alignment or tail."""
    text = [" ".join(words)] * 4
    tokenizer = Tokenizer.train(text, len(words) + 2, path / "spm.model", model_type="word")
    cmvn = GlobalCmvn(np.zeros(80, np.float32), np.ones(80, np.float32))
    return ExampleMaker(tokenizer, tokenizer, cmvn, None, tail_ms=0)
