"""The command line flags of the agents: EchoStream's own, and all of StreamSpeech's agents.

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
    "With --system-dir, SimulEval takes none of them from the command line (it ends with "
    "`unrecognized arguments`). Write them into the folder's main.yaml, one per line, as "
    "`lagging_k1: 2`, or into a copy of it in the folder, named by --system-config."
)


def add_args(parser: ArgumentParser) -> None:
    """Declares the flags, and nothing else: SimulEval calls it on several parsers in one run."""
    parser.add_argument(
        "--model-path",
        required=True,
        help="model folder: config.yaml, model.safetensors, tokenizers and feature statistics",
    )
    # Task and speech are those of the agent; transcripts are switched on by other flags.
    add_session_flags(parser, but=("task", "transcript", "speech"))
    parser.add_argument(
        "--text-output",
        choices=TEXT_OUTPUTS,
        default="auto",
        help="words, or SentencePiece pieces with their word marks; "
        "auto is the form that the installed SimulEval joins to a sentence (default: auto)",
    )
    parser.add_argument(
        "--cmvn",
        choices=CMVNS,
        default="model",
        help="whose feature statistics to normalise with: those the model was trained with, or "
        "those named by --config-yaml in --data-bin (default: model)",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="torch",
        help="back end of the network: PyTorch, or on the CPU ONNX Runtime with the graph written "
        "into the model folder by `echostream export` (default: torch)",
    )
    parser.add_argument(
        "--extra-output-dir",
        default=None,
        help="folder, created if need be; one line per utterance is appended to its asr.txt (and "
        "st.txt, when translating)",
    )
    parser.add_argument_group("Flags of the agent with --system-dir", _SYSTEM_DIR)
    _add_streamspeech_args(parser)


def parse_bool(text: str) -> bool:
    """A truth value: true, yes, on, 1, or false, no, off, 0 and the empty text, in any case.

    Raises `ArgumentTypeError` for any other text; with `type=bool` even "False" would be true.
    """
    word = text.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0", ""):
        return False
    raise ArgumentTypeError(f"must be True or False, but is {text!r} instead.")


def _absolute(path: str) -> str:
    """The absolute path, because SimulEval changes into the folder of `--system-dir`."""
    return os.path.abspath(path)


# Flag, type (None: a switch), StreamSpeech's default, and its effect here.
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
    ("--max-len", int, 200, "no effect: the length of the target is limited by the source"),
    ("--force-finish", None, False, "no effect: the target is finished when the source is"),
    ("--shift-size", int, 10, "no effect: frames are 10 ms apart"),
    ("--window-size", int, 25, "no effect: windows are 25 ms long"),
    ("--feature-dim", int, 80, "no effect: the model has its number of mel bins"),
    ("--segment-size", int, 320, "no effect: see --source-segment-size"),
    ("--stride-n2", int, 1, "no effect"),
    ("--unit-per-subword", int, 15, "no effect"),
    ("--vocoder", str, None, "CodeHiFiGAN checkpoint, for a speaking model with its units"),
    ("--vocoder-cfg", str, None, "config.json of the checkpoint"),
    ("--dur-prediction", None, False, "the durations of the units are predicted by the vocoder"),
    ("--output-asr-translation", parse_bool, False, "print both texts at each new word"),
)


def _add_streamspeech_args(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "StreamSpeech's flags",
        "Accepted because StreamSpeech's scripts pass them. A model folder is complete by itself: "
        "--data-bin, which StreamSpeech requires, is optional here.",
    )
    if "--output" not in parser._option_string_actions:
        # With --system-dir, SimulEval parses the whole command line with a parser without --output:
        # argparse would read it as an abbreviation of --output-asr-translation.
        parser.add_argument("--output", default=None, help=SUPPRESS)
    if "--eval-latency-unit" not in parser._option_string_actions:
        # Nor does that parser have these two, on which the text depends. SimulEval's defaults.
        parser.add_argument("--eval-latency-unit", default="word", help=SUPPRESS)
    if "--eval-latency-spm-model" not in parser._option_string_actions:
        parser.add_argument("--eval-latency-spm-model", type=_absolute, default=None, help=SUPPRESS)
    for flag, kind, default, effect in _STREAMSPEECH:
        if kind is None:
            group.add_argument(flag, action="store_true", default=default, help=effect)
        else:
            shown = "" if default is None else f" (default: {default})"
            group.add_argument(flag, type=kind, default=default, help=f"{effect}{shown}")
