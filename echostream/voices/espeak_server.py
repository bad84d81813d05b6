"""The process that runs espeak-ng: a script that serves requests on its standard streams.

The C library keeps counters from one text to the next (flutter of the pitch, phase of the voice),
so its output depends on all texts before. Here every request is synthesised in a fork of a process
that has synthesised nothing: the same request gives the same samples. Run by `espeak.Espeak` with a
bare interpreter, so that a fork costs less than a millisecond; hence the standard library only.

A request is a line of JSON; with `phonemes` the response holds the pronunciation, no speech. The
response is a line of JSON, and `num_bytes` bytes of 16-bit samples.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.1.dylib")
_INSTALL = "apt-get install libespeak-ng1 espeak-ng-data"
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_IPA = 2
_RATE, _PITCH = 1, 3
_LIST_TERMINATED, _WORD = 0, 1
# The library names French by its file; the program `espeak-ng` also accepts this name.
_ALIASES = {"fr-fr": "fr"}


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


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class _RequestError(Exception):
    """An error that is sent as the response."""


class _Library:
    """The loaded library; each fork of it synthesises one text."""

    def __init__(self) -> None:
        self._c = _open_library()
        self._c.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        self.sample_rate = int(self._c.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT))
        if self.sample_rate <= 0:
            raise _RequestError(
                f"espeak-ng finds no data (it returned {self.sample_rate}): `{_INSTALL}`."
            )
        folder = ctypes.c_char_p()
        self._c.espeak_Info.restype = ctypes.c_char_p
        self._c.espeak_Info(ctypes.byref(folder))
        self._variants = os.path.join((folder.value or b"").decode(), "voices", "!v")
        self._pcm: list[bytes] = []
        self._words: list[tuple[int, int]] = []
        # Kept as long as the library: ctypes frees a callback without references.
        self._callback = _Callback(self._collect)
        self._c.espeak_SetSynthCallback(self._callback)

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._set_voice(request["voice"])
        self._c.espeak_SetParameter(_RATE, request["rate_wpm"], 0)
        self._c.espeak_SetParameter(_PITCH, request["pitch"], 0)
        text = request["text"].encode()
        error = self._c.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None)
        if error != 0:
            raise _RequestError(f"espeak-ng cannot speak {request['text']!r} (error {error}).")
        return {"words": self._words, "sample_rate": self.sample_rate}, b"".join(self._pcm)

    def phonemes(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._set_voice(request["voice"])
        to_phonemes = self._c.espeak_TextToPhonemes
        to_phonemes.restype = ctypes.c_char_p
        pointer, clauses = ctypes.c_char_p(request["text"].encode()), []
        while pointer.value is not None:
            # Clause by clause: the library moves the pointer, and sets it to NULL at the end.
            clause = to_phonemes(ctypes.byref(pointer), _UTF8, _IPA)
            clauses.append((clause or b"").decode().strip())
        return {"phonemes": " ".join(filter(None, clauses))}, b""

    def _set_voice(self, voice: str) -> None:
        language, _, variant = voice.partition("+")
        name = _ALIASES.get(language, language) + voice[len(language) :]
        # The library ignores an unknown variant, and would use another voice.
        known = not variant or os.path.isfile(os.path.join(self._variants, variant))
        if not known or self._c.espeak_SetVoiceByName(name.encode()) != 0:
            raise _RequestError(f"espeak-ng has no voice `{voice}`.")

    def _collect(self, wave: int | None, count: int, events: Any) -> int:
        if wave and count > 0:
            self._pcm.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != _LIST_TERMINATED:
            if events[index].type == _WORD:
                self._words.append((events[index].text_position, events[index].sample))
            index += 1
        return 0


def _open_library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise _RequestError(f"the speech synthesizer libespeak-ng is not installed: `{_INSTALL}`.")


def _respond(library: _Library, line: bytes) -> None:
    try:
        request = json.loads(line)
        answer = library.phonemes if request.get("phonemes") else library.speak
        header, pcm = answer(request)
    except _RequestError as error:
        header, pcm = {"error": str(error)}, b""
    _write(header, pcm)


def _write(header: dict[str, Any], pcm: bytes = b"") -> None:
    header["num_bytes"] = len(pcm)
    rest = memoryview(json.dumps(header).encode() + b"\n" + pcm)
    while rest:
        rest = rest[os.write(1, rest) :]


def _serve() -> None:
    try:
        library = _Library()
    except _RequestError as error:
        _write({"error": str(error)})
        return
    _write({})
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            _respond(library, line)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            _write({"error": f"espeak-ng crashed at {line!r} (status {status})."})


if __name__ == "__main__":
    _serve()
