"""The folder of a remote run: what it was run with, and a line for each finished utterance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from echostream.files import write_whole
from echostream.scoring.instances import parse_utterance

logger = logging.getLogger(__name__)

INSTANCES = "instances.log"
SETTINGS = "remote.json"
SIMULEVAL_CONFIG = "config.yaml"  # read by `simuleval --score-only`


class RemoteLogError(ValueError):
    """A folder in which this run can neither begin nor go on; the message names the file."""


class RemoteLog:
    """The log of a run, new or gone on with. `num_done` utterances, from the first, are in it.

    A line that was cut when an earlier run died is taken out, with a warning.

    Args:
        folder: made if need be.
        settings: what the lines depend on; a log of others is not gone on with.
        rerun: begin anew, whatever is there.
        unit: what latency is counted in, word or char.

    Raises:
        RemoteLogError: if the folder holds a log that was made with other settings, by another
            program, or that is damaged.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], rerun: bool, unit: str = "word"
    ) -> None:
        self.path = folder / INSTANCES
        folder.mkdir(parents=True, exist_ok=True)
        if rerun:
            # The log goes first: it must never lie beside settings that are not its own.
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
        """Puts one more utterance on disk."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(instance) + "\n")
        self.num_done += 1


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    way_out = "Name another --output, or begin anew with --rerun."
    try:
        # Before there was a choice, words were counted.
        found = {
            "eval_latency_unit": "word",
            **json.loads((folder / SETTINGS).read_text(encoding="utf-8")),
        }
        other = [key for key in settings if found[key] != settings[key]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RemoteLogError(
            f"{folder / INSTANCES} is not of a remote run: {folder / SETTINGS} cannot be used "
            f"({error!r}). {way_out}"
        ) from error
    if other:
        raise RemoteLogError(
            f"{folder} holds a run with another `{other[0]}`: {found[other[0]]!r}, "
            f"but it is {settings[other[0]]!r} now. {way_out}"
        )


def _mend(path: Path, unit: str) -> int:
    """Takes a cut last line out; the number of lines."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        logger.warning("%s: the last line was cut; its utterance is run again.", path)
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    lines = whole.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            index = parse_utterance(line, unit).index
        except ValueError as error:
            raise RemoteLogError(f"{path}, line {number}: {error}") from error
        if index != number - 1:
            raise RemoteLogError(
                f"{path}, line {number}: must be of utterance {number - 1}, but is of {index}."
            )
    return len(lines)
