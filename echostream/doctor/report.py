"""`echostream doctor`: what is installed, and which columns of SimulEval can be trusted.

The command line runs it in a new process, whose `sys.path` is that of the command `simuleval`.

Exit status: 0 if every column of a text run can be trusted or EchoStream works around it; 1 if one
is unavailable, if EchoStream's text does not arrive as words, or if the `simuleval` on the PATH is
not the one that was checked; and if a model that is given cannot be loaded. Faults in columns of
speech are listed and do not count: EchoStream's agent mends the worst, and `echostream score`
computes the columns from the log.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import simuleval
import torch

from echostream._version import __version__
from echostream.doctor.build import joins_pieces
from echostream.doctor.columns import (
    QUALITY,
    STOPS,
    Column,
    character_faults,
    log_faults,
    speech_columns,
    text_columns,
)
from echostream.doctor.model import describe_model
from echostream.doctor.probe import remote_error
from echostream.doctor.recognizers import recognizer_lines
from echostream.doctor.speech_scoring import patched_speech_scoring
from echostream.extras import how_to_install
from echostream.voices.espeak import Espeak, EspeakError

# Distribution, module, its extra, what it is for.
OPTIONAL = (
    ("OmniSTEval", "omnisteval", "yaal", "YAAL in `echostream score`"),
    ("ctranslate2", "ctranslate2", "judge", "`echostream score --asr-judge whisper:FOLDER`"),
    ("scikit-learn", "sklearn", "units", "`echostream units learn`"),
    ("simulstream", "simulstream", "simulstream", "EchoStream in simulstream"),
    ("matplotlib", "matplotlib", "eval", "the pictures of `echostream curve`"),
    ("tensorboard", "tensorboard", "train", "`echostream train`"),
)
RTF = (
    "RTF is the end of the output over the length of the source, not the computing time; "
    "that ratio is the compute RTF of `echostream score`."
)
SCORE = "`echostream score RUN_DIR` computes latency with and without compute from instances.log"


def main(argv: Sequence[str] = ()) -> int:
    """Prints the report and returns the exit status of the module docstring.

    `argv` may be the folder of a model, which is then described as well.
    """
    text, speech = text_columns(), speech_columns()
    with patched_speech_scoring():
        own_speech = speech_columns()
    where, is_own = simuleval_on_path()
    lost = [column for column in text if not _is_available(column)]
    is_usable, models = True, []
    for path in argv:
        is_usable, about = describe_model(Path(path))
        models.append((f"Model {path}", about))
    sections = (
        ("Installed", _installed()),
        ("Columns of text runs", [*_verdicts(text), _joiner()]),
        ("Text runs with --eval-latency-unit char", _by_character()),
        (
            "Columns of speech runs",
            [
                *_verdicts(speech),
                *(_verdicts(own_speech, "with agents/s2st.py, ") if own_speech != speech else []),
                *recognizer_lines(),
            ],
        ),
        ("Other checks", [*_log(), RTF, where, _remote()]),
        *models,
        ("Summary", _summary(text, speech, lost, is_own)),
    )
    print(
        "\n\n".join(
            f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines)
            for title, lines in sections
        )
    )
    return 1 if lost or not is_own or not is_usable else 0


def _is_available(column: Column) -> bool:
    """The value is right here, or `echostream score` computes it from the log."""
    if column.fault is None:
        return True
    return column.name != QUALITY and not column.fault.startswith(STOPS)


def _summary(
    text: Sequence[Column], speech: Sequence[Column], lost: Sequence[Column], is_own: bool
) -> list[str]:
    lines = []
    if lost:
        names = ", ".join(dict.fromkeys(column.name for column in lost))
        lines.append(f"text runs: this SimulEval cannot be used; not available: {names}.")
    elif any(column.fault for column in text):
        lines.append(f"text runs: all but the columns named can be trusted; {SCORE}.")
    else:
        lines.append("text runs: all columns can be trusted.")
    if any(column.fault and column.fault.startswith(STOPS) for column in speech):
        lines.append(
            "speech runs: with another agent than agents/s2st.py, do not request a metric that "
            "stops the scoring. Where it has stopped, instances.log is complete, and `echostream "
            "score RUN_DIR` reads it."
        )
    if not is_own:
        lines.append("another SimulEval comes first on the PATH: these results do not apply to it.")
    return lines


def _verdicts(columns: Sequence[Column], whose: str = "") -> list[str]:
    """A line for each fault and one for columns without, for runs with and without the flag."""
    lines = []
    for flag in (False, True):
        run = f"{whose}{'with' if flag else 'without'} --computation-aware"
        by_fault: dict[str | None, list[str]] = {None: []}
        for column in columns:
            if column.computation_aware is flag:
                by_fault.setdefault(column.fault, []).append(column.name)
        right = by_fault.pop(None)
        if right:
            lines.append(f"{run}, right: {', '.join(right)}.")
        for fault, names in by_fault.items():
            verdict = "MISSING" if str(fault).startswith(STOPS) else "WRONG"
            lines.append(f"{run}, {verdict}: {', '.join(names)}: {fault}.")
    return lines


def _log() -> list[str]:
    faults = log_faults()
    if not faults:
        return ["instances.log holds all times, for text and speech."]
    return [f"instances.log: {fault}." for fault in faults]


def _by_character() -> list[str]:
    faults = character_faults()
    return [f"WRONG: {fault}." for fault in faults] or ["BLEU and latency can be trusted."]


def _joiner() -> str:
    if joins_pieces("word"):
        return (
            'text is joined without spaces, and "▁" becomes one: plain words run together, and an '
            "agent that writes pieces has its latency counted per piece, against words of the "
            "reference. EchoStream's agents write marked words here (`--text-output auto`)."
        )
    return (
        "text is joined with spaces: SentencePiece pieces stay apart. "
        "EchoStream's agents write plain words here (`--text-output auto`)."
    )


def _remote() -> str:
    error = remote_error()
    if error is None:
        return "the client of a remote evaluation (`simuleval --remote-eval`) starts."
    return f"the client of a remote evaluation does not work ({error}): use `echostream remote`."


def simuleval_on_path() -> tuple[str, bool]:
    """A sentence about the `simuleval` a shell would run; True if it is this Python's or none."""
    found = shutil.which("simuleval")
    own = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    if found is None:
        return f"there is no `simuleval` on the PATH; this Python's is in {own[0]}.", True
    if Path(found).resolve().parent in [folder.resolve() for folder in own]:
        return f"`simuleval` on the PATH is this Python's, {found}.", True
    return f"`simuleval` on the PATH is {found}, of another Python than {sys.executable}.", False


