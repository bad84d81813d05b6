"""Writes the ONNX graph of one step of a model folder or of an encoder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from onnx import ModelProto

from echostream._version import __version__
from echostream.backends.export.check import check_encoder, check_network
from echostream.backends.export.int8 import quantised
from echostream.backends.export.progress import Report, Stages, silent
from echostream.backends.export.trace import trace_step
from echostream.backends.export.weights import refer_to
from echostream.backends.onnx import INT8, METADATA, STEP, OnnxEncoder, OnnxNetwork
from echostream.backends.onnx.seal import UNSEALED, sealed
from echostream.config import EncoderConfig, to_dict
from echostream.files import replacing, sha256_of
from echostream.model_folder import WEIGHTS, load_network, open_folder, save_weights
from echostream.models import EchoStreamModel, ZipformerEncoder
from echostream.models.echostream import CtcOutput
from echostream.models.zipformer_block import ZipformerBlock, ZipformerStack

_STAGES, _INT8_STAGES = 2, 2


def export_model(path: str | Path, int8: bool = False, report: Report = silent) -> list[Path]:
    """Writes `step.onnx` into a model folder, with `int8` also `step.int8.onnx`; returns the paths.

    The graph takes any batch size, number of groups and look-ahead. It refers to the weights in
    `model.safetensors`; only those of int8 are written again. Before a file gets its name, its
    results are compared with those of PyTorch. `report` is called with a line for each stage.

    Raises:
        ModelFolderError, ConfigError: as `load_model`.
        OSError: if a file cannot be written; the old one is then still there.
        ExportError: if the results of a graph differ from those of PyTorch.
    """
    folder, config = open_folder(path)
    stages = Stages(_STAGES + _INT8_STAGES if int8 else _STAGES, report)
    network = load_network(folder, config)
    outputs = tuple("valid_out" if name == "valid" else name for name in CtcOutput._fields)
    # The graph takes any L; whether the network was trained for it is checked in `init_state`.
    parts = network.encoder, network.asr_head, network.st_head
    with replacing(folder / STEP) as temporary:
        temporary.touch()  # before the long part: a folder may be read-only
        with stages.stage(f"{STEP}: tracing the network"):
            proto = trace_step(EchoStreamModel(*parts), config.encoder.input_dim, outputs)
        refer_to(proto, folder / WEIGHTS)
        _describe(proto, "network", to_dict(config), sha256_of(folder / WEIGHTS))
        temporary.write_bytes(sealed(proto.SerializeToString()))
        with stages.stage(f"{STEP}: comparing it with PyTorch"):
            check_network(OnnxNetwork(temporary, config, None), network)
    if not int8:
        return [folder / STEP]
    with replacing(folder / INT8) as temporary:
        with stages.stage(f"{INT8}: weights to 8 bits"):
            temporary.write_bytes(sealed(quantised(folder / STEP).SerializeToString()))
        with stages.stage(f"{INT8}: running it"):
            check_network(OnnxNetwork(temporary, config, None), network, exact=False)
    return [folder / STEP, folder / INT8]


def export_encoder(
    encoder: ZipformerEncoder, path: str | Path, int8: bool = False, report: Report = silent
) -> list[Path]:
    """Writes the step of an encoder alone to `path`, with its weights beside it as safetensors.

    With `int8` also to a file whose suffix is `.int8.onnx`. Returns the paths of the graphs.
    `report` is called with a line for each stage.

    Raises:
        OSError: if a file cannot be written.
        ExportError: if the results of a graph differ from those of PyTorch.
    """
    target = Path(path).absolute()
    stages = Stages(_STAGES + _INT8_STAGES if int8 else _STAGES, report)
    weights = target.with_suffix(".safetensors")
    with replacing(weights) as temporary:
        save_weights({k: v.contiguous() for k, v in encoder.state_dict().items()}, temporary)
    with replacing(target) as temporary:
        temporary.touch()
        with stages.stage(f"{target.name}: tracing the encoder"):
            proto = trace_step(encoder, encoder.input_dim, ("y", "valid_out"))
        refer_to(proto, weights)
        _describe(proto, "encoder", _encoder_config(encoder), sha256_of(weights))
        temporary.write_bytes(sealed(proto.SerializeToString()))
        with stages.stage(f"{target.name}: comparing it with PyTorch"):
            check_encoder(OnnxEncoder(temporary), encoder)
    if not int8:
        return [target]
    smaller = target.with_suffix(".int8.onnx")
    with replacing(smaller) as temporary:
        with stages.stage(f"{smaller.name}: weights to 8 bits"):
            temporary.write_bytes(sealed(quantised(target).SerializeToString()))
        with stages.stage(f"{smaller.name}: running it"):
            check_encoder(OnnxEncoder(temporary), encoder, exact=False)
    return [target, smaller]


def _describe(proto: ModelProto, kind: str, config: dict[str, Any], weights: str) -> None:
    """Adds kind, configuration, digests and versions to the metadata, as JSON under one key."""
    about = {
        "kind": kind,
        "config": config,
        "weights_sha256": weights,
        "graph_sha256": UNSEALED,
        "echostream": __version__,
        "torch": torch.__version__,
    }
    onnx.helper.set_model_props(proto, {METADATA: json.dumps(about)})


def _encoder_config(encoder: ZipformerEncoder) -> dict[str, Any]:
    """The configuration from which `build_encoder` makes this encoder."""
    stacks = cast("Sequence[ZipformerStack]", encoder.stacks)
    blocks = [cast("Sequence[ZipformerBlock]", stack.blocks) for stack in stacks]
    first = blocks[0][0]
    config = EncoderConfig(
        input_dim=encoder.input_dim,
        embed_dim=encoder.embed_dim,
        num_heads=first.attention.num_heads,
        ffn_dim=2 * first.feed_forward_in.linear_in.out_features,
        num_layers_per_stack=tuple(map(len, blocks)),
        memory_size=encoder.memory_bank.memory_size,
        conv_kernel=first.conv.kernel_size,
        left_context=first.attention.left_context,
    )
    return dataclasses.asdict(config)
