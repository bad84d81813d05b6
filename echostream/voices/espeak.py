"""Speech from text with espeak-ng, exactly repeatable."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echostream.voices import espeak_server
from echostream.voices.voice import Speech

_RATE_WPM = 170


class EspeakError(RuntimeError):
    """espeak-ng is not installed, or refused a request."""


class Espeak:
    """The speech engine of this process: every `Espeak()` is the same object.

    The C library has one global state, so it runs in a process of its own (`espeak_server`), which
    is started at the first call, and again after a fork. Calls from several threads are serialised
    by a lock. Raises `EspeakError`, naming what to install, without the library.
    """

    _shared: Espeak | None = None
    _inherited: Espeak | None

    def __new__(cls) -> Espeak:
        # A fork shares the pipes of its parent; using them would mix the responses.
        if cls._shared is None or cls._shared._owner != os.getpid():
            engine = super().__new__(cls)
            # Kept, not closed: its pipes belong to the parent, and their buffers may not be empty.
            engine._inherited = cls._shared
            engine._start()
            cls._shared = engine
        return cls._shared

    def _start(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        # -I -S: only the standard library is loaded, which keeps its forks cheap. In a session of
        # its own it does not get the keyboard interrupt.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(espeak_server.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        atexit.register(self._stop)
        self._read()

    def speak(
        self, text: str, voice: str = "fr-fr", rate_wpm: int = _RATE_WPM, pitch: int = 50
    ) -> Speech:
        """Speech for `text` in `voice`: a language and, after `+`, a variant ("fr-fr+f2").

        `rate_wpm`: words a minute, 80 to 450; `pitch`: 0 to 99. The same arguments give the same
        samples. Raises `ValueError` for other numbers, `EspeakError` for an unknown voice.
        """
        if not 80 <= rate_wpm <= 450:
            raise ValueError(f"`rate_wpm` must be 80 to 450 words a minute, but is {rate_wpm}.")
        if not 0 <= pitch <= 99:
            raise ValueError(f"`pitch` must be 0 to 99, but is {pitch} instead.")
        header, pcm = self._request(text=text, voice=voice, rate_wpm=rate_wpm, pitch=pitch)
        samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32) / 32768.0
        sample_rate: int = header["sample_rate"]
        word_ends = _match_words(text, header["words"], sample_rate, samples.size / sample_rate)
        return Speech(samples, sample_rate, word_ends)

    def phonemes(self, text: str, voice: str) -> str:
        """The pronunciation of `text` in IPA, words separated by spaces.

        espeak-ng may join words that are pronounced together ("of the"). Raises `EspeakError` for
        an unknown voice.
        """
        header, _ = self._request(text=text, voice=voice, phonemes=True)
        found: str = header["phonemes"]
        return found

    def _request(self, **request: object) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            except OSError:
                raise self._ended() from None
            return self._read()

    def _read(self) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        header: dict[str, Any] = json.loads(line)
        if "error" in header:
            raise EspeakError(header["error"])
        pcm = self._process.stdout.read(header["num_bytes"])
        if len(pcm) < header["num_bytes"]:
            raise self._ended()
        return header, pcm

    def _ended(self) -> EspeakError:
        Espeak._shared = None  # the next call starts another one
        status = self._process.wait()
        self._close()
        return EspeakError(f"the process that runs espeak-ng has ended (status {status}).")

    def _stop(self) -> None:
        # Not by closing its input, which a forked process may also hold open.
        if self._owner == os.getpid():
            self._process.terminate()
            self._process.wait()
            self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # the process has ended: unwritten bytes are lost
                stream.close()


class EspeakVoice:
    """A voice of espeak-ng by its name, at the default pitch.

    Raises `EspeakError` without the library or for a name that it does not know.
    """

    def __init__(self, name: str = "en-us") -> None:
        self.name = name
        Espeak().phonemes("a", name)

    def speak(self, text: str, speed: float = 1.0) -> Speech:
        """Speech for `text`; `speed` 0.5 to 2."""
        return Espeak().speak(text, self.name, round(_RATE_WPM * speed))


def _match_words(
    text: str, word_starts: Sequence[Sequence[int]], sample_rate: int, seconds: float
) -> tuple[float, ...]:
    """Seconds at which each whitespace word ends: where the next begins, the last with the audio.

    `word_starts`: pairs of the position of a word in the text (from 1) and its first sample. Events
    inside a word (after a hyphen) are ignored. The time of words that espeak-ng pronounces as one
    ("parce que") is divided by their letters. Empty if the times do not increase.
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
