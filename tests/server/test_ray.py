"""On Ray Serve: what it is given, when a replica hands its sessions over, and where they wait."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documents import ROOT
from ray.serve.schema import ServeDeploySchema
from tiny_model import make_model_folder

from echostream.config import ConfigError, from_dict
from echostream.model_folder import load_model
from echostream.server import handover, health_watch
from echostream.server.health_watch import HealthWatch
from echostream.server.ray import build
from echostream.server.ray_store import WaitingSessions
from echostream.server.served import ServedModel
from echostream.server.service import Room, Service
from echostream.server.settings import KEY, ServerSettings
from echostream.session_config import SessionConfig


def test_sessions_go_on_at_other_replicas_and_a_killed_one_costs_only_its_own(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "benchmarks.ray_restart", "--quick", "--seconds", "30"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "ray-restart.json").read_text())
    assert len(result["sessions"]) == 4
    for session in result["sessions"]:
        assert session["right"] and session["words"] and session["moves"] >= 1
    assert (result["lost"], result["went_on"], result["again"]) == (2, 2, True)


def test_the_file_that_is_shipped_is_one_of_ray_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "a secret")
    values = yaml.safe_load((ROOT / "configs" / "serve" / "ray.yaml").read_text(encoding="utf-8"))
    (application,) = ServeDeploySchema.model_validate(values).applications
    assert application.import_path == "echostream.server.ray:build"
    served = from_dict(ServedModel, application.args)
    assert (ROOT / served.model).is_dir() and (ROOT / str(served.examples)).is_dir()
    deployment = build(application.args)._bound_deployment
    assert deployment.name == application.deployments[0].name
    assert deployment.max_ongoing_requests == served.server.capacity
    assert deployment.init_args[0].server.api_key == "a secret"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "`model`"),
        ({"model": ""}, "`model` must be a model folder"),
        ({"model": "m", "sesion": {}}, "`sesion` is not a key"),
        ({"model": "m", "server": {"capacity": 0}}, "`capacity` must be at least 1"),
        ({"model": "m", "session": {"lagging_k1": -1}}, "`lagging_k1` must be"),
        ({"model": "m", "session": {"task": "asr"}}, "`session.task` must not be set"),
    ],
)
def test_arguments_that_are_wrong_are_named(args: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(args)


def test_a_replica_without_health_checks_moves_its_sessions_and_serves_again_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_watch, "HEALTH_SECONDS", 0.02)
    monkeypatch.setattr(health_watch, "OVERDUE_SECONDS", 0.3)
    model = load_model(make_model_folder(tmp_path / "fr-en-tiny"))
    moved: list[bool] = []
    finished: list[bool] = []

    async def finish() -> None:
        finished.append(True)

    async def move() -> None:
        moved.append(True)

    async def use() -> None:
        service = Service(model, "tiny", SessionConfig(), ServerSettings(drain_seconds=0.5))
        service.rooms = {"a": Room("a", finish, move=move)}
        watch = HealthWatch(service)
        for _ in range(20):
            watch.checked()
            await asyncio.sleep(0.03)
        assert not service.draining and not moved
        await asyncio.sleep(0.5)
        assert service.draining and moved == [True]
        for _ in range(30):  # longer than the session had to finish
            watch.checked()
            await asyncio.sleep(0.03)
        assert not service.draining and moved == [True] and not finished

    asyncio.run(use())


def test_a_session_waits_for_its_client_and_can_be_taken_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = WaitingSessions()
    waiting.put("sess_a", b"a")
    assert [waiting.take(name) for name in ("sess_b", "sess_a", "sess_a")] == [None, b"a", None]
    waiting.put("sess_a", b"old")
    monkeypatch.setattr("echostream.server.ray_store.KEEP_SECONDS", -handover.KEEP_SECONDS)
    waiting.put("sess_b", b"b")
    assert [waiting.take(name) for name in ("sess_a", "sess_b")] == [None, b"b"]
