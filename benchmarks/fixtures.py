"""The models of the benchmarks: the default encoder with random weights, and sessions on it.

Weights are random because the time of a step does not depend on them. But all are distinct: an
exporter merges equal ones and drops products with one, and the graph would then be faster than that
of a trained model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.figures import Unavailable
from benchmarks.synthetic_audio import SyntheticAudio, pseudo_text
from echostream import ZipformerEncoder
from echostream.config import EncoderConfig, ModelConfig, load_config
from echostream.evaluation.provenance import ROOT
from echostream.files import replacing
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import fbank
from echostream.model_folder import CONFIG, Model, load_model, save_model
from echostream.models import EchoStreamModel
from echostream.models.build import build_encoder, build_model
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.speech_config import UnitDecoderConfig, VocoderConfig
from echostream.speech_folder import UNIT_DECODER, VOCODER, save_part
from echostream.streaming import SAMPLE_RATE
from echostream.text.tokenizer import Tokenizer

DEMO = ROOT / "models" / "fr-en-demo"
EXAMPLES = ROOT / "examples" / "fr-en"
BACKENDS = ("torch", "onnx", "onnx-int8")
NAMES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "onnx-int8": "ONNX Runtime int8"}
_SEED = 0
_SPREAD = 0.02  # of the noise added to each weight
_SHARE_OF_BLANKS = 0.84  # of 25 frames a second: 4 tokens a second, as in speech


@dataclass(frozen=True)
class Scale:
    """How large and how long: `FULL` for figures, `QUICK` to test the code."""

    config: ModelConfig
    rounds: int  # turns of each timed call
    in_a_row: int  # timed repetitions in a turn
    reencode_s: tuple[int, ...]  # lengths of the audio that is re-encoded
    batch: int
    stream_s: int  # of the stream whose peak memory is measured
    long_s: int  # of the long session
    early_s: int  # second of the first memory measurement of the long session
    file_s: int  # of the recording for the agent
    processes: int  # for start-up
    talk_s: int  # of the talk that is spoken


TINY_ENCODER = EncoderConfig(
    embed_dim=16, num_heads=2, ffn_dim=32, num_layers_per_stack=1,
    memory_size=2, conv_kernel=5, left_context=16,
)  # fmt: skip
TINY_DECODER = {
    "num_units": 50, "dim": 16, "num_heads": 2, "ffn_dim": 32, "left_words": 2, "frame_dim": 16,
    "frame_layers": 2, "kernel_size": 3, "max_duration": 20,
}  # fmt: skip
TINY_VOCODER = VocoderConfig(50, 16, 32, 2, 3, 8, 8)
FULL = Scale(ModelConfig(1000, 1000), 20, 3, (5, 20, 60), 16, 300, 3600, 60, 600, 5, 600)
QUICK = Scale(
    ModelConfig(
        60, 60, TINY_ENCODER, st_layers=1, st_ffn_dim=32, st_left_context=16,
        decoder_layers=1, decoder_ffn_dim=32, decoder_left_tokens=4, decoder_window=16,
    ),
    *(2, 2, (1, 2), 3, 2, 4, 1, 4, 1, 4),
)  # fmt: skip


class Bench:
    """The models of one run; each is made at its first use."""

    def __init__(self, scale: Scale, folder: Path) -> None:
        self.scale = scale
        self._folder = folder

    @cached_property
    def encoder(self) -> ZipformerEncoder:
        """The encoder in PyTorch, in evaluation mode."""
        torch.manual_seed(_SEED)
        encoder = build_encoder(self.scale.config.encoder).eval()
        make_distinct(encoder)
        return encoder

    @property
    def num_weights(self) -> int:
        """Parameters of the encoder."""
        return sum(parameter.numel() for parameter in self.encoder.parameters())

    @property
    def size(self) -> str:
        """The size of the encoder as text."""
        return f"{self.num_weights / 1e6:.1f} M"

    def encoder_of(self, backend: str) -> Any:
        """The encoder in one of `BACKENDS`, with `init_state` and `step`.

        Raises Unavailable if the back end is not installed.
        """
        return self.encoder if backend == "torch" else open_encoder(self.encoder_file(backend))

    def encoder_file(self, backend: str) -> Path:
        """The encoder as an ONNX file, written once; raises as `encoder_of` does."""
        path = self._folder / f"{backend}.onnx"
        if not path.exists():
            with needed(backend):
                from echostream.backends.export import export_encoder
            if backend == "onnx":
                export_encoder(self.encoder, path)
            else:
                _quantise(self.encoder_file("onnx"), path)
        return path

    @cached_property
    def model_folder(self) -> Path:
        """A model folder with this encoder, both heads, and tokenizers of pseudo-words."""
        folder = self._folder / "model"
        config = self.scale.config
        folder.mkdir()
        source, target = folder / "spm_src.model", folder / "spm_tgt.model"
        Tokenizer.train(
            pseudo_text(20 * config.source_vocab_size, 1), config.source_vocab_size, source
        )
        Tokenizer.train(
            pseudo_text(20 * config.target_vocab_size, 2), config.target_vocab_size, target
        )
        frames = fbank(SyntheticAudio(_SEED).next(20 * SAMPLE_RATE))
        cmvn = GlobalCmvn(frames.mean(0), frames.std(0))
        torch.manual_seed(_SEED)
        network = build_model(config).eval()
        make_distinct(network)
        network.encoder.load_state_dict(self.encoder.state_dict())
        balance_blanks(network, torch.from_numpy(cmvn.apply(frames)))
        save_model(folder, network, config, cmvn, source, target, "# Random weights\n")
        return folder

    @cached_property
    def demo_folder(self) -> Path:
        """A copy of the shipped model, which may be exported to; the tiny one if quick."""
        if self.scale is QUICK:
            return self.model_folder
        return Path(shutil.copytree(DEMO, self._folder / "demo"))

    @cached_property
    def speaking_folder(self) -> Path:
        """The shipped model; if quick, the tiny one with parts that speak, of random weights."""
        if self.scale is FULL:
            return self.demo_folder
        folder = Path(shutil.copytree(self.model_folder, self._folder / "speaking"))
        torch.manual_seed(_SEED)
        vocab_size = load_config(ModelConfig, folder / CONFIG).target_vocab_size
        save_part(folder / UNIT_DECODER, UnitDecoder(UnitDecoderConfig(vocab_size, **TINY_DECODER)))
        save_part(folder / VOCODER, UnitVocoder(TINY_VOCODER))
        return folder


@contextmanager
def opened(scale: Scale) -> Iterator[Bench]:
    """A `Bench` whose files are deleted when the block ends."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Bench(scale, Path(folder))


