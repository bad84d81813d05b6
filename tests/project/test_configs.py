"""Every configuration that is shipped can be read, and describes something that can be built."""

from __future__ import annotations

import dataclasses
import re
import shlex
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import tiny_run

from echostream.cli import _parser
from echostream.config import ConfigError, load_config
from echostream.data.synthetic.voice_list import VoiceList
from echostream.model_folder import load_model
from echostream.models import build_model
from echostream.models.refiner import UnitRefiner
from echostream.models.unit_decoder import UnitDecoder
from echostream.models.vocoder import UnitVocoder
from echostream.simulstream import ProcessorConfig
from echostream.training.command import add_flags
from echostream.training.config import TrainConfig
from echostream.training.kinds import load_run_config
from echostream.training.train import train
from echostream.training.unit_decoder.config import UnitTrainConfig
from echostream.training.vocoder.config import VocoderTrainConfig

FOLDER = Path(__file__).resolve().parents[2] / "configs"
# the dataclass of each folder's files; in train/ the key `kind` names it
KINDS: dict[str, Any] = {"simulstream": ProcessorConfig, "voices": VoiceList}
# read by other programs alone: test_simulstream_commands.py, test_docker.py, test_proxy.py and
# test_ray.py give them to these
FOREIGN = {
    FOLDER / "simulstream" / "server.yaml",
    FOLDER / "simulstream" / "http.yaml",
    FOLDER / "serve" / "nginx.conf",
    FOLDER / "serve" / "ray.yaml",
}
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path not in FOREIGN)


def identify(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def test_all_files_of_the_folder_are_configurations_of_a_known_kind() -> None:
    assert len(FILES) > 0
    assert [identify(path) for path in FILES if path.suffix != ".yaml"] == []
    read = {path for folder in ("train", *KINDS) for path in FOLDER.glob(f"{folder}/*.yaml")}
    assert sorted(read - FOREIGN) == FILES


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_a_shipped_configuration_can_be_read(path: Path) -> None:
    folder = path.relative_to(FOLDER).parts[0]
    if folder == "train":
        load_run_config(path)
        return
    kind = KINDS[folder]
    assert isinstance(load_config(kind, path), kind)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("train/*.yaml")), ids=identify)
def test_the_network_of_a_training_run_can_be_built(path: Path) -> None:
    config = load_run_config(path)
    with torch.device("meta"):  # the shapes alone
        if isinstance(config, TrainConfig):
            built: torch.nn.Module = build_model(config.network)
        elif isinstance(config, VocoderTrainConfig):
            built = UnitVocoder(config.network)
        elif isinstance(config, UnitTrainConfig):
            built = UnitDecoder(config.network)
        else:
            built = UnitRefiner(config.network)
    assert sum(parameter.numel() for parameter in built.parameters()) > 0


def small(config: TrainConfig, folder: Path) -> TrainConfig:
    """A run of two steps on six recordings of tones: as it is, but narrow, short and in float32.

    Some processors emulate convolutions in bfloat16, minutes a step; test_ranks.py trains with it.
    """
    tiny = tiny_run(folder)
    encoder = dataclasses.replace(
        config.network.encoder, embed_dim=16, num_heads=2, ffn_dim=32, left_context=16
    )
    network = dataclasses.replace(
        config.network, source_vocab_size=20, target_vocab_size=20, encoder=encoder,
        st_ffn_dim=32, decoder_ffn_dim=32,
    )  # fmt: skip
    assert isinstance(tiny.data.train_tsv, tuple)
    tables = tiny.data.train_tsv * max(1, len(config.data.train_tsv or ()))
    data = dataclasses.replace(
        config.data, train_tsv=tables, dev_tsv=tiny.data.dev_tsv, block_size=4,
        num_workers=0, batch_seconds=5, dev_utterances=2, max_lost=0.5,
    )  # fmt: skip
    pretraining = dataclasses.replace(
        config.text_pretraining, steps=min(config.text_pretraining.steps, 2)
    )
    return dataclasses.replace(
        config, output=tiny.output, steps=2, checkpoint_steps=2, validate_steps=2, threads=1,
        device="cpu", precision="float32", init_from=(), freeze_steps=0,
        tokenizer=tiny.tokenizer, network=network, data=data, text_pretraining=pretraining,
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("train/*.yaml")), ids=identify)
def test_a_training_run_does_two_steps(path: Path, tmp_path: Path) -> None:
    config = load_run_config(path)
    if not isinstance(config, TrainConfig):
        pytest.skip("the trainings of parts that speak have tests of their own")
    model = load_model(train(small(config, tmp_path)))
    layers = config.network.encoder.num_layers_per_stack
    assert model.config.encoder.num_layers_per_stack == layers
    weights = torch.cat([weight.flatten() for weight in model.network.state_dict().values()])
    assert bool(weights.isfinite().all())


CORPORA = [
    path
    for path in sorted(FOLDER.glob("train/*.yaml"))
    if "echostream data prepare" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", CORPORA, ids=identify)
def test_the_commands_in_a_configuration_are_understood(path: Path) -> None:
    """Those of its comment: the corpus is prepared where it is read, and they name this file."""
    text = path.read_text(encoding="utf-8").replace("\\\n#", "")
    commands = [shlex.split(line) for line in re.findall(r"^# {5}(\S.*)$", text, re.MULTILINE)]
    ours = [_parser().parse_args(words[1:]) for words in commands if words[0] == "echostream"]
    prepared = {Path(a.output) for a in ours if vars(a).get("action") == "prepare"}
    for words in (words for words in commands if words[0] == "simuleval"):
        options = dict(pairwise(words))
        assert options["--model-path"] == f"{load_run_config(path).output}/model"
        assert {Path(options[f"--{side}"]).parent for side in ("source", "target")} <= prepared
    trainings = [words for words in commands if words[0] == "torchrun" or words[1] == "train"]
    assert trainings
    for words in trainings:
        place = words.index(f"configs/train/{path.name}")
        parser = ArgumentParser()
        add_flags(parser)
        args = parser.parse_args(words[place:])
        config = load_run_config(path, args.set)
        assert isinstance(config, TrainConfig)
        assert config.data.train_tsv is not None and config.data.dev_tsv is not None
        assert {Path(table).parent for table in config.data.train_tsv} & prepared
        assert Path(config.data.dev_tsv).parent in prepared
        ranks = int(words[words.index("--nproc_per_node") + 1]) if words[0] == "torchrun" else 1
        assert config.accumulate % ranks == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", r"`--set` must have KEY=VALUE, as loss.st=0, but has 'steps'"),
        ("steps.more=1", "must have KEY=VALUE"),
        ("steps=[", r"`--set steps`: line 1.*not YAML"),
        ("loss.none=1", "`none` is not a key"),
        ("steps=x", "`steps` must be int"),
    ],
)
def test_a_change_that_is_not_possible_is_named(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run_config(FOLDER / "train" / "demo-fr-en.yaml", [change])


def test_values_can_be_changed_without_changing_the_file() -> None:
    changes = ["steps=3", "loss.st=0", "init_from=[a:encoder, b]", "select.metric=wer"]
    config = load_run_config(FOLDER / "train" / "demo-fr-en.yaml", changes)
    assert isinstance(config, TrainConfig)
    assert (config.steps, config.loss.st, config.loss.asr) == (3, 0, 0.3)
    assert (config.init_from, config.select.metric) == (("a:encoder", "b"), "wer")
