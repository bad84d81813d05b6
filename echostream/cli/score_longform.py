"""`echostream score --longform`: unsegmented recordings, scored by segments of the reference."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.cli.messages import print_error

if TYPE_CHECKING:
    from echostream.scoring.long_form import LongFormScores

STEM = "echostream_longform"
_NEEDED = ("audio_yaml", "reference")
_ONLY = (*_NEEDED, "lang", "simulstream_config")
_OF_SEGMENTS = ("target_spm", "text", "asr_judge", "asr_word_latency")  # not with --longform


def add_longform_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of unsegmented recordings."""
    group = parser.add_argument_group(
        "unsegmented recordings (extra yaal)",
        "RUN_DIR may also be the metrics log of simulstream. LongYAAL, LongLAAL (StreamLAAL with "
        "this resegmentation), BLEU and chrF are OmniSTEval's.",
    )
    group.add_argument(
        "--longform", action="store_true", help="align the words to segments of the reference"
    )
    group.add_argument(
        "--audio-yaml",
        type=Path,
        metavar="FILE",
        help="YAML or JSON with `wav`, `offset` and `duration` (in seconds) of each segment",
    )
    group.add_argument(
        "--reference", type=Path, metavar="FILE", help="its text, a line for each segment"
    )
    group.add_argument(
        "--lang", metavar="CODE", help="use the Moses tokenizer of this language in the alignment"
    )
    group.add_argument(
        "--simulstream-config",
        type=Path,
        metavar="FILE",
        help="evaluation config of simulstream (default: its tokens are words)",
    )


def check_longform_flags(args: argparse.Namespace) -> None:
    """Raises ValueError for flags that do not go together."""
    for name in _ONLY:
        if not args.longform and getattr(args, name) is not None:
            raise ValueError(f"`--{name.replace('_', '-')}` needs `--longform`.")
    if not args.longform:
        return
    for name in _NEEDED:
        if getattr(args, name) is None:
            raise ValueError(f"`--longform` needs `--{name.replace('_', '-')}`.")
    for name in _OF_SEGMENTS:
        if getattr(args, name):
            raise ValueError(f"`--{name.replace('_', '-')}` does not go with `--longform`.")
    if args.task != "st" or args.eval_latency_unit == "spm":
        raise ValueError("`--longform` goes with `--task st` and a latency unit word or char only.")


def run_longform(args: argparse.Namespace) -> int:
    """Scores each run; 1 if one of them could not be."""
    from echostream.files import write_whole
    from echostream.scoring.log import ScoringError
    from echostream.scoring.long_form import Segments, score_long_form
    from echostream.scoring.metrics.quality import make_bleu
    from echostream.scoring.score import find_log
    from echostream.scoring.tables import json_text

    unit = args.eval_latency_unit or "word"
    tokenizer = args.sacrebleu_tokenizer or ("13a" if unit == "word" else "char")
    make_bleu(tokenizer)  # raises ValueError for one that sacrebleu does not have
    segments = Segments(
        *(args.audio_yaml, args.reference, unit, tokenizer, args.lang, args.simulstream_config)
    )
    found: dict[str, LongFormScores] = {}
    for name in args.runs:
        try:
            path = Path(name)
            log = find_log(path)
            scores, content = score_long_form(log, segments)
            found[name] = scores
            stem = log.parent / (STEM if path.is_dir() else f"{log.stem}_longform")
            about = dataclasses.asdict(scores) | {
                "audio_yaml": str(args.audio_yaml),
                "reference": str(args.reference),
                "latency_unit": unit,
                "sacrebleu_tokenizer": tokenizer,
            }
            write_whole(stem.with_suffix(".json"), json_text(about))
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in content)
            write_whole(stem.with_suffix(".segments.jsonl"), "".join(lines))
        except ScoringError as error:
            print_error(args, str(error))
        except OSError as error:
            print_error(args, f"{name}: its scores cannot be written: {error}")
    if found:
        print(table(found))
    if args.output is not None and found:
        folder = Path(args.output)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{STEM}.md", table(found) + "\n")
        write_whole(folder / f"{STEM}.tsv", to_tsv(found))
    return 0 if len(found) == len(args.runs) else 1


def table(found: dict[str, LongFormScores]) -> str:
    """The scores of runs as Markdown; latencies in ms."""
    from echostream.scoring.long_form import COLUMNS
    from echostream.scoring.tables import markdown_table

    rows = [["run", *COLUMNS.values()]]
    for name, scores in found.items():
        rows.append([name, *(_cell(column, getattr(scores, column)) for column in COLUMNS)])
    return markdown_table(rows, num_names=1)


def to_tsv(found: dict[str, LongFormScores]) -> str:
    """The scores of runs as a table that a spreadsheet reads."""
    from echostream.scoring.long_form import COLUMNS
    from echostream.scoring.tables import tsv_text

    rows = [
        {"run": name, **{title: getattr(scores, column) for column, title in COLUMNS.items()}}
        for name, scores in found.items()
    ]
    return tsv_text(["run", *COLUMNS.values()], rows, decimals=4)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    decimals = {"normalized_erasure": 3, "compute_rtf": 4}
    return f"{value:.{decimals.get(column, 0 if column.startswith('long') else 2)}f}"
