"""`echostream translate`: recordings to words with the time at which they come out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from echostream.cli.complaint import complain

if TYPE_CHECKING:
    from echostream.translator import Output, StreamingTranslator

HELP = "translate recordings, segment by segment"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares what the command understands."""
    parser.add_argument("model", help="model folder")
    parser.add_argument("audio", nargs="+", help="recordings, in any format that soundfile reads")
    parser.add_argument(
        "--task", choices=("st", "asr"), default="st", help="translate or transcribe"
    )
    parser.add_argument(
        "--max-future-frames", type=int, help="look-ahead L (default: the smallest)"
    )
    parser.add_argument(
        "--writer",
        choices=("ctc", "decoder"),
        default="ctc",
        help="what says which words are written: the translation CTC head or the text decoder",
    )
    parser.add_argument("--segment-ms", type=int, default=320, help="audio heard at a time")
    parser.add_argument(
        "--backend",
        choices=("torch", "onnx", "onnx-int8"),
        default="torch",
        help="what computes the network; onnx needs `echostream export` first",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or gpu")


def run(args: argparse.Namespace) -> int:
    """Translates each file; 1 if one of them could not be."""
    from echostream.frontend.audio import AudioError
    from echostream.translator import StreamingTranslator

    if args.segment_ms < 1:
        raise ValueError(f"`--segment-ms` must be at least 1, but is {args.segment_ms} instead.")
    session = StreamingTranslator.load(
        args.model,
        args.device,
        args.backend,
        max_future_frames=args.max_future_frames,
        task=args.task,
        writer=args.writer,
    )
    failed = 0
    for path in args.audio:
        try:
            _translate_file(session, path, args.segment_ms)
        except AudioError as error:  # names the file
            complain(args, str(error))
            failed += 1
        except ValueError as error:
            complain(args, f"{path}: {error}")
            failed += 1
    return 1 if failed else 0


def _translate_file(session: StreamingTranslator, path: str, segment_ms: int) -> None:
    from echostream.frontend.audio import read_audio

    samples, sample_rate = read_audio(path)
    print(path)
    session.reset()
    size = max(1, segment_ms * sample_rate // 1000)
    for start in range(0, len(samples), size):
        _show(session.push(samples[start : start + size], sample_rate))
    _show(session.finish())


def _show(outputs: Sequence[Output]) -> None:
    for output in outputs:
        print(f"{output.delay_ms / 1000:7.2f} s  {output.text}", flush=True)
