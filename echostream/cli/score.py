"""`echostream score`: quality and latency of SimulEval runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.cli.messages import print_error
from echostream.cli.score_longform import add_longform_flags, check_longform_flags, run_longform
from echostream.scoring.judge.flags import add_judge_flags, read_judge_flags

if TYPE_CHECKING:
    from echostream.scoring.score import Options

HELP = "score SimulEval runs from their instances.log"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.description = (
        "Prints a table of quality and latency and writes echostream_scores.json and "
        ".tsv into each run folder. Ends with 1 if a run, or a line of one, could not be scored."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help="folder with an instances.log")
    parser.add_argument("--output", metavar="DIR", help="folder for the table of all runs, too")
    parser.add_argument(
        "--task",
        choices=("st", "asr"),
        default="st",
        help="asr: also the word error rate (default: %(default)s)",
    )
    parser.add_argument(
        "--target-spm",
        metavar="MODEL",
        help="SentencePiece model of the output, for logs that count pieces but do not hold them",
    )
    parser.add_argument(
        "--sacrebleu-tokenizer",
        metavar="NAME",
        help="as in SimulEval: 13a, char, zh, ja-mecab, intl, none ... "
        "(default: 13a, or char where latency is counted in characters)",
    )
    parser.add_argument(
        "--text",
        metavar="FOLDER",
        help="normalise predictions and references by text.yaml in this folder, that of a model or "
        "of prepared data",
    )
    parser.add_argument(
        "--eval-latency-unit",
        choices=("word", "char", "spm"),
        help="as in SimulEval: the unit of latency (default: the unit of the log)",
    )
    add_judge_flags(parser).add_argument(
        "--asr-word-latency",
        action="store_true",
        help="also the latency of the spoken words, from the judge's word times",
    )
    add_longform_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Scores each run; 1 if one of them, or a line of one, could not be."""
    from echostream.files import write_whole
    from echostream.scoring.log import ScoringError
    from echostream.scoring.report import markdown
    from echostream.scoring.score import RunScores, find_log, judge_run, score_run
    from echostream.scoring.score_files import STEM, printable, to_tsv, write_scores

    check_longform_flags(args)
    if args.longform:
        return run_longform(args)
    options = _scoring_options(args)
    judging = read_judge_flags(args, args.sacrebleu_tokenizer)
    scored: dict[str, RunScores] = {}
    is_whole = True
    for name in args.runs:
        try:
            run = score_run(find_log(Path(name)), options)
            scored[printable(name)] = run  # whatever the judge does
            is_whole = is_whole and not run.log.skipped
            write_scores(run)
            if judging is not None:
                run = judge_run(run, judging, options.omnisteval)
                scored[printable(name)] = run
                write_scores(run)
        except ScoringError as error:  # names the file
            print_error(args, str(error))
            is_whole = False
        except OSError as error:
            print_error(args, f"{name}: its scores cannot be written: {error}")
            is_whole = False
        except (ValueError, ArithmeticError, RecursionError, MemoryError) as error:
            # Not expected for any log; caught so that the other runs are scored.
            print_error(args, f"{name}: cannot be scored: {type(error).__name__}: {error}")
            is_whole = False
    if not scored:
        return 1
    page = markdown(scored, has_yaal=options.omnisteval is not None)
    encoding = sys.stdout.encoding or "utf-8"  # which may not encode every name
    print(page.encode(encoding, "backslashreplace").decode(encoding), end="")
    if args.output is not None:
        folder = Path(args.output)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{STEM}.md", page)
        write_whole(folder / f"{STEM}.tsv", to_tsv(scored))
    return 0 if is_whole else 1


def _scoring_options(args: argparse.Namespace) -> Options:
    from echostream.scoring.metrics.quality import make_bleu
    from echostream.scoring.metrics.yaal import find_omnisteval
    from echostream.scoring.score import Options
    from echostream.scoring.words import load_pieces
    from echostream.text.normalization import FILE, load_normalization

    text = None
    if args.text is not None and (text := load_normalization(Path(args.text))) is None:
        raise ValueError(f"`--text` must be a folder with {FILE}, but {args.text} has none.")

    processor = None if args.target_spm is None else load_pieces(Path(args.target_spm))
    try:
        omnisteval = find_omnisteval()
    except ImportError as error:
        print_error(args, f"no YAAL: OmniSTEval is installed, but cannot be imported: {error}")
        omnisteval = None
    if args.sacrebleu_tokenizer is not None:
        try:
            make_bleu(args.sacrebleu_tokenizer)
        except ValueError as error:
            raise ValueError(f"--sacrebleu-tokenizer: {error}") from error
    unit, tokenizer = args.eval_latency_unit, args.sacrebleu_tokenizer
    return Options(args.task, processor, omnisteval, unit, tokenizer, text)
