"""Attention and greedy CTC written from their definitions, one element at a time."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echostream.config import BLANK_ID
from echostream.modules.attention import CTSelfAttention

Floats = NDArray[np.float64]


def moved(module: nn.Module, seed: int = 3) -> nn.Module:
    """The module in float64 with every parameter moved: zeros at the start would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.4 * noise)
    return module


def greedy_ctc(logits: Tensor, valid: Tensor) -> list[tuple[int, int]]:
    """Tokens of one stream, `(T, V)` and `(T,)`, each with its first frame of the valid ones."""
    ids = [int(frame.argmax()) for frame, is_valid in zip(logits, valid, strict=True) if is_valid]
    runs = [list(run) for _, run in groupby(enumerate(ids), key=lambda pair: pair[1])]
    return [(run[0][1], run[0][0]) for run in runs if run[0][1] != BLANK_ID]


def array(x: Tensor) -> Floats:
    return x.detach().numpy()


def slow_query(
    module: CTSelfAttention,
    frame: Floats,
    others: list[tuple[Floats, int]],
    summaries: list[Floats],
) -> Floats:
    """What one frame (D,) makes of what it sees, (D,).

    `others` are the frames that it sees, each with its distance (negative is the past), which has
    a learned bias for each head; `summaries` have no position, so no bias.
    """
    weight, bias = array(module.project_in.weight), array(module.project_in.bias)
    biases = array(module.position_bias)
    # The rows of the projection: one head after the other, each with its query, key and value.
    query_dim, key_dim, value_dim = module.head_dims
    heads = []
    for head in range(module.num_heads):
        start = head * (query_dim + key_dim + value_dim)
        query_rows = slice(start, start + query_dim)
        key_rows = slice(query_rows.stop, query_rows.stop + key_dim)
        value_rows = slice(key_rows.stop, key_rows.stop + value_dim)
        query = weight[query_rows] @ frame + bias[query_rows]
        exponentials, values = [], []
        for seen, distance in [*others, *((summary, None) for summary in summaries)]:
            key = weight[key_rows] @ seen + bias[key_rows]
            score = float(query @ key) / math.sqrt(query_dim)
            if distance is not None:
                # The biases lie from the farthest future to the farthest past.
                score += float(biases[module.max_future_distance - distance, head])
            exponentials.append(math.exp(score))
            values.append(weight[value_rows] @ seen + bias[value_rows])
        total = sum(exponentials)
        heads.append(sum(e / total * v for e, v in zip(exponentials, values, strict=True)))
    return array(module.project_out.weight) @ np.concatenate(heads) + array(module.project_out.bias)
