"""The `config.json` of a CodeHiFiGAN vocoder, as StreamSpeech's users have it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echostream.config import ConfigError
from echostream.ranges import check_whole, shown
from echostream.streaming.clock import SAMPLE_RATE, UNIT_SAMPLES

# Fields without influence on the network: of the training, and of the mel loss.
_TRAINING_FIELDS = {
    "input_training_file", "input_validation_file", "num_gpus", "num_workers", "dist_config",
    "batch_size", "learning_rate", "adam_b1", "adam_b2", "lr_decay", "seed", "segment_size",
    "num_mels", "num_freq", "n_fft", "hop_size", "win_size", "fmin", "fmax", "fmax_for_loss",
    "dur_prediction_weight", "encodeunits", "encodef0", "f0_stats", "f0_normalize", "f0_feats",
    "f0_median", "f0_interp",
}  # fmt: skip
_OTHER_NETWORKS = {
    "multispkr": "several speakers",
    "embedder_params": "speaker embeddings",
    "multistyle": "several styles",
    "num_style_tokens": "style tokens",
    "f0": "pitch as an input",
    "f0_quant_num_bin": "pitch as an input",
    "lang_embedding_dim": "several languages",
    "spkr_embedding_dim": "several speakers",
}
_FIELDS = {
    "resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel",
    "resblock_kernel_sizes", "resblock_dilation_sizes", "num_embeddings", "embedding_dim",
    "model_in_dim", "dur_predictor_params", "code_hop_size", "sampling_rate",
}  # fmt: skip
_DURATION_FIELDS = {
    "encoder_embed_dim", "var_pred_hidden_dim", "var_pred_kernel_size", "var_pred_dropout",
}  # fmt: skip


@dataclass(frozen=True)
class CodeHiFiGANConfig:
    """The sizes of the network; see `CodeHiFiGAN`."""

    num_units: int
    embedding_dim: int
    initial_channels: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    duration_dim: int | None


def read_config(path: Path) -> CodeHiFiGANConfig:
    """The sizes in a `config.json`.

    Raises:
        ConfigError: if the file is not JSON, a field is missing, has another type or range, or
            asks for what is not supported: other rates than 50 units a second at 16 kHz, several
            speakers, languages or styles, pitch as an input. A field that is not known must be
            off (false, null, 0). The message names the file and the field.
        OSError: if it cannot be read.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: it is not JSON ({error}).") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: it must be a JSON object, but is {shown(fields)} instead.")
    try:
        return _parse(fields)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _parse(fields: Mapping[str, Any]) -> CodeHiFiGANConfig:
    _check_names(fields)
    embedding_dim = _whole(fields, "embedding_dim", 1, 8192)
    if _whole(fields, "model_in_dim", 1, 8192) != embedding_dim:
        raise ValueError(
            f"`model_in_dim` must be `embedding_dim`, which is {embedding_dim}, "
            f"but is {fields['model_in_dim']} instead: other inputs than units are not supported."
        )
    rates, kernels = _upsampling(fields)
    initial = _get(fields, "upsample_initial_channel")
    check_whole("upsample_initial_channel", initial, 2 ** len(rates), 8192, 2 ** len(rates))
    resblock_kernels = _list(fields, "resblock_kernel_sizes", 1, 63)
    for kernel in resblock_kernels:
        if kernel % 2 == 0:
            raise ValueError(f"`resblock_kernel_sizes` must be odd, but one is {kernel}.")
    dilations = _get(fields, "resblock_dilation_sizes")
    if not isinstance(dilations, list) or len(dilations) != len(resblock_kernels):
        raise ValueError(
            f"`resblock_dilation_sizes` must be a list of {len(resblock_kernels)} lists, one for "
            f"each of `resblock_kernel_sizes`, but is {shown(dilations)} instead."
        )
    return CodeHiFiGANConfig(
        num_units=_whole(fields, "num_embeddings", 1, 1_000_000),
        embedding_dim=embedding_dim,
        initial_channels=initial,
        duration_dim=_duration_dim(fields.get("dur_predictor_params"), embedding_dim),
        resblock_kernel_sizes=resblock_kernels,
        resblock_dilation_sizes=tuple(
            _list({"resblock_dilation_sizes": each}, "resblock_dilation_sizes", 1, 63)
            for each in dilations
        ),
        upsample_rates=rates,
        upsample_kernel_sizes=kernels,
    )


def _check_names(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if name in _FIELDS or name in _TRAINING_FIELDS or not value:
            continue
        if name in _OTHER_NETWORKS:
            raise ValueError(
                f"`{name}` must be false, but is {shown(value)} instead: "
                f"{_OTHER_NETWORKS[name]}: that is not supported."
            )
        raise ValueError(f"`{name}` is not known, and is {shown(value)}.")
    for name, allowed in (
        ("resblock", ("1", 1)),
        ("code_hop_size", (UNIT_SAMPLES,)),
        ("sampling_rate", (SAMPLE_RATE,)),
    ):
        if name in fields and fields[name] not in allowed:
            raise ValueError(
                f"`{name}` must be {allowed[0]}, but is {shown(fields[name])} instead."
            )


def _upsampling(fields: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rates = _list(fields, "upsample_rates", 1, 64)
    kernels = _list(fields, "upsample_kernel_sizes", 1, 255)
    if math.prod(rates) != UNIT_SAMPLES:
        raise ValueError(
            f"`upsample_rates` must have the product {UNIT_SAMPLES}, the samples of a unit, "
            f"but are {list(rates)}, with the product {math.prod(rates)}."
        )
    fits = len(kernels) == len(rates) and all(
        kernel >= rate and (kernel - rate) % 2 == 0
        for kernel, rate in zip(kernels, rates, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`upsample_kernel_sizes` must be one for each of `upsample_rates` {list(rates)}, "
            f"larger by an even number or equal, but are {list(kernels)} instead."
        )
    return rates, kernels


def _duration_dim(params: object, embedding_dim: int) -> int | None:
    """The hidden width of the duration predictor; None if there is none."""
    if not params:
        return None
    if not isinstance(params, dict) or params.keys() - _DURATION_FIELDS:
        raise ValueError(
            f"`dur_predictor_params` must be an object with {', '.join(sorted(_DURATION_FIELDS))}, "
            f"but is {shown(params)} instead."
        )
    check_whole("encoder_embed_dim", params.get("encoder_embed_dim"), embedding_dim, embedding_dim)
    # With any other kernel, the padding of fairseq's predictor gives another number of durations.
    check_whole("var_pred_kernel_size", params.get("var_pred_kernel_size"), 3, 3)
    return _whole(params, "var_pred_hidden_dim", 1, 8192)


def _get(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise ValueError(f"`{name}` is missing.")
    return fields[name]


def _whole(fields: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = _get(fields, name)
    check_whole(name, value, least, most)
    return int(value)


def _list(fields: Mapping[str, Any], name: str, least: int, most: int) -> tuple[int, ...]:
    value = _get(fields, name)
    if not isinstance(value, list) or not 1 <= len(value) <= 16:
        raise ValueError(f"`{name}` must be a list of numbers, but is {shown(value)} instead.")
    for number in value:
        check_whole(name, number, least, most)
    return tuple(value)
