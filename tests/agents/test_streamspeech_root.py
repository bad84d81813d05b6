"""StreamSpeech's scripts take eval/streamspeech/ for their repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import SAMPLE_RATE, babble, make_model_folder
from tiny_speech import make_speaking_folder

from echostream.cli import _parser
from echostream.model_folder import load_model
from echostream.session.translator import StreamingTranslator

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = REPOSITORY / "eval" / "streamspeech"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENTRY_FILES = {
    "s2tt": "agent/speech_to_text.s2tt.streamspeech.agent.py",
    "asr": "agent/speech_to_text.asr.streamspeech.agent.py",
}
SEGMENT_MS = 960

# What StreamSpeech's two scripts do, from their variables on. $MULTITASK and $TARGET differ, and
# the YAML of tasks that the one for translation names does not exist anywhere.
SCRIPT = r"""
export CUDA_VISIBLE_DEVICES=0
ROOT=/data/someone/StreamSpeech
DATA_ROOT=/data/someone/cvss-c
LANG=fr
file=/data/someone/model.${LANG}-en.pt
output_dir=$ROOT/res/model.${LANG}-en/NAME
chunk_size=960

PYTHONPATH=$ROOT/fairseq simuleval --data-bin ${DATA_ROOT}/${LANG}-en/fbank2unit \
    USER_DIR \
    --source ${DATA_ROOT}/${LANG}-en/simuleval/test/wav_list.txt \
    --target ${DATA_ROOT}/${LANG}-en/simuleval/test/TARGET \
    --model-path $file \
    --config-yaml config_gcmvn.yaml --multitask-config-yaml MULTITASK \
    --agent $ROOT/ENTRY_FILE\
    --output $output_dir/chunk_size=$chunk_size \
    --source-segment-size $chunk_size \
    --quality-metrics BLEU \
    --latency-metrics AL AP DAL StartOffset EndOffset LAAL ATD NumChunks RTF \
    --device gpu --computation-aware
"""
SCRIPTS = {
    "s2tt": {
        "USER_DIR": "--user-dir ${ROOT}/agent",
        "TARGET": "target.txt",
        "MULTITASK": "config_unity_asr_st_ctcst.yaml",
    },
    "asr": {
        "USER_DIR": "--user-dir ${ROOT}/agent",
        "TARGET": "src.txt",
        "MULTITASK": "config_mtl_asr_st_ctcst.yaml",
    },
    # The form in StreamSpeech's README.
    "s2tt-readme": {
        "USER_DIR": "--user-dir ${ROOT}/researches/ctc_unity --agent-dir ${ROOT}/agent",
        "TARGET": "target.txt",
        "MULTITASK": "config_mtl_asr_st_ctcst.yaml",
    },
}
METRICS = ("AL", "AP", "DAL", "StartOffset", "EndOffset", "LAAL", "ATD", "NumChunks", "RTF")


def readme_commands(program: str) -> list[list[str]]:
    """The commands of a program that the README shows."""
    lines = re.findall(r"^ {4}(\S.*)$", README.replace("\\\n", " "), flags=re.MULTILINE)
    return [shlex.split(line) for line in lines if line.split()[0] == program]


def run(
    command: Sequence[str], cwd: Path, ok: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode == 0) is ok, done.stderr[-3000:]
    return done


def make_data(*arguments: str, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, str(ROOT / "make_data.py"), *arguments], cwd, ok)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("some audio")
    paths = [folder / "a clip.flac", folder / "b.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, babble(3 + seed, seed + 80), SAMPLE_RATE)
    return paths


@pytest.fixture(scope="module")
def data_root(
    model: Path, recordings: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Made by the command that the README shows for own lists, with the paths in it replaced."""
    lists = tmp_path_factory.mktemp("lists")
    own = {"--wav-list": "wav_list.txt", "--target": "target.txt", "--src": "src.txt"}
    (lists / "wav_list.txt").write_text("".join(f"{path}\n" for path in recordings))
    (lists / "target.txt").write_text("the black cat sleeps\na dog eats\n")
    (lists / "src.txt").write_text("le chat noir dort\nun chien mange\n")
    command = readme_commands("python")[1]
    assert command[:2] == ["python", "eval/streamspeech/make_data.py"]
    command[2] = str(lists / "out")
    command[command.index("--lang") + 1] = "fr"
    command[command.index("--model") + 1] = str(model)
    assert {flag: command[command.index(flag) + 1] for flag in own} == own
    done = make_data(*command[2:], cwd=lists)
    assert done.stdout == f"DATA_ROOT={lists / 'out'}\n"
    return lists / "out"


