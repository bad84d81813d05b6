"""`echostream units`: discrete units of target speech."""

from __future__ import annotations

import argparse
from pathlib import Path

from echostream.cli.messages import print_error
from echostream.session_config import add_voice_flag

HELP = "learn discrete units of speech, extract them, or turn them into speech again"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags of the three commands."""
    actions = parser.add_subparsers(dest="action", required=True)
    learn = actions.add_parser("learn", help="k-means over the target speech of a table")
    learn.add_argument("table", help="table whose column tgt_audio names recordings")
    learn.add_argument("--num-units", type=int, default=1000, help="(default: %(default)s)")
    learn.add_argument("--output", required=True, help="folder of the unit model")
    learn.add_argument("--seed", type=int, default=1)
    learn.add_argument(
        "--max-utterances",
        type=int,
        default=10_000,
        help="of a larger table, a random sample (default: %(default)s)",
    )
    extract = actions.add_parser("extract", help="the units of each recording, as a table")
    extract.add_argument("units", help="folder of the unit model")
    extract.add_argument("table", help="table whose column tgt_audio names recordings")
    extract.add_argument("--output", required=True, help="table to write")
    extract.add_argument("--reduce", action="store_true", help="merge runs of one unit to one")
    speak = actions.add_parser("speak", help="the speech of texts by a model or a voice")
    speak.add_argument("model", help="model folder")
    speak.add_argument("texts", help="text file, one text a line")
    add_voice_flag(speak)
    speak.add_argument("--output", required=True, help="folder for N.wav of each line, from 0 on")
    speak.add_argument("--unit-decoder", help="folder of another unit decoder than the model's")
    speak.add_argument("--refiner", help="folder of another refiner than the model's")
    speak.add_argument(
        "--refine-steps", type=int, default=0, help="rounds of the refiner (default: %(default)s)"
    )
    resynth = actions.add_parser("resynth", help="the units of a table as speech")
    resynth.add_argument("vocoder", help="folder of the vocoder")
    resynth.add_argument("table", help="table whose column tgt_audio holds units")
    resynth.add_argument("--output", required=True, help="folder for ID.wav of each row")


def run(args: argparse.Namespace) -> int:
    """Runs one of the commands, and prints what it wrote; 1 if a recording could not be read."""
    return {"learn": _learn, "extract": _extract, "resynth": _resynth, "speak": _speak}[
        args.action
    ](args)


def _learn(args: argparse.Namespace) -> int:
    import numpy as np

    from echostream.data.unit_table import read_unit_table
    from echostream.data.units import learn_units

    if args.max_utterances < 1:
        raise ValueError(
            f"`--max-utterances` must be at least 1, but is {args.max_utterances} instead."
        )
    if args.seed < 0:
        raise ValueError(f"`--seed` must be at least 0, but is {args.seed} instead.")
    table = read_unit_table(args.table)
    count = min(len(table.rows), args.max_utterances)
    chosen = np.random.default_rng(args.seed).permutation(len(table.rows))[:count]
    recordings = (table.samples(table.rows[index]) for index in sorted(chosen))
    learn_units(recordings, args.num_units, args.seed).save(args.output)
    print(args.output)
    return 0


def _extract(args: argparse.Namespace) -> int:
    import dataclasses

    from echostream.data.unit_table import read_unit_table, write_units
    from echostream.data.units import UnitModel
    from echostream.files import make_folder
    from echostream.frontend.audio import AudioError

    model = UnitModel.load(args.units)
    table = read_unit_table(args.table)
    output = Path(args.output)
    if output.is_dir() or (output.exists() and output.samefile(table.path)):
        raise ValueError(
            f"`--output` must be a new table, but {output} is "
            f"{'a folder' if output.is_dir() else 'the table that is read'}."
        )
    make_folder(output.parent)  # before the recordings are read, which may take hours
    rows, units = [], []
    for row in table.rows:
        try:
            units.append(model.extract(table.samples(row)))
            rows.append(row)
        except AudioError as error:
            print_error(args, f"{error} It is left out.")
    if rows:
        write_units(output, dataclasses.replace(table, rows=tuple(rows)), units, args.reduce)
        print(args.output)
    return 0 if len(rows) == len(table.rows) else 1


def _resynth(args: argparse.Namespace) -> int:
    from echostream.data.resynthesis import resynthesise
    from echostream.data.unit_table import read_unit_table
    from echostream.speech_folder import load_vocoder

    resynthesise(load_vocoder(args.vocoder), read_unit_table(args.table), Path(args.output))
    print(args.output)
    return 0


def _speak(args: argparse.Namespace) -> int:
    import dataclasses

    import torch

    from echostream.data.table_text import lines_of
    from echostream.files import make_folder
    from echostream.frontend.save_audio import save_audio
    from echostream.model_folder import load_model
    from echostream.session.settings import SessionSettings
    from echostream.session.speech_queue import speak_text
    from echostream.session_config import SessionConfig
    from echostream.speech_folder import load_speech

    if args.voice is not None and (args.unit_decoder or args.refiner):
        raise ValueError("`--voice` speaks without `--unit-decoder` and `--refiner`.")
    model = load_model(args.model, voice=args.voice)
    vocab_size = model.config.target_vocab_size
    parts = load_speech(Path(args.model), vocab_size, args.unit_decoder, args.refiner)
    model = dataclasses.replace(model, speech=parts)
    config = SessionConfig(speech=True, refine_steps=args.refine_steps)
    speaker = SessionSettings(model, config).speaker
    assert speaker is not None
    path = Path(args.texts)
    with path.open("rb") as file:
        texts = dict(lines_of(file, path))  # by their numbers, from 1 on; blank ones are left out
    folder = make_folder(args.output)
    with torch.inference_mode():
        for number in range(1, max(texts, default=0) + 1):
            samples = speak_text(speaker, texts.get(number, ""))
            save_audio(folder / f"{number - 1}.wav", samples)
    print(args.output)
    return 0
