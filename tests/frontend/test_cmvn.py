"""Global normalisation: mean 0 and deviation 1, on disk in StreamSpeech's form."""

from __future__ import annotations

import io
import tracemalloc
import warnings
import zipfile
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


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of any members, which numpy would not write."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # a name may come twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    """An npy with a header and no data."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def encrypted(content: bytes) -> bytes:
    """The flag of encryption set in each header of a zip that has it."""
    return content.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
    )


def npy(array: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


GOOD = ("mean.npy", npy(MEAN)), ("std.npy", npy(STD))


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
        npz(mean=MEAN + 1j, std=STD),
        npz(mean=MEAN[None], std=STD),
        npz(mean=MEAN > 0, std=STD),
        npz(mean=MEAN.astype(np.float64) * 1e300, std=STD),
        npz(mean=np.zeros(80, [("a", "f4")]), std=STD),
        zipped(("mean.npy", header("(10**12,)".replace("10**12", "1" + "0" * 12))), GOOD[1]),
        zipped(("mean.npy", header("(80,)")), GOOD[1]),
        zipped(("mean.npy", header("(-80,)")), GOOD[1]),
        zipped(("mean.npy", header("(" * 500 + ")" * 500)), GOOD[1]),
        zipped(("mean.npy", header("(80,)", "<U1000000")), GOOD[1]),
        zipped(("mean.npy", b"\x93NUMPY\x09\x00"), GOOD[1]),
        zipped(("mean.npy", b""), GOOD[1]),
        zipped(GOOD[0], GOOD[0], GOOD[1]),
        encrypted(zipped(*GOOD)),
        zipped(*GOOD)[:-30] + bytes(30),
        npz(mean=MEAN, std=STD).ljust(2**20 + 1, b"\0"),
    ],
    ids=[
        *("empty", "text", "cut", "no std", "40 bins", "pickled", "strings", "one array"),
        *("complex", "two axes", "booleans", "too large", "records", "a terabyte", "no values"),
        *("less than nothing", "deep header", "long strings", "npy 9", "empty array", "twice"),
        *("encrypted", "directory of zeros", "padded"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "gcmvn.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"gcmvn\.npz is not a file of CMVN statistics: "):
        GlobalCmvn.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        GlobalCmvn.load(tmp_path / "none.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "gcmvn.npz"
    bomb = zipped(("mean.npy", npy(MEAN) + bytes(2**24)), GOOD[1], compression=compression)
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"gcmvn\.npz .* `mean` must have at most 16384 bytes"):
        GlobalCmvn.load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    # And one whose header is wrong: the size in the directory is made small.
    size = (len(npy(MEAN)) + 2**24).to_bytes(4, "little")
    path.write_bytes(bomb.replace(size, (448).to_bytes(4, "little")))
    with pytest.raises(ValueError, match=r"gcmvn\.npz is not a file of CMVN statistics: Bad CRC"):
        GlobalCmvn.load(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_statistics_may_be_compressed_and_may_stand_beside_others(
    tmp_path: Path, compression: int
) -> None:
    path = tmp_path / "gcmvn.npz"
    path.write_bytes(zipped(("count.npy", npy(MEAN)), *GOOD, compression=compression))
    assert np.array_equal(GlobalCmvn.load(path).std, STD)


def test_the_same_statistics_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "gcmvn.npz"
    GlobalCmvn(MEAN, STD).save(path)
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    again = GlobalCmvn.load(path)
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_every_flipped_byte_and_every_cut_is_named_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "gcmvn.npz"
    GlobalCmvn(MEAN, STD).save(path)
    content = path.read_bytes()
    broken = [content[:size] for size in range(0, len(content), 7)] + [
        content[:offset] + bytes([content[offset] ^ flip]) + content[offset + 1 :]
        for offset in range(0, len(content), 3)
        for flip in (1, 0xFF)
    ]
    refused = 0
    for damaged in broken:
        path.write_bytes(damaged)
        try:
            GlobalCmvn.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} is not a file of CMVN statistics: ")
            refused += 1
    assert refused > 0.9 * len(broken)
