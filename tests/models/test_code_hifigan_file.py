"""A CodeHiFiGAN checkpoint and its config.json: what does not fit is refused by name."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import little_memory
from slow_code_hifigan import narrow_config, random_weights

from echostream.config import ConfigError
from echostream.models.code_hifigan_file import VocoderError, load_code_hifigan

CONFIG = narrow_config(num_units=5, width=2)
WEIGHTS = random_weights(CONFIG)


def save(folder: Path, content: Any, config: Any = CONFIG) -> tuple[Path, Path]:
    paths = folder / "g_00500000", folder / "config.json"
    torch.save(content, paths[0])
    paths[1].write_text(config if isinstance(config, str) else json.dumps(config))
    return paths


def test_a_checkpoint_loads_with_and_without_durations(tmp_path: Path) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS})
    vocoder = load_code_hifigan(*paths)
    assert vocoder.reduced
    assert not vocoder.training
    assert vocoder.latency_units == 21
    assert not any(parameter.requires_grad for parameter in vocoder.parameters())
    assert not load_code_hifigan(*paths, dur_prediction=False, lookahead_frames=0).reduced


def test_a_network_without_durations_is_for_frames_only(tmp_path: Path) -> None:
    weights = {name: value for name, value in WEIGHTS.items() if "dur_predictor" not in name}
    config = {name: value for name, value in CONFIG.items() if "dur_predictor" not in name}
    paths = save(tmp_path, {"generator": weights}, config)
    assert load_code_hifigan(*paths, dur_prediction=False).latency_units == 19
    with pytest.raises(ValueError, match=r"`dur_prediction` must be False.*config\.json"):
        load_code_hifigan(*paths)


@pytest.mark.parametrize("value", [-1, 22, 1.0, True, None, "19"], ids=repr)
def test_a_look_ahead_out_of_range_is_refused(tmp_path: Path, value: Any) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS})
    with pytest.raises(ValueError, match="`lookahead_frames` must be a whole number from 0 to 21"):
        load_code_hifigan(*paths, lookahead_frames=value)


def with_weight(name: str, value: Any) -> dict[str, Any]:
    return {"generator": {**WEIGHTS, name: value}}


def without(name: str) -> dict[str, Any]:
    return {"generator": {key: value for key, value in WEIGHTS.items() if key != name}}


NAN = torch.full((2, 32, 1), float("nan"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dict with `generator`, but holds a list"),
        ({"mpd": {}, "msd": {}}, r"dict with `generator`, but holds a dict \['mpd', 'msd'\]"),
        ({"generator": torch.zeros(2)}, "`generator` must be a state dict, but is a Tensor"),
        ({"generator": {}}, r"\d+ weights are missing \['conv_post.bias'"),
        ({"generator": {"generator": WEIGHTS}}, "`generator` must be a tensor, but is a dict"),
        (
            {"generator": dict(list(WEIGHTS.items())[::2])},
            r"\d\d+ weights are missing .*, 0 are",
        ),
        (torch.zeros(3), "must hold a dict with `generator`, but holds a Tensor"),
        ({"model": WEIGHTS}, r"must hold a dict with `generator`, but holds a dict \['model'\]"),
        (WEIGHTS, "must hold a dict with `generator`, but holds a dict"),
        (torch.nn.Linear(1, 1), "must hold tensors only, but holds torch.nn.modules.linear.Linear"),
        (with_weight("conv_pre.bias", 3), "`conv_pre.bias` must be a tensor, but is a int"),
        (with_weight("conv_pre.bias", [1.0]), "`conv_pre.bias` must be a tensor, but is a list"),
        ({"generator": {**WEIGHTS, 7: torch.zeros(1)}}, "must be texts, but one is 7"),
        (with_weight("dict.weight", torch.zeros(5, 2).long()), "`dict.weight` must be a plain ten"),
        (with_weight("dict.weight", torch.zeros(5, 2).to_sparse()), "`dict.weight` must be a plai"),
        (without("ups.3.weight_g"), r"1 weights are missing \['ups.3.weight_g'\], 0 are unknown"),
        (without("dur_predictor.ln1.bias"), r"missing \['dur_predictor.ln1.bias'\]"),
        (with_weight("spkr.weight", torch.zeros(1)), r"1 are unknown \['spkr.weight'\]"),
        (with_weight("dict.weight", torch.zeros(6, 2)), r"`dict.weight` .* \(5, 2\) .* \(6, 2\)"),
        (with_weight("ups.0.weight_g", torch.ones(16, 1, 1)), r"`ups.0.weight_g` .* \(32, 1, 1\)"),
        (with_weight("conv_pre.bias", torch.full((32,), float("nan"))), "`conv_pre.bias` holds Na"),
        (with_weight("ups.1.weight_v", torch.zeros(16, 8, 8)), "`ups.1.weight_v` has a direction"),
    ],
)
def test_content_that_is_no_vocoder_is_refused_by_name(
    tmp_path: Path, content: Any, message: str
) -> None:
    paths = save(tmp_path, content)
    with pytest.raises(VocoderError, match=f"{re.escape(str(paths[0]))}: .*{message}"):
        load_code_hifigan(*paths)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_nothing_in_a_checkpoint_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = save(tmp_path, {"generator": {**WEIGHTS, "conv_pre.bias": Harmful()}})
    with pytest.raises(VocoderError, match=r"must hold tensors only, but holds \w+\.mkdir too"):
        load_code_hifigan(*paths)
    assert not (tmp_path / "executed").exists()


def test_a_network_that_does_not_fit_into_the_memory_is_refused(tmp_path: Path) -> None:
    config = durations(encoder_embed_dim=8192) | {
        "num_embeddings": 1_000_000,
        "embedding_dim": 8192,
        "model_in_dim": 8192,
    }
    paths = save(tmp_path, {"generator": WEIGHTS}, config)
    with little_memory(2**30), pytest.raises(ConfigError, match=r"config\.json: .* too large for"):
        load_code_hifigan(*paths)


def test_a_plain_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = save(tmp_path, {"generator": WEIGHTS})
    paths[0].write_bytes(pickle.dumps({"generator": WEIGHTS, "more": Harmful()}, 2))
    with pytest.raises(VocoderError, match=r"g_00500000: it "):
        load_code_hifigan(*paths)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "bit", "letters"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS})
    content = bytearray(paths[0].read_bytes())
    content[len(content) // 2] ^= 1
    whole = bytes(content)
    damaged = {"cut": whole[: len(whole) // 2], "text": b"<html>", "empty": b"", "bit": whole}
    damaged["letters"] = b"hello"  # which the unpickler takes for instructions
    paths[0].write_bytes(damaged[damage])
    with pytest.raises(
        VocoderError, match=r"g_00500000: it is (no checkpoint, or )?damaged \([^\d].{3,}\)\.$"
    ):
        load_code_hifigan(*paths)


def test_a_file_that_is_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS})
    whole = paths[0].read_bytes()
    for size in range(1, len(whole), max(1, len(whole) // 37)):
        paths[0].write_bytes(whole[:size])
        with pytest.raises(VocoderError, match=r"g_00500000: it is "):
            load_code_hifigan(*paths)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS})
    for path in paths:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(FileNotFoundError, match=path.name):
            load_code_hifigan(*paths)
        path.write_bytes(content)


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CONFIG), **fields}


def of_units(number: str) -> str:
    """The configuration with a number of units that JSON has and Python writes in another way."""
    text = json.dumps(CONFIG)
    assert '"num_embeddings": 5' in text
    return text.replace('"num_embeddings": 5', f'"num_embeddings": {number}')


def durations(**fields: Any) -> dict[str, Any]:
    return changed(dur_predictor_params={**CONFIG["dur_predictor_params"], **fields})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", r"it must be a JSON object, but is \[\]"),
        ("", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (of_units("NaN"), "`num_embeddings` must be a whole number .*, but is nan"),
        (of_units("1e999"), "`num_embeddings` must be a whole number .*, but is inf"),
        (of_units("9" * 5000), "it is not JSON"),
        ({}, "`embedding_dim` is missing"),
        ({k: v for k, v in CONFIG.items() if k != "model_in_dim"}, "`model_in_dim` is missing"),
        (changed(multispkr="_"), "`multispkr` must be false, but is '_' instead: several speakers"),
        (changed(embedder_params={"a": 1}), "`embedder_params` must be false"),
        (changed(f0=True, model_in_dim=3), "`f0` must be false, but is True instead: pitch as an"),
        (changed(num_langs=3), "`num_langs` is not known, and is 3"),
        (changed(model_in_dim=4), "`model_in_dim` must be `embedding_dim`, which is 2, but is 4"),
        (changed(num_embeddings=0), "`num_embeddings` must be a whole number from 1"),
        (changed(num_embeddings="5"), "`num_embeddings` must be a whole number"),
        (changed(code_hop_size=640), "`code_hop_size` must be 320, but is 640"),
        (changed(sampling_rate=22050), "`sampling_rate` must be 16000, but is 22050"),
        (changed(resblock="2"), "`resblock` must be 1, but is '2'"),
        (changed(upsample_rates=[8, 8, 2, 2]), "`upsample_rates` must have the product 320"),
        (changed(upsample_rates=320), "`upsample_rates` must be a list"),
        (changed(upsample_rates=[5, 4, 4, 2, 2.0]), "`upsample_rates` must be a whole number"),
        (changed(upsample_kernel_sizes=[11, 8, 8, 4]), "`upsample_kernel_sizes` must be one for"),
        (changed(upsample_kernel_sizes=[10, 8, 8, 4, 4]), "larger by an even number"),
        (changed(upsample_initial_channel=48), "`upsample_initial_channel` .* a multiple of 32"),
        (changed(resblock_kernel_sizes=[3, 7, 10]), "`resblock_kernel_sizes` must be odd"),
        (changed(resblock_dilation_sizes=[[1], [1]]), "`resblock_dilation_sizes` .* list of 3 lis"),
        (changed(resblock_dilation_sizes=[1, 3, 5]), "`resblock_dilation_sizes` must be a list of"),
        (durations(var_pred_kernel_size=5), "`var_pred_kernel_size` must be a whole number from 3"),
        (durations(encoder_embed_dim=3), "`encoder_embed_dim` must be a whole number from 2 to 2"),
        (durations(var_pred_hidden_dim=None), "`var_pred_hidden_dim` must be a whole number"),
        (durations(var_pred_layers=2), "`dur_predictor_params` must be an object with"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_supported_is_refused_by_name(
    tmp_path: Path, config: Any, message: str
) -> None:
    paths = save(tmp_path, {"generator": WEIGHTS}, config)
    with pytest.raises(ConfigError, match=f"{re.escape(str(paths[1]))}: .*{message}"):
        load_code_hifigan(*paths)


def test_fields_that_are_off_or_of_the_training_do_not_matter(tmp_path: Path) -> None:
    config = changed(f0=False, embedder_params=None, num_gpus=8, f0_stats="a.th", future=False)
    load_code_hifigan(*save(tmp_path, {"generator": WEIGHTS}, config))
