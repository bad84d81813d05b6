"""What recording level and sounds without speech do to a model.

    python eval/robustness.py           # the demo model on the example recordings
    python eval/robustness.py --model-path MODEL --source LIST --target LIST --gains 0 -20

The first table is BLEU when every recording is made louder or quieter by so many decibels, as 16
bits hold it: what is too loud is clipped. The second is what the model writes when it is given the
sounds of `eval/sounds.py`, 10 s each, of which it should write nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sacrebleu
from numpy.typing import NDArray

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from echostream.model_folder import BACKENDS, load_model
from echostream.translator import StreamingTranslator
from eval.arguments import writer_and_lagging
from eval.inputs import InputError, read_test_set
from eval.long_form import load, open_session, translate
from eval.sounds import sounds


def at_level(samples: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """A recording (S,) as a 16-bit file has it that was recorded `gain_db` louder."""
    scaled = np.round(samples * (2**15 * 10 ** (gain_db / 20)))
    return (np.clip(scaled, -(2**15), 2**15 - 1) / 2**15).astype(np.float32)


def level_table(
    sessions: dict[str, StreamingTranslator],
    recordings: Sequence[NDArray[np.float32]],
    references: Sequence[str],
    gains: Sequence[float],
) -> str:
    """BLEU of each session at each gain, as a Markdown table."""
    lines = ["| level | " + " | ".join(sessions) + " |", "|---:|" + "---:|" * len(sessions)]
    for gain in gains:
        cells = []
        for session in sessions.values():
            found = [translate(session, at_level(samples, gain)) for samples in recordings]
            cells.append(f"{sacrebleu.corpus_bleu(found, [list(references)]).score:.1f}")
        lines.append(f"| {gain:+g} dB | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sound_table(sessions: dict[str, StreamingTranslator], seconds: float) -> str:
    """What each session writes of each sound, as a Markdown table."""
    lines = ["| sound | " + " | ".join(sessions) + " |", "|---|" + "---|" * len(sessions)]
    for name, samples in sounds(seconds).items():
        found = [translate(session, samples) for session in sessions.values()]
        lines.append(f"| {name} | " + " | ".join(text or "-" for text in found) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints both tables; 2 for bad arguments or inputs."""
    args = _parser().parse_args(argv)
    try:
        test_set = read_test_set(args.source, args.target)
        model = load_model(args.model_path, backend=args.backend)
        writers = args.writers or (["ctc"] if model.network.decoder is None else ["ctc", "decoder"])
        recordings = [load(path) for path in test_set.recordings]
        sessions = {
            f"{writer}, L={look_ahead}": open_session(model, writer, look_ahead)
            for look_ahead in args.max_future_frames
            for writer in writers
        }
    except (InputError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(level_table(sessions, recordings, test_set.references, args.gains))
    print()
    print(sound_table(sessions, args.seconds))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robustness.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--model-path", type=Path, default=Path("models/fr-en-demo"))
    add("--source", type=Path, default=Path("examples/fr-en/wav_list.txt"))
    add("--target", type=Path, default=Path("examples/fr-en/target.txt"))
    add("--gains", type=float, nargs="+", metavar="DB", default=[0, -10, -20, -30, -40, 12])
    add("--seconds", type=float, default=10.0, help="length of a sound")
    add("--writers", type=writer_and_lagging, nargs="+", metavar="NAME[:K]")
    add("--max-future-frames", type=int, nargs="+", default=[0])
    add("--backend", choices=BACKENDS, default="torch")
    return parser


if __name__ == "__main__":
    sys.exit(main())
