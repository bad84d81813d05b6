"""Loads a model folder again and again with one file damaged; run as a process of its own.

`python hostile_folder.py FOLDER COUNT SEED` prints a line for each load that ends in another way
than allowed, and the most memory that it took. A line goes to FOLDER/last before each load, so
that a crash can be traced to its cause.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import time
from pathlib import Path

from echostream.model_folder import load_model

FILES = {
    "config.yaml": "torch",
    "model.safetensors": "torch",
    "spm_src.model": "torch",
    "spm_tgt.model": "torch",
    "gcmvn.npz": "torch",
    "step.onnx": "onnx",
    "step.int8.onnx": "onnx-int8",
}
SECONDS = 5


def damaged(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One way in which a file may be broken, and what is left of it."""
    offset = rng.choice((rng.randrange(len(content)), rng.randrange(min(200, len(content)))))
    kind = rng.choice(("flip", "flip", "cut", "zeros", "insert", "repeat", "noise"))
    size = rng.randrange(1, 64)
    flipped = bytes([content[offset] ^ (1 << rng.randrange(8))])
    return f"{kind} at {offset}", {
        "flip": content[:offset] + flipped + content[offset + 1 :],
        "cut": content[:offset],
        "zeros": content[:offset] + bytes(size) + content[offset + size :],
        "insert": content[:offset] + rng.randbytes(size) + content[offset:],
        "repeat": content[:offset] + content,
        "noise": content[:offset] + rng.randbytes(size) + content[offset + size :],
    }[kind]


def main(folder: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # KeyboardInterrupt
    whole = {name: (folder / name).read_bytes() for name in FILES}
    for backend in set(FILES.values()):
        load_model(folder, backend=backend)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        name, backend = list(FILES.items())[number % len(FILES)]
        what, content = damaged(whole[name], rng)
        (folder / "last").write_text(f"{name}: {what}")
        (folder / name).write_bytes(content)
        began = time.monotonic()
        signal.alarm(SECONDS)
        try:
            load_model(folder, backend=backend)
        except ValueError as error:
            if name not in str(error) or "\n" in str(error) or len(str(error)) > 600:
                print(f"{name}: {what}: {error!r}")
        except BaseException as error:
            print(f"{name}: {what}: {error!r} after {time.monotonic() - began:.1f} s")
        signal.alarm(0)
        (folder / name).write_bytes(whole[name])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print("memory in MB:", grown)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
