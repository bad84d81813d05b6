"""The command line: `echostream translate | score | doctor | train | corpus`."""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from echostream.data.synthetic import Split
    from echostream.scoring.run_folder import Options
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
    translate.add_argument(
        "--writer",
        choices=("ctc", "decoder"),
        default="ctc",
        help="what says which words are written: the translation CTC head or the text decoder",
    )
    translate.add_argument("--segment-ms", type=int, default=320, help="audio heard at a time")
    translate.add_argument("--device", default="cpu", help="cpu, cuda or gpu")
    translate.set_defaults(run=_translate)

    score = commands.add_parser(
        "score",
        help="score runs of SimulEval from their instances.log",
        description="Prints a table of quality and latency and writes echostream_scores.json and "
        ".tsv into each run folder. Ends with 1 when a run, or a line of one, could not be scored.",
    )
    score.add_argument("runs", nargs="+", metavar="RUN_DIR", help="folder with an instances.log")
    score.add_argument("--output", metavar="DIR", help="folder for the table of all runs as well")
    score.add_argument(
        "--task", choices=("st", "asr"), default="st", help="asr: also the word error rate"
    )
    score.add_argument(
        "--target-spm",
        metavar="MODEL",
        help="SentencePiece model of the output, for logs that count pieces and do not hold them",
    )
    score.set_defaults(run=_score)

    doctor = commands.add_parser(
        "doctor",
        help="say which SimulEval is installed and which of its columns can be trusted",
        description="Runs the SimulEval of this Python on small cases and looks at what it does. "
        "Ends with 0 when all of it can be trusted or EchoStream works around it, with 1 when "
        "something is missing, broken or not what a command on the PATH would run.",
    )
    doctor.set_defaults(run=_doctor)

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
        args.model,
        args.device,
        max_future_frames=args.max_future_frames,
        task=args.task,
        writer=args.writer,
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


def _score(args: argparse.Namespace) -> int:
    from echostream.files import write_whole
    from echostream.scoring.instances import ScoringError
    from echostream.scoring.report import markdown
    from echostream.scoring.run_folder import RunScores, find_log, score_run
    from echostream.scoring.score_files import STEM, to_tsv, write_scores

    options = _scoring_options(args)
    scored: dict[str, RunScores] = {}
    is_whole = True
    for run in args.runs:
        try:
            scored[run] = score_run(find_log(Path(run)), options)
            is_whole = is_whole and not scored[run].log.left_out
            write_scores(scored[run])
        except ScoringError as error:  # names the file
            _complain(args, str(error))
            is_whole = False
        except OSError as error:
            _complain(args, f"{run}: its scores cannot be written: {error}")
            is_whole = False
    if not scored:
        return 1
    page = markdown(scored, has_yaal=options.omnisteval is not None)
    print(page, end="")
    if args.output is not None:
        folder = Path(args.output)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{STEM}.md", page)
        write_whole(folder / f"{STEM}.tsv", to_tsv(scored))
    return 0 if is_whole else 1


def _scoring_options(args: argparse.Namespace) -> Options:
    from echostream.scoring.run_folder import Options
    from echostream.scoring.words import load_pieces
    from echostream.scoring.yaal import find_omnisteval

    processor = None if args.target_spm is None else load_pieces(Path(args.target_spm))
    try:
        omnisteval = find_omnisteval()
    except ImportError as error:
        _complain(args, f"no YAAL: OmniSTEval is installed, but cannot be imported: {error}")
        omnisteval = None
    return Options(args.task, processor, omnisteval)


def _doctor(args: argparse.Namespace) -> int:
    # SimulEval is imported by the agents alone, which stand above the command line. What comes
    # first on the path must be what comes first for `simuleval`: not the working directory, and
    # EchoStream's own place last.
    root = str(Path(__file__).resolve().parent.parent)
    script = (
        "import sys\n"
        f"sys.path[:] = [*filter(None, sys.path), {root!r}]\n"
        "from echostream.agents.doctor import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="")
    if not done.stdout:
        _complain(
            args,
            f"SimulEval, or EchoStream's agents, cannot be run by {sys.executable}; "
            "the last line above says why. `pip install simuleval==1.1.4` installs SimulEval.",
        )
        return 1
    return done.returncode


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
