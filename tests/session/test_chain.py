"""From samples to token ids: laws 1, 2, 3 and 5 for the whole chain, both heads, every L.

`test_translator.py` checks the words of a session; this file checks each CTC token: its id, its
frame, and the delay at which it comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from slow_reference import greedy_ctc
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.frontend.fbank import fbank
from echostream.model_folder import Model, load_model
from echostream.models import CtcOutput
from echostream.session.decoding import DecodingState, NewTokens
from echostream.session.translator import StreamingTranslator

Samples = NDArray[np.float32]
Sizes = Callable[[np.random.Generator], int]

CUTS: dict[str, Sizes] = {
    "10 ms": lambda rng: 160,
    "320 ms": lambda rng: 5120,
    "random": lambda rng: int(rng.choice([0, 1, 159, 161, 2559, 2560, 2561, 7000])),
}


class Tokens(NamedTuple):
    """The CTC tokens of both heads."""

    asr: list[int]
    st: list[int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_model_folder(tmp_path_factory.mktemp("model")))


class Recorder:
    """A session, the CTC tokens of its stream, and the delay at which each came out."""

    def __init__(self, model: Model, look_ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.session = StreamingTranslator(model, max_future_frames=look_ahead)
        self.tokens = Tokens([], [])
        self.delays = Tokens([], [])
        method = self.session._settings.method
        step = method.step

        def record(
            output: CtcOutput, state: DecodingState
        ) -> tuple[list[NewTokens], DecodingState]:
            (new,), after = step(output, state)
            found = Tokens(new.source, new.target)
            for tokens, delays, head in zip(self.tokens, self.delays, found, strict=True):
                tokens.extend(head)
                delays.extend([round(self.session.delay_ms)] * len(head))
            return [new], after

        monkeypatch.setattr(method, "step", record)

    def run(self, pieces: Iterable[Samples]) -> None:
        for piece in pieces:
            self.session.push(piece, SAMPLE_RATE)
        self.session.finish()


def cut(samples: Samples, sizes: Sizes) -> list[Samples]:
    rng, start, pieces = np.random.default_rng(2), 0, []
    while start < len(samples):
        size = sizes(rng)
        pieces.append(samples[start : start + size])
        start += size
    return pieces


def in_one_pass(model: Model, samples: Samples, look_ahead: int) -> tuple[Tokens, Tokens]:
    """Slow and obvious: forward over the recording and its tail. The tokens and their frames."""
    tail = np.zeros(model.config.tail_ms * 16, np.float32)
    frames = torch.from_numpy(model.cmvn.apply(fbank(np.concatenate([samples, tail]))))[None]
    with torch.inference_mode():
        output = model.network(frames, torch.tensor([frames.shape[1]]), look_ahead)
    heads = (output.asr_logits, output.st_logits)
    found = [greedy_ctc(logits[0], output.valid[0]) for logits in heads]
    tokens = Tokens(*([token for token, _ in head] for head in found))
    return tokens, Tokens(*([frame for _, frame in head] for head in found))


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
@pytest.mark.parametrize("name", [*CUTS, "1 sample"])
def test_the_tokens_are_those_of_one_pass_however_the_samples_are_cut(
    model: Model, name: str, look_ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, seed, least = (0.5, 32, 3) if name == "1 sample" else (5, 31, 20)
    samples = babble(seconds, seed)
    if name != "1 sample":
        samples = samples[:-77]  # the last group is short
    wanted, _ = in_one_pass(model, samples, look_ahead)
    assert min(map(len, wanted)) > least
    recorder = Recorder(model, look_ahead, monkeypatch)
    recorder.run(cut(samples, CUTS.get(name, lambda rng: 1)))
    assert recorder.tokens == wanted


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_a_token_comes_out_with_its_group_and_the_look_ahead(
    model: Model, look_ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = babble(5, seed=33)
    duration = len(samples) // 16  # ms
    _, token_frames = in_one_pass(model, samples, look_ahead)
    recorder = Recorder(model, look_ahead, monkeypatch)
    recorder.run(cut(samples, CUTS["10 ms"]))
    for delays, frames in zip(recorder.delays, token_frames, strict=True):
        due = [160 * (frame // 4 + 1 + look_ahead) for frame in frames]  # 4 frames in a group
        assert delays == [min(time, duration) for time in due]
        assert due[-1] > duration > due[0]  # some come out in time, some at the end


def test_sessions_of_another_look_ahead_and_cut_may_share_a_model(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 3, with nothing the same in the neighbours but the weights."""
    recordings = [babble(seconds, seed=34) for seconds in (4, 2.5, 3.21)]
    names = list(CUTS)
    alone = [in_one_pass(model, samples, L)[0] for L, samples in enumerate(recordings)]
    recorders = [Recorder(model, L, monkeypatch) for L in range(3)]
    waiting = [cut(s, CUTS[name]) for s, name in zip(recordings, names, strict=True)]
    rng = np.random.default_rng(1)
    while any(waiting):
        turn = int(rng.choice([index for index, pieces in enumerate(waiting) if pieces]))
        recorders[turn].session.push(waiting[turn].pop(0), SAMPLE_RATE)
        if not waiting[turn]:
            recorders[turn].session.finish()
    assert [recorder.tokens for recorder in recorders] == alone
