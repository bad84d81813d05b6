"""Variants of a training: their configurations, their runs, and the table of their scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from tiny_training import tiny_run

from benchmarks import ablation
from echostream.config import to_dict
from echostream.training.config import TrainConfig
from echostream.training.kinds import load_run_config

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "benchmarks" / "ablation_mboshi.yaml"


@pytest.mark.parametrize("name", yaml.safe_load(PLAN.read_text())["variants"])
def test_each_variant_of_the_shipped_file_is_a_configuration(name: str, tmp_path: Path) -> None:
    plan = yaml.safe_load(PLAN.read_text())
    changes = ablation.changes(plan, tmp_path, name, 2)
    config = load_run_config(ROOT / plan["config"], changes)
    assert isinstance(config, TrainConfig)
    assert config.output == str(tmp_path / f"{name}-2") and config.data.seed == 2
    own = {**plan["all"], **plan["variants"][name]}
    assert config.steps == own["steps"] and config.loss.align_steps == own["loss.align_steps"]
    starts = [f"{tmp_path}/asr-2/model:encoder"] if own["init_from"] else []
    assert list(config.init_from[:1]) == starts


def test_variants_are_trained_once_and_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = dataclasses.replace(tiny_run(tmp_path), validate_steps=2)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(to_dict(base)))
    variants = {"first": {"loss.st": 0.0}, "second": {"init_from": ["{runs}/first-{seed}/model"]}}
    plan = {"config": str(tmp_path / "base.yaml"), "all": {"steps": 3}, "variants": variants}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    command = [str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out"), "--seeds", "1", "2"]
    assert ablation.main(command) == 0
    written = (tmp_path / "out" / "ablation.tsv").read_text().splitlines()
    assert written[0].split("\t")[:4] == ["variant", "L", "step", "seeds"]
    rows = [line.split("\t") for line in written[1:]]
    assert {row[0] for row in rows} == {"first", "second"} and {row[3] for row in rows} == {"2"}
    assert all(row[2] == "3" and " to " in row[4] for row in rows)
    assert "/first-1" in capfd.readouterr().out
    assert ablation.main(command) == 0
    assert "--set" not in capfd.readouterr().out  # nothing is trained again
    with pytest.raises(SystemExit):
        ablation.main([*command, "--only", "third"])
    assert "there is no variant third" in capfd.readouterr().err


def test_a_training_that_fails_is_reported_and_the_next_one_runs(tmp_path: Path) -> None:
    base = dataclasses.replace(tiny_run(tmp_path), steps=2)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(to_dict(base)))
    variants = {"wrong": {"data.train_tsv": str(tmp_path / "none.tsv")}, "right": None}
    plan = {"config": str(tmp_path / "base.yaml"), "variants": variants}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert ablation.main([str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out" / "right-1" / "model" / "config.yaml").exists()
    assert "wrong" not in (tmp_path / "out" / "ablation.tsv").read_text()
