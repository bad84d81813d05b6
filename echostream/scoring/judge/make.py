"""A judge from its name on the command line."""

from __future__ import annotations

from pathlib import Path

from echostream.scoring.judge.command import CommandJudge
from echostream.scoring.judge.transcript import Judge, JudgeError

FORMS = "whisper:FOLDER or command:CMD"


def make_judge(name: str, language: str = "en", word_times: bool = False) -> Judge:
    """The judge `whisper:FOLDER` or `command:CMD`.

    Raises JudgeError for another name, for one that cannot be used, and if it has no word times
    where these are asked for.
    """
    kind, colon, rest = name.partition(":")
    if kind == "whisper" and colon:
        # Here, because it imports the front end, which scores of text do not need.
        from echostream.scoring.judge.whisper import WhisperJudge

        if not rest:
            raise JudgeError("whisper: must be followed by a folder, but is empty.")
        return WhisperJudge(Path(rest), language, word_times)
    if kind == "command" and colon:
        if word_times:
            raise JudgeError(
                "command: gives no times of words; the latency of words needs whisper."
            )
        return CommandJudge(rest)
    raise JudgeError(f"a judge must be {FORMS}, but is {name!r} instead.")
