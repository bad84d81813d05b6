"""A model on disk: a folder of plain files, none of which is a pickle."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from echostream.backends.protocol import Network
from echostream.config import ModelConfig, load_config, to_dict
from echostream.device import adapt_to_fork, resolve_device
from echostream.extras import ExtraError, extra
from echostream.files import replacing, write_whole
from echostream.frontend.cmvn import GlobalCmvn
from echostream.models import EchoStreamModel, build_model
from echostream.models.build import build_decoder
from echostream.models.text_decoder import TextDecoder
from echostream.speech_folder import SpeechModel, load_speech
from echostream.text.tokenizer import Tokenizer
from echostream.voices.voice import Voice
from echostream.weights_file import CONFIG as CONFIG
from echostream.weights_file import WEIGHTS as WEIGHTS
from echostream.weights_file import ModelFolderError as ModelFolderError
from echostream.weights_file import (
    building,
    check_graph,
    read_file,
    read_weights,
    refuse_lfs_pointer,
)
from echostream.weights_file import save_weights as save_weights

SOURCE_SPM = "spm_src.model"
TARGET_SPM = "spm_tgt.model"
CMVN = "gcmvn.npz"
README = "README.md"

BACKENDS = ("torch", "onnx", "onnx-int8")

# The agents of `simuleval --system-dir FOLDER [--system-config NAME]`, by the file.
SYSTEMS = {"main.yaml": "SpeechToTextTranslationAgent", "asr.yaml": "StreamingASRAgent"}
# The path is relative to the folder: SimulEval changes into it before it builds the agent.
_SYSTEM = """\
# Read by `simuleval --system-dir` of this folder. Flags of the agent may be added, one per line.
# No true or false (SimulEval switches a flag on for either) and no spaces in a value.
agent_class: echostream.agents.{agent}
model_path: .
"""

_NEEDED = (CONFIG, SOURCE_SPM, TARGET_SPM, CMVN, WEIGHTS)
_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_MAX_SPM_BYTES = 2**26  # a vocabulary of a million pieces has less
_DECODER = "decoder."  # prefix of the names of its weights


@dataclass(frozen=True)
class Model:
    """All that a session needs: the network, both tokenizers, the statistics, the configuration."""

    network: Network
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    cmvn: GlobalCmvn
    config: ModelConfig
    speech: SpeechModel | None = None
    voice: Voice | None = None  # speaks instead of `speech`

    def to(self, device: str) -> None:
        """Moves network and speech to a device; `ValueError` if a part does not run there."""
        self.network.to(device)
        if self.speech is not None:
            self.speech.to(device)


def save_model(
    path: str | Path,
    network: EchoStreamModel,
    config: ModelConfig,
    cmvn: GlobalCmvn,
    source_spm: str | Path,
    target_spm: str | Path,
    readme: str,
) -> None:
    """Writes a model folder, or replaces the files of an existing one.

    `source_spm` and `target_spm` are SentencePiece model files; they may already be in the folder.
    `readme` describes the training data and the scores. Each file is written under a temporary
    name and renamed, the weights last, so an interrupted call leaves no incomplete file. Existing
    files of `SYSTEMS` are not changed: they may hold a user's flags.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    text = yaml.safe_dump(to_dict(config), sort_keys=False)
    for name, source in ((SOURCE_SPM, source_spm), (TARGET_SPM, target_spm)):
        if Path(source).resolve() != (folder / name).resolve():
            write_whole(folder / name, Path(source).read_bytes())
    write_whole(folder / CONFIG, text)
    cmvn.save(folder / CMVN)
    write_whole(folder / README, readme)
    for name, agent in SYSTEMS.items():
        if not (folder / name).exists():
            write_whole(folder / name, _SYSTEM.format(agent=agent))
    with replacing(folder / WEIGHTS) as temporary:
        save_weights(weights, temporary)


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    backend: str = "torch",
    voice: str | None = None,
) -> Model:
    """The model of a folder, in evaluation mode on `device` (cpu, cuda or gpu).

    `backend` computes the step: "torch"; or, on the CPU and after `echostream export`, "onnx" or
    "onnx-int8". A `voice`, "piper", "piper:FOLDER" or "espeak:LANGUAGE", speaks the translation in
    place of the units of the model.

    A process that is forked after this call computes with one thread, with a warning, because
    PyTorch's threads do not survive a fork. Start processes with multiprocessing's `spawn` and load
    the model in each, or call `torch.set_num_threads(1)` before the fork.

    Raises:
        ValueError: if there is no such back end, or it does not run on this device.
        ModelFolderError: if the folder or one of its files is missing, if the weights are a pickle,
            damaged, not finite or not those of the configuration, or if the parts do not fit.
        OnnxError: if the graph of the back end is damaged or of another kind.
        ConfigError: if `config.yaml` is not YAML, or a key unknown, missing or not allowed.
        VoiceError: for a voice that cannot be loaded.
    """
    adapt_to_fork()
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {', '.join(BACKENDS)}, but is {backend!r} instead."
        )
    torch_device = resolve_device(device)
    folder, config = open_folder(path)
    source = read_file(Tokenizer.load, folder / SOURCE_SPM)
    target = read_file(Tokenizer.load, folder / TARGET_SPM)
    cmvn = read_file(GlobalCmvn.load, folder / CMVN)
    for name, found, wanted, field in (
        (SOURCE_SPM, source.vocab_size, config.source_vocab_size, "source_vocab_size"),
        (TARGET_SPM, target.vocab_size, config.target_vocab_size, "target_vocab_size"),
        (CMVN, len(cmvn.mean), config.encoder.input_dim, "encoder.input_dim"),
    ):
        if found != wanted:
            raise ModelFolderError(
                f"{folder / name} has size {found}, but `{field}` of {folder / CONFIG} is {wanted}."
            )
    network = (
        load_network(folder, config).to(torch_device)
        if backend == "torch"
        else _load_onnx(folder, config, backend, torch_device)
    )
    in_onnx = backend != "torch"
    speech = load_speech(folder, config.target_vocab_size, device=torch_device, in_onnx=in_onnx)
    return Model(network, source, target, cmvn, config, speech, load_voice(voice))


