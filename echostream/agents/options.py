"""The command line flags of the agents: EchoStream's own, and all that StreamSpeech's agents have.

`--device`, `--source-segment-size` and the like are SimulEval's.
"""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Callable

from echostream.session_config import add_session_flags

TEXT_OUTPUTS = ("auto", "word", "spm")
CMVNS = ("model", "data-bin")
BACKENDS = ("torch", "onnx", "onnx-int8")

_SYSTEM_DIR = (
    "SimulEval takes none of them from the command line then (it ends with `unrecognized "
    "arguments`). Write them into the folder's main.yaml, one a line, as `lagging_k1: 2`, or into "
    "a copy of it in the folder whose name goes to --system-config."
)


def add_args(parser: ArgumentParser) -> None:
    """Declares the flags. SimulEval calls it on several parsers in one run, so it does no more."""
    parser.add_argument(
        "--model-path",
        required=True,
        help="model folder: config.yaml, model.safetensors, tokenizers and feature statistics",
    )
    # What an agent has by what it is: its task, and transcripts where a flag asks for them.
    add_session_flags(parser, but=("task", "transcript"))
    parser.add_argument(
        "--text-output",
        choices=TEXT_OUTPUTS,
        default="auto",
        help="words, or SentencePiece pieces with their word marks; "
        "auto is what the SimulEval that runs joins to a sentence (default: auto)",
    )
    parser.add_argument(
        "--cmvn",
        choices=CMVNS,
        default="model",
        help="whose feature statistics to normalise with: those the model was trained with, or "
        "those that --config-yaml names in --data-bin (default: model)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="torch",
        help="what computes the network: PyTorch, or on the CPU ONNX Runtime with the graph that "
        "`echostream export` has written into the model folder (default: torch)",
    )
    parser.add_argument(
        "--extra-output-dir",
        default=None,
        help="folder, created if need be, to whose asr.txt (and st.txt, when translating) "
        "one line per utterance is appended",
    )
    parser.add_argument_group("Flags of the agent with --system-dir", _SYSTEM_DIR)
    _add_streamspeech_args(parser)


def parse_bool(text: str) -> bool:
    """A truth value: true, yes, on, 1, or false, no, off, 0 and nothing, in any case.

    Raises `ArgumentTypeError` for any other text; `type=bool` would take even "False" for true.
    """
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0", ""):
        return False
    raise ArgumentTypeError(f"must be True or False, but is {text!r} instead.")


def _absolute(path: str) -> str:
    """A path that still holds when SimulEval has gone into the folder of `--system-dir`."""
    return os.path.abspath(path)


# Flag, type (None: a switch), StreamSpeech's default, and what it does here.
_STREAMSPEECH: tuple[tuple[str, Callable[[str], object] | None, object, str], ...] = (
    ("--data-bin", str, None, "folder with the YAML, feature statistics and vocabularies"),
    ("--config-yaml", str, None, "YAML in --data-bin that names the statistics of --cmvn data-bin"),
    ("--sample-rate", int, 48_000, "rate of audio that comes without a rate"),
    ("--multitask-config-yaml", str, None, "no effect: the model has its tasks"),
    ("--global-stats", str, None, "no effect: see --cmvn"),
    ("--tgt-splitter-type", str, "SentencePiece", "no effect: the model has its tokenizers"),
    ("--tgt-splitter-path", str, None, "no effect: the model has its tokenizers"),
    ("--user-dir", str, "researches/ctc_unity", "no effect, but SimulEval 1.1.4 imports it"),
    ("--agent-dir", str, "agent", "no effect"),
    ("--max-len", int, 200, "no effect: the source says how long the target may be"),
    ("--force-finish", None, False, "no effect: the target is finished when the source is"),
    ("--shift-size", int, 10, "no effect: frames are 10 ms apart"),
    ("--window-size", int, 25, "no effect: windows are 25 ms long"),
    ("--feature-dim", int, 80, "no effect: the model says how many mel bins"),
    ("--segment-size", int, 320, "no effect: see --source-segment-size"),
    ("--stride-n2", int, 1, "no effect"),
    ("--unit-per-subword", int, 15, "no effect"),
    ("--vocoder", str, None, "no effect on text output"),
    ("--vocoder-cfg", str, None, "no effect on text output"),
    ("--dur-prediction", None, False, "no effect on text output"),
    ("--output-asr-translation", parse_bool, False, "print both texts whenever a word is new"),
)


def _add_streamspeech_args(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "StreamSpeech's flags",
        "Its scripts pass them, so all are understood. A model folder is complete by itself; "
        "StreamSpeech needs --data-bin, here it may be left out.",
    )
    if "--output" not in parser._option_string_actions:
        # With --system-dir, SimulEval lets a parser without its --output read the whole command
        # line: argparse would take that for short for --output-asr-translation.
        parser.add_argument("--output", default=None, help=SUPPRESS)
    if "--eval-latency-unit" not in parser._option_string_actions:
        # Nor has that parser these two, which the text must fit. The defaults are SimulEval's.
        parser.add_argument("--eval-latency-unit", default="word", help=SUPPRESS)
    if "--eval-latency-spm-model" not in parser._option_string_actions:
        parser.add_argument("--eval-latency-spm-model", type=_absolute, default=None, help=SUPPRESS)
    for flag, kind, default, effect in _STREAMSPEECH:
        if kind is None:
            group.add_argument(flag, action="store_true", default=default, help=effect)
        else:
            group.add_argument(flag, type=kind, default=default, help=effect)
