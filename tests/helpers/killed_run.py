"""A training that dies in the middle, as if it was killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from echostream.training.log import RunLog


class Killed(BaseException):
    """What a kill is to the code: nothing that it could catch and mend."""


def kill_after(step: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The run dies when it has done `step` steps in all; returns what undoes that."""
    advance = RunLog.advance
    done = 0

    def advance_and_die(self: RunLog, loss: float, audio_rate: float) -> None:
        nonlocal done
        advance(self, loss, audio_rate)
        done += 1
        if done == step:
            raise Killed

    monkeypatch.setattr(RunLog, "advance", advance_and_die)
    return lambda: monkeypatch.setattr(RunLog, "advance", advance)
