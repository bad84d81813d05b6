"""A stream that is moved from batch to batch is the stream that was never moved, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load, save
from tiny_model import babble, make_model_folder
from tiny_speech import make_speaking_folder

from echostream.model_folder import Model, load_model
from echostream.session.batch import StreamBatch
from echostream.session.snapshot import SnapshotError, fingerprint
from echostream.session.stream import Output

OPTIONS: list[dict[str, Any]] = [
    {"transcript": True},
    {"max_future_frames": 1, "lagging_k1": 2},
    {"decoding_method": "decoder", "lagging_k1": 1, "transcript": True},
    {"decoding_method": "decoder", "policy": "wait-k:2"},
    {"decoding_method": "decoder", "policy": "alignatt:4", "max_future_frames": 1},
    {"decoding_method": "decoder", "policy": "wait-k:2", "utterance_pause_ms": 0},
    {"decoding_method": "decoder", "utterance_pause_ms": 320},
    {"emission_unit": "char"},
    {"task": "asr"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_model_folder(tmp_path_factory.mktemp("model"), decoder_layers=1))


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_speaking_folder(tmp_path_factory.mktemp("model") / "tiny"))


def cut(samples: NDArray[np.float32], seed: int) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    pieces, start = [], 0
    while start < len(samples):
        stop = start + int(generator.choice([1, 777, 5000, 30_000]))
        pieces.append(samples[start:stop])
        start = stop
    return pieces


def run(
    model: Model, pieces: list[NDArray[np.float32]], rate: int, moves: bool, **options: Any
) -> list[Output]:
    """The outputs of a stream, beside another one; with `moves` it changes the batch at each call
    in one of two places: before a step, and after it."""
    batches = [StreamBatch(model, 2, **options) for _ in range(2)]
    other = batches[0].join()
    batches[0].push(other, babble(1.0, seed=99), 16_000)
    here, name = 0, batches[0].join()
    outputs: list[Output] = []

    def move() -> None:
        nonlocal here, name
        if moves:
            data = batches[here].take(name)
            assert name not in batches[here]
            here = 1 - here
            name = batches[here].put(data)

    def step() -> None:
        outputs.extend(batches[here].step().get(name, []))

    move()
    for number, piece in enumerate(pieces):
        batches[here].push(name, piece, rate)
        move()
        if number % 3 != 2:
            while name in batches[here].ready:
                step()
                if name in batches[here]:
                    move()
    batches[here].finish(name)
    move()
    while name in batches[here]:
        step()
        if name in batches[here]:
            move()
    return outputs


def as_values(outputs: list[Output]) -> list[Any]:
    return [
        (o.words, o.delay_ms, o.final, o.source_words, o.samples.tobytes(), o.units)
        for o in outputs
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_words_and_delays_of_a_moved_stream(
    model: Model, options: dict[str, Any], rate: int
) -> None:
    samples = babble(5.3, seed=2, sample_rate=rate)
    pieces = cut(samples, seed=rate)
    moved = run(model, pieces, rate, True, **options)
    assert as_values(moved) == as_values(run(model, pieces, rate, False, **options))
    assert sum(len(output.words) for output in moved) >= 1


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_two_channels_and_samples_that_are_not_usable(model: Model, rate: int) -> None:
    samples = np.stack([babble(4.4, seed=s, sample_rate=rate) for s in (1, 2)], axis=1)
    samples[1000], samples[2000] = np.nan, 40.0
    pieces = cut(samples, seed=1)
    moved = run(model, pieces, rate, True)
    assert as_values(moved) == as_values(run(model, pieces, rate, False))


@pytest.mark.parametrize("refine_steps", [0])
def test_speech_of_a_moved_stream(speaking: Model, refine_steps: int) -> None:
    pieces = cut(babble(5.0, seed=3), seed=4)
    options = {"speech": True, "refine_steps": refine_steps}
    moved = run(speaking, pieces, 16_000, True, **options)
    assert as_values(moved) == as_values(run(speaking, pieces, 16_000, False, **options))
    assert sum(len(output.samples) for output in moved) > 16_000


def test_a_stream_of_an_hour_has_the_size_of_one_of_a_few_seconds(model: Model) -> None:
    batch, sizes = StreamBatch(model, 1), []
    name = batch.join()
    for second in range(30):
        batch.push(name, babble(1.0, seed=second, sample_rate=48_000), 48_000)
        while name in batch.ready:
            batch.step()
        data = batch.take(name)
        sizes.append(len(data))
        name = batch.put(data)
    assert max(sizes[10:]) < 1.01 * max(sizes[:10])


@pytest.fixture(scope="module")
def data(model: Model) -> bytes:
    batch = StreamBatch(model, 1)
    name = batch.join()
    batch.push(name, babble(2.0, seed=1), 16_000)
    batch.step()
    return batch.take(name)


def test_a_stream_of_another_model_or_with_other_options_is_refused(
    model: Model, data: bytes, tmp_path: Path
) -> None:
    other = load_model(make_model_folder(tmp_path, tail_ms=320, decoder_layers=1))
    assert fingerprint(other) != fingerprint(model)
    with pytest.raises(SnapshotError, match="another model"):
        StreamBatch(other, 1).put(data)
    with pytest.raises(SnapshotError, match="options"):
        StreamBatch(model, 1, max_future_frames=1).put(data)
    with pytest.raises(RuntimeError, match="full"):
        batch = StreamBatch(model, 1)
        batch.join()
        batch.put(data)


def test_bytes_that_are_no_stream_change_nothing(model: Model, data: bytes) -> None:
    batch = StreamBatch(model, 1)
    tensors = load(data)
    row = next(name for name in tensors if name.startswith("row."))
    about = tensors["about"].numpy().tobytes()
    generator = np.random.default_rng(0)
    bad = [b"", b"words", data[:-1], data + b"x", bytes(generator.integers(0, 256, 999, np.uint8))]
    bad += [save({name: tensor for name, tensor in tensors.items() if name != row})]
    bad += [save({**tensors, row: tensors[row].double()})]
    bad += [save({**tensors, "about": tensors["about"][:-1]})]
    for old, new in (
        (b'"format": 1', b'"format": 2'),
        (b'"closed"', b'"opened"'),
        (b'"pending": []', b'"pending": {}') if b'"pending": []' in about else (b"null", b"1"),
    ):
        assert old in about
        changed = np.frombuffer(about.replace(old, new), np.uint8).copy()
        bad.append(save({**tensors, "about": tensors["about"].new_tensor(changed.tolist())}))
    for number, one in enumerate(bad[:-1]):
        with pytest.raises(SnapshotError):
            batch.put(one)
        assert len(batch) == 0, number
    assert batch.put(data) in batch
