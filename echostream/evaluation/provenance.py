"""The provenance of a number: commit, versions, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CODE = ("echostream", "agents", "eval")  # the code of an evaluation, new files included
_PACKAGES = (
    "simuleval",
    "sacrebleu",
    "torch",
    "onnxruntime",
    "numpy",
    "sentencepiece",
    "soundfile",
    "soxr",
    "kaldi-native-fbank",
)


def commit() -> dict[str, str | bool | None]:
    """The commit checked out, and whether the code differs from it; None without a repository."""
    head = _git("rev-parse", "--verify", "HEAD")
    changes = _git("status", "--porcelain", "--", *_CODE)
    return {"commit": head, "dirty": None if head is None else changes != ""}


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter; None for one not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def machine() -> dict[str, str | int | None]:
    """The CPU model, the number of CPUs and the system; no name of the machine."""
    return {"cpu": cpu_model(), "num_cpus": os.cpu_count(), "system": platform.platform()}


def cpu_model() -> str:
    """The CPU's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
