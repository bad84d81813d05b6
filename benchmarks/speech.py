"""From words to speech and from audio to audio: unit decoder, refiner, vocoder, the whole chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.figures import Figure, Unavailable, at_most, skipped
from benchmarks.fixtures import EXAMPLES, NAMES, Bench, open_model
from benchmarks.streams import STEP_MS
from benchmarks.timing import take_turns
from echostream.frontend.audio import read_audio
from echostream.model_folder import Model
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import NextWords, UnitOutput
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.session.translator import StreamingTranslator
from echostream.speech_config import RefinerConfig
from echostream.streaming.clock import UNIT_MS
from echostream.text.spoken_words import SpokenWord, words_of_text

RECORDING = "test-seen-2026-0000002.flac"
ROUNDS = (1, 2, 4, 8)
SPEAKING = ("torch", "onnx")
# What is measured, and the most that it may take of real time in PyTorch.
UNITS, WAVE, CHAIN = "unit decoder", "vocoder", "chain"
MAX_RTF = {UNITS: 0.02, WAVE: 0.08, CHAIN: 0.25}
WHAT = {
    UNITS: "RTF of the unit decoder, demo model, word by word",
    WAVE: "RTF of the vocoder, demo model, word by word",
    CHAIN: f"RTF from audio to audio, demo model, pushes of {STEP_MS} ms",
}


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group: the demo model, one stream, and a refiner of random weights."""
    models, missing = dict[str, Model](), dict[str, Unavailable]()
    for backend in SPEAKING:
        try:
            models[backend] = open_model(bench.speaking_folder, backend)
        except Unavailable as error:
            missing[backend] = error
    case = Case(models["torch"])
    calls = {
        f"{backend} {name}": call
        for backend, model in models.items()
        for name, call in case.calls(model).items()
    }
    calls |= {f"{steps}": lambda steps=steps: case.refine(steps) for steps in ROUNDS}
    calls["text"] = lambda: case.translate(case.text_session)
    times = take_turns(calls, bench.scale.rounds, bench.scale.in_a_row)
    figures = []
    for backend in SPEAKING:
        for name, what in WHAT.items():
            title = f"{what}, {NAMES[backend]}"
            if backend in missing:
                figures.append(skipped(title, "s per s", missing[backend]))
                continue
            found, scale = times[f"{backend} {name}"], 1 / case.ms_of(name)
            bound, against, target = 1.0, "real time", at_most(MAX_RTF[name], "ratio")
            if backend != "torch":
                bound, against = times[f"torch {name}"].median * scale, f"in {NAMES['torch']}"
            note = f"{len(case.words)} words, {case.speech_ms} ms of speech"
            if name == CHAIN:
                note = f"to text alone {times['text'].median * scale:.3f} in {NAMES['torch']}"
            figures.append(
                found.figure(
                    *(title, "s per s", scale, bound, against),
                    target if backend == "torch" else None,
                    note,
                )
            )
    return figures + [
        times[f"{steps}"].figure(
            f"RTF of a refiner, {steps} rounds, demo size, word by word, {NAMES['torch']}",
            *("s per s", 1 / case.speech_ms),
        )
        for steps in ROUNDS
    ]


class Case:
    """A text to speak and a recording to translate, and what was made of them in PyTorch."""

    def __init__(self, model: Model) -> None:
        assert model.speech is not None
        decoder: Any = model.speech.unit_decoder
        text = max((EXAMPLES / "target.txt").read_text(encoding="utf-8").splitlines(), key=len)
        self.words = words_of_text(model.target_tokenizer, model.config.target_emission_unit, text)
        self.drafts = decode(decoder, self.words)
        self.speech_ms = UNIT_MS * sum(int(draft.num_frames) for draft in self.drafts)
        torch.manual_seed(0)
        config = RefinerConfig(decoder.config.num_classes, decoder.config.frame_dim)
        self._refiner = UnitRefiner(config).eval()
        self._samples, self._rate = read_audio(EXAMPLES / RECORDING)
        self.text_session = StreamingTranslator(model)

    def ms_of(self, name: str) -> float:
        """The audio of a call: speech, or for the chain the source."""
        return 1000 * len(self._samples) / self._rate if name == CHAIN else self.speech_ms

    def calls(self, model: Model) -> dict[str, Callable[[], object]]:
        """What is timed with a model."""
        assert model.speech is not None
        decoder, vocoder = model.speech.unit_decoder, model.speech.vocoder
        session = StreamingTranslator(model, speech=True)
        return {
            UNITS: lambda: decode(decoder, self.words),
            WAVE: lambda: vocode(vocoder, self.drafts),
            CHAIN: lambda: self.translate(session),
        }

    def refine(self, num_steps: int) -> None:
        """Refines the words of the text."""
        state, never = self._refiner.init_state(1), torch.tensor([False])
        with torch.inference_mode():
            for draft in self.drafts:
                _, state = self._refiner.step(draft, never, num_steps, state)

    def translate(self, session: StreamingTranslator) -> None:
        """The recording in pushes of 320 ms."""
        session.reset()
        size = self._rate * STEP_MS // 1000
        for start in range(0, len(self._samples), size):
            session.push(self._samples[start : start + size], self._rate)
        session.finish()


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


def vocode(vocoder: Any, drafts: Sequence[UnitOutput]) -> None:
    """The samples of drafts, word by word."""
    state = vocoder.init_state(1)
    with torch.inference_mode():
        for draft in drafts:
            _, state = vocoder.step(draft.logits.argmax(-1), state)
