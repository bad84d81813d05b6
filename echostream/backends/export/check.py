"""Compares an exported graph with the module from which it was exported."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echostream.backends.onnx import OnnxEncoder, OnnxNetwork, OnnxUnitDecoder, OnnxVocoder
from echostream.models import EchoStreamModel, ZipformerEncoder
from echostream.models.unit_decoder import NextWords, UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.models.word_encoder import END_OF_TEXT, NO_TOKEN
from echostream.streaming import GROUP_FRAMES, named_leaves

TOLERANCE = 1e-4
# Streams, and groups of each chunk, some of them longer than one or two memory segments.
_RUNS = ((1, (2, 2, 1, 9, 2)), (3, (1, 3, 5, 17)))
_NUM_WORDS, _LAST_OF_TEXT = 12, 9


class ExportError(RuntimeError):
    """An exported graph whose results differ from those of PyTorch."""


def check_network(graph: OnnxNetwork, network: EchoStreamModel, exact: bool = True) -> None:
    """Raises `ExportError` unless both give the same outputs and states, for every look-ahead.

    Without `exact` (int8) the outputs must only be finite and of the same shape.
    """
    for max_future_frames in network.max_future_frames:
        _check(graph, network, network.encoder.input_dim, max_future_frames, exact)


def check_encoder(graph: OnnxEncoder, encoder: ZipformerEncoder, exact: bool = True) -> None:
    """The same for an encoder alone."""
    for max_future_frames in (0, 1, 2):
        _check(graph, encoder, encoder.input_dim, max_future_frames, exact)


def _check(graph: Any, module: Any, input_dim: int, max_future_frames: int, exact: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch, chunks in _RUNS:
            ours = theirs = module.init_state(batch, max_future_frames)
            for groups in chunks:
                x = torch.randn(batch, GROUP_FRAMES * groups, input_dim, generator=generator)
                wanted, ours = module.step(x, ours)
                found, theirs = graph.step(x, theirs)
                where = f"L={max_future_frames}, {batch} streams, {groups} groups"
                _compare((found, theirs), (wanted, ours), where, exact)


def check_unit_decoder(graph: OnnxUnitDecoder, module: UnitDecoder) -> None:
    """Raises `ExportError` unless both give the same units and states, word by word."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randint(1, module.config.vocab_size, shape, generator=generator)

    with torch.inference_mode():
        for batch in (1, 3):
            ours = theirs = module.init_state(batch)
            for word in range(_NUM_WORDS):
                tokens = draw(batch, 1 + word % 4)
                tokens[-1, 1:] = NO_TOKEN
                following = draw(batch) if word != _LAST_OF_TEXT else torch.tensor(END_OF_TEXT)
                active = torch.arange(batch) != word % 4  # a batch of one has pauses, too
                speed = 1 + torch.rand(batch, generator=generator)
                words = NextWords(tokens, following.expand(batch), active, speed)
                wanted, ours = module.step(words, ours)
                found, theirs = graph.step(words, theirs)
                _compare((found, theirs), (wanted, ours), f"{batch} streams, word {word}")


def check_vocoder(graph: OnnxVocoder, module: UnitVocoder) -> None:
    """Raises `ExportError` unless both give the same samples, and states of the same form.

    Both go on from one state: a phase is the sum of all frequencies, whose rounding differs.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for batch, chunks in _RUNS:
            state = module.init_state(batch)
            for size in chunks:
                units = torch.randint(module.num_units, (batch, size), generator=generator)
                count = torch.randint(size + 1, (batch, 1), generator=generator)
                valid = torch.arange(size) < count
                wanted, after = module.step(units, state, valid)
                found, theirs = graph.step(units, state, valid)
                where = f"{batch} streams, {size} units"
                _compare(found, wanted, where)
                _compare(theirs, after, where, exact=False)
                state = after


def _compare(found: Any, wanted: Any, where: str, exact: bool = True) -> None:
    for (name, ours), (_, theirs) in zip(named_leaves(wanted), named_leaves(found), strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise ExportError(
                f"{where}: `{name}` must be {ours.dtype} {tuple(ours.shape)}, "
                f"but is {theirs.dtype} {tuple(theirs.shape)} instead."
            )
        if not theirs.isfinite().all():
            raise ExportError(f"{where}: `{name}` must be finite, but is not.")
        if exact and ours.numel():
            scale = max(1.0, float(ours.double().abs().max()))
            off = float((ours.double() - theirs.double()).abs().max()) / scale
            if off > TOLERANCE:
                raise ExportError(
                    f"{where}: `{name}` must be within {TOLERANCE} of PyTorch, but is off by {off}."
                )
