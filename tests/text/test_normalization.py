"""Normalisation of texts: what is dropped, what is kept, and that it is recorded as it was."""

from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.config import ConfigError
from echostream.text.normalization import CHOICES, TextNormalization, load_normalization

EVERY = [TextNormalization(*values) for values in product(*CHOICES.values())]


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "  L\u2019eau,  «oui» ! ", "L\u2019eau, «oui» !"),
        ({"case": "lower"}, "ÉTÉ İ", "été i\u0307"),
        ({"punctuation": "drop"}, "Dit-il : « l'eau », 3.5 % - vrai ?", "Dit-il l'eau 3 5 vrai"),
        ({"punctuation": "drop"}, "'tis dogs' a_'b' rock-'n'-roll", "tis dogs a b rock n roll"),
        ({"punctuation": "drop"}, "¿Qué? 北京\uff0c你好。", "Qué 北京 你好"),
        ({"apostrophes": "straight"}, "l\u2019eau l\u02bceau l'eau", "l'eau l'eau l'eau"),
        ({"apostrophes": "drop"}, "l\u2019eau l'eau", "leau leau"),
        ({"punctuation": "drop", "apostrophes": "drop"}, "l\u2019eau, l'air", "leau lair"),
    ],
)
def test_a_text_is_normalised_as_the_choices_say(
    options: dict[str, str], text: str, expected: str
) -> None:
    assert TextNormalization(**options)(text) == expected


@pytest.mark.parametrize("normalize", EVERY)
@given(text=st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_normalised_text_is_composed_and_does_not_change_again(
    normalize: TextNormalization, text: str
) -> None:
    once = normalize(text)
    assert unicodedata.is_normalized("NFC", once) and once == " ".join(once.split())
    assert normalize(once) == once


@pytest.mark.parametrize("normalize", EVERY)
def test_a_folder_gives_back_what_was_recorded(
    normalize: TextNormalization, tmp_path: Path
) -> None:
    assert load_normalization(tmp_path) is None
    normalize.save(tmp_path)
    assert load_normalization(tmp_path) == normalize


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_there_is_not_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.yaml").write_text(f"{name}: shout\n")
    with pytest.raises(ConfigError, match=f"`{name}` must be one of .*, but is 'shout' instead"):
        load_normalization(tmp_path)
