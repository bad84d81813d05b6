"""`echostream corpus`: writes the demo corpus, or speech of sentence pairs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from echostream.cli.messages import print_error
from echostream.cli.shared_flags import NORMALIZATION_DEFAULTS, add_normalization, normalization_of

if TYPE_CHECKING:
    from echostream.data.synthetic.speech import Split

HELP = "write the demo corpus, or speech of sentence pairs, as TSV and FLAC"
_COUNTS = ["train=1000", "dev=100", "test-seen=200", "test-unseen=200"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("output", help="folder to write")
    parser.add_argument("--grammar", help="grammar file (default: French to English)")
    for flag, metavar, what in (
        ("--sentences", "FOLDER", "speak these sentence pairs, of `echostream data sentences`"),
        ("--voices", "FILE", "with --sentences: YAML file of voices, lists train and unseen"),
    ):
        parser.add_argument(flag, metavar=metavar, help=what)
    add_normalization(parser)
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the sentences (default: %(default)s)"
    )
    parser.add_argument(
        "--counts",
        nargs="+",
        metavar="SPLIT=N",
        default=_COUNTS,
        help=f"utterances of each split (default: {' '.join(_COUNTS)})",
    )
    parser.add_argument(
        "--target-voice",
        metavar="VOICE",
        help="also speak the translations: piper, piper:FOLDER, espeak:LANGUAGE "
        "or kokoro:BLEND@LANGUAGE",
    )
    parser.add_argument(
        "--hypotheses",
        metavar="MODEL",
        help="model folder; with --target-voice, every second text that is spoken is what this "
        "model writes for the recording, errors included",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the corpus and prints its statistics."""
    from echostream.data.synthetic.corpus import write_corpus
    from echostream.data.synthetic.grammar import Grammar
    from echostream.model_folder import load_model
    from echostream.voices.espeak import EspeakError

    counts: dict[str, int] = {}
    for item in args.counts:
        split, _, number = item.partition("=")
        if not number.isdecimal():
            raise ValueError(
                f"`--counts` must be items like train=1000, but one is {item!r} instead."
            )
        if len(number) > 12:
            raise ValueError(f"`--counts`: {number[:20]}... utterances are too many.")
        if split in counts:
            raise ValueError(f"`--counts` must name each split once, but names {split!r} twice.")
        counts[split] = int(number)
    if args.hypotheses and not args.target_voice:
        raise ValueError("`--hypotheses` needs `--target-voice`.")
    if args.jobs < 1:
        raise ValueError(f"`--jobs` must be at least 1, but is {args.jobs} instead.")
    if args.sentences:
        return _speak_sentences(args, cast("Mapping[Split, int]", counts))
    for flag, default in (("voices", None), *NORMALIZATION_DEFAULTS.items()):
        if getattr(args, flag) != default:
            raise ValueError(f"`--{flag}` needs `--sentences`.")
    try:
        report = write_corpus(
            args.output,
            cast("Mapping[Split, int]", counts),  # write_corpus refuses other names
            grammar=Grammar.load(args.grammar),
            seed=args.seed,
            target_voice=args.target_voice,
            hypotheses=load_model(args.hypotheses) if args.hypotheses else None,
            jobs=args.jobs,
        )
    except EspeakError as error:
        print_error(args, str(error))
        return 2
    print(report.to_markdown(), end="")
    return 0


def _speak_sentences(args: argparse.Namespace, counts: Mapping[Split, int]) -> int:
    from echostream.config import load_config
    from echostream.data.synthetic.sentence_corpus import SentenceCorpus, write_sentence_corpus
    from echostream.data.synthetic.voice_list import VoiceList
    from echostream.voices.espeak import EspeakError

    for flag in ("grammar", "target_voice"):
        if getattr(args, flag):
            raise ValueError(f"`--{flag.replace('_', '-')}` cannot be given with `--sentences`.")
    voices = load_config(VoiceList, args.voices) if args.voices else VoiceList()
    corpus = SentenceCorpus(Path(args.sentences), voices, normalization_of(args), args.seed)
    try:
        report = write_sentence_corpus(Path(args.output), counts, corpus, args.jobs)
    except EspeakError as error:
        print_error(args, str(error))
        return 2
    print(report.to_markdown(), end="")
    return 0
