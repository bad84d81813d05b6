"""The speech of the points of a sweep, judged; what has been judged before is not judged again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from echostream.evaluation.point import Point, Setup
from echostream.evaluation.runner import Failure
from echostream.scoring.judge.report import warnings_of_judge
from echostream.scoring.judge.speech import Judging, SpeechScores, judge_speech
from echostream.scoring.judge.transcript import JudgeError
from echostream.scoring.log import INSTANCES_LOG


def judge_points(
    setup: Setup, points: Sequence[Point], judging: Judging, report: Callable[[str], None]
) -> tuple[dict[Point, SpeechScores], list[Failure]]:
    """The scores of finished points by a judge, and the failures.

    Transcripts are kept in the folder of each point, by the sound of its recordings. Points whose
    recordings sound the same share them: with another segment size, only the silence between the
    writes is another. report: called with a line about each point.
    """
    judged: dict[Point, SpeechScores] = {}
    failures: list[Failure] = []
    for point in points:
        folder = setup.folder(point)
        try:
            speech = judge_speech(folder / INSTANCES_LOG, setup.read(point), judging, None)
        except (JudgeError, OSError) as error:
            failures.append(Failure(point.name, f"its speech was not judged: {error}", folder))
            report(f"{point.name}: its speech was not judged: {error}")
        else:
            judged[point] = speech
            report(f"{point.name}: judged, {speech.num_transcribed} recordings transcribed")
    return judged, failures


def findings(judged: Mapping[Point, SpeechScores]) -> list[str]:
    """What limits the scores of the judge, with the names of points unless it holds for all."""
    users: dict[str, list[str]] = {}
    for point, speech in judged.items():
        for line in warnings_of_judge(speech):
            users.setdefault(line, []).append(point.name)
    return [
        line if len(names) == len(judged) else f"{', '.join(names)}: {line}"
        for line, names in users.items()
    ]
