"""The command line: `echostream translate | train | corpus`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from echostream.data.synthetic import Split
    from echostream.translator import Output, StreamingTranslator

# Each command imports what it needs when it runs: `echostream --help` should not load torch.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 if all went well, 1 if something did not, 2 if it was asked wrongly."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        _complain(args, str(error))
        return 2
    except KeyboardInterrupt:
        _complain(args, "stopped")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="echostream", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    translate = commands.add_parser("translate", help="translate recordings, segment by segment")
    translate.add_argument("model", help="model folder")
    translate.add_argument(
        "audio", nargs="+", help="recordings, in any format that soundfile reads"
    )
    translate.add_argument(
        "--task", choices=("st", "asr"), default="st", help="translate or transcribe"
    )
    translate.add_argument(
        "--max-future-frames", type=int, help="look-ahead L (default: the smallest)"
    )
    translate.add_argument("--segment-ms", type=int, default=320, help="audio heard at a time")
    translate.add_argument("--device", default="cpu", help="cpu, cuda or gpu")
    translate.set_defaults(run=_translate)

    train = commands.add_parser("train", help="train a model, or go on with a run that was stopped")
    train.add_argument("config", help="YAML file, as in configs/train/")
    train.add_argument("--output", help="folder of the run, instead of the one in the file")
    train.set_defaults(run=_train)

    corpus = commands.add_parser("corpus", help="write the demo corpus as TSV and FLAC")
    corpus.add_argument("output", help="folder to write")
    corpus.add_argument("--grammar", help="grammar file (default: French to English)")
    corpus.add_argument("--seed", type=int, default=1)
    corpus.add_argument(
        "--counts",
        nargs="+",
        metavar="SPLIT=N",
        default=["train=1000", "dev=100", "test-seen=200", "test-unseen=200"],
        help="utterances of each split (default: %(default)s)",
    )
    corpus.set_defaults(run=_corpus)
    return parser


def _translate(args: argparse.Namespace) -> int:
    from echostream.frontend.audio import AudioError
    from echostream.translator import StreamingTranslator

    if args.segment_ms < 1:
        raise ValueError(f"`--segment-ms` must be at least 1, but is {args.segment_ms} instead.")
    session = StreamingTranslator.load(
        args.model, args.device, max_future_frames=args.max_future_frames, task=args.task
    )
    failed = 0
    for path in args.audio:
        try:
            _translate_file(session, path, args.segment_ms)
        except AudioError as error:  # names the file
            _complain(args, str(error))
            failed += 1
        except ValueError as error:
            _complain(args, f"{path}: {error}")
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


def _train(args: argparse.Namespace) -> int:
    import dataclasses

    from echostream.config import load_config
    from echostream.data.espeak import EspeakError
    from echostream.training.config import TrainConfig
    from echostream.training.loop import train

    config = load_config(TrainConfig, args.config)
    if args.output:
        config = dataclasses.replace(config, output=args.output)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(train(config))
    except KeyboardInterrupt:
        _complain(
            args,
            f"stopped. What was trained up to the last checkpoint is in {config.output}; "
            "the same command goes on from there.",
        )
        return 130
    except FloatingPointError as error:
        _complain(args, str(error))
        return 1
    except EspeakError as error:
        _complain(args, str(error))
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """What Ctrl-C does; for a SIGTERM, which would end the process without a word."""
    raise KeyboardInterrupt


def _corpus(args: argparse.Namespace) -> int:
    from echostream.data.corpus import write_corpus
    from echostream.data.espeak import EspeakError
    from echostream.data.grammar import Grammar

    counts = {}
    for item in args.counts:
        split, _, number = item.partition("=")
        if not number.isdecimal():
            raise ValueError(
                f"`--counts` must be items like train=1000, but one is {item!r} instead."
            )
        counts[split] = int(number)
    try:
        report = write_corpus(
            args.output,
            cast("Mapping[Split, int]", counts),  # write_corpus refuses a name that is no split
            grammar=Grammar.load(args.grammar),
            seed=args.seed,
        )
    except EspeakError as error:
        _complain(args, str(error))
        return 2
    print(report.to_markdown(), end="")
    return 0


def _complain(args: argparse.Namespace, message: str) -> None:
    print(f"echostream {args.command}: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
