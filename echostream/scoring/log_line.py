"""The fields of a line of instances.log, checked one by one.

All functions raise ValueError naming the key, what is allowed and what was found. The limits are
far above any real run; they keep a damaged or hostile line from taking hours or all memory.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping
from typing import Any

from echostream.scoring.texts import MOST_MARKS, has_too_many_marks

MOST_BYTES = 1 << 24  # of a line
MOST_CHARACTERS = 200_000  # of a text: four hours of speech
MOST_MS = 1e9  # of a time: eleven days
MOST_SPEECH_MS = 1e8  # of all speech of an utterance: a day
LEAST_MS = 1e-3  # of a source: less than one sample at any rate
_SHOWN = 40  # characters of a wrong value in a message


class BrokenLine(ValueError):
    """A line that is not JSON in UTF-8, for example because it was cut off."""


def parse_line(line: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises ValueError when it holds none, BrokenLine if no JSON.

    The byte order mark that an editor puts before the first line is no part of it.
    """
    if len(line) > MOST_BYTES:
        raise ValueError(f"it must have at most {MOST_BYTES} bytes, but has more")
    try:
        logged: Any = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BrokenLine(f"it is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise BrokenLine(f"it is not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError:
        raise ValueError("it is not JSON of SimulEval: it is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"it is not JSON of SimulEval: {error}") from error
    if not isinstance(logged, dict):
        raise ValueError(f"it is not a JSON object, but {_show(logged)}")
    return logged


def text_of_field(logged: Mapping[str, Any], key: str) -> str:
    """A text, which may be empty."""
    return _text(_get(logged, key), f"`{key}`", "a text")


def optional_text(logged: Mapping[str, Any], key: str) -> str | None:
    """A text, or None if it is null or missing."""
    value = logged.get(key)
    return None if value is None else _text(value, f"`{key}`", "a text or null")


def texts_of_field(logged: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts."""
    values = _list(_get(logged, key), key, "texts")
    return tuple(
        _text(value, f"`{key}`", "a list of texts", position)
        for position, value in enumerate(values, 1)
    )


def times_of_field(
    logged: Mapping[str, Any], key: str, least: float = 0, optional: bool = False
) -> tuple[float, ...]:
    """A list of times in ms; with `optional`, an empty one if it is null or missing."""
    if optional and logged.get(key) is None:
        return ()
    allowed = f"numbers of ms from {least:g} to {MOST_MS:g}"
    values = _list(_get(logged, key), key, allowed)
    for position, value in enumerate(values, start=1):
        if not _is_number(value) or not least <= value <= MOST_MS:
            raise ValueError(
                f"`{key}` must be a list of {allowed}, but entry {position} is {_show(value)}"
            )
    return tuple(map(float, values))


def length_of_source(logged: Mapping[str, Any]) -> float:
    """`source_length` in ms."""
    value = _get(logged, "source_length")
    if not _is_number(value) or not LEAST_MS <= value <= MOST_MS:
        raise ValueError(
            f"`source_length` must be positive, in ms and up to {MOST_MS:g}, but is {_show(value)}"
        )
    return float(value)


def index_of(logged: Mapping[str, Any]) -> int:
    """`index`, the position of the utterance in the list."""
    value = _get(logged, "index")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_MS:
        raise ValueError(
            f"`index` must be a whole number from 0 to {MOST_MS:g}, but is {_show(value)}"
        )
    return value


def check_unused(logged: Mapping[str, Any]) -> None:
    """Checks the types of fields that are not used: a wrong type means a damaged line."""
    length = logged.get("prediction_length")
    if length is not None and not (_is_number(length) and 0 <= length <= MOST_MS):
        raise ValueError(f"`prediction_length` must be a number from 0, but is {_show(length)}")
    for key in ("metric", "metrics"):
        if not isinstance(logged.get(key), dict | None):
            raise ValueError(f"`{key}` must be an object, but is {_show(logged[key])}")


def _get(logged: Mapping[str, Any], key: str) -> Any:
    if key not in logged:
        raise ValueError(f"it has no '{key}'")
    return logged[key]


def _list(value: Any, key: str, of: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"`{key}` must be a list of {of}, but is {_show(value)}")
    return value


def _text(value: Any, name: str, allowed: str, position: int | None = None) -> str:
    where = "" if position is None else f"entry {position} "
    if not isinstance(value, str):
        raise ValueError(f"{name} must be {allowed}, but {where}is {_show(value)}")
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"{name} must have at most {MOST_CHARACTERS} characters, but has more")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be {allowed}, but holds half a character, {value[error.start]!a}"
        ) from error
    if has_too_many_marks(value):
        raise ValueError(f"{name} must be {allowed}, but has over {MOST_MARKS} marks on one letter")
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _show(value: Any) -> str:
    """A value as JSON, shortened if it is long."""
    try:
        shown = json.dumps(value)
    except RecursionError:
        shown = "nested too deeply"
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
