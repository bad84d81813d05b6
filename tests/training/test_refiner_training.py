"""Training of a refiner: spans as they are when they are spoken, and a loss that falls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from killed_run import Killed, kill_after
from safetensors.torch import load_file
from tiny_units import FAST, NUM_UNITS, make_unit_corpus, unit_network

from echostream.models.unit_decoder import UnitDecoder
from echostream.speech_config import CTC, FRAME, RefinerConfig
from echostream.speech_folder import load_refiner, save_part
from echostream.training.part_config import UnitDataConfig
from echostream.training.refiner.config import RefinerTrainConfig, SpanConfig
from echostream.training.refiner.span import draw_spans, make_drafts
from echostream.training.refiner.train import refine_texts, train_refiner
from echostream.training.unit_decoder.data import read_unit_data
from echostream.training.unit_decoder.example import NO_UNIT, collate_units

WINDOW = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UnitDataConfig:
    return make_unit_corpus(tmp_path_factory.mktemp("units"))


@pytest.fixture(scope="module", params=[FRAME, CTC])
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: UnitDataConfig
) -> tuple[UnitDecoder, Path]:
    torch.manual_seed(0)
    network = read_unit_data(data, unit_network(kind=request.param)).network
    decoder = UnitDecoder(network).eval()
    path = tmp_path_factory.mktemp("decoder")
    save_part(path, decoder)
    return decoder, path


def refiner_run(
    data: UnitDataConfig, decoder: Path, output: Path, steps: int
) -> RefinerTrainConfig:
    return RefinerTrainConfig(
        output=str(output),
        steps=steps,
        data=data,
        unit_decoder=str(decoder),
        network=RefinerConfig(2, 1, 32, 2, 32, 2, window=WINDOW),
        optim=FAST,
        checkpoint_steps=max(1, steps // 2),
    )


def test_a_refiner_learns_the_units_that_a_bad_decoder_does_not_know(
    data: UnitDataConfig, decoder: tuple[UnitDecoder, Path], tmp_path: Path
) -> None:
    network, path = decoder
    refiner = load_refiner(train_refiner(refiner_run(data, path, tmp_path / "run", 80)))
    found = read_unit_data(data, network.config)
    batch = collate_units(found.dev, network.config)
    wanted = make_drafts(network, batch).wanted
    known = wanted != NO_UNIT
    right = [
        (refine_texts(network, refiner, batch, steps)[known] == wanted[known]).float().mean()
        for steps in (0, 2)
    ]
    assert right[1] > right[0] + 0.12
    assert "2 rounds" not in (tmp_path / "run" / "model" / "README.md").read_text()


def test_a_run_that_was_killed_and_resumed_has_the_weights_of_one_that_was_not(
    data: UnitDataConfig,
    decoder: tuple[UnitDecoder, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = train_refiner(refiner_run(data, decoder[1], tmp_path / "whole", 4))
    config = refiner_run(data, decoder[1], tmp_path / "killed", 4)
    revive = kill_after(3, monkeypatch)
    with pytest.raises(Killed):
        train_refiner(config)
    revive()
    found, wanted = (
        load_file(path / "model.safetensors") for path in (train_refiner(config), whole)
    )
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


@pytest.mark.parametrize("drafts", [0.0, 1.0])
def test_a_span_is_a_word_after_the_frames_before_it(
    data: UnitDataConfig, decoder: tuple[UnitDecoder, Path], drafts: float
) -> None:
    network, _ = decoder
    examples = read_unit_data(data, network.config).train
    batch = collate_units(examples, network.config)
    made = make_drafts(network, batch)
    config = SpanConfig(words=3, drafts=drafts, errors=0.0)
    mask = network.config.num_classes
    spans = draw_spans(made, config, WINDOW, mask, torch.Generator().manual_seed(1))
    assert spans.classes.shape[0] == 3 * len(examples)
    masked = 0
    for number in range(len(spans.classes)):
        row = number // 3
        length = int(made.lengths[row].sum())
        shown = spans.frames[number][spans.valid[number]]
        size = int(spans.valid[number, WINDOW:].sum())
        ends = made.lengths[row].cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        (word,) = [
            w
            for w, (a, b) in enumerate(zip(starts, ends, strict=True))
            if b - a == size and torch.equal(shown, made.frames[row, max(0, a - WINDOW) : b])
        ]
        first = max(0, starts[word] - WINDOW)
        source = made.classes if drafts else made.wanted
        expected = source[row, first : ends[word]]
        classes = spans.classes[number][spans.valid[number]]
        hidden = classes == mask
        assert torch.equal(classes[~hidden], expected[~hidden])
        assert not hidden[: starts[word] - first].any()  # what was spoken is never masked
        learned = spans.wanted[number][:size] != NO_UNIT
        assert torch.equal(learned, (classes != made.wanted[row, first : ends[word]])[-size:])
        assert length >= ends[word]
        masked += int(hidden.sum())
    assert 0 < masked < spans.valid[:, WINDOW:].sum()
    assert network.config.num_units == NUM_UNITS
