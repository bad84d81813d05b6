"""The pages of docs/ build without a warning, and what they list is what is there."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from documents import PAGES, ROOT

import echostream
from echostream.session_config import SessionConfig


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, built as `make docs` builds them."""
    for library in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(library)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"sphinx-build (.*) docs out/docs$", makefile, flags=re.MULTILINE)
    output = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *line.split(), "docs", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "-W" in line and done.returncode == 0, done.stderr[-3000:]
    return output


def test_every_page_is_built(pages: Path) -> None:
    assert {path.stem for path in PAGES} <= {path.stem for path in pages.glob("*.html")}


def test_every_public_name_is_in_the_python_api(pages: Path) -> None:
    text = (pages / "api.html").read_text(encoding="utf-8")
    for name in set(echostream.__all__) - {"__version__"}:
        assert f'id="echostream.{name}"' in text


def test_every_option_of_a_session_is_in_the_python_api_with_its_help(pages: Path) -> None:
    text = re.sub(r"<[^>]*>", "", (pages / "api.html").read_text(encoding="utf-8"))
    for field in dataclasses.fields(SessionConfig):
        assert field.name in text
        assert " ".join(field.metadata["help"].split()[:4]) in " ".join(text.split())


def test_names_in_the_glossary_are_in_the_code() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "echostream").rglob("*.py"))
    rows = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()[6:]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[3])]
    assert len(names) > 30
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_the_picture_is_well_formed() -> None:
    ElementTree.parse(ROOT / "docs" / "architecture.svg")
