"""Imports go down the floors only, optional libraries stay where they belong, files stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# The house, from the ground up. A part imports lower floors and what stands before it on its own.
FLOORS = (
    (
        "echostream._version",
        "echostream.device",
        "echostream.extras",
        "echostream.files",
        "echostream.ranges",
        "echostream.safe_yaml",
        "echostream.torch_file",
        "echostream.streaming",
        "echostream.config",
        "echostream.session_config",
        "echostream.speech_config",
    ),
    ("echostream.modules",),
    (
        "echostream.frontend",
        "echostream.text",
        "echostream.voices",
        "echostream.models",
        "echostream.backends",
    ),
    # The export reads a model folder, which itself opens either back end.
    (
        "echostream.weights_file",
        "echostream.speech_folder",
        "echostream.model_folder",
        "echostream.backends.export",
        "echostream.session",
    ),
    ("echostream.data", "echostream.scoring", "echostream.training"),
    ("echostream.evaluation", "echostream.doctor", "echostream.server"),
    ("echostream", "echostream.agents", "echostream.simulstream"),  # `echostream`: names only
    ("echostream.cli",),
    ("echostream.__main__",),
    ("agents", "eval", "examples", "benchmarks"),
)
ORDER = {part: rank for rank, part in enumerate(part for floor in FLOORS for part in floor)}

FORBIDDEN = {"torchaudio", "fairseq"}
HOMES_OF = {
    "simuleval": {"echostream.agents", "echostream.doctor", "eval"},  # eval/peers: other systems
    "simulstream": {"echostream.simulstream", "echostream.scoring"},
}

TOPS = ("echostream", "agents", "eval", "examples", "benchmarks")
PRODUCT = sorted(path for top in TOPS for path in ROOT.glob(f"{top}/**/*.py"))
CHECKED = [*PRODUCT, *sorted(ROOT.glob("tests/**/*.py")), ROOT / "setup.py"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The longest prefix of a dotted name that is a row of the table; '' for other packages."""
    while module and module not in ORDER:
        module = module.rpartition(".")[0]
    return module


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Dotted names of all modules that `source` imports, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if is_package else node.level
                package = module.split(".")[: len(module.split(".")) - up]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if is_module(name) else base)
    return found


def violations(importer: str, imported: set[str]) -> list[str]:
    """What of `imported` a module of this name must not import, with the reason."""
    here = part_of(importer)
    wrong = []
    for name in sorted(imported):
        there = part_of(name)
        library = name.partition(".")[0]
        if library in FORBIDDEN:
            wrong.append(f"{name} is not used in this project")
        elif library in HOMES_OF and here not in HOMES_OF[library]:
            wrong.append(f"{name} belongs to {sorted(HOMES_OF[library])} alone")
        elif there and here and ORDER[there] > ORDER[here]:
            wrong.append(f"{name} stands above {here}")
    return wrong


def file_imports(path: Path) -> set[str]:
    source = path.read_text(encoding="utf-8")
    return imports_of(source, module_name(path), path.name == "__init__.py")


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PRODUCT, ids=identify)
def test_a_file_imports_only_what_stands_below_it(path: Path) -> None:
    assert violations(module_name(path), file_imports(path)) == []


@pytest.mark.parametrize("path", PRODUCT, ids=identify)
def test_a_file_has_a_place_in_the_house(path: Path) -> None:
    name = module_name(path)
    assert name == "echostream" or part_of(name) not in ("", "echostream"), f"{name} has no floor"


@pytest.mark.parametrize("path", PRODUCT, ids=identify)
def test_a_file_is_short_and_named_after_what_it_holds(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert path.name != "utils.py"


def test_every_folder_of_the_library_is_a_package_or_the_install_leaves_it_out() -> None:
    folders = {path.parent for path in ROOT.glob("echostream/**/*.py")}
    assert [identify(f) for f in sorted(folders) if not (f / "__init__.py").is_file()] == []


def test_unused_libraries_are_imported_nowhere() -> None:
    users = [
        f"{identify(path)} imports {name}"
        for path in CHECKED
        for name in file_imports(path)
        if name.partition(".")[0] in FORBIDDEN
    ]
    assert users == []


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import echostream.config as c, os", {"echostream.config", "os"}),
        ("from echostream import session", {"echostream.session"}),
        ("from echostream import StreamingTranslator", {"echostream"}),
        ("from .norm import BiasNorm", {"echostream.modules.norm"}),
        ("from . import norm", {"echostream.modules.norm"}),
        ("from ..streaming.state import State", {"echostream.streaming.state"}),
        ("def f():\n    import torchaudio", {"torchaudio"}),
    ],
)
def test_every_form_of_import_is_read(source: str, imported: set[str]) -> None:
    assert imports_of(source, "echostream.modules.attention") == imported


def test_a_dot_in_a_package_means_the_package_itself() -> None:
    assert imports_of("from .norm import BiasNorm", "echostream.modules", is_package=True) == {
        "echostream.modules.norm"
    }


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("echostream.modules.attention", "echostream.models.zipformer"),
        ("echostream.frontend.fbank", "echostream.text.tokenizer"),
        ("echostream.session.policy", "echostream"),
        ("echostream.training.train", "echostream.agents.text"),
        ("echostream.evaluation.report", "echostream.agents.options"),
        ("echostream.session.translator", "simuleval"),
        ("echostream.scoring.log", "simuleval.evaluator"),
        ("agents.echostream_s2tt", "fairseq.tasks"),
        ("echostream.agents.text", "torchaudio.compliance"),
    ],
)
def test_a_forbidden_import_is_found(importer: str, imported: str) -> None:
    assert len(violations(importer, {imported})) == 1


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("echostream.modules.attention", "echostream.streaming.state"),
        ("echostream.modules.attention", "echostream.modules.masks"),
        ("echostream.session.translator", "echostream.model_folder"),
        ("echostream.agents.text", "simuleval.agents"),
        ("echostream.cli.translate", "echostream.evaluation.report"),
        ("echostream.config", "torch"),
    ],
)
def test_an_allowed_import_passes(importer: str, imported: str) -> None:
    assert violations(importer, {imported}) == []
