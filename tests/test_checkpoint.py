"""Checkpoints: what is saved comes back, the last ones stay, and a kill loses no finished one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from echostream.training.batch import Place
from echostream.training.checkpoint import Checkpoints

PLACES = [Place(3, 7), Place(2, 0)]


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
    Checkpoints(tmp_path, keep=2).save(3, first.model, first.optimizer, PLACES)
    second = Run()
    assert Checkpoints(tmp_path, keep=2).restore(second.model, second.optimizer) == (3, PLACES)
    assert_equal(second.weights(), first.weights())
    for run in (first, second):  # the moments of the optimizer too
        torch.manual_seed(1)
        run.train(3)
    assert_equal(second.weights(), first.weights())


def test_the_newest_is_restored_and_the_oldest_are_removed(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=2)
    for step in (8, 9, 10, 100):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, PLACES)
    assert [path.name for path in checkpoints.paths()] == ["step-0000010.pt", "step-0000100.pt"]
    assert sorted(tmp_path.iterdir()) == checkpoints.paths()
    restored = checkpoints.restore(Run().model, Run().optimizer)
    assert restored is not None and restored[0] == 100


def test_the_mean_is_that_of_the_weights_that_were_kept(tmp_path: Path) -> None:
    run, checkpoints, history = Run(), Checkpoints(tmp_path, keep=3), []
    for step in range(5):
        run.train(1)
        checkpoints.save(step, run.model, run.optimizer, PLACES)
        history.append(run.weights())
    mean = checkpoints.mean_weights()
    for name, value in mean.items():
        expected = (history[2][name] + history[3][name] + history[4][name]) / 3
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
        assert not torch.equal(value, history[4][name])


def test_a_new_folder_has_nothing_to_restore_and_no_mean(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path / "deep" / "new", keep=2)
    assert checkpoints.restore(run.model, run.optimizer) is None
    with pytest.raises(FileNotFoundError, match=f"There is no checkpoint in {tmp_path}/deep/new"):
        checkpoints.mean_weights()


class _Bomb:
    """Something that ends the process in the middle of being written."""

    def __reduce__(self) -> tuple[object, ...]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_kill_in_the_middle_of_writing_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, run.model, run.optimizer, PLACES)
    weights = run.weights()
    run.train(1)
    place = Place(0, _Bomb())  # type: ignore[arg-type]
    writer = multiprocessing.get_context("fork").Process(
        target=checkpoints.save, args=(2, run.model, run.optimizer, [place])
    )
    writer.start()
    writer.join(timeout=30)
    assert writer.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2  # the old one, and what the kill has left
    again = Run()
    assert checkpoints.restore(again.model, again.optimizer) == (1, PLACES)
    assert_equal(again.weights(), weights)
    checkpoints.save(2, run.model, run.optimizer, PLACES)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000002.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run, checkpoints = Run(), Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, run.model, run.optimizer, PLACES)
    (path,) = checkpoints.paths()
    data = path.read_bytes()
    for content in (b"", data[: len(data) // 2], b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            checkpoints.restore(run.model, run.optimizer)
