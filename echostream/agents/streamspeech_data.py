"""StreamSpeech's `--data-bin` folder: a YAML, feature statistics, vocabularies.

A model folder is complete by itself, so such a folder is optional. With `--cmvn data-bin` its
feature statistics replace those of the model; the rest is only compared and reported.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from echostream.agents.streamspeech_vocabulary import ForeignVocabulary, read_vocabularies
from echostream.frontend.cmvn import GlobalCmvn
from echostream.model_folder import Model
from echostream.ranges import shown
from echostream.safe_yaml import YamlError, read_yaml

logger = logging.getLogger(__name__)

STATISTICS = "gcmvn.npz"


class ForeignFolderError(ValueError):
    """A `--data-bin` that cannot be used; the message names the flag or the file."""


@dataclass(frozen=True)
class DataBin:
    """The content of a `--data-bin`; without feature statistics the first two are None."""

    statistics: Path | None
    cmvn: GlobalCmvn | None
    vocabularies: tuple[ForeignVocabulary, ...]


def streamspeech_data_bin(model: Model, args: Namespace) -> Model:
    """The model with the feature statistics of `--data-bin` if `--cmvn data-bin` is given.

    Otherwise `model` itself; the folder is read nevertheless, and the log gets a line with the
    files that differ from the model, or the reason why they cannot be read.

    Raises `ForeignFolderError` if `--cmvn data-bin` is given and there are no statistics, and
    `ValueError` naming the file if one in the folder is damaged.
    """
    wanted = args.cmvn == "data-bin"
    if args.data_bin is None:
        if wanted:
            raise ForeignFolderError("`--cmvn data-bin` needs `--data-bin`, which is not given.")
        return model
    try:
        found = read_data_bin(Path(args.data_bin), args.config_yaml)
    except (ValueError, OSError) as error:
        if wanted:
            raise
        logger.warning("`--data-bin` is not used, only the model: %s", error)
        return model
    foreign = [
        str(vocabulary.path)
        for vocabulary in found.vocabularies
        if not any(map(vocabulary.fits, (model.source_tokenizer, model.target_tokenizer)))
    ]
    if found.cmvn is not None and not wanted and not _same(found.cmvn, model.cmvn):
        foreign.append(f"{found.statistics} (`--cmvn data-bin` would use it)")
    if foreign:
        logger.info("Not used, because the model has its own: %s.", ", ".join(foreign))
    if not wanted:
        return model
    if found.cmvn is None:
        raise ForeignFolderError(
            f"`--cmvn data-bin` needs {STATISTICS} in {args.data_bin}, or a YAML there with the "
            f"path of such a file, but there is neither; `--config-yaml` is {args.config_yaml}."
        )
    logger.info("Features are normalised with %s (`--cmvn data-bin`).", found.statistics)
    return replace(model, cmvn=found.cmvn)


def read_data_bin(data_bin: Path, config_yaml: str | None) -> DataBin:
    """Reads a `--data-bin`; `config_yaml` is the name of the YAML in it, or None.

    The statistics are those of `global_cmvn.stats_npz_path` in the YAML; a relative path is
    relative to the folder. If that file does not exist (the path is often that of another machine),
    they are `gcmvn.npz` in the folder. Warns if the YAML does not exist.

    Raises `ForeignFolderError` for a folder that does not exist or a file that is not YAML,
    `VocabularyError` for a vocabulary, and `ValueError` naming the path for damaged statistics.
    """
    if not data_bin.is_dir():
        raise ForeignFolderError(f"`--data-bin` must be a folder, but {data_bin} is not.")
    inside = data_bin / STATISTICS
    named = inside if config_yaml is None else _named_statistics(data_bin, config_yaml)
    statistics = next((path for path in (named, inside) if path.is_file()), None)
    cmvn = None if statistics is None else GlobalCmvn.load(statistics)
    return DataBin(statistics, cmvn, read_vocabularies(data_bin))


def _named_statistics(data_bin: Path, config_yaml: str) -> Path:
    path = data_bin / config_yaml
    if not path.is_file():
        logger.warning("%s does not exist; looking for %s beside it.", path, STATISTICS)
        return data_bin / STATISTICS
    try:
        # As in StreamSpeech: every scalar is text, and nothing is converted.
        config: Any = read_yaml(path, every_scalar_is_text=True)
    except YamlError as error:
        raise ForeignFolderError(str(error)) from error
    section = config.get("global_cmvn", {}) if isinstance(config, dict) else None
    if not isinstance(section, dict) or not isinstance(section.get("stats_npz_path", ""), str):
        raise ForeignFolderError(
            f"{path}: `global_cmvn` must be a mapping with a path as `stats_npz_path`, "
            f"but the file holds {shown(config)}."
        )
    return data_bin / (section.get("stats_npz_path") or STATISTICS)


def _same(one: GlobalCmvn, other: GlobalCmvn) -> bool:
    return bool(np.allclose(one.mean, other.mean) and np.allclose(one.std, other.std))
