"""`echostream listen`: a recording or the microphone through a server, and what can go wrong."""

from __future__ import annotations

import asyncio
import ctypes.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from live_server import connection, expected, live_server, serve_command
from servers import environment, free_port, running
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.server.client import websocket_url
from echostream.server.events import as_pcm16

PORTAUDIO = ctypes.util.find_library("portaudio")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "fr-en-tiny", decoder_layers=1)


@pytest.fixture(scope="module")
def port(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with live_server(
        model, tmp_path_factory.mktemp("server"), "--capacity", "2", "--lagging-k1", "0"
    ) as port:
        yield port


def command(port: int, *words: object) -> list[str]:
    start = [sys.executable, "-m", "echostream", "listen", "--url", f"http://localhost:{port}"]
    return [*start, *map(str, words)]


def listen(port: int, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(port, *words),
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def words(lines: Sequence[str]) -> tuple[str, str]:
    """Source text and translation of printed lines; how they are cut depends on the load."""
    times, texts = zip(*(line.split("s  ", 1) for line in lines), strict=True)
    assert list(map(float, times)) == sorted(map(float, times))
    sources = [text[1:-1] for text in texts if text.startswith("[")]
    targets = [text for text in texts if not text.startswith("[")]
    return " ".join(sources), " ".join(targets)


def recording(folder: Path, rate: int, channels: int = 1, seconds: float = 4.3) -> Path:
    path = folder / f"{rate}-{channels}.wav"
    samples = babble(seconds, seed=5, sample_rate=rate)
    sf.write(path, np.stack([samples] * channels, axis=1), rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16_000, 1), (44_100, 2)])
def test_words_of_a_recording_are_those_of_a_session(
    port: int, model: Path, tmp_path: Path, rate: int, channels: int
) -> None:
    path = recording(tmp_path, rate, channels)
    done = listen(port, "--wav", path, "--fast")
    samples, _ = sf.read(path, dtype="float32", always_2d=True)
    assert done.returncode == 0, done.stderr
    found = words(done.stdout.splitlines())
    assert found == expected(model, as_pcm16(samples.mean(axis=1)), rate)
    assert len(found[1]) > 20


def test_look_ahead_decoding_method_and_length_can_be_chosen(
    port: int, model: Path, tmp_path: Path
) -> None:
    path = recording(tmp_path, 16_000)
    asked = ("--max-future-frames", 1, "--decoding-method", "decoder", "--seconds", 2.5)
    done = listen(port, "--wav", path, "--fast", *asked)
    samples, _ = sf.read(path, dtype="float32")
    options = {"max_future_frames": 1, "decoding_method": "decoder"}
    found = words(done.stdout.splitlines())
    assert found == expected(model, as_pcm16(samples[:40_000]), 16_000, **options)


