"""Whether the installed SimulEval can score speech by a recogniser: ASR_BLEU, WHISPER_ASR_BLEU.

Where its library is missing, SimulEval takes every transcript for empty, writes BLEU 0 into
scores.tsv and ends as if nothing had happened. That is tried here. Where the library is there,
nothing is run, because SimulEval would download a model.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util

from echostream.doctor.probe import SpeechProbe, evaluate
from echostream.extras import how_to_install

ASR_BLEU, WHISPER = "ASR_BLEU", "WHISPER_ASR_BLEU"
_ANY_LATENCY = "StartOffset"
_JUDGE = "ctranslate2"


def recognizer_lines() -> list[str]:
    """A sentence for each of the two metrics, and one about the judges to use instead."""
    lines = [
        _line(ASR_BLEU, "fairseq", importlib.util.find_spec("fairseq") is not None),
        _line(WHISPER, "openai-whisper", _has_whisper()),
    ]
    has_judge = importlib.util.find_spec(_JUDGE) is not None
    how = "" if has_judge else f", which is not installed ({how_to_install('judge')})"
    return [
        *lines,
        "`echostream score RUN_DIR --asr-judge JUDGE` scores the speech of the same run. Judges: "
        f"whisper:FOLDER, run by {_JUDGE}{how}; command:CMD, any other recogniser.",
    ]


def _line(metric: str, library: str, is_installed: bool) -> str:
    if is_installed:
        return (
            f"{metric} can be asked for: {library} is installed. It downloads its model at the "
            "first run, and compares references as they are, with case and punctuation."
        )
    needs = f"it needs {library}, which is not installed"
    outcome = evaluate(SpeechProbe, [_ANY_LATENCY], False, ("--quality-metrics", metric))
    if outcome.error is not None:
        return f"{metric} cannot be had: {needs}. Scoring stops with {outcome.error}."
    if metric not in outcome.scores:
        return f"{metric} cannot be had: {needs}. It is not in scores.tsv."
    return (
        f"{metric} cannot be had: {needs}. WRONG: SimulEval writes {outcome.scores[metric]:.1f} "
        "for any speech, with a line in its log as the only sign."
    )


def _has_whisper() -> bool:
    """OpenAI's package; other packages have a module of the same name."""
    try:
        importlib.metadata.distribution("openai-whisper")
    except importlib.metadata.PackageNotFoundError:
        return False
    return importlib.util.find_spec("whisper") is not None
