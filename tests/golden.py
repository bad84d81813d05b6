"""What must not change when the code is moved: words and delays, names of weights, public paths.

    python tests/golden.py write              # into tests/golden.json, after a new model
    python tests/golden.py check              # what differs from it
    python tests/golden.py write --simuleval --output before.json
    python tests/golden.py check --simuleval --output before.json

With `--simuleval` the words and delays are those of `simuleval` itself over all 64 examples, and
the weights of a tiny training are compared to the bit, which holds on one machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

GOLDEN = ROOT / "tests" / "golden.json"
MODEL = ROOT / "models" / "fr-en-demo"
EXAMPLES = ROOT / "examples" / "fr-en"
FEW = 4  # recordings of the short comparison
SEGMENT_MS = 320
SETTINGS = [(look_ahead, name) for look_ahead in (0, 1) for name in ("ctc", "decoder:1")]

# Names that users import, and files that they name to SimulEval, StreamSpeech and simulstream.
PUBLIC_NAMES = (
    "echostream.Model",
    "echostream.Output",
    "echostream.StreamBatch",
    "echostream.StreamingTranslator",
    "echostream.ZipformerEncoder",
    "echostream.joined_text",
    "echostream.load_model",
    "echostream.agents.SpeechToTextTranslationAgent",
    "echostream.agents.StreamingASRAgent",
    "echostream.simulstream.EchoStreamProcessor",
)
PUBLIC_FILES = (
    "agents/s2tt.py",
    "agents/asr.py",
    "eval/latency_curve.py",
    "eval/long_form.py",
    "eval/LOG.md",
    "eval/streamspeech/agent/speech_to_text.s2tt.streamspeech.agent.py",
    "eval/streamspeech/agent/speech_to_text.asr.streamspeech.agent.py",
    "configs/train/demo-fr-en.yaml",
    "configs/simulstream/fr-en-demo.yaml",
    "models/fr-en-demo/main.yaml",
)


def agent_flags(look_ahead: int, method: str) -> list[str]:
    """The flags of an agent for L and a decoding method such as `decoder:1`."""
    name, _, lagging = method.partition(":")
    return [
        f"--max-future-frames={look_ahead}",
        f"--decoding-method={name}",
        f"--lagging-k1={lagging or 0}",
    ]


def session_words(paths: Iterable[Path], look_ahead: int, method: str) -> list[str]:
    """Delays and words of recordings, one line for each, in segments of 320 ms."""
    from echostream import StreamingTranslator, load_model
    from echostream.frontend.audio import read_audio

    name, _, lagging = method.partition(":")
    session = StreamingTranslator(
        load_model(MODEL),
        max_future_frames=look_ahead,
        decoding_method=name,
        lagging_k1=int(lagging or 0),
    )
    lines = []
    for path in paths:
        samples, sample_rate = read_audio(path)
        size = sample_rate * SEGMENT_MS // 1000
        session.reset()
        outputs = []
        for start in range(0, len(samples), size):
            outputs += session.push(samples[start : start + size], sample_rate)
        outputs += session.finish()
        lines.append(" ".join(f"[{o.delay_ms:g}] {o.text}" for o in outputs))
    return lines


def simuleval_words(look_ahead: int, method: str) -> list[str]:
    """Delays and words of all examples, as `simuleval` writes them to instances.log."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "simuleval.cli", "--agent", "agents/s2tt.py"]
        command += ["--model-path", str(MODEL), *agent_flags(look_ahead, method)]
        command += ["--source", str(EXAMPLES / "wav_list.txt")]
        command += ["--target", str(EXAMPLES / "target.txt")]
        command += [f"--source-segment-size={SEGMENT_MS}", "--output", folder]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        log = Path(folder, "instances.log").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in log]
    return [f"{entry['delays']} {entry['prediction']}" for entry in entries]


def export_tiny_model(folder: Path) -> Path:
    """A tiny model folder with its graphs."""
    from tiny_model import make_model_folder

    from echostream.backends.export import export_model

    make_model_folder(folder, decoder_layers=1)
    export_model(folder, int8=True)
    return folder