def test_ctrl_c_ends_the_source_and_the_words_of_what_was_sent_still_come(
    port: int, model: Path, tmp_path: Path
) -> None:
    path = recording(tmp_path, 16_000, seconds=120)
    process = subprocess.Popen(
        command(port, "--wav", path), env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    lines = [first.rstrip("\n"), *rest.splitlines()]
    samples, _ = sf.read(path, dtype="float32")
    found = words(lines)
    assert process.returncode == 0
    assert any(  # some number of pieces, of 0.1 s
        found == expected(model, as_pcm16(samples[: 1600 * pieces]), 16_000)
        for pieces in range(3, 600)
    )


@pytest.mark.skipif(PORTAUDIO is None, reason="PortAudio is not installed")
def test_words_of_the_microphone_are_those_of_a_session(
    port: int, model: Path, tmp_path: Path
) -> None:
    rate = 44_100
    data = as_pcm16(babble(9.0, seed=8, sample_rate=rate))
    (tmp_path / "sound.raw").write_bytes(data)
    (tmp_path / ".asoundrc").write_text(  # a file as the sound card of ALSA
        'pcm.!default { type file slave.pcm "null" file "/dev/null" format "raw" '
        f'infile "{tmp_path}/sound.raw" }}\n'
    )
    done = listen(port, "--mic", "--seconds", 4.25, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith("microphone: default")
    assert words(lines) == expected(model, data[: 2 * round(4.25 * rate)], rate)


@pytest.mark.skipif(PORTAUDIO is None, reason="PortAudio is not installed")
def test_a_machine_without_a_microphone_is_an_error(port: int, tmp_path: Path) -> None:
    done = listen(port, "--mic", "--mic-device", "none such", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "no microphone 'none such' can be opened" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seconds", 0), "`--seconds` must be above 0, but is 0 instead."),
        (("--mic-device", 1), "`--mic-device` needs `--mic`."),
        (("--url", "localhost:8000"), "`--url` must be like ws://HOST:PORT"),
    ],
)
def test_wrong_flags_are_named(
    port: int, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    done = listen(port, "--wav", recording(tmp_path, 16_000), *flags)
    assert done.returncode == 2 and message in done.stderr


def test_samples_that_are_not_usable_become_zeros(port: int, model: Path, tmp_path: Path) -> None:
    samples = babble(3.0, seed=5)
    samples[1000:1010] = 0
    bad = samples.copy()
    bad[1000:1010] = np.nan
    sf.write(tmp_path / "bad.wav", bad, SAMPLE_RATE, subtype="FLOAT")
    done = listen(port, "--wav", tmp_path / "bad.wav", "--fast")
    assert done.returncode == 0 and "set to zero: 10 samples" in done.stderr
    assert words(done.stdout.splitlines()) == expected(model, as_pcm16(samples), SAMPLE_RATE)


def test_a_recording_that_cannot_be_read_is_named(port: int, tmp_path: Path) -> None:
    done = listen(port, "--wav", tmp_path / "missing.wav")
    assert done.returncode == 2 and "missing.wav" in done.stderr.splitlines()[-1]


def test_what_the_server_refuses_is_one_line(port: int, model: Path, tmp_path: Path) -> None:
    path = recording(tmp_path, 16_000)
    done = listen(port, "--wav", path, "--max-future-frames", 9)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "max_future_frames` must be one of" in done.stderr

    async def while_full() -> subprocess.CompletedProcess[str]:
        async with connection(port, model) as first, connection(port, model) as second:
            await first.recv()
            await second.recv()
            return await asyncio.to_thread(listen, port, "--wav", path)

    done = asyncio.run(while_full())
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "full" in done.stderr


def test_no_server_is_one_line(tmp_path: Path) -> None:
    done = listen(free_port(), "--wav", recording(tmp_path, 16_000))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "does not answer" in done.stderr


def test_a_key_is_taken_from_the_flag_or_the_environment(model: Path, tmp_path: Path) -> None:
    path = recording(tmp_path, 16_000, seconds=0.5)
    os.environ["ECHOSTREAM_API_KEY"] = "secret"  # of the server
    try:
        with live_server(model, tmp_path) as port:
            wrong = listen(port, "--wav", path, "--api-key", "guess")
            assert wrong.returncode == 1 and "Is `--api-key` right?" in wrong.stderr
            assert listen(port, "--wav", path, "--fast").returncode == 0
            without = listen(port, "--wav", path, "--api-key", "secret", ECHOSTREAM_API_KEY="x")
            assert without.returncode == 0
    finally:
        del os.environ["ECHOSTREAM_API_KEY"]


def test_a_server_that_dies_is_one_line(model: Path, tmp_path: Path) -> None:
    path = recording(tmp_path, 16_000, seconds=60)
    port = free_port()
    with running(serve_command(model, port), port, tmp_path / "serve.log") as server:
        process = subprocess.Popen(
            command(port, "--wav", path),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        server.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1 and "was lost" in errors


def test_addresses() -> None:
    path = "/v1/realtime/translations"
    assert websocket_url("http://localhost:8000") == f"ws://localhost:8000{path}"
    assert websocket_url("https://example.org/") == f"wss://example.org{path}"
    assert websocket_url("wss://example.org/x?model=a") == "wss://example.org/x?model=a"
    for wrong in ("ftp://example.org", "example.org", "ws://"):
        with pytest.raises(ValueError, match="`--url` must be like"):
            websocket_url(wrong)
