"""YAML is read within bounds; what is wrong is named with its line, in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echostream.safe_yaml import YamlError, parse_yaml, read_yaml

SIZES = range(1, 12)
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in SIZES
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{k{n}: 1, <<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in SIZES
)
ROOM = "file must hold at most 50000 values"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, ROOM),
        (MERGE_BOMB, ROOM),
        (f"a: &a '{'x' * 500_000}'\nb: [{', '.join(['*a'] * 20)}]\n", ROOM),
        ("[" + "1," * 200_000 + "]", ROOM),
        ("a: &a [*a]", r"line 1, column 8: `\*a` must not be inside the value that it repeats"),
        ("[" * 10_000, "line 1, column 33: the file must not be nested deeper than 32 levels"),
        ("{a: " * 1000, "nested deeper than 32"),
        ("- " * 1000 + "a", "nested deeper than 32"),
        ("? " * 1000 + "a", "nested deeper than 32"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: `a` must not be given twice"),
        ("x: {a: 1, 'a': 3}", "`a` must not be given twice"),
        ("? [a]\n: b", "a key must be a name or a number"),
        ("a: !!python/object/apply:os.system [ls]", "plain values only, but has the tag .*python"),
        ("a: !!int foo", "plain values only, but has the tag"),
        ("a:\n\t- b", r"line 2, column 1: this is not YAML: .*\(a tab; YAML requires spaces\)"),
        ("a: {", "line 1, column 5: this is not YAML"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: this is not YAML: .*another document"),
        ("a: *b", "undefined alias 'b'"),
        ("a: =", "this is not YAML"),
        ("a: \0", r"this is not YAML: it holds U\+0000"),
        ("a: {<<: 3}", "merging"),
        (f"a: {'9' * 100_000}", "a number must have at most 64 characters, but has 100000"),
        (f"a: 0x{'f' * 100_000}", "a number must have at most 64 characters"),
        (f"a: 1{':1' * 1000}", "a number must have at most 64 characters"),
    ],
)
def test_what_is_more_than_a_configuration_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(YamlError, match=message) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_anchors_and_merge_keys_are_understood() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: *a\n"
    assert parse_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1e5", 1e5),
        ("-2E+4", -2e4),
        ("1.5e3", 1500.0),
        (".5e2", 50.0),
        ("1.0", 1.0),
        ("12", 12),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1e-3x", "1e-3x"),
        ("2024-01-02", "2024-01-02"),
        ("2024-99-99", "2024-99-99"),
        ("'1e-3'", "1e-3"),
    ],
)
def test_a_number_is_a_number_and_a_date_is_text(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value and type(found) is type(value)


def test_every_scalar_can_stay_text() -> None:
    text = "a: 1e-3\nb: [true, 0x10, !!int 4]\n"
    assert parse_yaml(text, every_scalar_is_text=True) == {"a": "1e-3", "b": ["true", "0x10", "4"]}
    with pytest.raises(YamlError, match=ROOM):
        parse_yaml(BOMB, every_scalar_is_text=True)


def test_an_empty_text_holds_nothing() -> None:
    assert parse_yaml("") is None
    assert parse_yaml("# a comment\n") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xe9t\xe9\n", "some.yaml, line 2: the file must be text in UTF-8, .*0xE9"),
        ("a: 1\n".encode("utf-16"), "some.yaml, line 1: the file must be text in UTF-8"),
        (b"a: {\n", "some.yaml, line 2, column 1: this is not YAML"),
        (b"# " + b"x" * 2**20, "some.yaml must have at most 1048576 bytes, but has more"),
    ],
)
def test_a_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    with pytest.raises(YamlError, match=message):
        read_yaml(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_bytes("\ufeffa: 1\n".encode())
    assert read_yaml(tmp_path / "some.yaml") == {"a": 1}


def test_a_pipe_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(YamlError, match=f"{path} must be a file"):
            read_yaml(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_yaml(tmp_path / "nothing.yaml")
