"""The model is the best mean of the checkpoints that did best on the dev set, and they stay."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from killed_run import Killed
from safetensors.torch import load_file
from tiny_training import tiny_run
from torch import nn

from echostream.config import ConfigError
from echostream.training.checkpoint import Checkpoints
from echostream.training.checkpoint_file import CheckpointError
from echostream.training.config import SelectConfig, TrainConfig
from echostream.training.run import Run
from echostream.training.selection import FILE, Selection
from echostream.training.train import train
from echostream.training.validate import Scores


def score(value: float) -> Scores:
    return Scores(wer=value, bleu=value, exact=0.0)


@pytest.mark.parametrize(
    ("config", "best"),
    [
        (SelectConfig("wer", 0), [2, 3]),
        (SelectConfig("bleu", 0), [1, 4]),
        (SelectConfig("wer", 1), [3, 4]),
        (SelectConfig("wer"), [2, 3]),  # the means are 5, 4, 2.5 and 4.5
        (SelectConfig("exact"), [3, 4]),  # all equal: the newest
        (SelectConfig("free_bleu"), [3, 4]),  # not known
    ],
)
def test_the_best_are_those_of_the_metric_at_the_look_ahead(
    config: SelectConfig, best: list[int], tmp_path: Path
) -> None:
    selection = Selection(config, tmp_path)
    for step, at_0, at_1 in ((1, 7, 3), (2, 3, 5), (3, 3, 2), (4, 8, 1), (5, 0, 0)):
        selection.record(step, {0: score(at_0), 1: score(at_1)})
    assert Selection(config, tmp_path).best([1, 2, 3, 4, 6], 2) == best
    assert selection.has(5) and not selection.has(6)


def test_a_score_that_is_not_a_number_is_the_worst(tmp_path: Path) -> None:
    selection = Selection(SelectConfig("wer"), tmp_path)
    for step, value in ((1, 90.0), (2, math.nan), (3, 95.0)):
        selection.record(step, {0: score(value)})
    assert selection.best([1, 2, 3], 2) == [1, 3]


def test_the_best_and_the_newest_stay_and_the_mean_is_of_the_best(tmp_path: Path) -> None:
    selection = Selection(SelectConfig("wer"), tmp_path)
    checkpoints = Checkpoints(tmp_path, keep=2, selection=selection)
    layer = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters())
    for step, wer in ((1, 50.0), (2, 40.0), (3, None), (4, 45.0), (5, 60.0), (6, None)):
        layer.weight.data.fill_(step)
        checkpoints.save(step, layer, optimizer, [])
        if wer is not None:
            selection.record(step, {0: score(wer)})
            checkpoints.remove_old()
    assert [path.name[-4:-3] for path in checkpoints.paths()] == ["2", "4", "6"]
    means = [checkpoints.mean_weights(paths)["weight"].item() for paths in checkpoints.candidates()]
    assert means == [2, 3]  # of the best, and of the best two


@pytest.mark.parametrize("content", ["{", "[]", '{"3": {"0": 1}}'])
def test_damaged_scores_are_named_with_advice(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(CheckpointError, match=rf"{FILE} is damaged \(.+\): remove it"):
        Selection(SelectConfig("wer"), tmp_path).has(3)


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of which the best two of seven checkpoints become the model."""
    config = selecting(tmp_path_factory.mktemp("selected"))
    train(config)
    return config


def selecting(folder: Path) -> TrainConfig:
    return dataclasses.replace(
        tiny_run(folder),
        checkpoint_steps=1,
        validate_steps=1,
        select=SelectConfig("decoder_bleu", 1),
    )


def test_a_run_writes_that_mean_of_its_best_checkpoints_which_is_best_on_the_dev_set(
    selected: TrainConfig,
) -> None:
    folder = Path(selected.output)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    scores = [(r["decoder_bleu"], r["step"]) for r in records if r["kind"] == "dev_L1"]
    assert len(scores) == 7
    ranked = [step for _, step in sorted(scores)]
    assert sorted(ranked[-2:]) == [4, 5]  # not the last two
    means = [r for r in records if r["kind"] == "mean_L1"]
    assert [r["num_averaged"] for r in means] == [1, 2]
    assert means[0]["decoder_bleu"] == scores[ranked[-1] - 1][0]
    count = max((r["decoder_bleu"], r["num_averaged"]) for r in means)[1]
    assert_is_mean(folder, sorted(ranked[-count:]))


def test_a_mean_that_is_worse_than_the_best_checkpoint_is_not_taken(
    selected: TrainConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(selected.output, folder)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    scores = [(r["decoder_bleu"], r["step"]) for r in records if r["kind"] == "dev_L1"]
    second, best = (step for _, step in sorted(scores)[-2:])
    path = folder / "checkpoints" / f"step-{second:07d}.pt"
    content = torch.load(path, weights_only=True)
    content["model"] = {name: -value for name, value in content["model"].items()}
    torch.save(content, path)
    train(dataclasses.replace(selected, output=str(folder)), export_now=True)
    assert_is_mean(folder, [best])


def assert_is_mean(folder: Path, steps: list[int]) -> None:
    """The model of a run is the mean of the checkpoints of these steps, and its card names them."""
    weights = [
        torch.load(folder / "checkpoints" / f"step-{step:07d}.pt", weights_only=True)["model"]
        for step in steps
    ]
    for name, value in load_file(folder / "model" / "model.safetensors").items():
        mean = sum(each[name].double() for each in weights) / len(weights)
        torch.testing.assert_close(value, mean.float())
    card = (folder / "model" / "README.md").read_text()
    if len(steps) == 1:
        assert f"as they were after step {steps[0]}, the best on the dev set" in card
    else:
        assert f"after the steps {' and '.join(map(str, steps))}, the best {len(steps)}" in card


def test_a_run_killed_before_a_checkpoint_was_scored_selects_the_same(
    selected: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, validate = selecting(tmp_path), Run._validate_checkpoint

    def die(self: Run, step: int, log: object) -> None:
        if step == 3:
            raise Killed
        validate(self, step, log)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_validate_checkpoint", die)
    with pytest.raises(Killed):
        train(config)
    monkeypatch.setattr(Run, "_validate_checkpoint", validate)
    train(config)
    found, wanted = (Path(c.output) / "checkpoints" / FILE for c in (config, selected))
    assert json.loads(found.read_text()) == json.loads(wanted.read_text())


@pytest.mark.parametrize(
    ("select", "decoder_layers", "message"),
    [
        ({"metric": "loss"}, 1, "`select.metric` must be one of last, wer, cer, bleu"),
        ({"metric": "wer", "look_ahead": 4}, 1, r"`select.look_ahead` must be one of .*but is 4"),
        ({"metric": "free_bleu"}, 0, "there is no text decoder"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(
    select: dict[str, object], decoder_layers: int, message: str, tmp_path: Path
) -> None:
    config = tiny_run(tmp_path)
    network = dataclasses.replace(config.network, decoder_layers=decoder_layers)
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, network=network, select=SelectConfig(**select))  # type: ignore[arg-type]
