"""Sphinx configuration: MyST pages, and the Python API from the docstrings. `make docs` builds."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from echostream import __version__  # noqa: E402
from echostream.session_config import SessionConfig  # noqa: E402

project = "EchoStream"
author = "The EchoStream contributors"
project_copyright = author
release = version = __version__
html_title = f"EchoStream {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_theme_options = {"footer_icons": []}
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
highlight_language = "text"
default_role = "code"  # docstrings write names in single backticks

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 72
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def _describe_options(
    app: Any, kind: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Gives the fields of `SessionConfig` the lines of help that `--help` prints."""
    if value is SessionConfig:
        for field in dataclasses.fields(SessionConfig):
            choices = ", ".join(map(str, field.metadata["choices"]))
            allowed = f" (one of {choices})" if choices else ""
            lines.append(f":param {field.name}: {field.metadata['help']}{allowed}")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _describe_options)
