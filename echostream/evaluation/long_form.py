"""Quality on streams of several sentences without a reset.

    echostream long-form            # the demo model on the example recordings
    echostream long-form --model-path MODEL --source LIST --target LIST --joined 1 8 32

Consecutive recordings are joined with a pause between them and translated by one session, 320 ms at
a time, without a reset. Quality is BLEU over all streams, with as many sentences in each reference.
A model that was trained on single sentences only is good at 1 and bad at 16; the demo model was
trained on concatenated utterances, too.

With --output the streams and a log of each method are written, in the form of SimulEval's, which
`echostream score --longform` and OmniSTEval read.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.evaluation.arguments import (
    DEMO,
    METHOD_FLAGS,
    PAUSE_MS,
    Help,
    check_demo,
    method_and_lagging,
    print_error,
    whole_from,
)
from echostream.evaluation.joined import Stream, join, load, write_streams
from echostream.evaluation.point import method_options
from echostream.evaluation.test_set import InputError, check_single_references, read_test_set
from echostream.files import make_folder, write_whole
from echostream.model_folder import BACKENDS, Model, load_model
from echostream.scoring.log import INSTANCES_LOG
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, make_bleu, quality
from echostream.scoring.texts import characters, composed
from echostream.session.translator import Output, StreamingTranslator, joined_text
from echostream.session_config import SessionConfig
from echostream.streaming import SAMPLE_RATE

BY_WORD = ("13a", "intl", "none")  # tokenizers of sacrebleu that split at spaces
PUSH = SAMPLE_RATE * 320 // 1000  # samples


@dataclass(frozen=True)
class LongForm:
    """The result for one decoding method and one number of sentences in a stream."""

    method: str  # as configured
    joined: int
    num_streams: int
    bleu: float
    length_ratio: float  # words (or characters) written for each of the references


def measure(
    model: Model,
    recordings: Sequence[NDArray[np.float32]],
    references: Sequence[str],
    joined: int,
    method: str,
    max_future_frames: int,
    pause_ms: int,
    tokenizer: str = DEFAULT_TOKENIZER,
    output: Path | None = None,
    utterance_pause_ms: int = SessionConfig.utterance_pause_ms,
) -> LongForm:
    """Translates streams of `joined` recordings (S,) at 16 kHz; the last stream may have fewer.

    `method` is as in `method_options`; `tokenizer` is sacrebleu's. `output` is the folder for
    the streams and the logs.
    """
    streams = join(recordings, references, joined, pause_ms)
    session = open_session(model, method, max_future_frames, utterance_pause_ms)
    translated = [push_all(session, stream.samples) for stream in streams]
    if output is not None:
        folder = output / f"joined-{joined}"
        paths = write_streams(streams, folder)
        _write_log(folder / method.replace(":", "-"), paths, streams, translated)
    hypotheses = [joined_text(outputs) for outputs, _ in translated]
    joined_references = [stream.reference for stream in streams]
    # The other tokenizers are for languages without spaces between words.
    units = str.split if tokenizer in BY_WORD else characters
    num_written = sum(len(units(text)) for text in hypotheses)
    ratio = num_written / sum(len(units(text)) for text in joined_references)
    bleu = quality(
        list(map(composed, hypotheses)), list(map(composed, joined_references)), tokenizer
    ).BLEU
    return LongForm(method, joined, len(hypotheses), bleu, ratio)


def table(results: Sequence[LongForm]) -> str:
    """The results as a Markdown table."""
    lines = ["| sentences in a stream | streams | method | BLEU | length / reference length |"]
    lines.append("|---:|---:|---|---:|---:|")
    for r in results:
        lines.append(
            f"| {r.joined} | {r.num_streams} | {r.method} | {r.bleu:.1f} | {r.length_ratio:.3f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 2 for bad arguments or inputs."""
    args = _parser().parse_args(argv)
    try:
        inputs = read_inputs(args)
        results = [
            measure(
                inputs.model,
                inputs.recordings,
                inputs.references,
                joined,
                method,
                args.max_future_frames,
                args.pause_ms,
                args.sacrebleu_tokenizer,
                args.output,
                args.utterance_pause_ms,
            )
            for joined in args.joined
            for method in inputs.methods
        ]
    except (InputError, OSError, ValueError) as error:
        print_error("long-form", error)
        return 2
    print(table(results))
    return 0


@dataclass(frozen=True)
class Inputs:
    """The inputs that the flags of `input_parser` name."""

    model: Model
    methods: list[str]  # as configured, or all of the model
    recordings: list[NDArray[np.float32]]  # (S,) at 16 kHz
    references: Sequence[str]


