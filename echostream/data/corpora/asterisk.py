"""Prompts of the telephone exchange Asterisk, as Debian ships them: real speech."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from echostream.data.corpora.entry import CorpusError, Entry, LeftOut, Options
from echostream.data.sentences.cleaning import SentenceLimits, clean_sentence, unsuitable
from echostream.data.table_text import TableError

_DIGITS = {
    "en": "zero one two three four five six seven eight nine",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
}
_ANY_LENGTH = SentenceLimits(1, 10**6, 10**6)


def read_asterisk(options: Options) -> Iterator[Entry | LeftOut]:
    """The prompts that have a recording and both texts, all of them as the split test.

    The folder holds what `dpkg -x` unpacks: `core-sounds-LANGUAGE.txt.gz` with lines `name: text`,
    and `sounds/LANGUAGE_*/NAME.wav`. Digits are written as words. Texts with numbers, signs or
    remarks in brackets are left out, because it is not known how they are spoken.
    """
    source, target = options.languages or ("fr", "en")
    texts = {language: _texts(options.source, language) for language in (source, target)}
    folders = sorted(
        path
        for path in options.source.rglob("sounds/*")
        if path.is_dir() and path.name.partition("_")[0] == source
    )
    if not folders:
        raise CorpusError(
            f"{options.source} must hold a folder such as sounds/{source}_CA_f_June, but holds "
            f"none for {source}: `dpkg -x asterisk-core-sounds-{source}-wav_*.deb FOLDER`."
        )
    for folder in folders:
        for audio in sorted(folder.rglob("*.wav")):
            name = audio.relative_to(folder).with_suffix("").as_posix()
            if missing := [each for each in (source, target) if name not in texts[each]]:
                yield LeftOut("test", f"no text in {missing[0]}", name)
                continue
            pair = [_spoken(texts[each][name], each) for each in (source, target)]
            if reasons := [reason for text in pair if (reason := unsuitable(text, _ANY_LENGTH))]:
                yield LeftOut("test", reasons[0], name)
            elif len(pair[0].split()) < options.min_words:
                yield LeftOut("test", f"fewer than {options.min_words} words", name)
            else:
                speaker = folder.name
                yield Entry("test", name, audio, pair[0], pair[1], None, speaker, source)


def _texts(folder: Path, language: str) -> dict[str, str]:
    """The texts of a language by the name of the prompt; of two, the first."""
    name = f"core-sounds-{language}.txt"
    found = sorted([*folder.rglob(f"{name}.gz"), *folder.rglob(name)])
    if not found:
        raise CorpusError(
            f"{folder} must hold {name}.gz, but does not: `dpkg -x asterisk-core-sounds-{language}"
            "_*.deb FOLDER`."
        )
    data = found[0].read_bytes()
    try:
        lines = (gzip.decompress(data) if found[0].suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, ValueError) as error:
        raise TableError(f"{found[0]} cannot be read as text in UTF-8: {error}") from error
    texts: dict[str, str] = {}
    for line in lines.split("\n"):
        prompt, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            texts.setdefault(prompt.strip(), text.strip())
    return texts


def _spoken(text: str, language: str) -> str:
    """A text in plain typography with single digits as words, without dots before it."""
    words = _DIGITS.get(language, "").split()
    text = text.lstrip(".\u2026 ")
    if words:
        text = re.sub(r"(?<![\d.,])\d(?![\d]|[.,]\d)", lambda found: words[int(found[0])], text)
    return clean_sentence(text, language)
