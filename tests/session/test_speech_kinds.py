"""Speech of both kinds of unit decoder, refined or not: cutting does not matter, nor do others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from spoken import assert_same_wave, cut, run, run_batch, units, wave
from test_speech import groups_of_speech, word_tokens
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import make_speaking_folder

from echostream.config import ConfigError
from echostream.model_folder import Model, ModelFolderError, load_model
from echostream.models.refiner import UnitRefiner
from echostream.session.settings import SessionSettings
from echostream.session.speech_queue import MAX_BACKLOG, SpeechQueue, speak_group
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig
from echostream.speech_config import CTC, FRAME, RefinerConfig
from echostream.speech_folder import REFINER, save_part

CASES = [(FRAME, 3), (CTC, 0), (CTC, 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    return {
        kind: load_model(
            make_speaking_folder(tmp_path_factory.mktemp(kind), kind=kind, unit_upsample=30)
        )
        for kind in (FRAME, CTC)
    }


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_the_samples_do_not_depend_on_the_cut_of_the_source(
    models: dict[str, Model], kind: str, steps: int
) -> None:
    samples = babble(7, seed=3)
    whole = run(models[kind], [samples], refine_steps=steps)
    assert len(wave(whole)) > 4000
    for sizes in ([160], [5120], [1, 2559, 2561, 9000, 17]):
        pieces = run(models[kind], cut(samples, sizes), refine_steps=steps)
        assert units(pieces) == units(whole)
        np.testing.assert_array_equal(wave(pieces), wave(whole))


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_streams_of_a_batch_speak_as_if_alone(
    models: dict[str, Model], kind: str, steps: int
) -> None:
    recordings = [babble(seconds, seed) for seed, seconds in enumerate((2.0, 4.3, 0.1))]
    found = run_batch(models[kind], recordings, refine_steps=steps)
    for outputs, samples in zip(found, recordings, strict=True):
        alone = run(models[kind], [samples], refine_steps=steps)
        assert units(outputs) == units(alone)
        assert_same_wave(outputs, alone)


@pytest.mark.parametrize(("kind", "steps"), CASES)
def test_tensors_are_made_on_the_device_of_the_parts(
    models: dict[str, Model], kind: str, steps: int
) -> None:
    """Those without a device are on "meta" here, and cannot be used with the others."""
    options = SessionConfig(speech=True, refine_steps=steps)
    speaker = SessionSettings(models[kind], options).speaker
    assert speaker is not None
    tokens = [word_tokens(models[kind], 3), word_tokens(models[kind], 9)]
    found = []
    for device in ("cpu", "meta"):
        with torch.inference_mode(), torch.device(device):
            queues, state = [SpeechQueue(), SpeechQueue()], speaker.init_state(2)
            for new in (tokens, *[[[], []]] * 20):  # then the player runs dry
                queues, state = speak_group(speaker, queues, new, [False, bool(new[1])], state)
        found.append([np.concatenate(queue.samples) for queue in queues])
    for wanted, samples in zip(*found, strict=True):
        assert len(wanted) > 4000
        np.testing.assert_array_equal(samples, wanted)


def devices(model: Model) -> set[str]:
    assert model.speech is not None
    speech = model.speech
    parts = (model.network, speech.unit_decoder, speech.refiner, speech.vocoder)
    assert all(isinstance(part, torch.nn.Module) for part in parts)
    return {weight.device.type for part in parts for weight in part.parameters()}  # type: ignore


def test_all_parts_of_a_model_are_on_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_speaking_folder(tmp_path)
    model = load_model(path)
    assert devices(model) == {"cpu"}
    model.to("meta")
    assert devices(model) == {"meta"}
    for module in ("model_folder", "speech_folder"):  # as if there were such a device
        monkeypatch.setattr(f"echostream.{module}.resolve_device", torch.device)
    assert devices(load_model(path, "meta")) == {"meta"}


@pytest.mark.parametrize("kind", [FRAME, CTC])
def test_no_rounds_are_the_unit_decoder_to_the_bit(models: dict[str, Model], kind: str) -> None:
    model, samples = models[kind], babble(5, seed=6)
    assert model.speech is not None
    without = dataclasses.replace(model, speech=dataclasses.replace(model.speech, refiner=None))
    np.testing.assert_array_equal(
        wave(run(model, [samples], refine_steps=0)), wave(run(without, [samples]))
    )
    refined = run(model, [samples], refine_steps=1)
    assert units(refined) != units(run(without, [samples]))


@pytest.mark.parametrize("steps", [1, 8])
def test_what_is_said_after_a_word_changes_nothing_of_it(
    models: dict[str, Model], steps: int
) -> None:
    """Speech that is out stays: a source that goes on otherwise has the same samples so far."""
    samples = babble(6, seed=9)
    session = StreamingTranslator(models[FRAME], speech=True, refine_steps=steps)
    so_far = wave(session.push(samples, SAMPLE_RATE))
    other = np.concatenate([samples, babble(5, seed=10)])
    longer = wave(run(models[FRAME], [other], refine_steps=steps))
    assert 4000 < len(so_far) < len(longer)
    np.testing.assert_allclose(longer[: len(so_far)], so_far, rtol=0, atol=1e-5)


def test_a_ctc_decoder_says_every_fifth_unit_less_while_it_is_late(
    models: dict[str, Model],
) -> None:
    many = word_tokens(models[CTC], 60)
    found, backlogs = groups_of_speech(models[CTC], [many, *[[]] * 150], [False] * 151)
    assert len(found[0]) and max(backlogs) <= MAX_BACKLOG and not backlogs[-1]
    gaps = [new for token in many for new in ([token], *[[]] * 20)]
    slow, _ = groups_of_speech(models[CTC], gaps, [False] * len(gaps))
    assert models[CTC].speech is not None
    silence = [models[CTC].speech.silence_unit] * 2
    normal = sum(len(part) for part in slow if part != silence)
    assert 0.75 * normal < sum(map(len, found)) < 0.97 * normal


@pytest.mark.parametrize(("steps", "allowed"), [(-1, ">= 0"), (9, "at most 8"), (True, ">= 0")])
def test_rounds_out_of_range_are_refused(
    models: dict[str, Model], steps: int, allowed: str
) -> None:
    with pytest.raises(ConfigError, match=f"`refine_steps` must be .*{allowed}"):
        StreamingTranslator(models[FRAME], speech=True, refine_steps=steps)


def test_rounds_without_a_refiner_are_refused(models: dict[str, Model]) -> None:
    model = models[FRAME]
    assert model.speech is not None
    without = dataclasses.replace(model, speech=dataclasses.replace(model.speech, refiner=None))
    with pytest.raises(ValueError, match="`refine_steps` must be 0 with a model without a refiner"):
        StreamingTranslator(without, speech=True, refine_steps=2)


@pytest.mark.parametrize(
    ("classes", "width", "name"), [(14, 16, "num_classes"), (13, 8, "frame_dim")]
)
def test_a_refiner_of_another_unit_decoder_is_refused(
    tmp_path: Path, classes: int, width: int, name: str
) -> None:
    path = make_speaking_folder(tmp_path)
    torch.manual_seed(0)
    save_part(path / REFINER, UnitRefiner(RefinerConfig(classes, width, 8, 2, 8, 1)))
    with pytest.raises(ModelFolderError, match=f"refiner: `{name}` must be"):
        load_model(path)
