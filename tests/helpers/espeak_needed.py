"""The mark of tests that synthesise speech: without espeak-ng they are skipped by name."""

from __future__ import annotations

import pytest

from echostream.voices.espeak import Espeak, EspeakError


def _missing() -> str:
    try:
        Espeak()
    except EspeakError as error:
        return str(error)
    return ""


_reason = _missing()
needs_espeak = pytest.mark.skipif(bool(_reason), reason=_reason or "espeak-ng is there")
