"""Lays out a test set and a `--data-bin` where StreamSpeech's scripts look for them.

    python eval/streamspeech/make_data.py out/streamspeech      # examples/fr-en, the demo model
    python eval/streamspeech/make_data.py out/es --lang es --model models/es-en \\
        --wav-list wav_list.txt --target target.txt --src src.txt

makes `OUT_DIR/LANG-en/simuleval/test/{wav_list,target,src}.txt`, where recordings have absolute
paths so that a script may be run from anywhere, `wav_list.demo.txt` and `target.demo.txt` with the
same lines, and `OUT_DIR/LANG-en/fbank2unit/` with `config_gcmvn.yaml` and the `gcmvn.npz` of the
model. A file that is there and differs is not
replaced without --overwrite, and nothing is written unless all can be.

Exit status: 0 when all is in place, 2 for bad arguments or inputs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

if __package__ in (None, ""):
    # Run as a script: its own folder is first on the path, and must give way to the root.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from echostream.evaluation.test_set import InputError, read_test_set
from echostream.files import write_whole
from echostream.frontend.cmvn import GlobalCmvn
from echostream.model_folder import CMVN

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "fr-en"
CONFIG = "config_gcmvn.yaml"
# What the script for speech calls the lists; in StreamSpeech's data these are shorter.
DEMO = {"wav_list.demo.txt": "wav_list.txt", "target.demo.txt": "target.txt"}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folders and return the exit status."""
    args = _parse(argv)
    root = Path(args.out_dir).resolve()
    pair = root / f"{args.lang}-en"
    try:
        if not re.fullmatch(r"\w[\w-]*", args.lang):
            raise InputError(f"`--lang` must be a code like fr, but is {args.lang!r} instead.")
        texts = _texts(args)
        files = {
            pair / "simuleval" / "test" / name: text.encode()
            for name, text in _lists(texts.pop("wav_list.txt"), texts).items()
        }
        files |= _data_bin(Path(args.model), pair / "fbank2unit")
        _write(files, args.overwrite)
    except (InputError, OSError, ValueError) as error:
        print(f"make_data.py: {error}", file=sys.stderr)
        return 2
    print(f"DATA_ROOT={root}")
    return 0


def _texts(args: argparse.Namespace) -> dict[str, Path]:
    """The lists to lay out, under the names they get."""
    given = {"wav_list.txt": args.wav_list, "target.txt": args.target, "src.txt": args.src}
    if not any(given.values()):
        return {name: EXAMPLES / name for name in given}
    if args.wav_list is None or (args.target is None and args.src is None):
        raise InputError("`--wav-list` must be given together with `--target`, `--src` or both.")
    return {name: Path(path) for name, path in given.items() if path is not None}


def _lists(wav_list: Path, texts: Mapping[str, Path]) -> dict[str, str]:
    """The lines of the lists; each of `texts` must have one for each recording."""
    lists = {}
    for name, path in texts.items():
        test_set = read_test_set(wav_list, path)
        lists["wav_list.txt"] = _lines([str(audio.resolve()) for audio in test_set.recordings])
        lists[name] = _lines(test_set.references)
    if "target.txt" in lists:
        lists |= {demo: lists[name] for demo, name in DEMO.items()}
    return lists


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _data_bin(model: Path, folder: Path) -> dict[Path, bytes]:
    """`--data-bin` with the statistics of a model, in a form that StreamSpeech reads as well."""
    statistics = model / CMVN
    bins = len(GlobalCmvn.load(statistics).mean)
    config = {
        # Absolute, because StreamSpeech takes a relative path from where it is run.
        "global_cmvn": {"stats_npz_path": str(folder / CMVN)},
        "input_channels": 1,
        "input_feat_per_channel": bins,
        "transforms": {"*": ["global_cmvn"]},
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return {folder / CONFIG: text.encode(), folder / CMVN: statistics.read_bytes()}


def _write(files: Mapping[Path, bytes], overwrite: bool) -> None:
    """Writes those of `files` that are not there yet, each to a temporary name first."""
    new = [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]
    if not overwrite and (there := [str(path) for path in new if path.exists()]):
        raise InputError(f"--overwrite would replace {', '.join(there)}; nothing is written.")
    for path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, files[path])


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Lays out data for StreamSpeech's scripts.")
    parser.add_argument("out_dir", help="DATA_ROOT of the scripts")
    parser.add_argument("--lang", default="fr", help="LANG of the scripts (default: fr)")
    parser.add_argument("--wav-list", help="recordings, a path a line (default: examples/fr-en)")
    parser.add_argument("--target", help="translations, a sentence a line")
    parser.add_argument("--src", help="transcripts, a sentence a line")
    parser.add_argument(
        "--model",
        default=str(REPOSITORY / "models" / "fr-en-demo"),
        help="model folder whose feature statistics are taken (default: the demo model)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that differ")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
