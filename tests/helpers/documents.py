"""The texts for users, and what stands in them to be run: commands, snippets, outputs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "models" / "fr-en-demo" / "README.md",
    ROOT / "eval" / "streamspeech" / "README.md",
    *PAGES,
]
_FENCE = re.compile(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [body for name, body in _FENCE.findall(path.read_text("utf-8")) if name == language]


def commands(path: Path) -> list[list[str]]:
    """The commands of a text as words, continued lines joined, without comments and prompts.

    A line of a `bash` block is a command, and so is an indented line outside of any block.
    """
    fenced = [line for block in blocks(path, "bash") for line in _joined(block).splitlines()]
    rest = _joined(_FENCE.sub("", path.read_text("utf-8")))
    lines = [*fenced, *re.findall(r"^ {4}(\S.*)$", rest, flags=re.MULTILINE)]
    parts = [part for line in lines for part in re.split(r" {2,}#", line)[0].split(" | ")]
    return [shlex.split(part) for part in parts if part.strip()]


def command_of(path: Path, program: str) -> list[str]:
    """The first command of a text that runs `program`."""
    found = [words for words in commands(path) if words[0] == program]
    assert found, f"{path.name} has no {program} command"
    return found[0]


def _joined(text: str) -> str:
    return re.sub(r"\\\n\s*", "", text)