def graph_names(folder: Path) -> dict[str, list[str]]:
    """Inputs and outputs of the graphs of a tiny model, which are fields of its state."""
    names = {}
    for path in sorted(folder.glob("*.onnx")):
        graph = onnx.load(path, load_external_data=False).graph
        for kind, values in (("inputs", graph.input), ("outputs", graph.output)):
            names[f"{path.name} {kind}"] = [value.name for value in values]
    return names


def trained_norms(folder: Path) -> tuple[dict[str, float], str]:
    """The norm of each weight after a training of seven steps, and a digest of all their bits."""
    from tiny_training import tiny_run

    from echostream.cli import main
    from echostream.config import to_dict

    folder.mkdir()
    config = tiny_run(folder)
    (folder / "train.yaml").write_text(json.dumps(to_dict(config)), encoding="utf-8")  # is YAML
    assert main(["train", str(folder / "train.yaml")]) == 0
    weights = load_file(Path(config.output, "model", "model.safetensors"))
    bits = hashlib.sha256()
    for name in sorted(weights):
        bits.update(name.encode() + weights[name].numpy().tobytes())
    return {name: float(weights[name].norm()) for name in sorted(weights)}, bits.hexdigest()


def shapes_of(weights: dict[str, torch.Tensor]) -> dict[str, str]:
    """The name and the shape of each weight."""
    return {name: " x ".join(map(str, weights[name].shape)) for name in sorted(weights)}


def record(exported: Path, simuleval: bool = False) -> dict[str, Any]:
    """All that is compared; `exported` is the folder of `export_tiny_model`."""
    torch.set_num_threads(1)
    paths = [
        ROOT / line for line in EXAMPLES.joinpath("wav_list.txt").read_text("utf-8").splitlines()
    ]
    for name in PUBLIC_NAMES:
        module, _, attribute = name.rpartition(".")
        getattr(importlib.import_module(module), attribute)
    with tempfile.TemporaryDirectory() as folder:
        norms, bits = trained_norms(Path(folder, "run"))
        found: dict[str, Any] = {
            "missing files": [name for name in PUBLIC_FILES if not (ROOT / name).is_file()],
            "model": shapes_of(load_file(MODEL / "model.safetensors")),
            "graph": graph_names(exported),
            "training": norms,
        }
    for look_ahead, method in SETTINGS:
        if simuleval:
            words = simuleval_words(look_ahead, method)
        else:
            step = len(paths) // FEW
            words = session_words(paths[::step], look_ahead, method)
        found[f"words L={look_ahead} {method}"] = words
    if simuleval:
        found["training bits"] = bits
    return found


def differences(found: Any, wanted: Any, where: str = "") -> list[str]:
    """Every place at which two recordings differ; numbers may by one in a thousand."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        lines = [f"{where}: {key} is new" for key in found.keys() - wanted.keys()]
        lines += [f"{where}: {key} is gone" for key in wanted.keys() - found.keys()]
        for key in sorted(found.keys() & wanted.keys()):
            lines += differences(found[key], wanted[key], f"{where}/{key}")
        return lines
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for n, (a, b) in pairs for line in differences(a, b, f"{where}[{n}]")]
    if isinstance(found, float) and isinstance(wanted, float):
        # Processors round differently, and seven steps of training make more of it.
        same = abs(found - wanted) <= 1e-3 * (1e-3 + abs(wanted))
    else:
        same = found == wanted
    return [] if same else [f"{where}: {found!r}, but was {wanted!r}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the recording, or prints how the code of now differs from it; 1 if it does."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["write", "check"])
    parser.add_argument("--simuleval", action="store_true", help="all examples, through simuleval")
    parser.add_argument("--output", type=Path, default=GOLDEN, help="the recording")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = record(export_tiny_model(Path(folder)), args.simuleval)
    if args.action == "write":
        text = json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True)
        args.output.write_text(text + "\n", encoding="utf-8")
        return 0
    lines = differences(found, json.loads(args.output.read_text(encoding="utf-8")))
    print("\n".join(lines) or "nothing has changed")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
