"""`echostream serve`: live translation for realtime clients, simulstream's client and browsers."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

from echostream.cli.shared_flags import add_backend
from echostream.extras import extra
from echostream.server.settings import FIXED_OPTIONS, KEY, ServerSettings
from echostream.session_config import add_session_flags, add_voice_flag, session_config

HELP = "serve live translation over websockets, with a page"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the command."""
    parser.add_argument("model", help="model folder")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 is any free port (default: 8000)")
    parser.add_argument(
        "--capacity", type=int, default=16, help="the most sessions at once (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"key that clients must send; the default, ${KEY}, does not show in `ps`",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="page of another host that may connect, like https://example.org; may be repeated",
    )
    for flag, default, text in (
        ("--idle-seconds", 60, "seconds without a message after which a session is closed"),
        ("--max-minutes", 240, "the longest session, in minutes"),
        ("--drain-seconds", 30, "seconds that sessions may go on after SIGTERM"),
    ):
        parser.add_argument(flag, type=float, default=default, help=f"{text} (default: {default})")
    parser.add_argument(
        "--handover",
        metavar="FOLDER",
        help="where sessions wait for the next server when this one stops; both are given it",
    )
    for flag in ("--source-language", "--target-language"):
        parser.add_argument(
            flag,
            metavar="CODE",
            help="of the model (default: from the name of its folder, as in fr-en-demo)",
        )
    parser.add_argument(
        "--examples",
        metavar="FOLDER",
        help="recordings that the page offers: a folder with wav_list.txt, src.txt and target.txt",
    )
    parser.add_argument(
        "--about", metavar="TEXT", help="a sentence on the page: what the model can translate"
    )
    parser.add_argument("--no-speech", action="store_true", help="send text only")
    add_session_flags(parser, but=FIXED_OPTIONS)
    add_voice_flag(parser)
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Serves until a signal."""
    with extra("serve", "echostream serve"):
        from echostream.server.handover import FolderStore
        from echostream.server.run import run_server
        from echostream.server.served import ServedModel

    settings = {
        **_fields(args, ServerSettings),
        "api_key": os.environ.get(KEY) if args.api_key is None else args.api_key,
        "allow_origins": tuple(args.allow_origin),
    }
    served = ServedModel(
        **{
            **_fields(args, ServedModel),
            "speech": not args.no_speech,
            "session": session_config(args),
            "server": ServerSettings(**settings),
        }
    )
    store = FolderStore(Path(args.handover)) if args.handover else None
    return run_server(*served.open(store))


def _fields(args: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The values of `args` that are fields of a dataclass; None is the default of the field."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: v for name, v in vars(args).items() if name in names and v is not None}
