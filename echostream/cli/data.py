"""`echostream data`: tables of corpora as they are downloaded, their check, shards, word times."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.cli.messages import print_error
from echostream.cli.shared_flags import add_normalization, add_numbers, normalization_of

if TYPE_CHECKING:
    from echostream.data.corpora.entry import Options
    from echostream.data.limits import Limits

HELP = "make tables of a corpus or of sentences; check a table, pack it, or add word times"

# What SOURCE is, by layout; texts that are normalised by default, and flags of its own.
LAYOUTS = {
    "mboshi": "folder with train/ and dev/ of the Mboshi-French corpus",
    "cvss": "folder of a language pair of CVSS-C, as cvss-c/fr-en",
    "covost2": "folder of a language of Common Voice with CoVoST's table, as covost2/fr",
    "mustc": "folder of a language pair of MuST-C, as en-de",
    "mtedx": "folder of a language pair of mTEDx, as fr-en",
    "europarl-st": "folder of Europarl-ST, with one of each language",
    "fleurs": "folder of FLEURS, with metadata/ and one of each language",
    "librispeech": "folder of LibriSpeech, with train-clean-100/ and others",
    "asterisk": "folder into which Debian's asterisk-core-sounds-* were unpacked",
    "tsv": "table, or folder of tables train.tsv, dev.tsv, ...",
}
# Mboshi: the conditions of the published results; prompts: there are no others for them.
_LOWER_WITHOUT_PUNCTUATION = {"mboshi", "asterisk"}

_SIZES = (("dev", 300), ("test", 1000))  # of the sets of sentences


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the commands."""
    actions = parser.add_subparsers(dest="action", required=True)
    prepare = actions.add_parser("prepare", help="tables and a report of a downloaded corpus")
    layouts = prepare.add_subparsers(dest="layout", required=True)
    for name, source in LAYOUTS.items():
        _add_prepare_flags(layouts.add_parser(name, help=source), name, source)
    check = actions.add_parser("check", help="name each row that cannot be used")
    check.add_argument("table", help="table of utterances")
    for side in ("source", "target"):
        check.add_argument(
            f"--{side}-spm",
            metavar="MODEL",
            help=f"SentencePiece model of the {side} text: also name rows too short for it",
        )
    check.add_argument(
        "--tail-ms", type=int, default=480, help="silence after each (default: %(default)s)"
    )
    _add_limits(check)
    _add_sentences_flags(actions.add_parser("sentences", help="tables of sentence pairs"))
    shard = actions.add_parser("shard", help="pack the recordings of a table into tar files")
    shard.add_argument("table", help="table of utterances")
    shard.add_argument("--output", required=True, help="folder for the shards and their table")
    shard.add_argument(
        "--shard-utterances", type=int, default=2000, help="in a file (default: %(default)s)"
    )
    _add_jobs(shard)
    align = actions.add_parser("align", help="add the times at which source words end")
    align.add_argument("model", help="folder of a model that transcribes this language")
    align.add_argument("table", help="table of utterances")
    align.add_argument("--output", required=True, help="table to write, in the same folder")


def _add_prepare_flags(parser: argparse.ArgumentParser, name: str, source: str) -> None:
    parser.add_argument("source", help=source)
    parser.add_argument("--output", required=True, help="folder for the tables and the report")
    parser.add_argument(
        "--audio",
        choices=("keep", "flac"),
        default="keep",
        help="flac: each utterance as a file of 16 kHz in the output folder, which later reads "
        "faster than MP3 or parts of talks (default: %(default)s)",
    )
    add_normalization(parser, drops=name in _LOWER_WITHOUT_PUNCTUATION)
    if name in ("cvss", "covost2", "mustc", "mtedx", "europarl-st", "fleurs", "asterisk"):
        parser.add_argument("--languages", nargs=2, metavar=("SOURCE", "TARGET"))
    if name in ("cvss", "covost2"):
        parser.add_argument("--covost", help="CoVoST's table (default: beside validated.tsv)")
    if name == "cvss":
        parser.add_argument("--common-voice", help="folder with clips/ and validated.tsv")
    if name == "mboshi":
        held_out = "training utterances that become the dev set"
        add_numbers(parser, int, ("--held-out", 200, held_out), ("--seed", 1, "of the dev set"))
    if name == "asterisk":
        add_numbers(parser, int, ("--min-words", 3, "words of a prompt, at least"))
    _add_limits(parser)


