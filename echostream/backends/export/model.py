"""Writes the ONNX graphs of one step of a model folder or of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from echostream.backends.export.check import check_encoder, check_network
from echostream.backends.export.graph_file import write_graph
from echostream.backends.export.int8 import quantised
from echostream.backends.export.progress import Report, Stages, silent
from echostream.backends.export.speech import export_part, speaking_parts
from echostream.backends.export.trace import trace_step
from echostream.backends.onnx import INT8, STEP, OnnxEncoder, OnnxNetwork
from echostream.backends.onnx.seal import sealed
from echostream.config import EncoderConfig
from echostream.files import replacing
from echostream.model_folder import WEIGHTS, load_network, open_folder, save_weights
from echostream.models import EchoStreamModel, ZipformerEncoder
from echostream.models.echostream import CtcOutput
from echostream.models.zipformer_block import ZipformerBlock, ZipformerStack
from echostream.speech_folder import load_speech

_STAGES = 2  # of each graph


def export_model(path: str | Path, int8: bool = False, report: Report = silent) -> list[Path]:
    """Writes `step.onnx` into a model folder, with `int8` also `step.int8.onnx`; returns the paths.

    The graph takes any batch size, number of groups and look-ahead. It refers to the weights in
    `model.safetensors`; only those of int8 are written again. A model that speaks gets another
    `step.onnx` in the folders of its unit decoder and its vocoder. Before a file gets its name, its
    results are compared with those of PyTorch. `report` is called with a line for each stage.

    Raises:
        ModelFolderError, ConfigError: as `load_model`.
        OSError: if a file cannot be written; the old one is then still there.
        ExportError: if the results of a graph differ from those of PyTorch.
    """
    folder, config = open_folder(path)
    parts = speaking_parts(load_speech(folder, config.target_vocab_size))
    stages = Stages(_STAGES * (1 + int8 + len(parts)), report)
    network = load_network(folder, config)
    outputs = tuple("valid_out" if name == "valid" else name for name in CtcOutput._fields)
    # The graph takes any L; whether the network was trained for it is checked in `init_state`.
    network_parts = network.encoder, network.asr_head, network.st_head
    with replacing(folder / STEP) as temporary:
        temporary.touch()  # before the long part: a folder may be read-only
        with stages.stage(f"{STEP}: tracing the network"):
            proto = trace_step(EchoStreamModel(*network_parts), config.encoder.input_dim, outputs)
        write_graph(temporary, proto, "network", config, folder / WEIGHTS)
        with stages.stage(f"{STEP}: comparing it with PyTorch"):
            check_network(OnnxNetwork(temporary, config, None), network)
    if int8:
        with replacing(folder / INT8) as temporary:
            with stages.stage(f"{INT8}: weights to 8 bits"):
                temporary.write_bytes(sealed(quantised(folder / STEP).SerializeToString()))
            with stages.stage(f"{INT8}: running it"):
                check_network(OnnxNetwork(temporary, config, None), network, exact=False)
    for part in parts:
        export_part(folder, part, stages)
    graphs = [folder / STEP, *[folder / INT8] * int8]
    return [*graphs, *(folder / part.name / STEP for part in parts)]


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
    stages = Stages(_STAGES * (1 + int8), report)
    weights = target.with_suffix(".safetensors")
    with replacing(weights) as temporary:
        save_weights({k: v.contiguous() for k, v in encoder.state_dict().items()}, temporary)
    with replacing(target) as temporary:
        temporary.touch()
        with stages.stage(f"{target.name}: tracing the encoder"):
            proto = trace_step(encoder, encoder.input_dim, ("y", "valid_out"))
        write_graph(temporary, proto, "encoder", _encoder_config(encoder), weights)
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


def _encoder_config(encoder: ZipformerEncoder) -> EncoderConfig:
    """The configuration from which `build_encoder` makes this encoder."""
    stacks = cast("Sequence[ZipformerStack]", encoder.stacks)
    blocks = [cast("Sequence[ZipformerBlock]", stack.blocks) for stack in stacks]
    first = blocks[0][0]
    return EncoderConfig(
        input_dim=encoder.input_dim,
        embed_dim=encoder.embed_dim,
        num_heads=first.attention.num_heads,
        ffn_dim=2 * first.feed_forward_in.linear_in.out_features,
        num_layers_per_stack=tuple(map(len, blocks)),
        memory_size=encoder.memory_bank.memory_size,
        conv_kernel=first.conv.kernel_size,
        left_context=first.attention.left_context,
    )
