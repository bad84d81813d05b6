"""Checkpoints: what is saved comes back, the last ones stay, and a kill loses no finished one."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echostream.training.batch import DatasetPosition
from echostream.training.checkpoint import Checkpoints
from echostream.training.checkpoint_file import CheckpointError

POSITIONS = [DatasetPosition(3, 7), DatasetPosition(2, 0)]


class Run:
    """A linear layer that is trained on noise."""

    def __init__(self) -> None:
        self.model = nn.Linear(4, 3)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(torch.randn(5, 4)).square().sum().backward()
            self.optimizer.step()

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_restored_run_goes_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    first = Run()
    first.train(3)
    Checkpoints(tmp_path, keep=2).save(3, first.model, first.optimizer, POSITIONS)
    second = Run()
    assert Checkpoints(tmp_path, keep=2).restore(second.model, second.optimizer) == (3, POSITIONS)
    assert_equal(second.weights(), first.weights())
    for run in (first, second):  # the moments of the optimizer too
        torch.manual_seed(1)
        run.train(3)
    assert_equal(second.weights(), first.weights())


def test_the_newest_is_restored_and_the_oldest_are_removed(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=2)
    for step in (8, 9, 10, 100):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, POSITIONS)
    assert [path.name for path in checkpoints.paths()] == ["step-0000010.pt", "step-0000100.pt"]
    assert sorted(tmp_path.iterdir()) == checkpoints.paths()
    restored = checkpoints.restore(Run().model, Run().optimizer)
    assert restored is not None and restored[0] == 100


def test_the_mean_is_that_of_the_weights_that_were_kept(tmp_path: Path) -> None:
    run, checkpoints, history = Run(), Checkpoints(tmp_path, keep=3), []
    for step in range(5):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, POSITIONS)
        history.append(run.weights())
    mean = checkpoints.mean_weights(checkpoints.kept())
    for name, value in mean.items():
        expected = (history[2][name] + history[3][name] + history[4][name]) / 3
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
        assert not torch.equal(value, history[4][name])


def test_a_new_folder_has_nothing_to_restore_and_no_mean(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path / "deep" / "new", keep=2)
    assert checkpoints.restore(run.model, run.optimizer) is None
    with pytest.raises(FileNotFoundError, match=f"There is no checkpoint in {tmp_path}/deep/new"):
        checkpoints.mean_weights(checkpoints.kept())


class _Bomb:
    """Something that ends the process in the middle of being written."""

    def __reduce__(self) -> tuple[object, ...]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_kill_in_the_middle_of_writing_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    weights = run.weights()
    run.train(1)
    position = DatasetPosition(0, _Bomb())  # type: ignore[arg-type]
    writer = multiprocessing.get_context("fork").Process(
        target=checkpoints.save, args=(2, run.model, run.optimizer, [position])
    )
    writer.start()
    writer.join(timeout=30)
    assert writer.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2  # the old one, and what the kill has left
    again = Run()
    assert checkpoints.restore(again.model, again.optimizer) == (1, POSITIONS)
    assert_equal(again.weights(), weights)
    checkpoints.save(2, run.model, run.optimizer, POSITIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000002.pt"]


def test_a_damaged_checkpoint_is_named_with_advice(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    (path,) = checkpoints.paths()
    data = path.read_bytes()
    for content in (b"", data[: len(data) // 2], b"not a checkpoint", pickle.dumps({"step": 1})):
        path.write_bytes(content)
        message = f"{path} cannot be used: .* Remove it, and the run resumes from the beginning"
        with pytest.raises(CheckpointError, match=message):
            checkpoints.restore(run.model, run.optimizer)


def test_a_checkpoint_more_than_is_kept_has_no_part_in_the_mean(tmp_path: Path) -> None:
    """A run was killed between writing its newest checkpoint and removing its oldest."""
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        run.train(1)
        Checkpoints(tmp_path, keep=9).save(step, run.model, run.optimizer, POSITIONS)
    expected = Checkpoints(tmp_path, keep=9)
    checkpoints.paths()[0].rename(tmp_path / "oldest")
    wanted = expected.mean_weights(expected.kept())
    (tmp_path / "oldest").rename(tmp_path / "step-0000001.pt")
    assert_equal(checkpoints.mean_weights(checkpoints.kept()), wanted)


def test_other_files_in_the_folder_are_neither_restored_nor_removed(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    names = ("step-best.pt", "step-0000009.pt.bak", "notes.txt")
    for name in names:
        (tmp_path / name).write_text("mine")
    for step in (1, 9_999_999, 10_000_000):  # the last sorts first as text
        checkpoints.save(step, run.model, run.optimizer, POSITIONS)
    restored = checkpoints.restore(run.model, run.optimizer)
    assert restored is not None and restored[0] == 10_000_000
    assert {path.name for path in tmp_path.iterdir()} == {*names, "step-10000000.pt"}


class _Code:
    """What runs code where it is unpickled without care."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("RAN",)


def changed(content: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**content, **changes}


def first_moment(content: dict[str, Any], value: object, name: str = "exp_avg") -> dict[str, Any]:
    optimizer = copy.deepcopy(content["optimizer"])
    optimizer["state"][0][name] = value
    return {**content, "optimizer": optimizer}


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


