"""The Dockerfile: linted, its files are there, its commands run, its servers answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import yaml
from documents import ROOT
from servers import free_port, running

from echostream.session.translator import StreamingTranslator, joined_text

DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
    "hadolint"
)


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]  # type: ignore[misc]


def stage(name: str) -> dict[str, str]:
    """The instructions of a stage; of those that repeat, the last."""
    found: dict[str, str] = {}
    inside = False
    for word, rest in instructions():
        if word == "FROM":
            inside = rest.endswith(f" AS {name}")
        elif inside:
            found[word] = rest
    return found


def command(name: str) -> list[str]:
    """The command of a stage, run by this interpreter."""
    words = json.loads(stage(name)["CMD"])
    start = ["-m", "echostream"] if words[0] == "echostream" else []
    return [sys.executable, *start, *words[1:]]


def is_healthy(name: str, port: str, other: int) -> bool:
    words = json.loads(re.sub(r"^.*CMD ", "", stage(name)["HEALTHCHECK"]))
    script = words[2].replace(port, str(other))
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_no_fault() -> None:
    done = subprocess.run(
        [str(HADOLINT), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_is_copied_is_in_the_repository_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for word, rest in instructions():
        if word != "COPY" or rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source


def test_the_installation_can_be_resolved(tmp_path: Path) -> None:
    """Its pip commands, with this machine's index and without installing anything."""
    pip = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(pip) == 2
    for rest in pip:
        line = re.sub(r"--extra-index-url \S+ ", "", rest.split("&&")[-1])
        line = line.replace("/venv/bin/pip", f"{sys.executable} -m pip")
        # Without isolation ("0" turns it off): an isolated build environment is installed by pip
        # as well, and would stay empty in a dry run.
        variables = {**os.environ, "PIP_DRY_RUN": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        done = subprocess.run(
            line, shell=True, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_server_answers() -> None:
    port = free_port()
    words = [*command("serve"), "--port", str(port)]
    log = Path(os.devnull)
    with running(words, port, log):
        assert is_healthy("serve", "8000", port)
    assert not is_healthy("serve", "8000", port)


def test_the_http_processor_gives_the_words_of_a_session(tmp_path: Path) -> None:
    pytest.importorskip("simulstream")
    from simulstream.server.speech_processors.remote.http_proxy_speech_processor import (
        HttpProxySpeechProcessor,
    )

    port = free_port()
    config = yaml.safe_load((ROOT / "configs/simulstream/http.yaml").read_text())
    file = tmp_path / "http.yaml"
    file.write_text(yaml.safe_dump({**config, "port": port, "pool_size": 1}))
    words = [str(file) if word.endswith("http.yaml") else word for word in command("iwslt")]
    samples, rate = sf.read(ROOT / "examples/fr-en/test-seen-2026-0000000.flac", dtype="float32")
    with running(words, port, tmp_path / "log"):
        assert is_healthy("iwslt", "8080", port)
        client = HttpProxySpeechProcessor(SimpleNamespace(hostname="localhost", port=port))
        size = round(client.speech_chunk_size * rate)
        pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
        found = [client.process_chunk(piece.astype(np.float32)) for piece in pieces]
        found.append(client.end_of_stream())
    session = StreamingTranslator.load(ROOT / "models/fr-en-demo")
    outputs = session.push(samples, rate) + session.finish()
    assert " ".join(one.new_string.strip() for one in found if one.new_string) == joined_text(
        outputs
    )


def test_compose_names_what_the_dockerfile_has() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["echostream"]
    assert stage(service["build"]["target"])["EXPOSE"] == service["ports"][0].rpartition(":")[2]
    assert list(service["environment"]) == ["ECHOSTREAM_API_KEY"]


def test_commands_of_the_page_name_a_stage_and_its_port() -> None:
    for path in (ROOT / "docs" / "serve.md", DOCKERFILE):
        lines = re.findall(r"docker (build|run) (.*)", path.read_text())
        assert [name for name, _ in lines][:2] == ["build", "run"]
        (target,) = re.findall(r"--target (\S+)", lines[0][1])
        (port,) = re.findall(r"--publish \S+:(\d+)", lines[1][1])
        assert stage(target)["EXPOSE"] == port
