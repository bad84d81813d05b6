"""A page that shows why each word of a run came when it did.

    echostream timeline out/demo/L0_seg320_n1 -o out/timeline.html
    echostream timeline out/demo/L0_seg320_n1 out/demo/L1_seg320_n1 -o out/timeline.html

RUN_DIR is the folder of a run of any SimulEval, or the metrics log of simulstream. Of each
utterance the page shows the waveform, each word against source time, READs and WRITEs, the ideal
line of AL, and AL, LAAL and BLEU; a table sorts them. Two runs stand side by side.

With the model of the run the recordings are translated once more, and the page also has the spikes
of both CTC heads, the counts of the policy, and for each word what held it back: the policy, the
rule that only whole words are written, or the end of a segment. The folder of a point of
`echostream curve` names its model and options; of another run give --model-path and the options
that it had.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echostream.config import ConfigError
from echostream.evaluation.arguments import print_error
from echostream.evaluation.point import MARKER
from echostream.evaluation.timeline.page import page
from echostream.evaluation.timeline.runs import Shown, read_run
from echostream.evaluation.timeline.trace import Trace, trace
from echostream.evaluation.waveform import peaks
from echostream.extras import ExtraError
from echostream.files import make_folder, write_whole
from echostream.frontend.audio import AudioError, clean, read_audio
from echostream.model_folder import Model, load_model
from echostream.scoring.log import ScoringError
from echostream.scoring.score import find_log
from echostream.session_config import SessionConfig, add_session_flags, session_config

COLUMNS = 600  # of a waveform
_BUT = ("speech", "transcript", "task", "refine_steps")  # options of a session that do not matter


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page; 1 if an utterance could not be traced, 2 for bad arguments or inputs."""
    args = _parser().parse_args(argv)
    if len(args.runs) > 2:
        print_error("timeline", f"one run or two can be shown, but {len(args.runs)} are given.")
        return 2
    try:
        runs, faults = [], list[str]()
        for name in args.runs:
            shown = read_run(find_log(Path(name)))
            model, config = _model_of(Path(name), args)
            traces = _traces(name, shown, model, config, faults)
            runs.append((name, shown, traces, "" if config is None else _described(config)))
        waveforms = _waveforms([one for _, shown, _, _ in runs for one in shown], faults)
        output = Path(args.output)
        make_folder(output.parent)
        write_whole(output, page(runs, waveforms))
    except (ScoringError, ConfigError, ExtraError, OSError, ValueError) as error:
        print_error("timeline", error)
        return 2
    for fault in faults:
        print_error("timeline", fault)
    print(f"page: {output}")
    return 1 if faults else 0


def _model_of(run: Path, args: argparse.Namespace) -> tuple[Model | None, SessionConfig | None]:
    """The model and the options of a run, from the flags or from its own record."""
    if args.model_path is not None:
        return load_model(args.model_path, backend="torch"), session_config(args)
    marker = run / MARKER
    if not marker.is_file():
        return None, None
    try:
        command = json.loads(marker.read_text(encoding="utf-8"))["command"]
    except (ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{marker} cannot be read: {error}") from error
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model-path", type=Path)
    add_session_flags(parser, but=_BUT)
    found, _ = parser.parse_known_args(command[1:])
    if found.model_path is None or not found.model_path.exists():
        return None, None
    return load_model(found.model_path, backend="torch"), session_config(found)


def _traces(
    name: str,
    shown: Sequence[Shown],
    model: Model | None,
    config: SessionConfig | None,
    faults: list[str],
) -> list[Trace | None]:
    """A trace of each utterance; None without a model, and where the words are not the log's."""
    if model is None or config is None:
        return [None] * len(shown)
    found: list[Trace | None] = []
    others = []
    for number, one in enumerate(shown, 1):
        _progress(name, number, len(shown))
        mine = None
        try:
            if one.recording is None:
                raise AudioError("the log does not name its recording.")
            samples, sample_rate = read_audio(one.recording)
            mine = trace(model, config, samples, sample_rate)
        except (AudioError, ValueError, OSError) as error:
            faults.append(f"{name}, {one.name}: {error}")
        if mine is not None and tuple(word.text for word in mine.words) != one.words:
            others.append(one.name)
            mine = None
        found.append(mine)
    if others:
        faults.append(
            f"{name}: of {len(others)} utterances the log has other words than the model with "
            f"these options, the first is {others[0]}: they are shown without spikes. Give the "
            "options of the run."
        )
    return found


def _progress(name: str, number: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == total else ""
        print(f"\r{name}: {number} of {total}", end=end, file=sys.stderr, flush=True)


def _waveforms(shown: Sequence[Shown], faults: list[str]) -> dict[str, list[float]]:
    """The waveforms by the names of the utterances."""
    found = {}
    for one in shown:
        if one.recording is None or one.name in found:
            continue
        try:
            samples, _ = read_audio(one.recording)
        except (AudioError, OSError) as error:
            if not any(str(one.recording) in fault for fault in faults):
                faults.append(str(error))
            continue
        found[one.name] = peaks(clean(samples)[0], COLUMNS)
    return found


def _described(config: SessionConfig) -> str:
    """The options that a page names."""
    found: dict[str, Any] = {
        "L": config.max_future_frames,
        "decoding method": config.decoding_method,
    }
    if config.policy != "ctc":
        found["policy"] = config.policy
    for name in ("lagging_k1", "lagging_k2"):
        if value := getattr(config, name):
            found[name.replace("_", " ")] = value
    return ", ".join(f"{name} {value}" for name, value in found.items() if value is not None)


def _parser() -> argparse.ArgumentParser:
    description, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="echostream timeline",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help="one run, or two to compare")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the page")
    parser.add_argument(
        "--model-path", type=Path, help="model folder of the runs (default: see below)"
    )
    add_session_flags(parser, but=_BUT)
    return parser