UNUSABLE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a list": (lambda c: [c], "holds a list and not a checkpoint"),
    "code": (lambda c: changed(c, step=_Code()), "holds more than weights"),
    "no step": (lambda c: without(c, "step"), "has no `step`"),
    "no places": (lambda c: without(c, "places"), "has no `places`"),
    "a step that is a text": (lambda c: changed(c, step="7"), "`step` must be int, but is str"),
    "a step that is true": (lambda c: changed(c, step=True), "`step` must be int, but is bool"),
    "another step": (lambda c: changed(c, step=3), "it is of step 3"),
    "a place of three": (lambda c: changed(c, places=[[1, 2, 3]]), "`places` must be pairs"),
    "a place below 0": (lambda c: changed(c, places=[[-1, 2]]), "`places` must be pairs"),
    "a weight less": (
        lambda c: changed(c, model={"weight": c["model"]["weight"]}),
        r"another network: 1 weights are missing \['bias'\]",
    ),
    "another shape": (
        lambda c: changed(c, model={**c["model"], "bias": torch.zeros(4)}),
        r"`bias` must have shape \(3,\), but has \(4,\)",
    ),
    "another type": (
        lambda c: changed(c, model={**c["model"], "bias": torch.zeros(3).long()}),
        "`bias` of its `model` must be torch.float32, but is torch.int64",
    ),
    "NaN": (
        lambda c: changed(c, model={**c["model"], "bias": torch.full((3,), torch.nan)}),
        "`bias` of its `model` holds NaN or infinity",
    ),
    "no tensor": (
        lambda c: changed(c, model={**c["model"], "bias": "b"}), "`bias` of its `model` is not a"
    ),
    "a sparse tensor": (
        lambda c: changed(c, model={**c["model"], "bias": torch.zeros(3).to_sparse()}),
        "not a plain tensor",
    ),
    "no state": (lambda c: changed(c, optimizer={"param_groups": []}), "no `state`"),
    "other parameters": (
        lambda c: changed(c, optimizer={**c["optimizer"], "param_groups": [{"params": [0]}]}),
        "`optimizer` is of other parameters",
    ),
    "a moment of another shape": (
        lambda c: first_moment(c, torch.zeros(2)), r"`exp_avg` of parameter 0 .* but has \(2,\)"
    ),
    "an infinite moment": (
        lambda c: first_moment(c, torch.full((3, 4), torch.inf)), "holds NaN or infinity"
    ),
    "a moment more": (
        lambda c: first_moment(c, torch.zeros(3, 4), "more"), "others of parameter 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_reason_and_changes_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, checkpoints = Run(), Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, POSITIONS)
    path = checkpoints.paths()[-1]
    spoil, reason = UNUSABLE[kind]
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    again = Run()
    before, moments = again.weights(), again.optimizer.state_dict()
    message = (
        f"{path} cannot be used: .*{reason}.* Remove it, and the run resumes from step-0000001"
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoints.restore(again.model, again.optimizer)
    assert not Path("RAN").exists()
    assert_equal(again.weights(), before)
    assert again.optimizer.state_dict() == moments
    path.unlink()
    restored = checkpoints.restore(again.model, again.optimizer)
    assert restored is not None and restored[0] == 1


@pytest.mark.parametrize("kind", ["NaN", "a list", "no step"])
def test_a_mean_with_a_checkpoint_that_cannot_be_used_is_refused(kind: str, tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, POSITIONS)
    path = checkpoints.paths()[0]
    spoil, reason = UNUSABLE[kind]
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    with pytest.raises(CheckpointError, match=f"{path} cannot be part of the mean: .*{reason}"):
        checkpoints.mean_weights(checkpoints.kept())


def test_a_mean_over_two_networks_is_refused(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=3)
    run.train(1)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    run.model = nn.Linear(4, 2)
    checkpoints.save(2, run.model, run.optimizer, POSITIONS)
    with pytest.raises(CheckpointError, match=r"step-0000002\.pt .*`weight` must have shape"):
        checkpoints.mean_weights(checkpoints.kept())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    with torch.no_grad():
        run.model.bias[1] = torch.inf
    with pytest.raises(
        FloatingPointError, match="`bias` of the network is not finite after step 2"
    ):
        checkpoints.save(2, run.model, run.optimizer, POSITIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001.pt"]


def test_a_full_disk_leaves_the_checkpoint_before_and_no_half_file(tmp_path: Path) -> None:
    """The disk is a limit on the size of a file, which ends a write in the same way."""
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(OSError, match=r"step-0000002\.pt cannot be written: .*before it stay"):
            checkpoints.save(2, run.model, run.optimizer, POSITIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000001.pt"]
    assert checkpoints.restore(run.model, run.optimizer) == (1, POSITIONS)


def test_any_damage_to_a_checkpoint_is_refused_or_harmless(tmp_path: Path) -> None:
    """Bytes changed, cut off or put in at random: nothing but the documented error."""
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    run.train(1)
    checkpoints.save(1, run.model, run.optimizer, POSITIONS)
    (path,) = checkpoints.paths()
    whole, rng = path.read_bytes(), random.Random(0)
    refused, end = 0, time.monotonic() + 8
    for _ in range(1200):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 20))):
            offset = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    del data[offset : offset + rng.choice((1, 8, 1000))]
                case 1:
                    data[offset:offset] = rng.randbytes(rng.choice((1, 8)))
                case _:
                    data[offset : offset + 1] = rng.randbytes(1)
            data = data or bytearray(b"x")
        path.write_bytes(data)
        again = Run()
        try:
            checkpoints.restore(again.model, again.optimizer)
        except CheckpointError:
            refused += 1
        else:  # the damage was in unused bytes
            assert_equal(again.weights(), run.weights())
        if time.monotonic() > end:
            break
    assert refused > 50