@contextmanager
def needed(backend: str) -> Iterator[None]:
    """A context for the imports of a back end: an ImportError makes it unavailable."""
    try:
        yield
    except ImportError as error:
        raise Unavailable(f"{NAMES[backend]} is not installed ({error})") from error


def open_encoder(path: Path) -> Any:
    """An exported encoder, on one thread."""
    with needed("onnx"):
        from echostream.backends.onnx import OnnxEncoder
    return OnnxEncoder(path, num_threads=1)


def open_model(folder: Path, backend: str) -> Model:
    """A model folder in one of `BACKENDS`, exported into it if it is not yet."""
    export(folder, backend)
    return load_model(folder, backend=backend)


def export(folder: Path, backend: str) -> None:
    """Writes what a back end needs into a model folder, once.

    Raises Unavailable if the back end is not installed.
    """
    if backend == "torch":
        return
    with needed(backend):
        from echostream.backends.export import export_model
        from echostream.backends.onnx import INT8, STEP
    if not (folder / STEP).exists():
        export_model(folder)
    if backend == "onnx-int8" and not (folder / INT8).exists():
        _quantise(folder / STEP, folder / INT8)


def _quantise(fp32: Path, int8: Path) -> None:
    """The quantisation of an export to int8, without tracing again, which takes half a minute."""
    from echostream.backends.export.int8 import quantised
    from echostream.backends.onnx.seal import sealed

    with replacing(int8) as temporary:
        temporary.write_bytes(sealed(quantised(fp32).SerializeToString()))


def make_distinct(module: torch.nn.Module) -> None:
    """Adds a little noise to every weight, so that none is 0 or 1 and no two are equal."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += _SPREAD * torch.randn(parameter.shape, generator=generator)


def balance_blanks(network: EchoStreamModel, frames: Tensor) -> None:
    """Scales both heads so that all pieces occur, and blanks in 84 % of `frames` (T, F).

    With random weights a session would otherwise write one piece again and again, or none.
    """
    x, lengths = frames[None], torch.tensor([len(frames)])
    with torch.inference_mode():
        for head, name in ((network.asr_head, "asr_logits"), (network.st_head, "st_logits")):
            # The ST head comes second: its input depends on the output of the ASR head.
            weight, bias = head.project.weight, head.project.bias
            logits = getattr(network(x, lengths, 0), name)[0]  # (T, V)
            mean, std = logits.mean(0), logits.std(0)
            weight.copy_(weight / std[:, None])
            bias.copy_((bias - mean) / std)
            logits = (logits - mean) / std
            lead = logits[:, 1:].amax(1) - logits[:, 0]
            bias[0] += torch.quantile(lead, _SHARE_OF_BLANKS)
