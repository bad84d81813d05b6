"""From words to speech and from audio to audio: unit decoder, refiner, the whole chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.figures import Figure, at_most
from benchmarks.fixtures import NAMES, Bench
from benchmarks.streams import STEP_MS
from benchmarks.timing import take_turns
from echostream.frontend.audio import read_audio
from echostream.model_folder import load_model
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import NextWords, UnitOutput
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.session.translator import StreamingTranslator
from echostream.speech_config import RefinerConfig
from echostream.streaming.clock import UNIT_MS
from echostream.text.spoken_words import SpokenWord, words_of_text

ROOT = Path(__file__).resolve().parents[1]
MODEL, EXAMPLES = ROOT / "models" / "fr-en-demo", ROOT / "examples" / "fr-en"
RECORDING = "test-seen-2026-0000002.flac"
MAX_UNIT_DECODER, MAX_CHAIN = 0.02, 0.25  # compute RTF
ROUNDS = (1, 2, 4, 8)


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group: the demo model, one stream, and a refiner of random weights."""
    model = load_model(MODEL)
    assert model.speech is not None
    decoder: Any = model.speech.unit_decoder
    text = max((EXAMPLES / "target.txt").read_text(encoding="utf-8").splitlines(), key=len)
    words = words_of_text(model.target_tokenizer, model.config.target_emission_unit, text)
    drafts = decode(decoder, words)
    speech_ms = UNIT_MS * sum(int(draft.num_frames) for draft in drafts)
    torch.manual_seed(0)
    config = RefinerConfig(decoder.config.num_classes, decoder.config.frame_dim)
    refiner = UnitRefiner(config).eval()
    samples, rate = read_audio(EXAMPLES / RECORDING)
    sessions = {
        "text": StreamingTranslator(model),
        "speech": StreamingTranslator(model, speech=True),
    }
    calls: dict[str, Callable[[], object]] = {"unit decoder": lambda: decode(decoder, words)}
    for steps in ROUNDS:
        calls[f"{steps}"] = lambda steps=steps: refine(refiner, drafts, steps)
    for name, session in sessions.items():
        calls[name] = lambda session=session: translate(session, samples, rate)
    times = take_turns(calls, bench.scale.rounds, bench.scale.in_a_row)
    source_ms = 1000 * len(samples) / rate
    torch_name = NAMES["torch"]
    figures = [
        times["unit decoder"].figure(
            f"RTF of the unit decoder, demo model, word by word, {torch_name}",
            "s per s",
            *(1 / speech_ms, 1.0, "real time", at_most(MAX_UNIT_DECODER, "ratio")),
            f"{len(words)} words, {speech_ms} ms of speech",
        )
    ]
    for steps in ROUNDS:
        figures.append(
            times[f"{steps}"].figure(
                f"RTF of a refiner, {steps} rounds, demo size, word by word, {torch_name}",
                *("s per s", 1 / speech_ms),
            )
        )
    figures.append(
        times["speech"].figure(
            f"RTF from audio to audio, demo model, pushes of {STEP_MS} ms, {torch_name}",
            "s per s",
            *(1 / source_ms, 1.0, "real time", at_most(MAX_CHAIN, "ratio")),
            f"to text alone {times['text'].median / source_ms:.3f}",
        )
    )
    return figures


def decode(decoder: Any, words: Sequence[SpokenWord]) -> list[UnitOutput]:
    """The drafts of the words of a text."""
    state, drafts = decoder.init_state(1), []
    size = max(len(word.tokens) for word in words)
    with torch.inference_mode():
        for word in words:
            tokens = [*word.tokens, *[NO_TOKEN] * (size - len(word.tokens))]
            following, active = torch.tensor([word.following]), torch.tensor([True])
            now = NextWords(torch.tensor([tokens]), following, active, torch.ones(1))
            draft, state = decoder.step(now, state)
            drafts.append(draft)
    assert words[-1].following == END_OF_TEXT
    return drafts


def refine(refiner: UnitRefiner, drafts: Sequence[UnitOutput], num_steps: int) -> None:
    """Refines the words of a text."""
    state, never = refiner.init_state(1), torch.tensor([False])
    with torch.inference_mode():
        for draft in drafts:
            _, state = refiner.step(draft, never, num_steps, state)


def translate(session: StreamingTranslator, samples: np.ndarray[Any, Any], rate: int) -> None:
    """One recording in pushes of 320 ms."""
    session.reset()
    size = rate * STEP_MS // 1000
    for start in range(0, len(samples), size):
        session.push(samples[start : start + size], rate)
    session.finish()
