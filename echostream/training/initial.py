"""The weights that a run starts from: those of a trained model, or of parts of several."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from echostream.config import ConfigError, ModelConfig
from echostream.files import write_whole
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM, load_network, open_folder
from echostream.text.tokenizer import NUM_SPECIAL_IDS
from echostream.training.config import TrainConfig

PARTS = ("encoder", "asr_head", "st_head", "decoder")

# What a part cannot do without: the ids of its text, and for the ST head also those of the
# transcript, whose posteriors it reads; for the encoder the statistics of its features.
_FILES = {
    SOURCE_SPM: ("asr_head", "st_head"),
    TARGET_SPM: ("st_head", "decoder"),
    CMVN: ("encoder",),
}
_TEXT_KEYS = {
    SOURCE_SPM: ("source_emission_unit", "tokenizer_normalization"),
    TARGET_SPM: ("target_emission_unit", "tokenizer_normalization"),
}

logger = logging.getLogger(__name__)


class _Donor(NamedTuple):
    """A trained model whose parts are taken."""

    folder: Path
    config: ModelConfig
    weights: dict[str, Tensor]


class PartReport(NamedTuple):
    """What of a part was taken and what was not, with the reason for each."""

    part: str
    folder: Path
    taken: list[str]
    left: dict[str, str]

    def __str__(self) -> str:
        text = f"{self.part} of {self.folder}: {len(self.taken)} weights are taken"
        if self.left:
            first = next(iter(self.left.items()))
            text += f", {len(self.left)} are not, the first: `{first[0]}` {first[1]}"
        return text


@dataclass(frozen=True)
class Initial:
    """The parts of trained models that a run starts from, by name; none for a run from scratch.

    A part comes with what it was trained for: a head with its tokenizer, the ST head with both, the
    encoder with its feature statistics. So the vocabulary of a head that is taken is not trained
    anew, and that of a head that is not taken is.
    """

    donors: dict[str, _Donor]

    def vocabulary(self) -> tuple[int, int]:
        """The sizes of the vocabularies that are taken; the smallest possible one for others."""
        least = NUM_SPECIAL_IDS + 1
        source, target = self._giver(SOURCE_SPM), self._giver(TARGET_SPM)
        return (
            source.config.source_vocab_size if source else least,
            target.config.target_vocab_size if target else least,
        )

    def write_files(self, folder: Path) -> None:
        """Writes the tokenizers and statistics that come with the parts, unless they are there."""
        for name in _FILES:
            giver = self._giver(name)
            if giver is not None and not (folder / name).exists():
                write_whole(folder / name, (giver.folder / name).read_bytes())
                logger.info("%s is that of %s", name, giver.folder)

    def apply(self, model: nn.Module) -> list[PartReport]:
        """Copies each weight whose name and shape are those of one in `model`.

        Raises:
            ConfigError: if less than half of the weights of a part fit: scalars always do.
        """
        own = model.state_dict()
        reports = []
        for part, donor in self.donors.items():
            report = _compare(part, donor, own)
            if len(report.taken) < len(report.left):
                raise ConfigError(f"`init_from` is of another network than the run: {report}.")
            model.load_state_dict({n: donor.weights[n] for n in report.taken}, strict=False)
            reports.append(report)
        return reports

    def _giver(self, name: str) -> _Donor | None:
        return next(iter(self.givers(name)), None)

    def givers(self, name: str) -> Iterator[_Donor]:
        """The models whose parts come with the file of this name."""
        return (self.donors[part] for part in _FILES[name] if part in self.donors)


def read_initial(config: TrainConfig) -> Initial:
    """The models that `init_from` names, checked against each other and the configuration.

    Raises:
        ConfigError: naming the entry, if a part is named twice or is not in its model or in the
            network of the run, or if two models have different tokenizers for one text.
        ModelFolderError: if a model cannot be used.
    """
    models: dict[Path, _Donor] = {}
    donors: dict[str, _Donor] = {}
    for entry in config.init_from:
        folder, part = _parse(entry)
        if folder not in models:
            found, network = open_folder(folder)
            models[folder] = _Donor(folder, network, load_network(found, network).state_dict())
        donor = models[folder]
        there = [p for p in PARTS if any(n.startswith(f"{p}.") for n in donor.weights)]
        here = [p for p in PARTS if p != "decoder" or config.network.decoder_layers]
        if part is not None and (part not in there or part not in here):
            whose = f"the model in {folder}" if part not in there else "the network of the run"
            raise ConfigError(f"`init_from`: {whose} has no {part}.")
        for foreign in set(there) - set(here) if part is None else ():
            logger.warning("the %s of %s is not taken: the run has none", foreign, folder)
        for each in [part] if part else [p for p in there if p in here]:
            if each in donors:
                raise ConfigError(f"`init_from` names the {each} twice: {entry} is the second.")
            donors[each] = donor
    initial = Initial({part: donors[part] for part in PARTS if part in donors})
    for name in _FILES:
        _check_file(name, list(initial.givers(name)), config.network)
    return initial


def _parse(entry: str) -> tuple[Path, str | None]:
    """The folder and the part of `MODEL:part`; no part for a whole model."""
    folder, colon, part = entry.rpartition(":")
    if colon and part in PARTS:
        return Path(folder), part
    if colon and not Path(entry).exists():
        raise ConfigError(
            f"`init_from` must be a model folder, or one with a colon and one of "
            f"{', '.join(PARTS)}, but is {entry[:200]!r} instead."
        )
    return Path(entry), None


def _check_file(name: str, givers: list[_Donor], network: ModelConfig) -> None:
    for giver in givers:
        if (giver.folder / name).read_bytes() != (givers[0].folder / name).read_bytes():
            raise ConfigError(
                f"`init_from`: {giver.folder} and {givers[0].folder} have different files {name}: "
                f"{' and '.join(_FILES[name])} must be taken from models that share it."
            )
        for key in _TEXT_KEYS.get(name, ()):
            there, here = getattr(giver.config, key), getattr(network, key)
            if there != here:
                raise ConfigError(
                    f"`init_from`: `{key}` is {there} in {giver.folder}, whose {name} is taken, "
                    f"but `network.{key}` is {here}."
                )


def _compare(part: str, donor: _Donor, own: dict[str, Tensor]) -> PartReport:
    taken, left = [], dict[str, str]()
    for name, value in donor.weights.items():
        if not name.startswith(f"{part}."):
            continue
        if name not in own:
            left[name] = "is not in the network of the run"
        elif own[name].shape != value.shape:
            left[name] = f"has shape {tuple(value.shape)} there and {tuple(own[name].shape)} here"
        else:
            taken.append(name)
    for name in own:
        if name.startswith(f"{part}.") and name not in donor.weights:
            left[name] = "is not in that model, and starts at random"
    return PartReport(part, donor.folder, taken, left)