def load_voice(name: str | None) -> Voice | None:
    """The voice of a name; none for None. Raises VoiceError as `make_voice`."""
    if name is None:
        return None
    from echostream.voices.make import make_voice  # brings what only voices need

    return make_voice(name)


def open_folder(path: str | Path) -> tuple[Path, ModelConfig]:
    """The absolute path of a model folder that has all its files, and the configuration.

    Raises:
        ModelFolderError, ConfigError: as `load_model`.
    """
    folder = Path(path).absolute()  # SimulEval passes ".", which is of no use in a message
    try:
        _check_files(folder, str(path))
        return folder, load_config(ModelConfig, folder / CONFIG)
    except OSError as error:
        raise ModelFolderError(f"{error.filename or folder}: {error.strerror}.") from error


def load_network(folder: Path, config: ModelConfig) -> EchoStreamModel:
    """The network of a folder in PyTorch, in evaluation mode on the CPU."""
    with building(folder):
        network = build_model(config)
    network.load_state_dict(read_weights(folder / WEIGHTS, network.state_dict()))
    return network.requires_grad_(True).eval()


def _load_onnx(folder: Path, config: ModelConfig, backend: str, device: torch.device) -> Network:
    if device.type != "cpu":
        raise ValueError(f"`device` must be cpu for the back end {backend}, but is {device}.")
    try:
        with extra("onnx", f"the back end {backend}"):
            from echostream.backends.onnx import INT8, STEP, OnnxNetwork
    except ExtraError as error:
        raise ModelFolderError(str(error)) from error
    graph = folder / (INT8 if backend == "onnx-int8" else STEP)
    if not graph.is_file():
        flags = "--onnx --int8" if backend == "onnx-int8" else "--onnx"
        raise ModelFolderError(
            f"{folder} lacks {graph.name}, which `echostream export {folder} {flags}` writes."
        )
    decoder = _load_decoder(folder, config)
    check_graph(graph)
    return OnnxNetwork(graph, config, decoder)


def _load_decoder(folder: Path, config: ModelConfig) -> TextDecoder | None:
    """The text decoder alone, which runs in PyTorch with every back end."""
    if not config.decoder_layers:
        read_weights(folder / WEIGHTS, {}, _DECODER)  # raises if there are any
        return None
    with building(folder):
        decoder = build_decoder(config)
    weights = read_weights(folder / WEIGHTS, decoder.state_dict(prefix=_DECODER), _DECODER)
    decoder.load_state_dict({k.removeprefix(_DECODER): value for k, value in weights.items()})
    return decoder.eval()


def _check_files(folder: Path, given: str) -> None:
    if not folder.is_dir():
        raise ModelFolderError(
            f"{folder} {_what_it_is(folder)}; a model is a folder with the files "
            f"{', '.join(_NEEDED)}.{_hub_hint(folder, given)}"
        )
    absent = [name for name in _NEEDED if not os.path.lexists(folder / name)]
    if absent:
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
        hint = f" {pickles[0]} is a pickle, which can run code when opened." if pickles else ""
        raise ModelFolderError(f"{folder} lacks {', '.join(absent)}.{hint}")
    for name in (SOURCE_SPM, TARGET_SPM):  # read in one piece
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size > _MAX_SPM_BYTES:
            raise ModelFolderError(
                f"{folder / name} must have at most {_MAX_SPM_BYTES} bytes, but has {size}."
            )
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise ModelFolderError(
                f"{folder / name} must be a file, but {_what_it_is(folder / name)}."
            )
        refuse_lfs_pointer(folder / name)


def _what_it_is(path: Path) -> str:
    """A description of a path for an error message."""
    if path.is_dir():
        return "is a folder"
    if path.is_file():
        pickled = path.suffix in _PICKLES
        return "is a pickle, which can run code when opened" if pickled else "is a file"
    if path.exists():
        return "is a device or a pipe"
    return "is a link that leads nowhere" if path.is_symlink() else "does not exist"


def _hub_hint(folder: Path, given: str) -> str:
    """A hint for `organisation/model`, a name on a hub, which other libraries accept."""
    if folder.parent.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", given):
        return ""
    return " A name on a hub is not taken: download that model, and give the folder."
