"""`echostream serve`: live translation for realtime clients, simulstream's client and browsers."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from pathlib import Path

from echostream.cli.shared_flags import add_backend
from echostream.extras import extra
from echostream.session_config import add_session_flags, add_voice_flag, session_config

KEY = "ECHOSTREAM_API_KEY"
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
        help=f"key that every client must send (default: ${KEY}, which no list of processes shows)",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="page of another host that may connect, like https://example.org; may be repeated",
    )
    for flag, default, text in (
        ("--idle-seconds", 60, "without a message, after which a session ends"),
        ("--max-minutes", 240, "of a session"),
        ("--drain-seconds", 30, "that running sessions have after SIGTERM"),
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
    add_session_flags(parser, but=("task", "transcript", "speech", "emission_unit"))
    add_voice_flag(parser)
    add_backend(parser)


def run(args: argparse.Namespace) -> int:
    """Serves until a signal."""
    with extra("serve", "echostream serve"):
        from echostream.server.examples import find_examples
        from echostream.server.handover import FolderStore
        from echostream.server.run import run_server
        from echostream.server.service import Service
        from echostream.server.settings import ServerSettings
    from echostream.model_folder import load_model

    names = {field.name for field in dataclasses.fields(ServerSettings)}
    given = {name: value for name, value in vars(args).items() if name in names}
    if args.api_key is None:
        given["api_key"] = os.environ.get(KEY)
    settings = ServerSettings(**given, allow_origins=tuple(args.allow_origin))
    folder = Path(args.model)
    model = load_model(folder, args.device, args.backend, args.voice)
    speaks = model.voice is not None or (model.speech is not None and bool(model.speech.vocoder))
    config = session_config(args, speech=speaks and not args.no_speech)
    examples = find_examples(Path(args.examples)) if args.examples else ()
    name = folder.resolve().name
    languages = _languages(args, name)
    store = FolderStore(Path(args.handover)) if args.handover else None
    service = Service(model, name, config, settings, languages, args.about or "", store)
    return run_server(service, examples)


def _languages(args: argparse.Namespace, name: str) -> tuple[str | None, str | None]:
    """Source and target language: from the flags, or from the first two parts of the name."""
    found = re.match(r"([a-z]{2,3})-([a-z]{2,3})(?:-|$)", name)
    source, target = found.groups() if found else (None, None)
    return args.source_language or source, args.target_language or target
