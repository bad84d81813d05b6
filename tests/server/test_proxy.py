"""nginx with the file of the repository: https and wss to a server behind it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import soundfile as sf
from documents import ROOT
from live_server import expected, live_server
from servers import environment, free_port, running
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.server.events import as_pcm16

NGINX, OPENSSL = shutil.which("nginx", path="/usr/sbin:/usr/bin"), shutil.which("openssl")


def write_site(folder: Path, port: int, server: int) -> Path:
    """The configuration of a whole nginx, with the site of the repository at other places."""
    text = (ROOT / "configs" / "serve" / "nginx.conf").read_text()
    for old, new in (
        ("/etc/ssl/certs/echostream.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/private/echostream.key", f"{folder}/key.pem"),
        ("listen 443 ssl", f"listen {port} ssl"),
        ("http://127.0.0.1:8000", f"http://localhost:{server}"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "site.conf").write_text(text)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {folder}/{name};\n" for name in names)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n{places} include {folder}/site.conf; }}\n"
    )
    subprocess.run(
        [
            *(str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "nginx.conf"


@pytest.mark.skipif(NGINX is None or OPENSSL is None, reason="nginx or openssl is not installed")
def test_words_through_tls_are_those_of_a_session(tmp_path: Path) -> None:
    model = make_model_folder(tmp_path / "model" / "fr-en-tiny")
    samples = babble(4.0, seed=1)
    sf.write(tmp_path / "talk.wav", samples, SAMPLE_RATE, subtype="PCM_16")
    port = free_port()
    with live_server(model, tmp_path) as server:
        file = write_site(tmp_path, port, server)
        with running([str(NGINX), "-c", str(file), "-p", str(tmp_path)], port, tmp_path / "log"):
            context = ssl.create_default_context(cafile=f"{tmp_path}/cert.pem")
            address = f"https://localhost:{port}"
            with urllib.request.urlopen(f"{address}/", context=context) as answer:
                assert b"<!doctype html>" in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"{address}/metrics", context=context)
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "echostream", "listen", "--fast"),
                    *("--url", address, "--wav", str(tmp_path / "talk.wav")),
                ],
                env={**environment(), "SSL_CERT_FILE": f"{tmp_path}/cert.pem"},
                capture_output=True,
                text=True,
                check=False,
            )
    assert done.returncode == 0, done.stderr
    texts = [line.split("s  ", 1)[1] for line in done.stdout.splitlines()]
    target = " ".join(text for text in texts if not text.startswith("["))
    data, _ = sf.read(tmp_path / "talk.wav", dtype="float32")
    assert target == expected(model, as_pcm16(data), SAMPLE_RATE)[1] and target