def read_inputs(args: argparse.Namespace) -> Inputs:
    """Reads the inputs. Raises InputError, OSError or ValueError naming the one at fault."""
    check_demo(args)
    test_set = read_test_set(args.source, args.target)
    check_single_references(test_set)
    make_bleu(args.sacrebleu_tokenizer)  # fails before the slow part
    model = load_model(args.model_path, backend=args.backend)
    methods = args.decoding_methods or (
        ["ctc"] if model.network.decoder is None else ["ctc", "decoder"]
    )
    recordings = [load(path) for path in test_set.recordings]
    return Inputs(model, methods, recordings, test_set.references)


def input_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of the model and the test set, by default the demo's, and the decoding methods."""
    parser = argparse.ArgumentParser(
        prog=f"echostream {command}", description=description, formatter_class=Help
    )
    add = parser.add_argument
    add("--model-path", type=Path, default=DEMO["model_path"], help="model folder")
    add("--backend", choices=BACKENDS, default="torch", help="back end of the network")
    add("--source", type=Path, default=DEMO["source"], help="wav list")
    add("--target", type=Path, default=DEMO["target"], help="references")
    add(
        *METHOD_FLAGS,
        type=method_and_lagging,
        nargs="+",
        metavar="NAME[:K]",
        help="as for `echostream curve` (default: all of the model)",
    )
    tokenizer = "of BLEU; with char, zh ... lengths count in characters"
    add("--sacrebleu-tokenizer", default=DEFAULT_TOKENIZER, help=tokenizer)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = input_parser("long-form", __doc__)
    add = parser.add_argument
    add("--joined", type=whole_from(1), nargs="+", default=[1, 4, 16], help="sentences in a stream")
    add("--max-future-frames", type=whole_from(0), default=0, help="look-ahead L")
    add("--pause-ms", type=whole_from(0), default=PAUSE_MS, help="silence between two sentences")
    add(
        "--utterance-pause-ms",
        type=whole_from(0),
        default=SessionConfig.utterance_pause_ms,
        help="of a session: the silence that ends an utterance of the text decoder",
    )
    add("--output", type=Path, help="folder for the streams and the logs (default: none)")
    return parser


def open_session(
    model: Model,
    method: str,
    max_future_frames: int,
    utterance_pause_ms: int = SessionConfig.utterance_pause_ms,
) -> StreamingTranslator:
    """A session; `method` is as in `method_options`."""
    config = SessionConfig(
        max_future_frames=max_future_frames,
        utterance_pause_ms=utterance_pause_ms,
        **method_options(method),
    )
    return StreamingTranslator(model, config)


def translate(session: StreamingTranslator, samples: NDArray[np.float32]) -> str:
    """The text of a stream (S,) at 16 kHz that is pushed 320 ms at a time."""
    return joined_text(push_all(session, samples)[0])


def push_all(
    session: StreamingTranslator, samples: NDArray[np.float32]
) -> tuple[list[Output], list[float]]:
    """The outputs for a stream (S,) at 16 kHz that is pushed 320 ms at a time.

    With each, the ms of computation from the beginning of the stream until it came.
    """
    session.reset()
    outputs: list[Output] = []
    computed: list[float] = []
    seconds = 0.0
    for start in range(0, len(samples) + PUSH, PUSH):
        begin = time.perf_counter()
        part = samples[start : start + PUSH]
        new = session.push(part, SAMPLE_RATE) if len(part) else session.finish()
        seconds += time.perf_counter() - begin
        outputs += new
        computed += [1000 * seconds] * len(new)
    return outputs, computed


def _write_log(
    folder: Path,
    paths: Sequence[Path],
    streams: Sequence[Stream],
    translated: Sequence[tuple[list[Output], list[float]]],
) -> None:
    """Writes instances.log as SimulEval does, with a delay for each word or character."""
    lines = []
    for index, (path, stream) in enumerate(zip(paths, streams, strict=True)):
        outputs, computed = translated[index]
        delays = [one.delay_ms for one in outputs for _ in one.words]
        after = [ms for one, ms in zip(outputs, computed, strict=True) for _ in one.words]
        line = {
            "index": index,
            "prediction": joined_text(outputs),
            "delays": delays,
            "elapsed": [delay + ms for delay, ms in zip(delays, after, strict=True)],
            "prediction_length": len(delays),
            "reference": stream.reference,
            "source": [str(path), f"samplerate: {SAMPLE_RATE}"],
            "source_length": 1000 * len(stream.samples) / SAMPLE_RATE,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    make_folder(folder)
    write_whole(folder / INSTANCES_LOG, "".join(lines))
