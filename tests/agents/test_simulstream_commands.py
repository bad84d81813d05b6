"""simulstream 1.0.0's own programs drive the processor: inference to a log, and the servers."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from documents import command_of
from servers import ROOT, environment, free_port, running
from simulstream.metrics.readers import LogReader
from tiny_model import SAMPLE_RATE
from websockets.sync.client import ClientConnection, connect

from echostream.model_folder import load_model
from echostream.session.translator import Output, StreamingTranslator

EXAMPLES = ROOT / "examples" / "fr-en"
CHUNK_MS = 320


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three of the examples as simulstream reads them: WAV, 16 bit."""
    cwd = tmp_path_factory.mktemp("wavs")
    paths = []
    for name in (EXAMPLES / "wav_list.txt").read_text().splitlines()[:3]:
        samples, rate = soundfile.read(ROOT / name, dtype="int16")
        assert rate == SAMPLE_RATE
        paths.append(cwd / f"{Path(name).stem}.wav")
        soundfile.write(paths[-1], samples, rate, subtype="PCM_16")
    return paths


def write_config(path: Path, folder: Path) -> Path:
    config = {
        "type": "echostream.simulstream.EchoStreamProcessor",
        "speech_chunk_size": CHUNK_MS / 1000,
        "model_path": str(folder),
        "source_lang": "fr",
        "target_lang": "en",
        "detokenizer_type": "simuleval",
        "latency_unit": "word",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def by_session(folder: Path, wav: Path) -> list[Output]:
    samples, rate = soundfile.read(wav, dtype="float32")
    translator = StreamingTranslator(load_model(folder))
    size = CHUNK_MS * rate // 1000
    outputs = []
    for start in range(0, len(samples), size):
        outputs += translator.push(samples[start : start + size], rate)
    return outputs + translator.finish()


def text_of(folder: Path, wav: Path) -> str:
    return " ".join(output.text for output in by_session(folder, wav))


def test_the_inference_command_logs_what_the_session_writes(
    folder: Path, wavs: list[Path], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "config.yaml", folder)
    (tmp_path / "wavs.txt").write_text("".join(f"{wav}\n" for wav in wavs))
    command = [sys.executable, "-m", "simulstream.inference", "--src-lang", "fr"]
    command += ["--tgt-lang", "en", "--speech-processor-config", str(config)]
    command += ["--wav-list-file", "wavs.txt", "--metrics-log-file", "metrics.jsonl"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    log = tmp_path / "metrics.jsonl"
    first, *records = [json.loads(line) for line in log.read_text().splitlines()]
    assert list(first) == ["model_loading_time"]
    for index, wav in enumerate(wavs):
        about, *steps = [record for record in records if record["id"] == index]
        assert about == {"id": index, "metadata": {"wav_name": str(wav)}}
        assert_schema(steps)
        seconds = soundfile.info(wav).duration
        assert steps[-1]["total_audio_processed"] == pytest.approx(seconds)
        expected = by_session(folder, wav)
        written = [
            (word, 1000 * step["total_audio_processed"])
            for step in steps
            for word in step["generated_tokens"]
        ]
        assert [word for word, _ in written] == [w for o in expected for w in o.text.split()] != []
        delays = [output.delay_ms for output in expected for _ in output.text.split()]
        assert [delay for _, delay in written] == pytest.approx(delays)
    # simulstream's own reader of the log, on which its scorers stand
    reader = LogReader(SimpleNamespace(**yaml.safe_load(config.read_text())), str(log))
    assert reader.final_outputs() == {wav.stem: text_of(folder, wav) for wav in wavs}
    assert reader.num_deleted_tokens() == 0


def assert_schema(steps: list[dict[str, Any]]) -> None:
    keys = ["id", "total_audio_processed", "computation_time", "generated_tokens", "deleted_tokens"]
    for step in steps:
        assert list(step) == keys
        assert step["deleted_tokens"] == []
        assert step["computation_time"] > 0
    seconds = [step["total_audio_processed"] for step in steps]
    assert seconds == sorted(seconds)


@contextmanager
def websocket_server(folder: Path, cwd: Path, pool_size: int) -> Iterator[str]:
    """simulstream's server in a process of its own; its address."""
    port = free_port()
    server = yaml.safe_load((ROOT / "configs/simulstream/server.yaml").read_text())
    server |= {"port": port, "pool_size": pool_size, "acquire_timeout": 60}
    server["metrics"] = {"enabled": True, "filename": str(cwd / "server.jsonl")}
    (cwd / "server.yaml").write_text(yaml.safe_dump(server))
    config = write_config(cwd / "config.yaml", folder)
    command = [sys.executable, "-m", "simulstream.server.websocket_server"]
    command += ["--server-config", str(cwd / "server.yaml")]
    command += ["--speech-processor-config", str(config)]
    with running(command, port, cwd / "server.log"):
        yield f"ws://localhost:{port}"


class Client:
    """One client: chunks out, pieces of text in."""

    def __init__(self, connection: ClientConnection, wav: Path) -> None:
        self.connection = connection
        samples, rate = soundfile.read(wav, dtype="int16")
        size = CHUNK_MS * rate // 1000
        self.chunks = [samples[start : start + size] for start in range(0, len(samples), size)]
        self.text = ""
        about = {"sample_rate": rate, "target_lang": "en", "source_lang": "fr"}
        self.connection.send(json.dumps({**about, "metrics_metadata": {"wav_name": str(wav)}}))

    def send_chunk(self, chunk: np.ndarray[Any, Any]) -> None:
        """Sends a chunk; the server answers those that are full."""
        self.connection.send(chunk.tobytes())
        if len(chunk) == len(self.chunks[0]):
            self.receive()

    def receive(self) -> None:
        answer = json.loads(self.connection.recv(timeout=60))
        assert answer["deleted"] == ""
        self.text += answer["new"]

    def end(self) -> str:
        self.connection.send(json.dumps({"end_of_stream": True}))
        self.receive()
        assert json.loads(self.connection.recv(timeout=60)) == {"end_of_processing": True}
        return self.text.strip()


def test_clients_of_the_server_at_once_and_in_turn_are_independent(
    folder: Path, wavs: list[Path], tmp_path: Path
) -> None:
    with websocket_server(folder, tmp_path, pool_size=2) as address:
        with connect(address) as one, connect(address) as other:
            clients = [Client(one, wavs[0]), Client(other, wavs[1])]
            for step in range(max(len(client.chunks) for client in clients)):
                for client in clients:
                    if step < len(client.chunks):
                        client.send_chunk(client.chunks[step])
            for client, wav in zip(clients, wavs, strict=False):
                assert client.end() == text_of(folder, wav) != ""
        for _ in range(2):  # both processors of the pool, each left in the middle of a stream
            with connect(address) as gone:
                client = Client(gone, wavs[0])
                client.send_chunk(client.chunks[0])
        for _ in range(2):
            with connect(address) as later:
                client = Client(later, wavs[2])
                for chunk in client.chunks:
                    client.send_chunk(chunk)
                assert client.end() == text_of(folder, wavs[2])


def page_command(program: str) -> list[str]:
    """A command of the page of docs/ on simulstream."""
    return command_of(ROOT / "docs" / "simulstream.md", program)


def test_the_page_server_hands_out_the_page_and_where_the_websocket_is(tmp_path: Path) -> None:
    """The page is in simulstream's repository and not in its package; here it is one line."""
    flags = page_command("simulstream_demo_http_server")[1:]
    page = tmp_path / "webdemo"
    page.mkdir()
    (page / "index.html").write_text("the page\n")
    port = free_port()
    config = ROOT / flags[flags.index("--config") + 1]
    assert page_command("simulstream_server")[2] == flags[flags.index("--config") + 1]
    for flag, value in (("--config", config), ("--port", port), ("--directory", page)):
        flags[flags.index(flag) + 1] = str(value)
    command = [sys.executable, "-m", "simulstream.server.http_server", *flags]
    with running(command, port, tmp_path / "page.log"):
        found = {}
        for path in ("/", "/config.yaml"):
            with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=60) as answer:
                found[path] = answer.read().decode()
    assert found["/"] == "the page\n"
    # The keys that the page reads: the websocket's address and the languages to choose from.
    config_of_page = yaml.safe_load(found["/config.yaml"])
    assert (config_of_page["hostname"], config_of_page["port"], config_of_page["secure"]) == (
        "localhost",
        8080,
        False,
    )
    processor = yaml.safe_load((ROOT / "configs/simulstream/fr-en-demo.yaml").read_text())
    assert list(config_of_page["webui"]["src_supported_langs"][0]) == [processor["source_lang"]]
    assert list(config_of_page["webui"]["tgt_supported_langs"][0]) == [processor["target_lang"]]
