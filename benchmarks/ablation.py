"""Variants of a training at one budget, with several seeds, in one table.

    python benchmarks/ablation.py benchmarks/ablation_mboshi.yaml --output out/ablation

The file names a training configuration, changes of it for all runs (`all`), and the changes of each
variant; a key is that of the configuration with dots, as `loss.align_steps`. Each run is a training
of its own, in `OUTPUT/NAME-SEED`: one that was stopped resumes, and a finished one is not repeated.
A variant may start from the run of another: `init_from: ["{runs}/asr-{seed}/model"]`.

The table has the last scores of the dev set, the mean over the seeds with the lowest and highest,
and is written to OUTPUT/ablation.tsv, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from echostream.files import write_whole

_RUNS, _SEED = "{runs}", "{seed}"  # in a value: the folder of all runs, and the seed of this one
FIELDS = ("cer", "st_ratio", "bleu", "decoder_bleu", "free_bleu", "free_ratio")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains all variants with all seeds; 1 if a training failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("variants", type=Path, help="YAML file, as benchmarks/ablation_mboshi.yaml")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the trainings")
    parser.add_argument("--only", nargs="+", help="names of variants")
    parser.add_argument("--ranks", type=int, default=1, help="processes of a training")
    args = parser.parse_args(argv)
    plan = yaml.safe_load(args.variants.read_text(encoding="utf-8"))
    unknown = set(args.only or ()) - set(plan["variants"])
    if unknown:
        parser.error(f"--only: there is no variant {sorted(unknown)[0]}")
    names = [name for name in plan["variants"] if not args.only or name in args.only]
    failed = False
    for name in names:
        for seed in args.seeds:
            if not (args.output / f"{name}-{seed}" / "model" / "config.yaml").exists():
                failed |= train(plan["config"], changes(plan, args.output, name, seed), args.ranks)
        print(table(args.output, names, args.seeds), flush=True)
    write_whole(args.output / "ablation.tsv", table(args.output, names, args.seeds).encode())
    return int(failed)


def changes(plan: dict[str, Any], output: Path, name: str, seed: int) -> list[str]:
    """What a run has other than the configuration, as `echostream train --set` takes it."""
    values = {**plan.get("all", {}), **(plan["variants"][name] or {})}
    values |= {"data.seed": seed, "output": f"{output}/{name}-{seed}"}
    texts = (f"{key}={json.dumps(value)}" for key, value in values.items())
    return [text.replace(_RUNS, str(output)).replace(_SEED, str(seed)) for text in texts]


def train(config: str, changed: Sequence[str], ranks: int) -> bool:
    """Trains, or resumes a training; whether it failed."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command = [sys.executable, *(torchrun if ranks > 1 else ()), "-m", "echostream.training.train"]
    print(f"{config} --set {' '.join(changed)}", flush=True)
    return subprocess.run([*command, config, "--set", *changed]).returncode != 0


def table(output: Path, names: Sequence[str], seeds: Sequence[int]) -> str:
    """Tab-separated: a row for each variant and look-ahead of which there are scores."""
    lines = ["\t".join(("variant", "L", "step", "seeds", *FIELDS))]
    for name in names:
        runs = [last_scores(output / f"{name}-{seed}" / "log.jsonl") for seed in seeds]
        for kind in sorted({kind for run in runs for kind in run}):
            found = [run[kind] for run in runs if kind in run]
            cells = [_cell([r[field] for r in found if field in r]) for field in FIELDS]
            steps = "/".join(str(step) for step in sorted({int(r["step"]) for r in found}))
            look_ahead = kind.removeprefix("dev_L")
            lines.append("\t".join((name, look_ahead, steps, str(len(found)), *cells)))
    return "\n".join(lines)


def last_scores(log: Path) -> dict[str, dict[str, Any]]:
    """The newest record of the dev set for each look-ahead, `dev_L0` and so on."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    records = [json.loads(line) for line in lines]
    return {r["kind"]: r for r in records if r["kind"].startswith("dev_L")}


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{mean(values):.2f}{spread}"


if __name__ == "__main__":
    sys.exit(main())
