"""Speech from text with espeak-ng, in process: the C library libespeak-ng called through ctypes."""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.1.dylib", "libespeak-ng.dll", "espeak-ng.dll")
_INSTALL = "apt-get install libespeak-ng1 espeak-ng-data"
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _PITCH = 1, 3
_EVENT_END, _EVENT_WORD = 0, 1
_IPA = 0x02
# The library finds French by the name of its file; the program `espeak-ng` also knows this one.
_ALIASES = {"fr-fr": "fr"}


class EspeakError(RuntimeError):
    """espeak-ng is not installed, or refused what it was asked."""


class _Event(ctypes.Structure):
    # espeak_EVENT of espeak-ng 1.48 to 1.52 (speak_lib.h); `id` is a union of 8 bytes.
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Speech:
    """What espeak-ng said: `samples` (S,) float32 in [-1, 1] at `sample_rate` Hz.

    `word_ends`: seconds at which each whitespace word of the text ends, or empty when the events of
    espeak-ng could not be matched with the words.
    """

    samples: np.ndarray
    sample_rate: int
    word_ends: tuple[float, ...]


@dataclass
class _Recording:
    """What the callback has collected for the text being spoken."""

    chunks: list[np.ndarray] = field(default_factory=list)
    word_starts: list[tuple[int, int]] = field(default_factory=list)


class Espeak:
    """The speech engine of this process.

    The C library keeps one global state, so there is one engine a process: every `Espeak()` is the
    same, and it must not be used from two threads at once. Raises `EspeakError` without the library.
    """

    _shared: Espeak | None = None
    _library: ctypes.CDLL
    _sample_rate: int
    _data: Path
    _voice: str
    _recording: _Recording
    _callback: Callable[..., int]

    def __new__(cls) -> Espeak:
        if cls._shared is None:
            engine = super().__new__(cls)
            engine._start()
            cls._shared = engine
        return cls._shared

    def _start(self) -> None:
        self._library = _open_library()
        self._library.espeak_Initialize.argtypes = [
            ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int,
        ]  # fmt: skip
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._library.espeak_TextToPhonemes.argtypes = [
            ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT)
        if rate <= 0:
            raise EspeakError(f"espeak-ng found no data (answer {rate}); `{_INSTALL}`.")
        self._sample_rate = int(rate)
        path = ctypes.c_char_p()
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._library.espeak_Info(ctypes.byref(path))
        self._data = Path((path.value or b"").decode())
        self._voice = ""
        self._recording = _Recording()
        # The reference must live as long as the library: ctypes frees a callback nobody holds.
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(
        self, text: str, voice: str = "fr-fr", rate_wpm: int = 170, pitch: int = 50
    ) -> Speech:
        """`text` spoken by `voice`: a language and, after `+`, a variant ("fr-fr+f2").

        `rate_wpm`: words a minute, 80 to 450; `pitch`: 0 to 99. The same arguments give the same
        samples. Raises `EspeakError` for a voice that does not exist.
        """
        if not 80 <= rate_wpm <= 450:
            raise ValueError(f"`rate_wpm` must be 80 to 450 words a minute, but is {rate_wpm}.")
        if not 0 <= pitch <= 99:
            raise ValueError(f"`pitch` must be 0 to 99, but is {pitch} instead.")
        self._set_voice(voice)
        self._library.espeak_SetParameter(_RATE, rate_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._recording = _Recording()
        data = text.encode("utf-8")
        answer = self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if answer != 0:
            raise EspeakError(f"espeak-ng could not speak {text!r} (error {answer}).")
        chunks = self._recording.chunks
        samples = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int16)
        seconds = samples.size / self._sample_rate
        word_ends = _match_words(text, self._recording.word_starts, self._sample_rate, seconds)
        return Speech(samples.astype(np.float32) / 32768.0, self._sample_rate, word_ends)

    def phonemes(self, text: str, voice: str = "fr-fr") -> str:
        """The phonemes of `text` in IPA, with liaisons, as they would be spoken."""
        self._set_voice(voice)
        pointer = ctypes.c_char_p(text.encode("utf-8"))
        parts = []
        while pointer.value is not None:
            # Clause by clause: the library moves the pointer, and sets it to NULL at the end.
            part = self._library.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8, _IPA)
            parts.append((part or b"").decode("utf-8").strip())
        return " ".join(part for part in parts if part)

    def _set_voice(self, voice: str) -> None:
        if voice == self._voice:
            return
        language, _, variant = voice.partition("+")
        name = _ALIASES.get(language, language) + voice[len(language) :]
        # The library ignores a variant it does not know; that must not pass for another voice.
        known = not variant or (self._data / "voices" / "!v" / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(name.encode("utf-8")) != 0:
            self._voice = ""
            raise EspeakError(f"espeak-ng has no voice `{voice}`.")
        self._voice = voice

    def _collect(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: object) -> int:
        if wave and count > 0:
            self._recording.chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _EVENT_WORD:
                self._recording.word_starts.append((event.text_position, event.sample))
            index += 1
        return 0


def _open_library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            logger.debug("no %s", name)
    raise EspeakError(f"the speech synthesizer libespeak-ng is not installed: `{_INSTALL}`.")


def _match_words(
    text: str, word_starts: list[tuple[int, int]], sample_rate: int, seconds: float
) -> tuple[float, ...]:
    """Seconds at which each whitespace word ends: where the next begins, the last with the audio.

    `word_starts`: pairs of the position of a word in the text (from 1) and its first sample. Events
    inside a word (after a hyphen) are passed over. Words that espeak-ng joins to the one before
    ("parce que") share its time by their letters. Empty when time does not go on.
    """
    events = {position - 1: sample / sample_rate for position, sample in reversed(word_starts)}
    positions = [match.start() for match in re.finditer(r"\S+", text)]
    known = [(position, events[position]) for position in positions if position in events]
    if not known or known[0][0] != positions[0]:
        return ()
    known.append((len(text), seconds))
    starts = np.interp(positions, [at for at, _ in known], [time for _, time in known])
    ends = (*(float(start) for start in starts[1:]), seconds)
    return ends if all(np.diff((0.0, *ends)) > 0) else ()
