"""Loads a CodeHiFiGAN vocoder from `g_00500000` and `config.json`, as StreamSpeech does."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.config import ConfigError
from echostream.models.code_hifigan import CodeHiFiGAN
from echostream.models.code_hifigan_config import CodeHiFiGANConfig, read_config
from echostream.models.skip_init import skip_init
from echostream.torch_file import UNREADABLE

DEFAULT_LOOKAHEAD_FRAMES = 19

# Where the parts of the network are in a checkpoint.
_RENAMED = {"embedding": "dict"}
_WITHOUT_WEIGHT_NORM = ("embedding.", "dur_predictor.")


class VocoderError(ValueError):
    """A vocoder checkpoint that cannot be used; the message names the file and the reason."""


def load_code_hifigan(
    checkpoint: str | os.PathLike[str],
    config_json: str | os.PathLike[str],
    dur_prediction: bool = True,
    lookahead_frames: int = DEFAULT_LOOKAHEAD_FRAMES,
) -> CodeHiFiGAN:
    """The vocoder of a checkpoint, in evaluation mode, with the weight norm folded into weights.

    Args:
        checkpoint: a file of `torch.save({"generator": state_dict})`. Nothing in it is executed.
        config_json: the sizes of the network.
        dur_prediction: units come without repeats, and their durations are predicted.
        lookahead_frames: see `CodeHiFiGAN`.

    Raises:
        ConfigError: about the configuration, see `read_config`.
        VocoderError: if the checkpoint is damaged, holds more than tensors, or its weights have
            other names or shapes than those of the configuration, or are not finite.
        ValueError: for a look-ahead out of range, or durations that the network does not predict.
        OSError: if a file cannot be read.
    """
    config = read_config(Path(config_json))
    if dur_prediction and config.duration_dim is None:
        raise ValueError(
            f"`dur_prediction` must be False for {config_json}, which has no "
            "`dur_predictor_params`, but is True instead."
        )
    try:
        with skip_init():
            vocoder = build_code_hifigan(config, dur_prediction, lookahead_frames)
    except (RuntimeError, MemoryError) as error:  # RuntimeError is PyTorch's for no memory
        raise ConfigError(
            f"{config_json}: it is of a network that is too large for this machine."
        ) from error
    path = Path(checkpoint)
    try:
        found = _read_generator(path)
        vocoder.load_state_dict(_fold(found, vocoder.state_dict()))
    except VocoderError as error:
        raise VocoderError(f"{path}: {error}") from error
    return vocoder.eval().requires_grad_(False)


def build_code_hifigan(
    config: CodeHiFiGANConfig, dur_prediction: bool, lookahead_frames: int
) -> CodeHiFiGAN:
    """A vocoder with new weights."""
    return CodeHiFiGAN(
        **vars(config), predicts_durations=dur_prediction, lookahead_frames=lookahead_frames
    )


def _read_generator(path: Path) -> dict[str, Tensor]:
    """The state dict of the generator in a checkpoint; all values are plain, finite tensors."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # PyTorch does not compare the check sums
                if damaged := archive.testzip():
                    raise VocoderError(f"it is damaged (the check sum of {damaged} is wrong).")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except VocoderError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # PyTorch seeks before the start of a file cut short
            raise
        raise VocoderError("it is not a checkpoint of PyTorch, or it is cut short.") from error
    except UNREADABLE as error:
        raise VocoderError(_reason(error)) from error
    if not isinstance(content, Mapping) or "generator" not in content:
        names = f" {sorted(map(str, content))[:5]}" if isinstance(content, Mapping) else ""
        raise VocoderError(
            f"it must hold a dict with `generator`, but holds a {type(content).__name__}{names}."
        )
    weights = content["generator"]
    if not isinstance(weights, Mapping):
        raise VocoderError(
            f"`generator` must be a state dict, but is a {type(weights).__name__} instead."
        )
    for name, value in weights.items():
        _check_tensor(name, value)
    return dict(weights)


def _reason(error: Exception) -> str:
    """Why PyTorch could not load a file, without its advice to execute what is in it."""
    message = str(error)
    if refused := re.search(r"GLOBAL (\S+)", message):
        return f"it must hold tensors only, but holds {refused[1]} too."
    # A KeyError has no more than some byte of the file.
    is_vague = "weights_only" in message or isinstance(error, LookupError)
    lines = [] if is_vague else message.strip().splitlines()
    return f"it is no checkpoint, or damaged ({lines[0][:200] if lines else 'not readable'})."


def _check_tensor(name: Any, value: Any) -> None:
    if not isinstance(name, str):
        raise VocoderError(f"the names of the weights must be texts, but one is {name!r:.80}.")
    if not isinstance(value, Tensor):
        raise VocoderError(f"`{name}` must be a tensor, but is a {type(value).__name__} instead.")
    is_plain = value.layout == torch.strided and not value.is_meta and not value.is_quantized
    if not is_plain or not value.is_floating_point():
        raise VocoderError(
            f"`{name}` must be a plain tensor of floats, but is {value.dtype}, "
            f"{str(value.layout).removeprefix('torch.')}."
        )
    if not value.isfinite().all():
        raise VocoderError(f"`{name}` holds NaN or infinity.")


def _fold(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of `wanted`, of its shapes, in float32.

    A weight with weight norm is two in the checkpoint: `weight_g` has its lengths, one for each
    index of the first axis, and `weight_v` has its directions.
    """
    names = {name: _names_in_file(name) for name in wanted}
    known = {name for group in names.values() for name in group}
    missing, unknown = sorted(known - found.keys()), sorted(found.keys() - known)
    if missing or unknown:
        raise VocoderError(
            "it is of another network than that of the configuration: "
            f"{len(missing)} weights are missing {missing[:3]}, "
            f"{len(unknown)} are unknown {unknown[:3]}."
        )
    folded = {}
    for name, group in names.items():
        shape = wanted[name].shape
        for part in group:
            lengths = torch.Size([shape[0], *[1] * (len(shape) - 1)])
            expected = lengths if part.endswith(".weight_g") else shape
            if found[part].shape != expected:
                raise VocoderError(
                    f"`{part}` must have the shape {tuple(expected)} by the configuration, "
                    f"but has {tuple(found[part].shape)}."
                )
        folded[name] = _normed(*(found[part].double() for part in group)).float()
        if not folded[name].isfinite().all():
            raise VocoderError(f"`{group[-1]}` has a direction of length 0.")
    return folded


def _names_in_file(name: str) -> tuple[str, ...]:
    """The names in a checkpoint of a weight: one, or length and direction."""
    first, _, rest = name.partition(".")
    in_file = rest if first == "generator" else f"{_RENAMED.get(first, first)}.{rest}"
    if name.startswith(_WITHOUT_WEIGHT_NORM) or not name.endswith(".weight"):
        return (in_file,)
    return (f"{in_file}_g", f"{in_file}_v")


def _normed(length: Tensor, direction: Tensor | None = None) -> Tensor:
    """Weights of these directions and lengths (Salimans and Kingma 2016, arXiv 1602.07868)."""
    if direction is None:
        return length
    axes = tuple(range(1, direction.dim()))
    folded: Tensor = direction * (length / direction.norm(dim=axes, keepdim=True))
    return folded
