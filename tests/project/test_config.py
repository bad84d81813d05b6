"""A configuration has the values of its file; errors name the key."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from echostream.config import (
    ConfigError,
    EncoderConfig,
    ModelConfig,
    from_dict,
    load_config,
    to_dict,
)
from echostream.session_config import SessionConfig
from echostream.training.config import (
    AugmentConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TextPretrainingConfig,
    TokenizerConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class Leaf:
    size: int = 3
    rate: float = 0.5


@dataclass(frozen=True)
class Tree:
    name: str
    flag: bool = False
    rates: tuple[float, ...] = (1.0, 2.0)
    layers: int | tuple[int, ...] = 2
    path: str | None = None
    leaf: Leaf = field(default_factory=Leaf)


def write(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_missing_keys_have_their_defaults() -> None:
    assert from_dict(Tree, {"name": "oak"}) == Tree("oak")
    assert from_dict(Leaf, {}) == Leaf(3, 0.5)


def test_every_kind_of_value_arrives_with_its_type() -> None:
    values = {
        "name": "oak",
        "flag": True,
        "rates": [1, 2.5],
        "layers": [1, 2],
        "path": "there",
        "leaf": {"size": 7, "rate": 2},
    }
    tree = from_dict(Tree, values)
    assert tree == Tree("oak", True, (1.0, 2.5), (1, 2), "there", Leaf(7, 2.0))
    assert isinstance(tree.rates, tuple) and all(type(rate) is float for rate in tree.rates)
    assert isinstance(tree.layers, tuple)
    assert type(tree.leaf.rate) is float


def test_a_choice_of_types_takes_each_of_them() -> None:
    assert from_dict(Tree, {"name": "", "layers": 5}).layers == 5
    assert from_dict(Tree, {"name": "", "layers": []}).layers == ()
    assert from_dict(Tree, {"name": "", "path": None}).path is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "oak", "sise": 1}, r"^here: `sise` is not a key; the keys are flag, layers, "),
        ({"flag": True}, r"^here: `name` is missing"),
        ({"name": 3}, r"^here: `name` must be str, but is 3 instead"),
        ({"name": None}, r"^here: `name` must be str, but is None"),
        ({"name": "oak", "flag": 1}, r"^here: `flag` must be bool, but is 1"),
        ({"name": "oak", "flag": "yes"}, r"^here: `flag` must be bool, but is 'yes'"),
        ({"name": "oak", "rates": 1.0}, r"^here: `rates` must be a list, but is 1\.0"),
        ({"name": "oak", "rates": "12"}, r"^here: `rates` must be a list, but is '12'"),
        ({"name": "oak", "rates": [1.0, "2"]}, r"^here: `rates` must be float, but is '2'"),
        ({"name": "oak", "rates": [True]}, r"^here: `rates` must be float, but is True"),
        ({"name": "oak", "layers": 2.0}, r"^here: `layers` must be int \| tuple.*but is 2\.0"),
        ({"name": "oak", "layers": [1, 2.5]}, r"^here: `layers` must be .*but is \[1, 2\.5\]"),
        ({"name": "oak", "path": 5}, r"^here: `path` must be str \| None, but is 5"),
        ({"name": "oak", "leaf": 4}, r"^here: `leaf` must be a mapping of keys, but is 4"),
        ({"name": "oak", "leaf": {"sise": 4}}, r"^here: `leaf`: `sise` is not a key; .*rate, size"),
        ({"name": "oak", "leaf": {"size": 4.0}}, r"^here: `leaf`: `size` must be int, but is 4\.0"),
        ({"name": "oak", "leaf": {"size": "4"}}, r"^here: `leaf`: `size` must be int, but is '4'"),
        ({"name": "oak", "leaf": None}, r"^here: `leaf` must be a mapping of keys, but is None"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Tree, values, "here")


@pytest.mark.parametrize(
    ("key", "value"), [("size", True), ("size", False), ("rate", True), ("rate", False)]
)
def test_yes_and_no_are_not_numbers(key: str, value: bool) -> None:
    with pytest.raises(ConfigError, match=rf"`{key}` must be (int|float), but is {value}"):
        from_dict(Leaf, {key: value})


def test_a_choice_of_types_takes_no_bool_for_a_number() -> None:
    with pytest.raises(ConfigError, match=r"`layers` must be .* but is True"):
        from_dict(Tree, {"name": "oak", "layers": True})


def test_a_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    for text, message in (
        ("name: oak\nleaf: {sise: 1}\n", "`leaf`: `sise` is not a key"),
        ("flag: true\n", "`name` is missing"),
        ("name: [oak]\n", "`name` must be str"),
        ("", "`name` is missing"),
        ("- name\n", "must be a mapping of keys"),
        ("name: {\n", "is not YAML"),
    ):
        path = write(tmp_path, text)
        with pytest.raises(ConfigError, match=message) as error:
            load_config(Tree, path)
        assert str(error.value).startswith(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing\\.yaml"):
        load_config(Tree, tmp_path / "nothing.yaml")


def test_the_plain_mapping_holds_lists_and_mappings_only() -> None:
    plain = to_dict(Tree("oak", rates=(1.0,), layers=(1, 2)))
    assert plain == {
        "name": "oak",
        "flag": False,
        "rates": [1.0],
        "layers": [1, 2],
        "path": None,
        "leaf": {"size": 3, "rate": 0.5},
    }


@pytest.mark.parametrize(
    "config",
    [
        Tree("chêne", True, (0.25,), (1, 2, 3), None, Leaf(1, 2.0)),
        EncoderConfig(num_layers_per_stack=(2, 1, 1, 1, 1, 2)),
        ModelConfig(30, 40, EncoderConfig(embed_dim=8), max_future_frames=(0, 2), tail_ms=0),
        TrainConfig("out", 3),
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_configuration_survives_the_way_to_disk_and_back(config: Any, tmp_path: Path) -> None:
    plain = to_dict(config)
    assert from_dict(type(config), plain) == config
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)  # no tuples, no classes
    assert load_config(type(config), write(tmp_path, text)) == config
    assert load_config(type(config), str(write(tmp_path, text))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_future_frames": []}, r"`max_future_frames` must be some of 0, 1 and 2.* is \(\)"),
        ({"max_future_frames": [0, 3]}, r"`max_future_frames` must be .*\(0, 3\) instead"),
        ({"max_future_frames": [1, 1]}, r"`max_future_frames` must be .*once, but is \(1, 1\)"),
        ({"tail_ms": -10}, "`tail_ms` must be .* from 0 to 60000 and a multiple of 10, but is -10"),
        ({"tail_ms": 645}, "`tail_ms` must be .* a multiple of 10, but is 645"),
        ({"source_vocab_size": 0}, "`source_vocab_size` must be a whole number from 2 to 1000000"),
        ({"target_vocab_size": 10**12}, "`target_vocab_size` must be .*but is 10{12} instead"),
        ({"st_layers": -1}, "`st_layers` must be a whole number from 0 to 64, but is -1"),
        ({"st_ffn_dim": 0}, "`st_ffn_dim` must be a whole number from 1 to 65536, but is 0"),
        ({"st_left_context": 6}, "`st_left_context` must be .* a multiple of 4, but is 6"),
        ({"decoder_layers": 10**5}, "`decoder_layers` must be .* from 0 to 64, but is 100000"),
        ({"decoder_ffn_dim": -4}, "`decoder_ffn_dim` must be .*but is -4"),
        ({"decoder_left_tokens": -1}, "`decoder_left_tokens` must be .*but is -1"),
        ({"decoder_window": 6}, "`decoder_window` must be .* a multiple of 4, but is 6"),
        ({"encoder": {"input_dim": 0}}, "`encoder`: `input_dim` must be .*but is 0"),
        ({"encoder": {"embed_dim": 10**9}}, "`encoder`: `embed_dim` must be .* from 1 to 8192"),
        ({"encoder": {"embed_dim": 500}}, "`embed_dim` must be a multiple of `num_heads`.* is 8"),
        ({"encoder": {"num_heads": 0}}, "`encoder`: `num_heads` must be .* from 1 to 512"),
        ({"encoder": {"ffn_dim": -4}}, "`encoder`: `ffn_dim` must be .*from 2 to .*but is -4"),
        ({"encoder": {"ffn_dim": 33}}, "`encoder`: `ffn_dim` must be .*multiple of 2, but is 33"),
        ({"encoder": {"memory_size": 0}}, "`encoder`: `memory_size` must be .*but is 0"),
        ({"encoder": {"conv_kernel": -1}}, "`encoder`: `conv_kernel` must be .*but is -1"),
        ({"encoder": {"left_context": 10**12}}, "`left_context` must be .* 8192 .*but is 10{12}"),
        ({"encoder": {"left_context": 20}}, "`left_context` must be .*multiple of 8, but is 20"),
        (
            {"encoder": {"num_layers_per_stack": 10**5}},
            "`num_layers_per_stack` must be a whole number from 1 to 64.*but is 100000",
        ),
        ({"encoder": {"num_layers_per_stack": [1, 2]}}, r"a list of 6 of them, but is \(1, 2\)"),
    ],
)
@pytest.mark.parametrize("section", [None, "network"])
def test_a_network_that_makes_no_sense_is_refused_when_it_is_read(
    section: str | None, values: dict[str, Any], message: str
) -> None:
    network = {"source_vocab_size": 3, "target_vocab_size": 3, **values}
    with pytest.raises(ConfigError, match=message):
        if section is None:
            from_dict(ModelConfig, network)
        else:
            from_dict(TrainConfig, {"output": "out", "steps": 1, section: network})


def test_a_network_of_a_training_is_checked_before_anything_is_made(tmp_path: Path) -> None:
    path = write(tmp_path, "output: out\nsteps: 1\nnetwork: {decoder_window: 6}\n")
    with pytest.raises(ConfigError, match=r"some.yaml: `network`: `decoder_window` must be .* 6"):
        load_config(TrainConfig, path)


def test_a_section_that_is_given_in_part_keeps_the_rest_of_its_default() -> None:
    network = {"st_layers": 1, "encoder": {"embed_dim": 64}}
    found = from_dict(TrainConfig, {"output": "out", "steps": 1, "network": network}).network
    assert found == ModelConfig(640, 400, EncoderConfig(embed_dim=64), st_layers=1)
    assert from_dict(Leaf, {"rate": 2}, default=Leaf(size=7)) == Leaf(7, 2.0)


def test_former_keys_of_a_training_are_read_as_the_new_ones(tmp_path: Path) -> None:
    """Configurations and run folders of before are still used."""
    former = """
        output: out
        steps: 1
        data: {join_probability: 0.4, join_utterances: 3}
        network: {tokenizer_type: word, tokenizer_sentences: 60000, source_vocab_size: 1000}
        warm_start: {steps: 5}
    """
    config = load_config(TrainConfig, write(tmp_path, former))
    assert (config.data.concat_probability, config.data.concat_utterances) == (0.4, 3)
    assert config.tokenizer == TokenizerConfig("word", 60_000)
    assert config.network == ModelConfig(1000, 400)
    assert config.text_pretraining == TextPretrainingConfig(steps=5)
    assert load_config(TrainConfig, write(tmp_path, yaml.safe_dump(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"warm_start": {}, "text_pretraining": {}},
            "^here: `warm_start` is the former name of `text_pretraining`: give one of them",
        ),
        (
            {"network": {"tokenizer_type": "bpe"}, "tokenizer": {"type": "bpe"}},
            "^here: `network.tokenizer_type` is the former name of `tokenizer.type`",
        ),
        ({"network": {"tokenizer_type": 3}}, "^here: `tokenizer`: `type` must be str, but is 3"),
        ({"network": 3}, "^here: `network` must be a mapping of keys, but is 3"),
        ({"tokenizer": 3, "network": {"tokenizer_type": "bpe"}}, "`tokenizer` must be a mapping"),
    ],
)
def test_a_former_key_that_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(TrainConfig, {"output": "out", "steps": 1, **values}, "here")


def test_yes_is_no_size_from_python_either() -> None:
    with pytest.raises(ConfigError, match=r"`st_layers` must be a whole number .*but is True"):
        ModelConfig(3, 3, st_layers=True)


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf", "1e999"])
def test_a_number_must_be_finite(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"some.yaml: `rate` must be finite"):
        load_config(Leaf, write(tmp_path, f"rate: {value}\n"))


def test_a_value_in_a_message_is_cut_short() -> None:
    with pytest.raises(ConfigError) as error:
        from_dict(Leaf, {"size": ["word" * 10_000] * 10_000})
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("key", ["steps", "checkpoint_steps", "keep_checkpoints", "validate_steps"])
def test_a_training_run_of_no_steps_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"`{key}` must be at least 1, but is 0"):
        from_dict(TrainConfig, {"output": "out", "steps": 1, key: 0})


def test_a_whole_number_of_numpy_is_taken_and_written_as_a_plain_one(tmp_path: Path) -> None:
    """As from a sweep over `np.arange`."""
    four, six, one = np.int64(4), np.uint8(6), np.int32(1)
    network = ModelConfig(
        *(np.int64(9), np.int16(7)),
        EncoderConfig(embed_dim=np.int64(8), num_heads=four, num_layers_per_stack=(one,) * 6),
        max_future_frames=(np.int64(0), one),
    )
    config = TrainConfig(
        *("out", six),
        data=DataConfig(block_size=four, seed=six),
        tokenizer=TokenizerConfig(sentences=six),
        network=network,
        loss=LossConfig(decoder_max_lag=four),
        optim=OptimConfig(warmup_steps=six),
        text_pretraining=TextPretrainingConfig(steps=six),
        augment=AugmentConfig(time_masks=four),
    )
    plain = to_dict(config)
    path = write(tmp_path, yaml.safe_dump(plain))
    assert load_config(TrainConfig, path) == config
    assert json.loads(json.dumps(plain))["network"]["encoder"]["num_heads"] == 4
    session = SessionConfig(stride_n=four, lagging_k1=one, lagging_k2=six, max_future_frames=one)
    json.dumps(dataclasses.asdict(session))
    assert from_dict(Leaf, {"size": six}) == Leaf(6)
    assert type(from_dict(Leaf, {"size": six}).size) is int


@pytest.mark.parametrize("value", [np.bool_(True), np.float64(2), np.array([2])])
def test_what_is_no_whole_number_is_refused_in_numpys_types_too(value: Any) -> None:
    with pytest.raises(ValueError, match="`stride_n` must be an integer >= 1"):
        SessionConfig(stride_n=value)
    with pytest.raises(ConfigError, match="`num_heads` must be a whole number"):
        EncoderConfig(num_heads=value)