def edited(name: str, **variables: object) -> str:
    """A script with nothing changed but the variables at its top."""
    script = SCRIPT.replace("ENTRY_FILE", ENTRY_FILES[name.partition("-")[0]])
    for word, value in {**SCRIPTS[name], "NAME": name}.items():
        script = script.replace(word, value)
    for variable, value in variables.items():
        script, found = re.subn(rf"(?m)^{variable}=.*$", f"{variable}={value}", script)
        assert found == 1
    return script


def words_by_session(model: Path, recording: Path, task: str) -> str:
    samples, _ = soundfile.read(recording, dtype="float32")
    session = StreamingTranslator(load_model(model), task=task)  # type: ignore[arg-type]
    outputs = [*session.push(samples, SAMPLE_RATE), *session.finish()]
    return " ".join(output.text for output in outputs if output.text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_to_the_end_with_only_its_variables_edited(
    name: str, model: Path, recordings: list[Path], data_root: Path, tmp_path: Path
) -> None:
    """From another folder, without fairseq, without the YAML of tasks, in a copy of the root."""
    root = tmp_path / "root"  # nothing in it depends on where it lies
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__", "res"))
    (tmp_path / "run.sh").write_text(edited(name, ROOT=root, DATA_ROOT=data_root, file=model))
    (tmp_path / "cwd").mkdir()
    done = run(["bash", str(tmp_path / "run.sh")], tmp_path / "cwd")

    assert not any((tmp_path / "cwd").iterdir())
    output = root / "res" / "model.fr-en" / name / f"chunk_size={SEGMENT_MS}"
    instances = [json.loads(line) for line in (output / "instances.log").read_text().splitlines()]
    task = "asr" if name == "asr" else "st"
    texts = [words_by_session(model, recording, task) for recording in recordings]
    assert all(texts)
    assert [instance["prediction"] for instance in instances] == texts
    references = (data_root / "fr-en/simuleval/test" / SCRIPTS[name]["TARGET"]).read_text()
    assert [instance["reference"] for instance in instances] == references.splitlines()

    # The table of the script, and nothing else, goes to standard output.
    header, *rows = done.stdout.strip().splitlines()
    assert header.split() == ["BLEU", *(f"{m}{ca}" for m in METRICS for ca in ("", "_CA"))]
    assert len(rows) == 1 and np.isfinite([float(value) for value in rows[0].split()]).all()
    assert "Traceback" not in done.stderr


# What StreamSpeech's two scripts for speech do, from their variables on; what the one for whole
# recordings does with results that it never gets is left out.
SPEECH_SCRIPTS = {
    "simul-s2st": r"""
PYTHONPATH=$ROOT/fairseq simuleval --data-bin ${DATA_ROOT}/${LANG}-en/fbank2unit \
    --user-dir ${ROOT}/researches/ctc_unity --agent-dir ${ROOT}/agent \
    --source ${DATA_ROOT}/${LANG}-en/simuleval/test/wav_list.txt \
    --target ${DATA_ROOT}/${LANG}-en/simuleval/test/target.txt \
    --model-path $file \
    --config-yaml config_gcmvn.yaml --multitask-config-yaml config_mtl_asr_st_ctcst.yaml \
    --agent $ROOT/agent/speech_to_speech.streamspeech.agent.py \
    --vocoder $VOCODER_CKPT --vocoder-cfg $VOCODER_CFG --dur-prediction \
    --output $output_dir/chunk_size=$chunk_size \
    --source-segment-size $chunk_size \
    --quality-metrics ASR_BLEU --target-speech-lang en \
    --latency-metrics AL AP DAL StartOffset EndOffset LAAL ATD NumChunks DiscontinuitySum RTF \
    --device gpu --computation-aware
""",
    "pred.offline-s2st": r"""
PYTHONPATH=$ROOT/fairseq fairseq-generate ${DATA} \
    --user-dir researches/ctc_unity \
    --task speech_to_speech_ctc --path $file --gen-subset $SPLIT \
    --results-path $output_dir > $output_dir/generate-$SPLIT.log 2>&1

python $ROOT/fairseq/examples/speech_to_speech/generate_waveform_from_code.py \
    --in-code-file $output_dir/generate-$SPLIT.unit \
    --vocoder $VOCODER_CKPT --vocoder-cfg $VOCODER_CFG \
    --results-path $output_dir/pred_wav --dur-prediction

cd $ROOT/asr_bleu
python compute_asr_bleu.py \
    --lang en \
    --audio_dirpath ../$output_dir/pred_wav \
    --reference_path $DATA/$SPLIT.txt \
    --reference_format txt > ../$output_dir/asr_bleu.log 2>&1

cd ..

tail -n 1 $output_dir/asr_bleu.log >> $output_dir/res.txt
""",
}


def run_speech_script(
    name: str, model: Path, data_root: Path, tmp_path: Path, ok: bool, lists: str = ".demo.txt"
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A script for speech with its variables edited, in a copy of the root; and its output.

    `lists`: how the names of its lists end, which differs between StreamSpeech's two copies of it.
    """
    root = tmp_path / "root"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__", "res"))
    output = f"res/{name}" if name.startswith("pred.") else f"$ROOT/res/{name}"
    variables = f"""
ROOT={root}
DATA_ROOT={data_root}
VOCODER_CKPT=/data/someone/g_00500000
VOCODER_CFG=/data/someone/config.json
LANG=fr
DATA=${{DATA_ROOT}}/${{LANG}}-en/fbank2unit
SPLIT=test
file={model}
output_dir={output}
chunk_size={SEGMENT_MS}
mkdir -p $output_dir
"""
    script = SPEECH_SCRIPTS[name].replace(".txt \\", f"{lists} \\")
    (tmp_path / "run.sh").write_text(variables + script)
    done = run(["bash", str(tmp_path / "run.sh")], root, ok=ok)
    return done, root / "res" / name / f"chunk_size={SEGMENT_MS}"


@pytest.mark.parametrize("lists", [".demo.txt", ".txt"])
def test_the_script_for_simultaneous_speech_runs_to_the_end_with_a_model_that_speaks(
    data_root: Path, recordings: list[Path], tmp_path: Path, lists: str
) -> None:
    speaking = make_speaking_folder(tmp_path / "speaking")
    done, output = run_speech_script("simul-s2st", speaking, data_root, tmp_path, True, lists)
    waves = sorted((output / "wavs").glob("*_pred.wav"))
    assert len(waves) == len(recordings)
    header, values = done.stdout.strip().splitlines()[-2:]
    assert {"AL", "AL_CA", "StartOffset", "DiscontinuitySum"} <= set(header.split())
    assert np.isfinite([float(value) for value in values.split()]).all()
    assert "`--vocoder` is ignored" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_cannot_speak_is_refused_with_the_reason(
    model: Path, data_root: Path, tmp_path: Path
) -> None:
    done, _ = run_speech_script("simul-s2st", model, data_root, tmp_path, ok=False)
    assert "`speech` needs a model with a unit decoder and a vocoder" in done.stderr


def test_the_script_for_whole_recordings_fails_with_the_reason(
    model: Path, data_root: Path, tmp_path: Path
) -> None:
    done, _ = run_speech_script("pred.offline-s2st", model, data_root, tmp_path, ok=False)
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("EchoStream ")]
    assert message.startswith("EchoStream ") and "pred.offline-s2st.sh" in message
    assert "Traceback" not in done.stderr


def test_the_entry_files_are_where_the_scripts_look() -> None:
    assert [name for name in ENTRY_FILES.values() if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("package", ["agent", "researches/ctc_unity"])
def test_the_packages_import_without_side_effects(package: str, tmp_path: Path) -> None:
    folder = ROOT / package
    code = (
        f"import sys; sys.path.insert(0, {str(folder.parent)!r}); before = set(sys.modules); "
        f"import {folder.name} as module; print(sorted(set(sys.modules) - before)); "
        "print([name for name in vars(module) if not name.startswith('__')])"
    )
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.stdout == f"{[folder.name]}\n[]\n" and done.stderr == ""


ALL_ENTRY_FILES = [
    *sorted((REPOSITORY / "agents").glob("*.py")),
    *(ROOT / name for name in ENTRY_FILES.values()),
]


def test_a_file_anywhere_brings_one_agent_and_the_library_none(tmp_path: Path) -> None:
    """SimulEval's own way of loading: no module of that name is known, no folder on the path."""
    copies = [
        shutil.copy(path, tmp_path / f"copied{count}.agent.py")
        for count, path in enumerate(ALL_ENTRY_FILES)
    ]
    code = (
        "from simuleval.utils import agent; import echostream.agents; "
        "found = [len(agent.EVALUATION_SYSTEM_LIST)]\n"
        f"for path in {list(map(str, copies))!r}:\n"
        "    agent.import_file(path); found.append(len(agent.EVALUATION_SYSTEM_LIST))\n"
        "import sys; print(found, 'agents' in sys.modules)"
    )
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.stdout == f"{list(range(len(copies) + 1))} False\n"


def test_a_missing_user_dir_fails_as_the_readme_says(tmp_path: Path) -> None:
    """Under PyPI's SimulEval, before any file of ours is opened."""
    shown = readme_commands("ModuleNotFoundError:")
    flags = ("--user-dir", "nowhere/agent", "--agent", str(ROOT / ENTRY_FILES["s2tt"]))
    done = run(["simuleval", *flags, "--model-path", "m"], tmp_path, ok=False)
    last = done.stderr.strip().splitlines()[-1]
    assert shlex.split(last) == shown[0]


def test_the_lines_to_edit_and_the_commands_in_the_readme_fit_this_repository(
    tmp_path: Path,
) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = dict(line.split("=", 1) for line in block.split())
    here = {
        name: Path(value.replace("/home/me/EchoStream", str(REPOSITORY)))
        for name, value in lines.items()
    }
    assert here["ROOT"] == ROOT
    assert (here["file"] / "config.yaml").is_file()
    edited("s2tt", **here)  # all are variables of the script

    command = readme_commands("python")[0]
    assert (REPOSITORY / command[2]).resolve() == here["DATA_ROOT"]
    assert make_data(str(tmp_path / "out"), cwd=REPOSITORY).stdout.startswith("DATA_ROOT=")
    test = tmp_path / "out/fr-en/simuleval/test"
    for name in ("target.txt", "src.txt"):
        examples = REPOSITORY / "examples/fr-en" / name
        assert (test / name).read_text() == examples.read_text()
    named = [Path(line) for line in (test / "wav_list.txt").read_text().splitlines()]
    relative = (REPOSITORY / "examples/fr-en/wav_list.txt").read_text().splitlines()
    assert named == [REPOSITORY / line for line in relative]

    for command in readme_commands("echostream"):
        args = _parser().parse_args(command[1:])
        assert Path(args.runs[0]).parts[:3] == ("eval", "streamspeech", "res")
