"""Whisper (Radford et al. 2022, arXiv 2212.04356) as a judge, run by CTranslate2.

A recording of up to `SHORT_SECONDS` is put into a window of `SHORT_WINDOW` seconds, which is
several times faster than the 30 s that Whisper was trained with; one that makes it repeat itself is
transcribed again in 30 s. Longer recordings are cut where they are quietest. The search is greedy.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.extras import ExtraError, extra
from echostream.files import sha256_of
from echostream.frontend.audio import AudioError, read_audio
from echostream.frontend.resample import resample
from echostream.scoring.judge.log_mel import HOP, SAMPLE_RATE, log_mel
from echostream.scoring.judge.transcript import JudgeError, Transcript, Word, is_loop

SHORT_SECONDS, SHORT_WINDOW = 9.0, 10.0
WINDOW = 30.0
FILES = ("model.bin", "config.json")
METHOD = "int8 greedy 10s/30s"  # what transcripts depend on, besides the model and the language

_FRAMES_PER_SECOND = SAMPLE_RATE // HOP
_TIMES_PER_SECOND = 50  # of the alignment
_END = "<|endoftext|>"
_START = "<|startoftranscript|>"
_NO_TIMES = "<|notimestamps|>"
# Fast speech has five tokens a second.
_MOST_TOKENS, _TOKENS_AT_LEAST, _TOKENS_PER_SECOND = 224, 24, 10
_LONGEST_PIECE, _SEARCHED = 29.0, 9.0  # s: a piece ends in its last 9 s
_QUIET = 0.1  # s, over which loudness is measured


class WhisperJudge:
    """A Whisper model of CTranslate2, a folder with model.bin, config.json and its vocabulary."""

    def __init__(self, folder: Path, language: str = "en", word_times: bool = False) -> None:
        """Raises JudgeError if CTranslate2, the folder or the language is missing."""
        try:
            with extra("judge", "whisper:"):
                ctranslate2: Any = importlib.import_module("ctranslate2")
        except ExtraError as error:
            raise JudgeError(str(error)) from error
        for name in FILES:
            if not (folder / name).is_file():
                raise JudgeError(f"whisper:{folder}: must be a folder with {name}, but has none.")
        self._ctranslate2 = ctranslate2
        try:
            self._model: Any = ctranslate2.models.Whisper(str(folder), compute_type="int8")
        except (RuntimeError, ValueError) as error:
            raise JudgeError(f"whisper:{folder}: cannot be loaded: {error}") from error
        self._ids = {token: number for number, token in enumerate(_vocabulary(folder))}
        spoken = (f"<|{language}|>", "<|transcribe|>") if self._model.is_multilingual else ()
        self._prompt = (_START, *spoken)
        if unknown := [token for token in (*self._prompt, _NO_TIMES) if token not in self._ids]:
            raise JudgeError(
                f"whisper:{folder}: the language must be one of the model, such as en or fr, "
                f"but is {language} instead ({unknown[0]} is not in its vocabulary)."
            )
        if not spoken and language != "en":
            raise JudgeError(f"whisper:{folder}: knows English alone, not {language}.")
        self.has_word_times = word_times
        self.name = f"whisper {sha256_of(folder / 'model.bin')[:16]} {language} {METHOD}"

    def transcribe(self, paths: Sequence[Path]) -> Iterator[Transcript]:
        """The transcripts of recordings of any rate and length, one by one."""
        for path in paths:
            try:
                samples, rate = read_audio(path)
            except AudioError as error:
                raise JudgeError(str(error)) from error
            mono = samples if samples.ndim == 1 else samples.mean(axis=1)
            yield self._whole(np.asarray(resample(mono, rate), np.float32))

    def _whole(self, samples: NDArray[np.float32]) -> Transcript:
        texts: list[str] = []
        words: list[Word] = []
        looped = False
        for begin, end in pieces(samples):
            piece = self._piece(samples[begin:end])
            texts.append(piece.text)
            offset = begin / SAMPLE_RATE
            words += [Word(w.text, w.start + offset, w.end + offset) for w in piece.words or ()]
            looped = looped or piece.looped
        text = " ".join(filter(None, texts))
        return Transcript(text, tuple(words) if self.has_word_times else None, looped)

    def _piece(self, samples: NDArray[np.float32]) -> Transcript:
        if len(samples) > SHORT_SECONDS * SAMPLE_RATE:
            return self._window(samples, WINDOW)
        short = self._window(samples, SHORT_WINDOW)
        return self._window(samples, WINDOW) if short.looped else short

    def _window(self, samples: NDArray[np.float32], seconds: float) -> Transcript:
        num_frames = round(seconds * _FRAMES_PER_SECOND)
        features = log_mel(samples, num_frames, self._model.n_mels)[None]  # (1, M, T)
        encoded = self._model.encode(self._ctranslate2.StorageView.from_array(features))
        duration = len(samples) / SAMPLE_RATE
        limit = min(_MOST_TOKENS, round(_TOKENS_AT_LEAST + _TOKENS_PER_SECOND * duration))
        prompt = [*self._prompt, _NO_TIMES]
        result = self._model.generate(
            encoded, [prompt], beam_size=1, max_length=len(prompt) + limit
        )[0]
        # Text has the ids below that of the end; those above are marks.
        found = [
            (number, token)
            for number, token in zip(result.sequences_ids[0], result.sequences[0], strict=True)
            if number < self._ids[_END]
        ]
        text = text_of_tokens([token for _, token in found]).strip()
        looped = len(found) >= limit or is_loop(text)
        if not self.has_word_times:
            return Transcript(text, None, looped)
        return Transcript(text, self._words(encoded, found, len(samples)), looped)

    def _words(
        self, encoded: Any, found: Sequence[tuple[int, str]], num_samples: int
    ) -> tuple[Word, ...]:
        """The words of the tokens, from the alignment of these with the encoder's frames."""
        if not found:
            return ()
        alignment = self._model.align(
            encoded,
            [self._ids[token] for token in self._prompt],
            [[number for number, _ in found]],
            [max(2, num_samples // HOP)],
        )[0].alignments
        begins: dict[int, int] = {}  # the first frame of each token, and of the end of the text
        for token, frame in alignment:
            begins.setdefault(token, frame)
        times = [begins[place] / _TIMES_PER_SECOND for place in range(len(found) + 1)]
        return words_of_tokens([token for _, token in found], times)


def pieces(samples: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The begin and end of pieces of at most `_LONGEST_PIECE` s, cut where it is quietest."""
    longest, searched = round(_LONGEST_PIECE * SAMPLE_RATE), round(_SEARCHED * SAMPLE_RATE)
    width = round(_QUIET * SAMPLE_RATE)
    cuts = [0]
    while len(samples) - cuts[-1] > longest:
        begin = cuts[-1] + longest - searched
        power = samples[begin : begin + searched].astype(np.float64) ** 2
        sums = np.concatenate([[0.0], np.cumsum(power)])
        quietest = int(np.argmin(sums[width:] - sums[:-width]))
        cuts.append(begin + quietest + width // 2)
    return list(zip(cuts, [*cuts[1:], len(samples)], strict=True))


def text_of_tokens(tokens: Sequence[str]) -> str:
    """The text of tokens that write each byte as a printable character (byte-level BPE)."""
    data = bytes(_BYTE_OF[character] for token in tokens for character in token)
    return data.decode("utf-8", "replace")


def words_of_tokens(tokens: Sequence[str], times: Sequence[float]) -> tuple[Word, ...]:
    """Words, each with the time of its first token and that of the end of its last letters.

    A word begins with a space; punctuation behind it is part of its text and not of its time.
    `times` has the begin of each token and, last, the end of all.
    """
    groups: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token.startswith(_SPACE) or not groups:
            groups.append([])
        groups[-1].append(place)
    words = []
    for group in groups:
        text = text_of_tokens([tokens[place] for place in group]).strip()
        spoken = [place for place in group if _is_spoken(text_of_tokens([tokens[place]]))]
        if text and spoken:
            words.append(Word(text, times[spoken[0]], times[spoken[-1] + 1]))
        elif text and words:
            words[-1] = words[-1]._replace(text=f"{words[-1].text} {text}")
    return tuple(words)


def _is_spoken(text: str) -> bool:
    """It has a letter, a digit or a part of a character, which is a letter in most languages."""
    return any(character.isalnum() or character == _PART for character in text)


def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: bytes that print are themselves, the others follow from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_PART = "\N{REPLACEMENT CHARACTER}"
_BYTE_OF = _byte_of_character()
_SPACE = next(character for character, byte in _BYTE_OF.items() if byte == ord(" "))


def _vocabulary(folder: Path) -> list[str]:
    """The tokens in the order of their ids. Raises JudgeError if the file is missing or no list."""
    listed, lines = folder / "vocabulary.json", folder / "vocabulary.txt"
    try:
        if listed.is_file():
            tokens: Any = json.loads(listed.read_text(encoding="utf-8"))
        else:
            tokens = lines.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise JudgeError(f"whisper:{folder}: its vocabulary cannot be read: {error}") from error
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise JudgeError(f"whisper:{folder}: vocabulary.json must be a list of texts.")
    return tokens
