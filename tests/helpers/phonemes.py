"""The pronunciation of texts by espeak-ng, as phonemes."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence

from echostream.data.synthetic import espeak_server

_UTF8, _IPA = 1, 2


def phonemes(texts: Sequence[str]) -> list[str]:
    """The phonemes of each French text in IPA, with liaisons; the library has a process to itself.

    Raises `subprocess.CalledProcessError` without espeak-ng.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(texts),
        text=True,
        capture_output=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def _main() -> None:
    library = espeak_server._Library()
    library._set_voice("fr-fr")
    to_phonemes = library._c.espeak_TextToPhonemes
    to_phonemes.restype = ctypes.c_char_p
    found = []
    for text in json.load(sys.stdin):
        pointer, clauses = ctypes.c_char_p(text.encode()), []
        while pointer.value is not None:
            # Clause by clause: the library moves the pointer, and sets it to NULL at the end.
            clause = to_phonemes(ctypes.byref(pointer), _UTF8, _IPA)
            clauses.append((clause or b"").decode().strip())
        found.append(" ".join(filter(None, clauses)))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    _main()
