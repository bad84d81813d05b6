"""`echostream listen`: a recording or the microphone through a server, with captions as text."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from echostream.cli.messages import print_error
from echostream.extras import extra
from echostream.server.settings import KEY
from echostream.session_config import DECODING_METHODS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = "send a recording or the microphone to a server, and print what it writes"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1:8000",
        help="address of `echostream serve` (default: %(default)s)",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--wav", metavar="FILE", help="recording, in any format of libsndfile")
    source.add_argument("--mic", action="store_true", help="microphone, until Ctrl-C")
    parser.add_argument(
        "--mic-device",
        metavar="NAME",
        help="number, or part of the name, of the input device (default: the system's)",
    )
    parser.add_argument(
        "--seconds", type=float, help="end after this much audio (default: Ctrl-C, or all)"
    )
    parser.add_argument(
        "--fast", action="store_true", help="send a recording as fast as the server takes it"
    )
    parser.add_argument("--api-key", metavar="KEY", help=f"key of the server (default: ${KEY})")
    parser.add_argument(
        "--max-future-frames", type=int, metavar="L", help="look-ahead (default: the server's)"
    )
    parser.add_argument(
        "--decoding-method", choices=DECODING_METHODS, help="(default: the server's)"
    )


def run(args: argparse.Namespace) -> int:
    """Listens until the source ends; 1 if the server failed."""
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"`--seconds` must be above 0, but is {args.seconds:g} instead.")
    if args.mic_device is not None and not args.mic:
        raise ValueError("`--mic-device` needs `--mic`.")
    with extra("mic", "echostream listen"):
        from echostream.server.client import ServerError
    try:
        if args.mic:
            _listen_to_microphone(args)
        else:
            _send_recording(args)
    except ServerError as error:
        print_error(args, str(error))
        return 1
    return 0


def _listen_to_microphone(args: argparse.Namespace) -> None:
    with extra("mic", "echostream listen --mic"):
        from echostream.server.microphone import Microphone
    device = args.mic_device
    with Microphone(int(device) if (device or "").isdecimal() else device) as microphone:
        print(f"microphone: {microphone.name}; Ctrl-C ends it", flush=True)
        asyncio.run(_run(args, microphone.pieces(args.seconds), microphone.sample_rate, False))
        if microphone.overflows:
            print_error(args, f"the microphone has lost samples {microphone.overflows} times.")


def _send_recording(args: argparse.Namespace) -> None:
    from echostream.frontend.audio import clean, read_audio
    from echostream.frontend.sample_check import prefix_log

    with prefix_log(args.wav):
        samples, rate = read_audio(args.wav)
        samples, num_bad = clean(samples)
    if num_bad:
        print_error(
            args, f"{args.wav}: set to zero: {num_bad} samples that are NaN, infinite or too large."
        )
    if args.seconds is not None:
        samples = samples[: round(args.seconds * rate)]
    asyncio.run(_run(args, _pieces(samples, rate), rate, not args.fast))


def _pieces(samples: NDArray[np.float32], rate: int) -> Iterator[bytes]:
    """A recording (S,) as PCM16."""
    from echostream.server.client import PIECE_MS
    from echostream.server.events import as_pcm16

    size = rate * PIECE_MS // 1000
    for start in range(0, len(samples), size):
        yield as_pcm16(samples[start : start + size])


async def _run(
    args: argparse.Namespace, pieces: Iterator[bytes], rate: int, real_time: bool
) -> None:
    from echostream.server.client import RealtimeClient

    asked = {"max_future_frames": args.max_future_frames, "decoding_method": args.decoding_method}
    options = {name: value for name, value in asked.items() if value is not None}
    options |= {"sample_rate": rate, "speech": False}
    key = os.environ.get(KEY) if args.api_key is None else args.api_key
    client = RealtimeClient(args.url, key, options, _show, lambda text: print_error(args, text))
    with contextlib.suppress(NotImplementedError):  # on Windows Ctrl-C ends the command at once
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, client.stop)
    await client.run(pieces, real_time)


def _show(event: Mapping[str, Any]) -> None:
    """A line for new words, like those of `echostream translate`."""
    text = event["delta"].strip()
    if event["type"].startswith("session.input"):
        text = f"[{text}]"
    print(f"{event['elapsed_ms'] / 1000:7.2f} s  {text}", flush=True)
