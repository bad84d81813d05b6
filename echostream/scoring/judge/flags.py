"""The flags of a judge, for the commands that score speech."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echostream.scoring.judge.speech import Judging

# They have no meaning without `--asr-judge`.
NEED_A_JUDGE = ("asr_judge_reference", "asr_normalizer", "asr_word_latency")


def add_judge_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declares the flags in a group of their own, which is returned for further ones."""
    speech = parser.add_argument_group("runs of speech")
    speech.add_argument(
        "--asr-judge",
        metavar="JUDGE",
        help="what transcribes the speech: whisper:FOLDER, a Whisper model of CTranslate2 (extra "
        "`judge`), or command:CMD, which reads a path a line and prints a transcript a line. "
        "Transcripts are kept in asr_transcripts.jsonl beside the log",
    )
    speech.add_argument(
        "--asr-judge-language",
        default="en",
        metavar="CODE",
        help="of the speech (default: %(default)s)",
    )
    speech.add_argument(
        "--asr-judge-reference",
        metavar="PATH",
        help="recordings of the reference speech, from which the judge's own errors are known: a "
        "folder of 0.wav, 1.wav ... by utterance, or a list of paths and texts with tabs between",
    )
    speech.add_argument(
        "--asr-normalizer",
        metavar="NAME",
        help="of transcripts and references: english-1 (lower case, digits and short forms in "
        "words), plain-1 (lower case, no punctuation), none (default: english-1 for en, else "
        "plain-1)",
    )
    return speech


def read_judge_flags(
    args: argparse.Namespace, tokenizer: str | None, versions: tuple[str, ...] | None = None
) -> Judging | None:
    """How speech is judged; None without `--asr-judge`.

    `tokenizer` is that of sacrebleu, `versions` are the recordings that are transcribed; None for
    the default of each. Raises ValueError for flags that cannot be used, JudgeError for the judge.
    """
    from echostream.scoring.judge.make import make_judge
    from echostream.scoring.judge.normalizer import NORMALIZERS, default_normalizer
    from echostream.scoring.judge.silence import VERSIONS
    from echostream.scoring.judge.speech import Judging
    from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER

    word_latency = getattr(args, "asr_word_latency", False)  # not of all commands
    reference = None if args.asr_judge_reference is None else Path(args.asr_judge_reference)
    if args.asr_judge is None:
        for flag in NEED_A_JUDGE:
            if getattr(args, flag, None):
                raise ValueError(f"--{flag.replace('_', '-')} needs --asr-judge.")
        return None
    normalizer = args.asr_normalizer or default_normalizer(args.asr_judge_language)
    if normalizer not in NORMALIZERS:
        raise ValueError(
            f"--asr-normalizer must be one of {', '.join(NORMALIZERS)}, "
            f"but is {normalizer} instead."
        )
    if reference is not None and not reference.exists():
        raise ValueError(
            f"--asr-judge-reference must be a folder or a list, but {reference} does not exist."
        )
    return Judging(
        make_judge(args.asr_judge, args.asr_judge_language, word_latency),
        normalizer,
        word_latency,
        reference,
        tokenizer or DEFAULT_TOKENIZER,
        versions or VERSIONS,
    )