def _add_sentences_flags(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Cleans a list of sentence pairs and splits it so that nothing of the dev and test sets, "
        "no sentence and no translation, is in training. `echostream corpus --sentences` speaks it."
    )
    parser.add_argument("source", help="list of pairs with a tab between, or a zip with one")
    parser.add_argument("--output", required=True, help="folder for the tables and the report")
    parser.add_argument(
        "--languages",
        nargs=2,
        metavar=("SOURCE", "TARGET"),
        default=["fr", "en"],
        help="of the pairs (default: fr en)",
    )
    parser.add_argument(
        "--columns",
        nargs=2,
        type=int,
        metavar=("SOURCE", "TARGET"),
        default=[2, 1],
        help="of the texts, from 1 on (default: 2 1, as in the lists of manythings.org)",
    )
    add_numbers(
        parser,
        int,
        *((f"--{name}", size, f"sentences of the {name} set") for name, size in _SIZES),
        ("--min-words", 1, "words of a sentence, at least"),
        ("--max-words", 14, "words of a sentence, at most"),
        ("--max-characters", 90, "characters of a sentence, at most"),
        ("--seed", 1, "of the sets"),
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    _add_jobs(parser)
    for name, least, most, what in (
        ("seconds", 0.1, 30.0, "seconds of an utterance"),
        ("rate", 0.2, 40.0, "characters of text a second"),
    ):
        at_least, at_most = f"{what}, at least", f"{what}, at most"
        add_numbers(
            parser, float, (f"--min-{name}", least, at_least), (f"--max-{name}", most, at_most)
        )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, help="processes (default: one for each core)")


def run(args: argparse.Namespace) -> int:
    """Runs one of the commands; `check` ends with 1 if a row cannot be used."""
    actions = {
        "prepare": _prepare,
        "check": _check,
        "sentences": _sentences,
        "shard": _shard,
        "align": _align,
    }
    return actions[args.action](args)


def _prepare(args: argparse.Namespace) -> int:
    from echostream.data.corpora import LAYOUTS as READERS
    from echostream.data.corpus_summary import write_report
    from echostream.data.preparation import Settings, prepare_corpus
    from echostream.extras import ExtraError

    flac = args.audio == "flac"
    settings = Settings(normalization_of(args), _limits(args), flac, _jobs(args))
    output = Path(args.output)
    summary = prepare_corpus(READERS[args.layout](_options(args)), output, settings)
    title = f"{args.layout}: {args.source}"
    try:
        print(write_report(summary, output, title), end="")
    except ExtraError as error:
        print(summary.to_markdown(title), end="")
        print_error(args, f"{error} The tables are written.")
    return 0


def _options(args: argparse.Namespace) -> Options:
    from echostream.data.corpora.entry import CorpusError, Options

    given = vars(args)
    source = Path(args.source)
    if not source.exists():
        raise CorpusError(f"{source}: there is no such file or folder.")
    common_voice, covost = given.get("common_voice"), given.get("covost")
    languages = given.get("languages")
    return Options(
        source=source,
        languages=None if languages is None else (languages[0], languages[1]),
        common_voice=None if common_voice is None else Path(common_voice),
        covost=None if covost is None else Path(covost),
        held_out=given.get("held_out", 0),
        seed=given.get("seed", 1),
        min_words=given.get("min_words", 1),
    )


def _limits(args: argparse.Namespace) -> Limits:
    from echostream.data.limits import Limits

    return Limits(args.min_seconds, args.max_seconds, args.min_rate, args.max_rate)


def _check(args: argparse.Namespace) -> int:
    from collections import Counter

    from echostream.data.check import check_table
    from echostream.text.tokenizer import Tokenizer

    source, target = (
        None if path is None else Tokenizer.load(path)
        for path in (args.source_spm, args.target_spm)
    )
    jobs = _jobs(args)
    faults, num_rows = check_table(args.table, _limits(args), jobs, (source, target), args.tail_ms)
    for fault in faults:
        print(fault.message)
    for kind, count in Counter(fault.kind for fault in faults).most_common():
        print(f"{count} of {num_rows} rows: {kind}")
    if not faults:
        print(f"{args.table}: {num_rows} rows, no fault")
    return 1 if faults else 0


def _sentences(args: argparse.Namespace) -> int:
    from echostream.data.sentences.cleaning import SentenceLimits
    from echostream.data.sentences.tables import SentenceSettings, prepare_sentences

    sizes = {name: getattr(args, name) for name in ("test", "dev")}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`--{name}` must be at least 1, but is {size} instead.")
    if min(args.columns) < 1:
        raise ValueError(f"`--columns` must be numbers from 1 on, but are {args.columns} instead.")
    settings = SentenceSettings(
        languages=(args.languages[0], args.languages[1]),
        columns=(args.columns[0], args.columns[1]),
        limits=SentenceLimits(args.min_words, args.max_words, args.max_characters),
        seed=args.seed,
    )
    print(prepare_sentences(Path(args.source), Path(args.output), sizes, settings), end="")
    return 0


def _shard(args: argparse.Namespace) -> int:
    from echostream.data.shards import write_shards

    jobs = _jobs(args)
    written = write_shards(Path(args.table), Path(args.output), args.shard_utterances, jobs)
    for fault in written.faults:
        print_error(args, f"left out: {fault}")
    print(f"{written.table}: {written.num_rows} rows in {written.num_shards} shards")
    return 0


def _align(args: argparse.Namespace) -> int:
    from echostream.model_folder import load_model
    from echostream.training.align_table import align_table

    output = Path(args.output)
    num_rows, num_found = align_table(load_model(args.model), Path(args.table), output)
    print(f"{output}: {num_found} of {num_rows} rows have word times")
    return 0


def _jobs(args: argparse.Namespace) -> int:
    jobs = args.jobs if args.jobs is not None else os.cpu_count() or 1
    if jobs < 1:
        raise ValueError(f"`--jobs` must be at least 1, but is {jobs} instead.")
    return jobs
