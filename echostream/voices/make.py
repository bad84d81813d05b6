"""A voice from its name on the command line."""

from __future__ import annotations

from echostream.voices.espeak import EspeakError, EspeakVoice
from echostream.voices.kokoro import KokoroVoice
from echostream.voices.piper import PiperVoice
from echostream.voices.voice import Voice, VoiceError


def make_voice(name: str, word_times: bool = False) -> Voice:
    """The voice "piper", "piper:FOLDER", "espeak:LANGUAGE" or "kokoro:BLEND".

    A voice of Kokoro speaks French, and with "kokoro:BLEND@LANGUAGE" that language.
    `word_times`: whether a Piper voice also gives the times of words, for which it needs the
    package onnx.

    Raises:
        VoiceError: for another name, and for a voice that cannot be loaded.
    """
    kind, _, value = name.partition(":")
    try:
        if kind == "piper":
            return PiperVoice(value or None, word_times=word_times)
        if kind == "kokoro":
            blend, _, language = value.partition("@")
            return KokoroVoice(blend, language or "fr")
        if kind == "espeak":
            return EspeakVoice(value or "en-us")
    except EspeakError as error:
        raise VoiceError(f"the voice {name} cannot be used: {error}") from error
    raise VoiceError(
        "a voice must be piper, piper:FOLDER, espeak:LANGUAGE or kokoro:BLEND, but is "
        f"{name!r} instead."
    )
