"""The commands of the first section of docs/train.md, from an empty folder to a score.

The corpus lies where the page has it, but is tiny and of tones, and the network is narrow.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from documents import ROOT, commands
from safetensors.torch import load_file
from tiny_cvss import COUNTS, write_tiny_cvss

from echostream.data.table import read_tsv
from echostream.text.normalization import TextNormalization, load_normalization

PAGE = ROOT / "docs" / "train.md"
# What makes the training of the page a matter of seconds.
TINY = (
    "network.encoder.embed_dim=32", "network.encoder.num_heads=4", "network.encoder.ffn_dim=64",
    "network.encoder.num_layers_per_stack=1", "network.encoder.left_context=16",
    "network.st_layers=1", "network.st_ffn_dim=32", "network.decoder_layers=1",
    "network.decoder_ffn_dim=32", "network.max_future_frames=[0]", "network.tail_ms=480",
    "network.source_vocab_size=20", "network.target_vocab_size=20", "tokenizer.type=word",
    "data.block_size=4", "data.batch_seconds=8", "data.num_workers=1", "data.max_lost=0.5",
    "accumulate=2", "threads=1", "precision=float32", "device=cpu", "keep_checkpoints=2",
    "checkpoint_steps=20", "validate_steps=100", "optim.lr=0.02", "optim.warmup_steps=10",
    "dropout=0", "augment.time_masks=0", "augment.frequency_masks=0", "augment.speeds=[1]",
    "data.concat_probability=0", "loss.asr=1",
)  # fmt: skip
PATIENCE = 200  # seconds


def section_commands(folder: Path) -> list[list[str]]:
    """The commands between the first heading of the page and the next one."""
    text = PAGE.read_text(encoding="utf-8")
    (section,) = re.findall(r"^## From a corpus to a score$.*?(?=^## )", text, re.DOTALL | re.M)
    path = folder / "section.md"
    path.write_text(section, encoding="utf-8")
    return commands(path)


def program(words: list[str]) -> list[str]:
    """The command with the programs of this interpreter, and a training made small."""
    if words[0] == "torchrun":
        return [sys.executable, "-m", "torch.distributed.run", *words[1:], "--set", *TINY]
    return [str(Path(sys.executable).with_name(words[0])), *words[1:]]


@contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command while the block lasts; torchrun ends its ranks when it is ended itself."""
    process = subprocess.Popen(
        program(words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def run(words: list[str], folder: Path) -> str:
    """What it prints, after it has ended with 0."""
    with started(words, folder) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{words}\n{out[-2000:]}\n{err[-3000:]}"
    return out


def kill_in_the_middle(words: list[str], folder: Path, output: Path) -> None:
    """Starts a training, and kills its first rank outright when there is a checkpoint."""
    with started(words, folder) as process:
        end = time.monotonic() + PATIENCE
        while not any(output.glob("checkpoints/step-*.pt")):
            assert process.poll() is None and time.monotonic() < end, "no checkpoint"
            time.sleep(0.02)
        os.kill(int((output / "lock").read_text()), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)  # the other rank ends as well
    assert process.returncode != 0 and "SIGKILL" in err
    assert not (output / "model").exists()


@pytest.mark.slow
def test_the_commands_lead_from_a_corpus_to_a_score_though_the_training_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("configs", "agents"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_tiny_cvss(tmp_path / "corpora")
    prepare, check, asr, both, simuleval, score = section_commands(tmp_path)

    run(prepare, tmp_path)
    data = tmp_path / "data" / "cvss-fr-en"
    assert {s: len(read_tsv(data / f"{s}.tsv")) for s in COUNTS} == COUNTS
    assert (data / "report.png").is_file()
    assert "no fault" in run(check, tmp_path)

    asr[asr.index("steps=20000")] = "steps=100"
    first = tmp_path / run(asr, tmp_path).strip()
    assert (first / "model.safetensors").is_file()

    output = tmp_path / "out" / "train" / "cvss-fr-en"
    both += ["steps=60", "select.metric=last"]  # the newest, which are known beforehand
    kill_in_the_middle(both, tmp_path, output)
    assert run(both, tmp_path).strip() == "out/train/cvss-fr-en/model"
    model = output / "model"
    weights = load_file(model / "model.safetensors")
    parts = [
        torch.load(output / "checkpoints" / f"step-{step:07d}.pt", weights_only=True)["model"]
        for step in (40, 60)
    ]
    for name, value in weights.items():
        assert torch.allclose(value, (parts[0][name] + parts[1][name]) / 2, atol=1e-7), name
    assert (model / "spm_src.model").read_bytes() == (first / "spm_src.model").read_bytes()
    text = load_normalization(model)
    assert text == TextNormalization("lower", "drop", "straight")

    run(simuleval, tmp_path)
    log = tmp_path / "out" / "cvss-fr-en" / "instances.log"
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(found) == COUNTS["test"] and all(each["prediction"] for each in found)
    assert "BLEU" in run(score, tmp_path)
