"""The lock file holds what the requirements files pin, with hashes, and nothing contradicts it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if re.match(r"[A-Za-z]", line)]


def locked() -> dict[tuple[str, str], int]:
    """Of each name and version in the lock file, the number of hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line.partition("--hash")[0].strip())
            version = str(requirement.specifier).removeprefix("==")
            found[canonicalize_name(requirement.name), version] = line.count("--hash=sha256:")
    return found


def test_every_pin_but_torch_is_locked_with_a_hash() -> None:
    lock = locked()
    wanted = {
        (canonicalize_name(pin.name), str(pin.specifier).removeprefix("=="))
        for name in ("requirements.txt", "requirements-dev.txt")
        for pin in pins(name)
    }
    torch = {pin for pin in wanted if pin[0] == "torch"}
    assert len(torch) == 1 and not torch & lock.keys()
    assert sorted(wanted - torch - lock.keys()) == []
    assert min(lock.values()) >= 1


def test_continuous_integration_runs_what_developers_run_on_every_version() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    job = workflow["jobs"]["test"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert job["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
