"""The effect of recording level and of sounds without speech.

    echostream robustness           # the demo model on the example recordings
    echostream robustness --model-path MODEL --source LIST --target LIST --gains 0 -20

The first table is BLEU with a gain in dB on every recording, as a 16-bit file holds it, with
clipping. The second is the output for the sounds of `echostream.evaluation.sounds`, 10 s each,
which should be empty. Rows are printed as they are measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from echostream.evaluation.arguments import print_error, whole_from
from echostream.evaluation.long_form import (
    Inputs,
    input_parser,
    open_session,
    read_inputs,
    translate,
)
from echostream.evaluation.sounds import sounds
from echostream.evaluation.test_set import InputError
from echostream.scoring.metrics.quality import quality
from echostream.scoring.texts import composed
from echostream.session.translator import StreamingTranslator

_GAINS = [0, -10, -20, -30, -40, 12]  # dB
Sessions = dict[str, StreamingTranslator]  # by the name of the column


def at_level(samples: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """A recording (S,) with a gain, rounded and clipped to 16 bits."""
    scaled = np.round(samples * (2**15 * 10 ** (gain_db / 20)))
    return (np.clip(scaled, -(2**15), 2**15 - 1) / 2**15).astype(np.float32)


def level_rows(
    sessions: Sessions, inputs: Inputs, gains: Sequence[int], tokenizer: str
) -> Iterator[list[str]]:
    """For each level a row with BLEU of each session."""
    references = list(map(composed, inputs.references))
    for gain in gains:
        row = [f"{gain:+d} dB"]
        for session in sessions.values():
            found = [translate(session, at_level(samples, gain)) for samples in inputs.recordings]
            row.append(f"{quality(list(map(composed, found)), references, tokenizer).BLEU:.1f}")
        yield row


def sound_rows(sessions: Sessions, seconds: int) -> Iterator[list[str]]:
    """For each sound a row with the output of each session."""
    for name, samples in sounds(seconds).items():
        yield [name, *(translate(session, samples) or "-" for session in sessions.values())]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both tables in Markdown; 2 for bad arguments or inputs."""
    args = _parser().parse_args(argv)
    try:
        inputs = read_inputs(args)
        sessions = {
            f"{method}, L={look_ahead}": open_session(inputs.model, method, look_ahead)
            for look_ahead in args.max_future_frames
            for method in inputs.methods
        }
    except (InputError, OSError, ValueError) as error:
        print_error("robustness", error)
        return 2
    rows = level_rows(sessions, inputs, args.gains, args.sacrebleu_tokenizer)
    _print_table("level", sessions, rows)
    print()
    _print_table("sound", sessions, sound_rows(sessions, args.seconds))
    return 0


def _print_table(first: str, sessions: Sessions, rows: Iterator[list[str]]) -> None:
    for row in ([first, *sessions], ["---"] * (1 + len(sessions))):
        print(f"| {' | '.join(row)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def _gain(text: str) -> int:
    gain = int(text)
    if not -96 <= gain <= 48:
        raise argparse.ArgumentTypeError(f"must be from -96 to 48 dB, but is {gain} instead.")
    return gain


def _parser() -> argparse.ArgumentParser:
    parser = input_parser("robustness", __doc__)
    add = parser.add_argument
    add("--gains", type=_gain, nargs="+", metavar="DB", default=_GAINS, help="of a recording")
    add("--seconds", type=whole_from(1), default=10, help="length of a sound")
    look_aheads = "look-aheads L"
    add("--max-future-frames", type=whole_from(0), nargs="+", default=[0], help=look_aheads)
    return parser
