"""A YAML reader with limits: plain values only, no duplicate keys, bounded size and depth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_NODES = 50_000  # values and keys; those of an alias count again at each use
MAX_CHARACTERS = 4 * MAX_BYTES  # of all values and keys, counted in the same way
MAX_DIGITS = 64

_FLOAT = "tag:yaml.org,2002:float"
_NUMBERS = (_FLOAT, "tag:yaml.org,2002:int")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"
_TOO_LARGE = (
    f"the file must hold at most {MAX_NODES} values of {MAX_CHARACTERS} characters together, "
    "those of an alias counted at each use"
)


class YamlError(ValueError):
    """A file that is not YAML or exceeds the limits; a message of one line, with the position."""


class _BoundError(yaml.MarkedYAMLError):
    """Valid YAML that exceeds a limit."""


class _Bounded:
    """The checks of both loaders on the tree of nodes, before values are constructed."""

    plain_only = True
    _depth = _num_nodes = 0

    def __init__(self, stream: str) -> None:
        super().__init__(stream)  # type: ignore[call-arg]
        self._sizes: dict[int, tuple[int, int]] = {}  # nodes and characters below each node

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        event = self.peek_event()  # type: ignore[attr-defined]
        is_alias = isinstance(event, yaml.AliasEvent)
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES:  # raised at once, because reading the rest takes long
            raise _error(event, _TOO_LARGE)
        if self._depth == MAX_DEPTH:
            raise _error(event, f"the file must not be nested deeper than {MAX_DEPTH} levels")
        if self.plain_only and not is_alias and event.tag not in (None, "!"):
            raise _error(
                event, f"the file must hold plain values only, but has the tag {event.tag[:80]!r}"
            )
        self._depth += 1
        node = cast("Node", super().compose_node(parent, index))  # type: ignore[misc]
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise _error(event, f"`*{event.anchor}` must not be inside the value that it repeats")
        if not is_alias:
            self._sizes[id(node)] = self._measured(node)
        nodes, characters = self._sizes[id(node)]
        if nodes > MAX_NODES or characters > MAX_CHARACTERS:
            raise _error(event, _TOO_LARGE)
        return node

    def _measured(self, node: Node) -> tuple[int, int]:
        if isinstance(node, ScalarNode):
            if self.plain_only and node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
                raise _error(
                    node,
                    f"a number must have at most {MAX_DIGITS} characters, "
                    f"but has {len(node.value)}",
                )
            return 1, len(node.value)
        children: list[Node] = node.value
        if isinstance(node, MappingNode):
            _check_keys(node)
            children = [child for pair in node.value for child in pair]
        sizes = [self._sizes[id(child)] for child in children]
        return 1 + sum(nodes for nodes, _ in sizes), sum(characters for _, characters in sizes)


class _Plain(_Bounded, yaml.SafeLoader):
    """Numbers, true and false, null, text, lists and mappings.

    Unlike YAML 1.1, which reads `1e-3` as text and `2024-01-02` as a date.
    """


class _Text(_Bounded, yaml.BaseLoader):
    """Every scalar is text."""

    plain_only = False


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Plain.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, every_scalar_is_text: bool = False) -> Any:
    """The values of a YAML text; None for an empty one.

    Raises:
        YamlError: with the line, if it is not YAML, has a duplicate key, a tag (`!!python/...`) or
            more than one document, or exceeds the limits on depth, size and aliases.
    """
    loader = _Text if every_scalar_is_text else _Plain
    try:
        return yaml.load(text, loader)
    except yaml.reader.ReaderError as error:
        raise YamlError(
            f"character {error.position}: this is not YAML: it holds U+{int(error.character):04X}"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        why = (error.problem or error.context or "it cannot be read")[:200]
        if not isinstance(error, _BoundError):
            tab = " (a tab; YAML requires spaces)" if "\\t" in why else ""
            why = f"this is not YAML: {why}{tab}"
        raise YamlError(f"{position}{why}") from error


def read_yaml(path: str | Path, every_scalar_is_text: bool = False) -> Any:
    """`parse_yaml` of a file.

    Raises:
        OSError, YamlError: as `read_text` and `parse_yaml`, naming the file.
    """
    text = read_text(path)
    try:
        return parse_yaml(text, every_scalar_is_text)
    except YamlError as error:
        raise YamlError(f"{path}, {error}.") from error


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, of 1 MiB at most.

    Raises:
        OSError: if it cannot be read.
        YamlError: naming the path, if it is not a file, or larger, or in another encoding.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe would block, a device has no end
        raise YamlError(f"{path} must be a file, but is {'a folder' if path.is_dir() else 'none'}.")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YamlError(f"{path} must have at most {MAX_BYTES} bytes, but has more.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError(
            f"{path}, line {line}: the file must be text in UTF-8, "
            f"but has the byte 0x{content[error.start]:02X} here."
        ) from error


def _check_keys(node: MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, (SequenceNode, MappingNode)):
            raise _error(key, "a key must be a name or a number, not a list or a mapping")
        if (key.tag, key.value) in seen:
            raise _error(key, f"`{key.value[:80]}` must not be given twice")
        if key.tag != _MERGE:
            seen.add((key.tag, key.value))


def _error(where: Any, problem: str) -> _BoundError:
    """An error at the position of an event or a node."""
    return _BoundError(problem=problem, problem_mark=where.start_mark)
