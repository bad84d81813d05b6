"""A model folder small enough for tests: random weights, real tokenizers, real statistics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fixtures import TINY_ENCODER
from echostream.config import ModelConfig
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.model_folder import Model, save_model
from echostream.models import EchoStreamModel, build_model
from echostream.models.text_decoder import TextDecoder
from echostream.text.tokenizer import Tokenizer

SOURCE_TEXT = (
    "le chat noir dort dans la maison",
    "la grande maison est dans la rue",
    "un chien noir mange dans la rue",
    "il fait beau dans la grande rue",
    "le chien dort et le chat mange",
)
TARGET_TEXT = (
    "the black cat sleeps in the house",
    "the big house is in the street",
    "a black dog eats in the street",
    "the weather is nice in the big street",
    "the dog sleeps and the cat eats",
)
SAMPLE_RATE = 16_000


def babble(seconds: float, seed: int, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Tones and noise that change eight times a second, so that random weights write words."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    piece = (time * 8).astype(int)
    pitch = rng.uniform(100, 3000, size=piece.max(initial=0) + 1)[piece]
    loudness = rng.choice([0.0, 0.05, 0.3], size=piece.max(initial=0) + 1)[piece]
    noise = rng.normal(size=len(time))
    return (loudness * (np.sin(2 * np.pi * pitch * time) + 0.2 * noise) / 2).astype(np.float32)


def pieces(samples: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """The samples cut into pieces of `size`."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def random_pieces(samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The samples cut into pieces around a group of 2560, and into very small and large ones."""
    rng, start = np.random.default_rng(5), 0
    while start < len(samples):
        size = int(rng.choice([0, 1, 7, 160, 2559, 2560, 2561, 9000]))
        yield samples[start : start + size]
        start += size


def tiny_config(
    source_vocab_size: int, target_vocab_size: int, tail_ms: int = 640, decoder_layers: int = 0
) -> ModelConfig:
    """All parts of the real model, in narrow."""
    return ModelConfig(
        source_vocab_size,
        target_vocab_size,
        TINY_ENCODER,
        st_layers=1,
        st_ffn_dim=32,
        st_left_context=16,
        decoder_layers=decoder_layers,
        decoder_ffn_dim=32,
        decoder_left_tokens=4,
        decoder_window=24,
        tail_ms=tail_ms,
    )


def make_network(
    config: ModelConfig, frames: NDArray[np.float32], starts: dict[str, list[int]]
) -> EchoStreamModel:
    """Random weights, each head then scaled on `frames` (T, 80) so that all of its pieces occur.

    `starts` names the pieces of each head that begin a word; they and the blank occur more often.
    """
    torch.manual_seed(0)
    network = build_model(config).eval()
    x, length = torch.from_numpy(frames)[None], torch.tensor([len(frames)])
    with torch.no_grad():
        for name in ("asr", "st"):  # the ST head takes the output of the ASR head
            project = getattr(network, f"{name}_head").project
            project.weight.normal_()
            logits = getattr(network(x, length, 0), f"{name}_logits")[0]  # (T, V)
            mean, std = logits.mean(0), logits.std(0)
            project.bias.sub_(mean).div_(std)
            project.weight.div_(std[:, None])
            project.bias[[0, *starts[name]]] += 0.7
        if network.decoder is not None:
            network.decoder.project.weight.normal_()
            network.decoder.project.bias[0] -= (
                3  # so that the boundary is not the best token most of the time
            )
            for layer in network.decoder.layers:
                layer.cross_attention.position_bias.normal_()
    return network


def prefer_short_words(model: Model) -> None:
    """Raises the text decoder's bias of pieces that begin a word: more words come out in time."""
    assert isinstance(model.network.decoder, TextDecoder)
    with torch.no_grad():
        for index in range(model.target_tokenizer.vocab_size):
            if model.target_tokenizer.starts_word(index):
                model.network.decoder.project.bias[index] += 4


def make_model_folder(path: Path, tail_ms: int = 640, decoder_layers: int = 0) -> Path:
    """A complete model folder, written by `save_model`."""
    path.mkdir(parents=True, exist_ok=True)
    source = Tokenizer.train(SOURCE_TEXT, 24, path / "spm_src.model")
    target = Tokenizer.train(TARGET_TEXT, 24, path / "spm_tgt.model")
    config = tiny_config(source.vocab_size, target.vocab_size, tail_ms, decoder_layers)
    frames = fbank(babble(20, seed=99))
    cmvn = GlobalCmvn(frames.mean(0), frames.std(0))
    starts = {
        name: [index for index in range(tokenizer.vocab_size) if tokenizer.starts_word(index)]
        for name, tokenizer in (("asr", source), ("st", target))
    }
    save_model(
        path,
        make_network(config, cmvn.apply(frames), starts),
        config,
        cmvn,
        path / "spm_src.model",
        path / "spm_tgt.model",
        "# Random weights, for tests\n",
    )
    return path
