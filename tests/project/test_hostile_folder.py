"""A model folder with a damaged file loads or is refused by name, whatever the damage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import hostile_folder

LOADS = 420
MEGABYTES = 500


def test_whatever_is_damaged_is_named_in_bounded_time_and_memory(
    exported: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    command = [sys.executable, hostile_folder.__file__, str(folder), str(LOADS), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (folder / "last").read_text() + done.stderr
    *wrong, memory = done.stdout.splitlines()
    assert wrong == []
    assert int(memory.rpartition(" ")[2]) < MEGABYTES
    assert done.stderr == ""  # the libraries are silent, too
