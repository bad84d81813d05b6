"""CodeHiFiGAN with loops over taps in numpy, from the weights as they are in a checkpoint.

Written from the definition of the network, with zeros around the whole recording, and nothing of
the product in it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Weights = Mapping[str, Tensor]

# The sizes that StreamSpeech's users have: 1000 units of mHuBERT, one English voice.
STREAMSPEECH: dict[str, Any] = {
    "resblock": "1",
    "upsample_rates": [5, 4, 4, 2, 2],
    "upsample_kernel_sizes": [11, 8, 8, 4, 4],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "num_embeddings": 1000,
    "embedding_dim": 128,
    "model_in_dim": 128,
    "dur_predictor_params": {
        "encoder_embed_dim": 128,
        "var_pred_hidden_dim": 128,
        "var_pred_kernel_size": 3,
        "var_pred_dropout": 0.5,
    },
    "code_hop_size": 320,
    "sampling_rate": 16000,
    "f0": False,
    "multispkr": None,
    "segment_size": 8960,
    "learning_rate": 0.0002,
    "dist_config": {"dist_backend": "nccl", "dist_url": "env://"},
}


def narrow_config(num_units: int = 12, width: int = 6, channels: int = 32) -> dict[str, Any]:
    """StreamSpeech's configuration with its kernels and rates, and few channels."""
    config = copy.deepcopy(STREAMSPEECH)
    config |= {"num_embeddings": num_units, "embedding_dim": width, "model_in_dim": width}
    config["upsample_initial_channel"] = channels
    config["dur_predictor_params"] |= {"encoder_embed_dim": width, "var_pred_hidden_dim": 5}
    return config


def shallow_config() -> dict[str, Any]:
    """Two stages and few layers, for tests of the stream: 6 frames on either side matter."""
    config = narrow_config()
    return config | {
        "upsample_rates": [20, 16],
        "upsample_kernel_sizes": [40, 32],
        "upsample_initial_channel": 16,
        "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 2], [1, 3]],
    }


