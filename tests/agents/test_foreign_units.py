"""A model with foreign units speaks through a CodeHiFiGAN, as StreamSpeech's does."""

from __future__ import annotations

import json
import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from simuleval.data.segments import EmptySegment, SpeechSegment
from slow_code_hifigan import random_weights, shallow_config
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import NUM_UNITS, make_speaking_folder

from echostream.agents import SpeechToSpeechTranslationAgent
from echostream.model_folder import ModelFolderError, load_model
from echostream.session.translator import StreamingTranslator
from echostream.speech_config import CTC

WHOLE = 5  # frames of look-ahead with which the network is exact


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with units of mHuBERT and without a vocoder, beside a checkpoint of one."""
    path = tmp_path_factory.mktemp("foreign")
    make_speaking_folder(path / "model", kind=CTC, units="mhubert_km1000", unit_upsample=8)
    shutil.rmtree(path / "model" / "vocoder")
    config = shallow_config() | {"num_embeddings": NUM_UNITS}
    torch.save({"generator": random_weights(config)}, path / "g_00500000")
    (path / "config.json").write_text(json.dumps(config))
    return path


def arguments(folder: Path, lookahead_frames: int = WHOLE, **changed: object) -> Namespace:
    parser = ArgumentParser()
    SpeechToSpeechTranslationAgent.add_args(parser)
    args = parser.parse_args(
        [
            *("--model-path", str(folder / "model"), "--vocoder", str(folder / "g_00500000")),
            *("--vocoder-cfg", str(folder / "config.json"), "--dur-prediction"),
            *("--vocoder-lookahead-frames", str(lookahead_frames)),
        ]
    )
    return Namespace(**{**vars(args), **changed})


def speech(args: Namespace, samples: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    agent = SpeechToSpeechTranslationAgent(args)
    found = []
    for start in range(0, len(samples), size):
        piece = samples[start : start + size].tolist()
        finished = start + size >= len(samples)
        segment = SpeechSegment(content=piece, sample_rate=SAMPLE_RATE, finished=finished)
        out = agent.pushpop(segment)
        found += [] if isinstance(out, EmptySegment) else out.content
    return np.array(found)


@pytest.mark.parametrize("look_ahead", [0, 2, WHOLE])
def test_the_speech_does_not_depend_on_the_cut_of_the_source(folder: Path, look_ahead: int) -> None:
    args, samples = arguments(folder, look_ahead), babble(5, seed=1)
    whole = speech(args, samples, len(samples))
    assert len(whole) > 8000
    for size in (2560, 5120, 7001):
        np.testing.assert_allclose(speech(args, samples, size), whole, rtol=0, atol=1e-5)


def test_the_units_are_merged_and_their_durations_are_predicted(folder: Path) -> None:
    args = arguments(folder)
    agent = SpeechToSpeechTranslationAgent(args)
    samples = babble(5, seed=1).tolist()
    out = agent.pushpop(SpeechSegment(content=samples, sample_rate=SAMPLE_RATE, finished=True))
    units = agent.states.units
    assert len(units) > 10
    assert max(units) < NUM_UNITS
    assert len(out.content) % 320 == 0
    assert len(out.content) > 320 * len(units)  # a unit has one frame at least


def test_such_a_model_needs_a_vocoder_and_says_which(folder: Path) -> None:
    without = arguments(folder, vocoder=None)
    with pytest.raises(ValueError, match=r"a vocoder for the units mhubert_km1000 .*--vocoder-cfg"):
        SpeechToSpeechTranslationAgent(without)
    with pytest.raises(ValueError, match="a vocoder for the units mhubert_km1000"):
        StreamingTranslator(load_model(folder / "model"), speech=True)


WRONG_FLAGS: dict[str, tuple[dict[str, object], str]] = {
    "no configuration": ({"vocoder_cfg": None}, "`--vocoder` needs `--vocoder-cfg`"),
    "no file": ({"vocoder": "none"}, "none"),
    "a folder": ({"vocoder": "/"}, "/"),
    "no configuration there": ({"vocoder_cfg": "none.json"}, "none.json"),
    "in each other's places": ({"vocoder": "config.json"}, "config.json: it is no checkpoint"),
    "a checkpoint for a configuration": ({"vocoder_cfg": "g_00500000"}, "g_00500000: it is not JS"),
    "too far": ({"vocoder_lookahead_frames": 7}, "must be a whole number from 0 to 5, but is 7"),
    "backwards": (
        {"vocoder_lookahead_frames": -1},
        "a whole number from 0 to 5, but is -1",
    ),
}


@pytest.mark.parametrize("case", WRONG_FLAGS)
def test_flags_of_a_vocoder_that_cannot_be_used_are_refused_by_name(
    folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    changed, message = WRONG_FLAGS[case]
    with pytest.raises((ValueError, OSError)) as caught:
        SpeechToSpeechTranslationAgent(arguments(folder, **changed))
    assert message in str(caught.value)


def test_all_speech_comes_out_however_far_the_vocoder_looks_ahead(folder: Path) -> None:
    """Durations as given: a unit is 320 samples, and none waits for ever."""
    for look_ahead in (0, 2, WHOLE):
        args = arguments(folder, look_ahead, dur_prediction=False)
        agent = SpeechToSpeechTranslationAgent(args)
        samples = babble(5, seed=1).tolist()
        out = agent.pushpop(SpeechSegment(content=samples, sample_rate=SAMPLE_RATE, finished=True))
        assert len(out.content) == 320 * len(agent.states.units) > 0


def test_a_vocoder_of_the_models_own_is_not_for_foreign_units(tmp_path: Path) -> None:
    path = make_speaking_folder(tmp_path, units="mhubert_km1000")
    with pytest.raises(ModelFolderError, match="`units` must be logmel80 in this model, but is mh"):
        load_model(path)


def test_units_of_our_own_need_the_vocoder_of_the_model(tmp_path: Path) -> None:
    path = make_speaking_folder(tmp_path)
    shutil.rmtree(path / "vocoder")
    with pytest.raises(ModelFolderError, match="vocoder must be the folder of a vocoder"):
        load_model(path)


def test_a_vocoder_for_another_number_of_units_is_refused(folder: Path, tmp_path: Path) -> None:
    config = shallow_config() | {"num_embeddings": NUM_UNITS + 1}
    torch.save({"generator": random_weights(config)}, tmp_path / "g")
    (tmp_path / "config.json").write_text(json.dumps(config))
    args = arguments(folder, vocoder=str(tmp_path / "g"), vocoder_cfg=str(tmp_path / "config.json"))
    with pytest.raises(ValueError, match=f"must be for the {NUM_UNITS} units of the model"):
        SpeechToSpeechTranslationAgent(args)
