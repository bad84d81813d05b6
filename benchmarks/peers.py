"""Encoders from PyPI of about our size, with random weights, on the same machine.

`pip install transformers` adds them (tried with 5.23.0); the project does not need it. All are
encoders alone, in PyTorch on one thread, on ready features. A minute of audio takes SeamlessM4T
half a minute and some GB of memory.

| model | how it streams |
|---|---|
| Nemotron streaming (cache-aware FastConformer) | carries caches, 70 frames of 80 ms of the past |
| SeamlessM4T v2 (w2v-BERT, of SeamlessStreaming) | re-encodes all audio so far |
| Whisper | encodes a window of 30 s, padded with silence |
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.figures import Figure, skipped
from benchmarks.fixtures import QUICK, Bench
from benchmarks.streams import STEP_MS, FeatureStream, noise_frames
from benchmarks.timing import take_turns

_WARM_STEPS = 20  # 6.4 s: longer than the cache of the streaming peer
_LAYERS, _WIDTH, _HIDDEN = 12, 384, 1536  # of the conformers: 42 to 45 M
_WHISPER_LAYERS, _WHISPER_WIDTH, _WHISPER_HIDDEN = 13, 512, 2048
_WINDOW_S = 30  # of Whisper


def measure(bench: Bench) -> list[Figure]:
    """The figures of this group."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError as error:
        reason = f"`pip install transformers` would add it ({error})"
        return [skipped("encoders of transformers beside ours", "ms", reason)]
    transformers.logging.set_verbosity_error()
    version = importlib.metadata.version("transformers")
    ours = FeatureStream(bench.encoder)
    ours.advance_to(10)
    torch.manual_seed(0)
    figures = []
    for name, call, rounds in _peers(bench):
        calls: dict[str, Callable[[], object]] = {"ours": ours.step, "peer": call}
        is_long = rounds == 1
        times = take_turns(
            calls,
            min(bench.scale.rounds, rounds),
            in_a_row=1 if is_long else 3,
            untimed=0 if is_long else 1,
        )
        figures.append(
            times["peer"].figure(
                f"peer: {name}",
                "ms",
                1,
                times["ours"].median,
                f"our step of {STEP_MS} ms, PyTorch",
                note=f"transformers {version}",
            )
        )
    return figures


def _peers(bench: Bench) -> list[tuple[str, Callable[[], object], int]]:
    """Name, call and number of rounds of each."""
    layers, whisper_layers = (1, 1) if bench.scale is QUICK else (_LAYERS, _WHISPER_LAYERS)
    nemotron, size = _nemotron(layers)
    peers = [(f"Nemotron streaming, {size}, step of {STEP_MS} ms", nemotron, bench.scale.rounds)]
    seamless, size = _seamless(layers)
    for seconds in bench.scale.reencode_s:
        frames = noise_frames(seconds)
        frames = frames.reshape(1, frames.shape[1] // 2, 160)  # two frames are one of its inputs
        peers.append(
            (
                f"SeamlessM4T v2, {size}, re-encoding the {seconds} s so far",
                lambda frames=frames: seamless(frames),  # type: ignore[misc]
                max(1, 15 // seconds),
            )
        )
    whisper, size = _whisper(whisper_layers)
    peers.append((f"Whisper, {size}, its window of {_WINDOW_S} s", whisper, 4))
    return peers


def _nemotron(layers: int) -> tuple[Callable[[], object], str]:
    from transformers import NemotronAsrStreamingEncoder, NemotronAsrStreamingEncoderConfig

    config = NemotronAsrStreamingEncoderConfig(
        hidden_size=_WIDTH, num_hidden_layers=layers, intermediate_size=_HIDDEN
    )
    model = NemotronAsrStreamingEncoder(config).eval()
    x = noise_frames(STEP_MS / 1000)  # four of its frames
    caches: dict[str, Any] = {"past_key_values": None, "padding_cache": None}

    def step() -> None:
        output = model(input_features=x, use_cache=True, num_lookahead_tokens=3, **caches)
        caches.update({name: getattr(output, name) for name in caches})

    for _ in range(_WARM_STEPS):
        step()
    return step, _size(model)


def _seamless(layers: int) -> tuple[Callable[[torch.Tensor], object], str]:
    from transformers import SeamlessM4Tv2Config
    from transformers.models.seamless_m4t_v2 import modeling_seamless_m4t_v2

    config = SeamlessM4Tv2Config(
        hidden_size=_WIDTH,
        speech_encoder_layers=layers,
        speech_encoder_attention_heads=8,
        speech_encoder_intermediate_size=_HIDDEN,
        add_adapter=False,
    )
    model = modeling_seamless_m4t_v2.SeamlessM4Tv2SpeechEncoder(config).eval()
    return lambda frames: model(frames), _size(model)


def _whisper(layers: int) -> tuple[Callable[[], object], str]:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=_WHISPER_WIDTH,
        encoder_layers=layers,
        encoder_attention_heads=8,
        encoder_ffn_dim=_WHISPER_HIDDEN,
    )
    model = WhisperEncoder(config).eval()
    x = noise_frames(_WINDOW_S).transpose(1, 2)  # (1, T, 80) -> (1, 80, T)
    return lambda: model(x), _size(model)


def _size(model: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M"
