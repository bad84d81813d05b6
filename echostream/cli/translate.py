"""`echostream translate`: translates recordings and prints words with their delays."""

from __future__ import annotations

import argparse
import dataclasses
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echostream.cli.messages import print_error
from echostream.cli.shared_flags import add_backend
from echostream.session_config import add_session_flags, add_voice_flag, session_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echostream.session.translator import Output, StreamingTranslator

HELP = "translate recordings, segment by segment"
STANDARD_INPUT = "-"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("model", help="model folder")
    parser.add_argument(
        "audio",
        nargs="+",
        help="recordings, in any format that soundfile reads; a pipe, or - for standard input, "
        "is read to its end first",
    )
    add_session_flags(parser, but=("speech",))  # which follows from --speech-output
    parser.add_argument(
        "--speech-output",
        metavar="FOLDER",
        help="also write the translation as speech, FOLDER/NAME.wav, on the time of the recording; "
        "for a model that has a vocoder, or with --voice",
    )
    add_voice_flag(parser)
    parser.add_argument(
        "--segment-ms", type=int, default=320, help="length of a segment (default: %(default)s)"
    )
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Translates each file; 1 if one of them could not be."""
    from echostream.files import check_outputs, make_folder
    from echostream.frontend.audio import show_path
    from echostream.frontend.sample_check import prefix_log
    from echostream.session.translator import StreamingTranslator
    from echostream.voices.espeak import EspeakError

    if args.segment_ms < 1:
        raise ValueError(f"`--segment-ms` must be at least 1, but is {args.segment_ms} instead.")
    if args.voice is not None and args.speech_output is None:
        raise ValueError("`--voice` needs `--speech-output`.")
    config = session_config(args, speech=args.speech_output is not None)
    if config.task == "asr":  # the output is the source words already
        config = dataclasses.replace(config, transcript=False)
    session = StreamingTranslator.load(
        args.model, args.device, args.backend, config, voice=args.voice
    )
    files = {}
    if args.speech_output is not None:
        folder = make_folder(args.speech_output)
        files = {path: folder / f"{_stem(path)}.wav" for path in args.audio}
        check_outputs(files)
    failed = 0
    for path in args.audio:
        name = "standard input" if path == STANDARD_INPUT else show_path(path)
        try:
            samples, sample_rate = _read(path, name)
            print(name, flush=True)
            with prefix_log(name):
                outputs = _translate(session, samples, sample_rate, args.segment_ms)
            if path in files:
                _write_speech(files[path], outputs)
                print(f"   speech in {show_path(str(files[path]))}", flush=True)
        except (ValueError, EspeakError) as error:
            print_error(args, str(error) if str(error).startswith(name) else f"{name}: {error}")
            failed += 1
        except MemoryError:
            print_error(args, f"{name}: it needs more memory than there is.")
            failed += 1
    return 1 if failed else 0


def _read(path: str, name: str) -> tuple[NDArray[np.float32], int]:
    """The samples of a file or a pipe; AudioError if there are none."""
    from echostream.frontend.audio import AudioError, read_audio, read_audio_stream

    try:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise AudioError(f"{name} cannot be read as audio: it is closed.")
            if sys.stdin.isatty():
                raise AudioError(f"{name} cannot be read as audio: it is a terminal, not a pipe.")
            return read_audio_stream(sys.stdin.buffer, name)
        if os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode):
            with open(path, "rb") as pipe:  # blocks until there is a writer
                return read_audio_stream(pipe, name)
        return read_audio(path)
    except OSError as error:
        raise AudioError(f"{name} cannot be read as audio: {error.strerror}.") from error


def _translate(
    session: StreamingTranslator,
    samples: NDArray[np.float32],
    sample_rate: int,
    segment_ms: int,
) -> list[Output]:
    """Prints the words as they come; returns all outputs."""
    session.reset()
    size = max(1, segment_ms * sample_rate // 1000)
    outputs = []
    for start in range(0, len(samples), size):
        new = session.push(samples[start : start + size], sample_rate)
        _show(new)
        outputs += new
    last = session.finish()
    _show(last)
    return [*outputs, *last]


def _stem(path: str) -> str:
    """The name of the speech of a recording."""
    return "standard-input" if path == STANDARD_INPUT else os.path.basename(path)


def _write_speech(path: Path, outputs: Sequence[Output]) -> None:
    """Writes the speech of a recording."""
    from echostream.files import describe
    from echostream.frontend.save_audio import save_audio
    from echostream.session.playback import Playback

    playback = Playback()
    for output in outputs:
        playback.add(output)
    try:
        save_audio(path, playback.samples)
    except OSError as error:
        raise ValueError(describe(error)) from error


def _show(outputs: Sequence[Output]) -> None:
    for output in outputs:
        seconds = f"{output.delay_ms / 1000:7.2f} s"
        if output.source_text:
            print(f"{seconds}  [{output.source_text}]", flush=True)
        if output.text:
            print(f"{seconds}  {output.text}", flush=True)