def random_weights(config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """A state dict under the names of a checkpoint; signals keep their size through the layers."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def with_norm(name: str, shape: tuple[int, int, int], num_outputs: int, gain: float) -> None:
        weights[f"{name}.weight_v"] = 0.01 * normal(*shape)
        spread = 0.5 + torch.rand(shape[0], 1, 1, generator=generator)
        weights[f"{name}.weight_g"] = gain * spread
        weights[f"{name}.bias"] = 0.1 * normal(num_outputs)

    width, channels = config["embedding_dim"], config["upsample_initial_channel"]
    weights["dict.weight"] = normal(config["num_embeddings"], width)
    with_norm("conv_pre", (channels, width, 7), channels, 1.0)
    blocks = list(
        zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True)
    )
    for stage, (rate, kernel) in enumerate(
        zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    ):
        channels //= 2
        with_norm(f"ups.{stage}", (2 * channels, channels, kernel), channels, math.sqrt(rate))
        for index, (size, dilations) in enumerate(blocks):
            for convs in ("convs1", "convs2"):
                for layer in range(len(dilations)):
                    name = f"resblocks.{stage * len(blocks) + index}.{convs}.{layer}"
                    with_norm(name, (channels, channels, size), channels, 0.8)
    with_norm("conv_post", (1, channels, 7), 1, 1.0)

    if (params := config.get("dur_predictor_params")) is not None:
        hidden = params["var_pred_hidden_dim"]
        for name, shape in {
            "conv1.0": (hidden, width, 3),
            "conv2.0": (hidden, hidden, 3),
            "proj": (1, hidden),
        }.items():
            gain = 0.3 if name == "proj" else 1.0
            weights[f"dur_predictor.{name}.weight"] = gain * normal(*shape) / math.sqrt(shape[1])
            weights[f"dur_predictor.{name}.bias"] = 0.3 * normal(shape[0])
        weights["dur_predictor.proj.bias"] = torch.tensor([1.1])  # two frames, or one, or a few
        for name in ("ln1", "ln2"):
            weights[f"dur_predictor.{name}.weight"] = 1 + 0.3 * normal(hidden)
            weights[f"dur_predictor.{name}.bias"] = 0.3 * normal(hidden)
    return weights


def slow_samples(weights: Weights, config: Mapping[str, Any], frames: Sequence[int]) -> Floats:
    """The samples (S,) of one recording, of which each frame is one unit."""
    x = _array(weights["dict.weight"])[list(frames)].T  # (D, T)
    x = _conv(x, *_normed(weights, "conv_pre"))
    kernels = config["resblock_kernel_sizes"]
    for stage, rate in enumerate(config["upsample_rates"]):
        x = _upsample(_leaky(x), *_normed(weights, f"ups.{stage}"), rate)
        total = np.zeros_like(x)
        for index, dilations in enumerate(config["resblock_dilation_sizes"]):
            y = x
            for layer, dilation in enumerate(dilations):
                name = f"resblocks.{stage * len(kernels) + index}"
                z = _conv(_leaky(y), *_normed(weights, f"{name}.convs1.{layer}"), dilation)
                y = y + _conv(_leaky(z), *_normed(weights, f"{name}.convs2.{layer}"))
            total += y
        x = total / len(kernels)
    return np.tanh(_conv(_leaky(x, 0.01), *_normed(weights, "conv_post")))[0]


def slow_durations(weights: Weights, units: Sequence[int]) -> list[int]:
    """The number of frames of each unit of one recording."""
    x = _array(weights["dict.weight"])[list(units)].T
    for layer in ("1", "2"):
        name = f"dur_predictor.conv{layer}.0"
        x = _conv(x, _array(weights[f"{name}.weight"]), _array(weights[f"{name}.bias"]))
        x = _layer_norm(np.maximum(x, 0), weights, f"dur_predictor.ln{layer}")
    log = _array(weights["dur_predictor.proj.weight"]) @ x  # (1, E)
    log += _array(weights["dur_predictor.proj.bias"])
    return [max(1, round(math.exp(value) - 1)) for value in log[0]]


def _conv(x: Floats, weight: Floats, bias: Floats, dilation: int = 1) -> Floats:
    """A convolution (C, T) to (C', T) with zeros around `x`."""
    kernel = weight.shape[2]
    reach = (kernel - 1) // 2 * dilation
    padded = np.pad(x, ((0, 0), (reach, reach)))
    y = np.repeat(bias[:, None], x.shape[1], axis=1)
    for tap in range(kernel):
        y += weight[:, :, tap] @ padded[:, tap * dilation : tap * dilation + x.shape[1]]
    return y


def _upsample(x: Floats, weight: Floats, bias: Floats, rate: int) -> Floats:
    """A transposed convolution (C, T) to (C', rate T): each frame adds its kernel to the output."""
    kernel, length = weight.shape[2], rate * x.shape[1]
    y = np.zeros((weight.shape[1], length - rate + kernel))
    for tap in range(kernel):
        y[:, tap : tap + length - rate + 1 : rate] += weight[:, :, tap].T @ x
    cut = (kernel - rate) // 2
    return y[:, cut : cut + length] + bias[:, None]


def _normed(weights: Weights, name: str) -> tuple[Floats, Floats]:
    """Weight and bias of a layer with weight norm: each index of the first axis has a length.

    Rounded to float32, in which a network keeps its weights.
    """
    direction, length = _array(weights[f"{name}.weight_v"]), _array(weights[f"{name}.weight_g"])
    rows = [
        row * (float(wanted.item()) / math.sqrt(float((row**2).sum())))
        for row, wanted in zip(direction, length, strict=True)
    ]
    return np.stack(rows).astype(np.float32).astype(np.float64), _array(weights[f"{name}.bias"])


def _layer_norm(x: Floats, weights: Weights, name: str) -> Floats:
    normal = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    return (
        normal * _array(weights[f"{name}.weight"])[:, None]
        + (_array(weights[f"{name}.bias"])[:, None])
    )


def _leaky(x: Floats, slope: float = 0.1) -> Floats:
    return np.where(x > 0, x, slope * x)


def _array(x: Tensor) -> Floats:
    return x.double().numpy()
