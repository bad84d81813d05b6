"""The folder of a remote run: what it was run with, and a line for each finished utterance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from echostream.files import write_whole
from echostream.scoring.log import INSTANCES_LOG, parse_complete_utterance

logger = logging.getLogger(__name__)

SETTINGS = "remote.json"
SIMULEVAL_CONFIG = "config.yaml"  # read by `simuleval --score-only`


class RemoteLogError(ValueError):
    """A folder in which this run can neither begin nor continue; the message names the file."""


class RemoteLog:
    """The log of a new or continued run; it holds the first `num_done` utterances.

    The cut last line of a killed run is removed, with a warning.

    Args:
        folder: created if it does not exist.
        settings: the settings of the run; a log with other settings is not continued.
        rerun: begin anew, whatever the folder holds.
        unit: the unit of latency, word or char.

    Raises:
        RemoteLogError: if the folder holds a log that was made with other settings, by another
            program, or that is damaged.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], rerun: bool, unit: str = "word"
    ) -> None:
        self.path = folder / INSTANCES_LOG
        folder.mkdir(parents=True, exist_ok=True)
        if rerun:
            # The log is removed first: it must never lie beside the settings of another run.
            self.path.unlink(missing_ok=True)
        if self.path.exists() and self.path.stat().st_size > 0:
            _check_settings(folder, settings)
            self.num_done = _mend(self.path, unit)
        else:
            write_whole(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
            types = {"source_type": "speech", "target_type": "text"}
            write_whole(folder / SIMULEVAL_CONFIG, yaml.safe_dump(types))
            self.path.touch()
            self.num_done = 0

    def append(self, instance: Mapping[str, Any]) -> None:
        """Appends one utterance to the file."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(instance) + "\n")
        self.num_done += 1


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    way_out = "Name another --output, or begin anew with --rerun."
    try:
        # Runs without this setting were counted in words.
        found = {
            "eval_latency_unit": "word",
            **json.loads((folder / SETTINGS).read_text(encoding="utf-8")),
        }
        other = [key for key in settings if found[key] != settings[key]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RemoteLogError(
            f"{folder / INSTANCES_LOG} is not of a remote run: {folder / SETTINGS} cannot be used "
            f"({error!r}). {way_out}"
        ) from error
    if other:
        raise RemoteLogError(
            f"{folder} holds a run with another `{other[0]}`: {found[other[0]]!r}, "
            f"but it is {settings[other[0]]!r} now. {way_out}"
        )


def _mend(path: Path, unit: str) -> int:
    """Removes a cut last line; returns the number of lines."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        logger.warning("%s: the last line was cut; its utterance is run again.", path)
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    lines = whole.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            index = parse_complete_utterance(line, unit, number).index
        except ValueError as error:
            raise RemoteLogError(f"{path}, line {number}: {error}") from error
        if index != number - 1:
            raise RemoteLogError(
                f"{path}, line {number}: must be of utterance {number - 1}, but is of {index}."
            )
    return len(lines)
