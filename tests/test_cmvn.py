"""Global normalisation: mean 0 and deviation 1, on disk in StreamSpeech's form."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from echostream.frontend.cmvn import GlobalCmvn

MEAN = np.linspace(3, 13, 80, dtype=np.float32)
STD = np.linspace(5, 8, 80, dtype=np.float32)


def test_training_data_get_mean_0_and_deviation_1() -> None:
    frames = np.random.default_rng(0).normal(7, 3, (500, 80)).astype(np.float32)
    normalised = GlobalCmvn(frames.mean(axis=0), frames.std(axis=0)).apply(frames)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-5)


def test_frames_are_normalised_one_by_one() -> None:
    """Online: what a frame becomes does not depend on the frames it comes with."""
    frames = np.random.default_rng(0).normal(7, 3, (20, 80)).astype(np.float32)
    cmvn = GlobalCmvn(MEAN, STD)
    alone = np.concatenate([cmvn.apply(frame[None]) for frame in frames])
    assert np.array_equal(cmvn.apply(frames), alone)
    assert np.array_equal(cmvn.apply(frames.reshape(4, 5, 80)).reshape(20, 80), alone)
    assert cmvn.apply(frames[:0]).shape == (0, 80)


def test_apply_leaves_its_input_alone() -> None:
    frames = np.ones((3, 80), np.float32)
    GlobalCmvn(MEAN, STD).apply(frames)
    assert np.array_equal(frames, np.ones((3, 80)))


def test_saved_statistics_load_as_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "gcmvn.npz"
    GlobalCmvn(MEAN, STD).save(path)
    loaded = GlobalCmvn.load(path)
    assert np.array_equal(loaded.mean, MEAN)
    assert np.array_equal(loaded.std, STD)
    with np.load(path) as arrays:
        assert sorted(arrays) == ["mean", "std"]
        assert {arrays[key].dtype for key in arrays} == {np.dtype(np.float32)}


def test_a_file_by_numpys_savez_loads(tmp_path: Path) -> None:
    path = tmp_path / "gcmvn.npz"
    np.savez(path, mean=MEAN.astype(np.float64), std=STD)
    assert GlobalCmvn.load(path).mean.dtype == np.float32


def test_save_writes_the_path_given_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "statistics"
    GlobalCmvn(MEAN, STD).save(path)
    GlobalCmvn(MEAN + 1, STD).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["statistics"]
    assert np.array_equal(GlobalCmvn.load(path).mean, MEAN + 1)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (MEAN[:79], STD, r"`mean` must have shape \(80,\), but has shape \(79,\) instead"),
        (MEAN, STD[None], r"`std` must have shape \(80,\), but has shape \(1, 80\) instead"),
        (np.full(80, np.nan), STD, "`mean` must be finite"),
        (MEAN, np.full(80, np.inf), "`std` must be finite"),
        (MEAN, np.zeros(80), "`std` must be positive, but its minimum is 0.0 instead"),
    ],
)
def test_impossible_statistics_are_refused(
    mean: NDArray[np.float32], std: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GlobalCmvn(mean, std)


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def npy(array: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"mean 3.7 std 6.6\n",
        npz(mean=MEAN, std=STD)[:300],
        npz(mean=MEAN),
        npz(mean=MEAN[:40], std=STD),
        npz(mean=np.array([{}] * 80, object), std=STD),
        npz(mean=np.array(["a"] * 80), std=STD),
        npy(MEAN),
    ],
    ids=["empty", "text", "cut", "no std", "40 bins", "pickled", "strings", "one array"],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gcmvn.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"gcmvn\.npz is not a file of CMVN statistics: "):
        GlobalCmvn.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        GlobalCmvn.load(tmp_path / "none.npz")
