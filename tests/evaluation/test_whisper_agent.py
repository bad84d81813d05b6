"""The agent of Whisper: LocalAgreement-2 as a pure function; the real model where it is."""

from __future__ import annotations

import importlib
import os
import random
import sys
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from documents import ROOT
from simuleval.agents.actions import ReadAction
from simuleval.data.segments import SpeechSegment

from echostream.extras import ExtraError
from echostream.frontend.audio import read_audio

agent = importlib.import_module("eval.peers.whisper_agent")
LocalAgreement, Part, cut_of = agent.LocalAgreement, agent.Part, agent.cut_of
FOLDER = os.environ.get("ECHOSTREAM_WHISPER")
EXAMPLE = ROOT / "examples/fr-en/test-seen-2026-0000002.flac"


def written_by(hypotheses: list[list[str]]) -> list[str]:
    """All that is written for these hypotheses, the last of which is that of the whole source."""
    state, written = LocalAgreement(), []
    for words in hypotheses[:-1]:
        state, new = state.update(words)
        written += new
    return [*written, *state.finish(hypotheses[-1])]


def test_two_hypotheses_must_agree_and_what_is_written_is_not_taken_back() -> None:
    steps = [
        (["the", "cat"], []),
        (["the", "cap", "is"], ["the"]),
        (["the", "cap", "is", "red"], ["cap", "is"]),
        (["a", "cap"], []),  # "the" stays
        (["a", "cap", "was", "red"], []),  # "is" stays; nothing beyond it is agreed on
        (["the", "cap", "was", "red", "and"], []),
        (["the", "cap", "was", "red", "and", "new"], ["red", "and"]),
    ]
    state = LocalAgreement()
    for words, wanted in steps:
        state, new = state.update(words)
        assert list(new) == wanted
    assert state.finish(["the", "cap", "was", "red", "and", "new", "."]) == ("new", ".")


def test_it_writes_the_common_prefix_of_each_two_hypotheses_in_a_row() -> None:
    rng = random.Random(5)
    for _ in range(300):
        hypotheses = [rng.choices("ab", k=rng.randrange(6)) for _ in range(rng.randrange(1, 6))]
        longest = 0
        for first, second in pairwise(hypotheses[:-1]):
            agreed = [n for n in range(6) if first[:n] == second[:n] and n <= len(first)]
            longest = max(longest, min(max(agreed), len(second)))
        written = written_by(hypotheses)
        assert len(written) == max(longest, len(hypotheses[-1]))
        assert written[longest:] == hypotheses[-1][longest:]


def test_hypotheses_that_only_grow_are_written_whole_however_the_buffer_is_cut() -> None:
    words = [f"w{number}" for number in range(40)]
    for seed in range(50):
        rng = random.Random(seed)
        state, begin, written = LocalAgreement(), 0, []
        for end in sorted(rng.sample(range(1, 40), 12)):
            state, new = state.update(words[begin:end])
            written += new
            if rng.random() < 0.4:
                cut = rng.randrange(state.num_written + 1)
                state, begin = state.without(cut), begin + cut
        assert written + list(state.finish(words[begin:])) == words


@pytest.mark.parametrize(
    ("num_written", "cut"),
    [(0, (0, 0.0)), (1, (0, 0.0)), (2, (2, 1.5)), (3, (3, 2.0)), (4, (3, 2.0)), (9, (3, 2.0))],
)
def test_only_segments_that_are_written_whole_are_cut_off_and_never_the_last(
    num_written: int, cut: tuple[int, float]
) -> None:
    parts = [Part(("a", "b"), 1.5), Part(("c",), 2.0), Part(("d", "e"), 3.0)]
    assert cut_of(parts, num_written) == cut
    assert cut_of(parts[:1], num_written) == (0, 0.0) and cut_of([], num_written) == (0, 0.0)


def arguments(**flags: object) -> Namespace:
    parser = ArgumentParser()
    agent.WhisperAgent.add_args(parser)
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    return parser.parse_args(words)


def test_without_faster_whisper_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ExtraError, match=r'faster_whisper: `pip install ".\[peers\]"`'):
        agent.WhisperAgent(arguments(**{"model-path": "none"}))


real = pytest.mark.skipif(
    FOLDER is None or find_spec("faster_whisper") is None,
    reason="needs faster-whisper and ECHOSTREAM_WHISPER, the folder of a model",
)


@real
def test_flags_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    for flags, message in (
        ({"model-path": tmp_path}, "`--model-path` must be a folder with model.bin"),
        ({"model-path": FOLDER, "min-chunk": 0}, "`--min-chunk` must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.WhisperAgent(arguments(**flags))


@real
@pytest.mark.slow
def test_the_real_model_reads_until_the_chunk_is_there_and_ends_with_the_source() -> None:
    whisper = agent.WhisperAgent(
        arguments(**{"model-path": FOLDER, "language": "fr", "task": "transcribe", "beam": 1})
    )
    samples, rate = read_audio(EXAMPLE)
    texts = []
    pieces = np.array_split(samples, 6)
    for number, piece in enumerate(pieces, start=1):
        last = number == len(pieces)
        segment = SpeechSegment(content=piece.tolist(), sample_rate=rate, finished=last)
        whisper.push(segment)
        action = whisper.policy()
        heard = rate * whisper.args.min_chunk
        if whisper.states.num_decoded == 0:
            assert isinstance(action, ReadAction) and len(whisper.states.source) < heard
        if not action.is_read():
            texts.append(action.content)
    assert action.finished and " ".join(texts).split()
