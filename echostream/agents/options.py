"""The command line flags of the agents; `--device` and `--source-segment-size` are SimulEval's."""

from __future__ import annotations

from argparse import ArgumentParser


def add_args(parser: ArgumentParser) -> None:
    """Declares the flags. SimulEval calls it on several parsers in one run, so it does no more."""
    parser.add_argument(
        "--model-path",
        required=True,
        help="model folder: config.yaml, model.safetensors, tokenizers and feature statistics",
    )
    parser.add_argument(
        "--max-future-frames",
        type=int,
        choices=(0, 1, 2),
        default=None,
        help="look-ahead of the encoder in bottleneck frames of 160 ms each "
        "(default: the smallest that the model was trained for)",
    )
    parser.add_argument(
        "--lagging-k1",
        type=int,
        default=0,
        help="target tokens to stay behind what the translation CTC head has found (default: 0)",
    )
    parser.add_argument(
        "--lagging-k2",
        type=int,
        default=0,
        help="source tokens to hear before anything is written (default: 0)",
    )
    parser.add_argument(
        "--stride-n",
        type=int,
        default=1,
        help="tokens by which both CTC heads must grow before a WRITE, "
        "and of which a WRITE is a multiple (default: 1)",
    )
    parser.add_argument(
        "--extra-output-dir",
        default=None,
        help="folder, created if need be, to whose asr.txt (and st.txt, when translating) "
        "one line per utterance is appended",
    )
