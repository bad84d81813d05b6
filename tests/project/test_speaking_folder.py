"""The parts of a model that speaks: what is damaged, foreign or of another size is refused by name.

Each case damages one part in the folder of a model; the message names that part.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_speech import NUM_UNITS, make_speaking_folder, tiny_unit_decoder

from echostream.config import ConfigError
from echostream.model_folder import ModelFolderError, load_model
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import CTC, RefinerConfig, VocoderConfig
from echostream.speech_folder import SpeechPart, load_vocoder, save_part

Damage = Callable[[Path], object]  # of the folder of a part
UNIT_DECODER, REFINER, VOCODER = "unit_decoder", "refiner", "vocoder"
PARTS = (UNIT_DECODER, REFINER, VOCODER)
CONFIG, WEIGHTS = "config.yaml", "model.safetensors"


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_folder(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def model(speaking: Path, tmp_path: Path) -> Path:
    shutil.copytree(speaking, folder := tmp_path / "model")
    return folder


def refusal(model: Path) -> str:
    with pytest.raises((ModelFolderError, ConfigError)) as caught:
        load_model(model)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    return message


def text(content: str, name: str = CONFIG) -> Damage:
    return lambda part: (part / name).write_text(content)


def replaced(old: str, new: str) -> Damage:
    def replace(part: Path) -> None:
        before = (part / CONFIG).read_text()
        assert old in before
        (part / CONFIG).write_text(before.replace(old, new, 1))

    return replace


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def write(part: Path) -> None:
        values = load_file(part / WEIGHTS)
        change(values)
        save_file(values, part / WEIGHTS)

    return write


def first_is(value: float) -> Damage:
    return weights(lambda values: values[min(values)].fill_(value))


def cut(part: Path) -> None:
    (part / WEIGHTS).write_bytes((part / WEIGHTS).read_bytes()[:-10])


def a_file(part: Path) -> None:
    shutil.rmtree(part)
    part.write_text("")


# What may befall any of the parts.
ANY_PART: dict[str, tuple[Damage, str]] = {
    "NaN": (first_is(float("nan")), "holds NaN or infinity"),
    "infinity": (first_is(float("-inf")), "holds NaN or infinity"),
    "float64": (
        weights(lambda v: v.update({k: x.double() for k, x in v.items()})),
        "torch.float64",
    ),
    "a weight less": (weights(lambda v: v.pop(min(v))), "1 weights are missing"),
    "a weight more": (weights(lambda v: v.update(x=torch.zeros(1))), r"1 are unknown ['x']"),
    "cut off": (cut, "is not a readable safetensors file"),
    "empty": (text("", WEIGHTS), "is not a readable safetensors file"),
    "pickle": (lambda part: torch.save({"a": 1}, part / WEIGHTS), "not a readable safetensors"),
    "LFS": (text("version https://git-lfs.github.com/spec/v1\n", WEIGHTS), "is a Git LFS pointer"),
    "no weights": (lambda part: (part / WEIGHTS).unlink(), f"has no file {WEIGHTS}"),
    "no configuration": (lambda part: (part / CONFIG).unlink(), f"has no file {CONFIG}"),
    "a file": (a_file, f"has no file {CONFIG}"),
    "unknown key": (replaced("num_", "beam: 3\nnum_"), "`beam` is not a key"),
    "a key twice": (replaced("num_", "dim: 8\nnum_"), "`dim` must not be given twice"),
    "empty configuration": (text(""), "is missing"),
    "no YAML": (text("{["), "line 1, column 3: this is not YAML"),
    "a list": (text("- 1\n"), "must be a mapping of keys"),
    "a text for a number": (replaced("dim: ", "dim: x"), "must be int, but is 'x"),
    "too large a number": (replaced("dim: ", "dim: 9999"), "must be a whole number from"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", ANY_PART)
def test_a_damaged_part_is_refused(model: Path, part: str, case: str) -> None:
    damage, message = ANY_PART[case]
    damage(model / part)
    found = refusal(model)
    assert message in found and str(model / part) in found


def of(part: SpeechPart) -> Damage:
    return lambda folder: save_part(folder, part)


def tiny_vocoder(num_units: int = NUM_UNITS, **changed: object) -> SpeechPart:
    return UnitVocoder(VocoderConfig(num_units, 8, 16, 2, 3, 8, 10, **changed))  # type: ignore[arg-type]


# Parts that are whole, for another model.
OTHERS: dict[str, tuple[str, Damage, str]] = {
    "vocoder of more units": (VOCODER, of(tiny_vocoder(14)), "`num_units` must be 14 in this mode"),
    "vocoder of other units": (
        VOCODER,
        of(tiny_vocoder(units="mhubert")),
        "`units` must be mhubert in this model, but is logmel80",
    ),
    "unit decoder of more units": (
        UNIT_DECODER,
        of(UnitDecoder(tiny_unit_decoder(24, 14))),
        "`num_units` must be 13 in this model, but is 14",
    ),
    "unit decoder of more words": (
        UNIT_DECODER,
        of(UnitDecoder(tiny_unit_decoder(25, NUM_UNITS))),
        "`vocab_size` must be 24 in this model, but is 25",
    ),
    "unit decoder of foreign units": (
        UNIT_DECODER,
        of(UnitDecoder(tiny_unit_decoder(24, NUM_UNITS, units="mhubert"))),
        "`units` must be logmel80 in this model, but is mhubert",
    ),
    "unit decoder of the other kind": (
        UNIT_DECODER,
        of(UnitDecoder(tiny_unit_decoder(24, NUM_UNITS, kind=CTC))),
        "`num_classes` must be 14 in this model, but is 13",
    ),
    "refiner of more units": (
        REFINER,
        of(UnitRefiner(RefinerConfig(14, 16, 16, 2, 16, 2, window=5))),
        "`num_classes` must be 13 in this model, but is 14",
    ),
    "refiner of wider frames": (
        REFINER,
        of(UnitRefiner(RefinerConfig(NUM_UNITS, 32, 16, 2, 16, 2, window=5))),
        "`frame_dim` must be 16 in this model, but is 32",
    ),
    "vocoder of another width": (
        VOCODER,
        replaced("ffn_dim: 16", "ffn_dim: 24"),
        "must have shape (24,) and torch.float32 in the network of config.yaml, but has (16,)",
    ),
    "a silence that is no unit": (
        VOCODER,
        replaced("silence_unit: 2", "silence_unit: 13"),
        "`silence_unit` must be a whole number from 0 to 12, but is 13",
    ),
    "units at another rate": (
        VOCODER,
        replaced("silence_unit: 2", "rate: 25"),
        "`rate` is not a k",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_part_of_another_model_is_refused(model: Path, case: str) -> None:
    part, change, message = OTHERS[case]
    change(model / part)
    found = refusal(model)
    assert message in found and str(model) in found


def test_parts_in_each_others_places_are_refused(model: Path) -> None:
    (model / VOCODER).rename(model / "x")
    (model / UNIT_DECODER).rename(model / VOCODER)
    (model / "x").rename(model / UNIT_DECODER)
    assert "is not a key; the keys are" in refusal(model)


def test_a_model_without_a_refiner_still_speaks(model: Path) -> None:
    shutil.rmtree(model / REFINER)
    loaded = load_model(model)
    assert loaded.speech is not None and loaded.speech.refiner is None


def test_weights_in_half_precision_are_read_as_the_rounded_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vocoder = UnitVocoder(VocoderConfig(8, 8, 16, 1, 3, 6, 9))
    save_part(tmp_path / "half", vocoder, half_precision=True)
    save_part(tmp_path / "full", vocoder)
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.7 * sizes[1]
    found = load_vocoder(tmp_path / "half").state_dict()
    for name, value in vocoder.state_dict().items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(found[name], value.half().to(value.dtype), rtol=0, atol=0)