def _installed() -> list[str]:
    lines = [
        f"EchoStream {__version__} in {Path(__file__).resolve().parents[1]}",
        f"Python {platform.python_version()}, {sys.executable}",
        f"PyTorch {torch.__version__}, {_device()}",
        *_simuleval(),
    ]
    for distribution, module, extra, purpose in OPTIONAL:
        if importlib.util.find_spec(module) is None:
            how = how_to_install(extra)
            lines.append(f"{distribution}, for {purpose}, is not installed: {how}")
        else:
            lines.append(f"{distribution} {_version(distribution)}")
    try:
        Espeak()
        lines.append("espeak-ng works")
    except EspeakError as error:
        lines.append(f"no espeak-ng, for synthetic speech: {error}")
    return lines


def _device() -> str:
    if torch.cuda.is_available():
        return f"CUDA on {torch.cuda.get_device_name(0)}"
    return "CPU only"


def _simuleval() -> list[str]:
    folder = Path(simuleval.__file__).resolve().parent
    lines = [f"SimulEval imported from {folder}"]
    try:
        distribution = importlib.metadata.distribution("simuleval")
    except importlib.metadata.PackageNotFoundError:
        return [*lines, "SimulEval is not installed as a package: its version is unknown"]
    installed = Path(str(distribution.locate_file("simuleval"))).resolve()
    if installed == folder:
        return [f"SimulEval {distribution.version} in {folder}"]
    if installed.is_dir():
        lines.append(
            f"the installed SimulEval {distribution.version} in {installed} is not used: "
            "PYTHONPATH comes first"
        )
    return lines


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"
