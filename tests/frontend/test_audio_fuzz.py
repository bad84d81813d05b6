"""Audio files with bytes turned around: an AudioError or samples, soon, and in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

KINDS = (
    ("a.wav", "PCM_16"),
    ("b.wav", "FLOAT"),
    ("c.wav", "GSM610"),
    ("d.wav", "IMA_ADPCM"),
    ("e.flac", "PCM_16"),
    ("f.ogg", "VORBIS"),
    ("g.mp3", "MPEG_LAYER_III"),
    ("h.aiff", "PCM_16"),
    ("i.au", "PCM_16"),
    ("j.caf", "PCM_16"),
    ("k.w64", "PCM_16"),
)
SECONDS = 10  # for all kinds together
SLOWEST = 5.0  # seconds for a file
MEMORY = 1 << 30

# In a process of its own, where memory has an end and libsndfile may crash.
SCRIPT = """
import logging, random, resource, sys, time
from pathlib import Path

from echostream.frontend.audio import AudioError, read_audio
from echostream.frontend.audio_header import read_headers

folder, seconds, slowest = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
logging.disable(logging.CRITICAL)
originals = sorted(folder.iterdir())
used = Path("/proc/self/statm").read_text().split()[0] if Path("/proc/self/statm").exists() else 0
limit = int(used) * resource.getpagesize() + int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def damaged(data, rng):
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(min(len(found), rng.choice((64, 64, 256, 100_000))))
        found[at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
    if rng.random() < 0.3:
        at = rng.randrange(min(60, len(found) - 8))
        found[at : at + 4] = rng.choice((b"\\xff" * 4, bytes(4), b"\\xff\\xff\\xff\\x7f"))
    if rng.random() < 0.3:
        del found[rng.randrange(len(found)) :]
    return bytes(found)


def check(path, seed):
    began = time.monotonic()
    outcomes = []
    try:
        samples, rate = read_audio(path)
        outcomes.append((len(samples) > 0, 1000 <= rate <= 768_000))
    except AudioError as error:
        outcomes.append((str(path) in str(error), "\\n" not in str(error)))
    (header,) = read_headers([path])
    if isinstance(header, AudioError):
        outcomes.append((str(path) in str(header), True))
    taken = time.monotonic() - began
    assert all(all(outcome) for outcome in outcomes), (path.name, seed, outcomes)
    assert taken < slowest, (path.name, seed, taken)


end = time.monotonic() + seconds
seed = 0
while time.monotonic() < end:
    for original in originals:
        rng = random.Random(f"{seed} {original.name}")
        path = folder / f"damaged{original.suffix}"
        path.write_bytes(damaged(original.read_bytes(), rng))
        check(path, seed)
    seed += 1
print(seed)
"""


def test_no_damage_to_audio_files_brings_a_traceback_a_hang_or_much_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal(4000) * np.sin(np.arange(4000) / 300)
    for name, subtype in KINDS:
        sf.write(tmp_path / name, samples, 8000, subtype)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(SECONDS), str(SLOWEST), str(MEMORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 3
