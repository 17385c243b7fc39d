"""Bytes → data with places; what is not text, or is built to be dangerous, is a problem with its place."""

from pathlib import Path

import pytest

from project.errors import Problem
from project.reader import parse_yaml, read_file
from tests.project.folder import AGENTS, complaints, write


def _said(content: bytes) -> list[str]:
    return [f"{problem} -> {problem.fix}" for problem in parse_yaml(content, "a.yaml").problems]


def test_every_key_and_value_has_its_place() -> None:
    tree = parse_yaml(b"first:\n  key: value\n  list:\n    - one\n    - {two: 2}\n", "a.yaml").tree
    assert tree is not None
    first = tree.entries["first"]
    assert str(first.at_key()) == "a.yaml:1:1: first"
    assert str(first.entries["key"].at_key()) == "a.yaml:2:3: first.key"
    assert str(first.entries["key"].here()) == "a.yaml:2:8: first.key"
    assert str(first.entries["list"].items[1].entries["two"].here()) == "a.yaml:5:13: first.list.two"
    assert str(first.at_key("gone")) == "a.yaml:1:1: first.gone"


def test_columns_count_characters_not_bytes() -> None:
    tree = parse_yaml("ключ: {имя: 1}\n".encode(), "a.yaml").tree
    assert tree is not None
    assert str(tree.entries["ключ"].entries["имя"].at_key()) == "a.yaml:1:8: ключ.имя"


def test_a_byte_order_mark_moves_no_place() -> None:
    tree = parse_yaml(b"\xef\xbb\xbfkey: value\n", "a.yaml").tree
    assert tree is not None
    assert str(tree.entries["key"].here()) == "a.yaml:1:6: key"


def test_windows_line_ends_move_no_place() -> None:
    tree = parse_yaml(b"a: 1\r\nb:\r\n  c: 2\r\n", "a.yaml").tree
    assert tree is not None
    assert str(tree.entries["b"].entries["c"].here()) == "a.yaml:3:6: b.c"


def test_values_are_read_as_a_safe_loader_reads_them_but_dates_stay_text() -> None:
    tree = parse_yaml(b"a: 1\nb: 1.5\nc: yes\nd: ~\ne: 2024-01-31\nf: '1'\ng: !!str 7\nh: 0x10\n", "a.yaml").tree
    assert tree is not None
    assert tree.value == {"a": 1, "b": 1.5, "c": True, "d": None, "e": "2024-01-31", "f": "1", "g": "7", "h": 16}


def test_a_merge_fills_in_what_is_not_written() -> None:
    text = b"base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nboth: {<<: [*base, *more], c: 5}\n"
    tree = parse_yaml(text, "a.yaml").tree
    assert tree is not None
    assert tree.value["both"] == {"a": 1, "b": 2, "c": 5}
    assert str(tree.entries["both"].entries["a"].at_key()) == "a.yaml:1:14: both.a"


def test_only_comments_are_nothing_and_no_mistake() -> None:
    assert parse_yaml(b"# one\n\n# two\n", "a.yaml").empty
    assert parse_yaml(b"---\n", "a.yaml").empty
    assert not parse_yaml(b"a: 1\n", "a.yaml").empty
    assert not parse_yaml(b"- a\n", "a.yaml").empty


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: b\nc: \xe9t\xe9\n", "a.yaml:2:4: is not UTF-8: the byte 0xe9 is no character -> save a.yaml as UTF-8"),
        ("a: 1\n".encode("utf-16"), "a.yaml:1:1: is written in UTF-16 -> save a.yaml as UTF-8"),
        (b"a: 1\nb: x\0y\n", "a.yaml:2:5: the character U+0000 cannot be in a text file -> take the character out"),
        (b"a: \x07\n", "a.yaml:1:4: the character U+0007 cannot be in a text file -> take the character out"),
        (b'a: "\\0"\n', "a.yaml:1:4: a: the character U+0000 cannot be in a text -> take the escape out"),
        (b'a: "\\ud800"\n', "a.yaml:1:4: a: the character U+D800 cannot be in a text -> take the escape out"),
        (
            b'a: "\\UFFFFFFFF"\n',
            "a.yaml:1:7: not valid YAML: a number or an escape is out of range -> correct this line",
        ),
    ],
)
def test_what_is_not_text_is_refused_at_its_place(content: bytes, said: str) -> None:
    assert _said(content) == [said]


def test_mistakes_beside_each_other_are_all_found() -> None:
    assert [line.partition(" -> ")[0] for line in _said(b"a: 1\na: 2\n3: 4\nb: .inf\nc: !x y\n")] == [
        "a.yaml:2:1: a: given twice, first in line 1",
        "a.yaml:3:1: a key must be text, `3` is not",
        "a.yaml:4:4: b: `.inf` is not a number that Muster can use",
        "a.yaml:5:4: c: the tag `!x` is not supported",
    ]


def test_a_very_long_name_is_shortened_in_messages() -> None:
    (line,) = _said(b"a:\n  " + b"k" * 500 + b": 1\n  " + b"k" * 500 + b": 2\n")
    assert len(line) < 250


def test_many_merges_of_large_mappings_end_soon() -> None:
    base = "".join(f"  k{i}: 1\n" for i in range(1000))
    merges = ", ".join(["*b"] * 1000)
    (line,) = _said(f"b: &b\n{base}c: {{<<: [{merges}]}}\n".encode())
    assert "more than 100000 values" in line


def test_ten_thousand_brackets_end_soon() -> None:
    assert _said(b"a: " + b"[" * 10_000) == ["a.yaml:1:34: is nested too deeply -> use at most 30 levels"]


def test_a_file_of_more_than_a_megabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * 1_000_001)
    problem = read_file(tmp_path / "a.yaml", "a.yaml")
    assert isinstance(problem, Problem)
    assert str(problem) == "a.yaml:1:1: is larger than 1 MB"


def test_a_folder_in_the_place_of_a_file_is_a_problem(tmp_path: Path) -> None:
    root = write(tmp_path / "project", {"config/crews.yaml/note.txt": "x"})
    assert complaints(root) == [
        "config/crews.yaml:1:1: is not a file",
        "hint: put a text file at config/crews.yaml",
    ]


def test_a_link_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    root = write(tmp_path / "project")
    (root / "config" / "models.yaml").symlink_to(tmp_path / "nowhere")
    assert complaints(root)[0] == "config/models.yaml:1:1: is not a file"


def test_a_utf_8_file_with_a_mark_is_a_project(tmp_path: Path) -> None:
    assert complaints(write(tmp_path / "project", {"config/agents.yaml": b"\xef\xbb\xbf" + AGENTS.encode()})) == []
