"""YAML → plain data with the file, line and column of every key and value; any bytes give a value, never a traceback.

PyYAML composes the nodes; constructing is done here, so that every mistake has a place.
Dates stay text: a spec has no use for them, and `2024-01-01` is what its writer meant to hand to an agent.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.constructor import SafeConstructor
from yaml.error import Mark
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.nodes import Node as YamlNode
from yaml.reader import ReaderError

from project.errors import Problem, Where
from project.hints import quoted, shortened, shown
from project.syntax import explain_syntax

_MOST_BYTES = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 30
_LARGEST = 2**63
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"})
_UNSUPPORTED_TAG = "take the tag out, or put text that begins with `!` in quotes"


@dataclass(frozen=True, eq=False)
class Node:
    """A value of a YAML file with its place, and the values inside it."""

    file: str
    keys: tuple[str, ...]
    """The keys on the way to it; positions in lists are left out, since the line says which."""
    value: Any
    """Plain data: dict, list, str, int, float, bool, None."""
    key_place: tuple[int, int]
    """Line and column of its key, or of itself where it has none; from 1."""
    place: tuple[int, int]
    """Line and column of the value."""
    raw: str = ""
    """A scalar as it is written."""
    entries: Mapping[str, "Node"] = field(default_factory=dict[str, "Node"])
    """A mapping's values by key."""
    items: tuple["Node", ...] = ()
    """A list's values."""

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, list)

    def got(self) -> str:
        """Say what it is, for a message."""
        return shown(self.value, self.raw)

    def here(self) -> Where:
        """Return the place of the value."""
        return Where(self.file, *self.place, self._label(self.keys))

    def at_key(self, missing: str = "") -> Where:
        """Return the place of the key; with `missing`, told as the place where that key should be."""
        return Where(self.file, *self.key_place, self._label((*self.keys, missing) if missing else self.keys))

    def _label(self, keys: tuple[str, ...]) -> str:
        return ".".join(shortened(key) for key in keys)


@dataclass(frozen=True)
class Reading:
    """What a file holds: a mapping as a tree, or only comments, or problems; both where it is readable in part."""

    tree: Node | None
    problems: tuple[Problem, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing in the file but comments."""
        return self.tree is None and not self.problems


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def read_file(path: Path, name: str) -> bytes | Problem:
    """Return the bytes of a file, or why it cannot be read. `name` is the path for messages."""
    start = Where(name, 1, 1)
    try:
        if not path.is_file():
            return Problem("is not a file", start, f"put a text file at {name}")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        return Problem(
            f"cannot be read: {error.strerror or 'unknown reason'}", start, f"check the permissions of {name}"
        )
    if len(content) > _MOST_BYTES:
        return Problem("is larger than 1 MB", start, "hand large texts to agents as files, by a tool")
    return content


def parse_yaml(content: bytes, name: str) -> Reading:
    """Read one YAML document whose top level is a mapping. `name` is the path for messages."""
    try:
        text = _decode(content, name)
        root = _compose(text, name)
        if root is None:
            return Reading(None)
        if not isinstance(root, MappingNode):
            raise _Refused(
                Problem(
                    f"the top level must be a mapping of names, got {_kind(root)}",
                    Where(name, *_place(root.start_mark)),
                    "begin each entry with its name and a colon, such as `researcher:`",
                )
            )
        build = _Build(name)
        tree = build.node(root, (), root.start_mark)
    except _Refused as refused:
        return Reading(None, (refused.problem,))
    return Reading(tree, tuple(build.problems))


def _decode(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Refused(Problem("is written in UTF-16", Where(name, 1, 1), f"save {name} as UTF-8"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig", errors="replace")
        byte = error.object[error.start]
        raise _Refused(
            Problem(
                f"is not UTF-8: the byte 0x{byte:02x} is no character", _locate(before, name), f"save {name} as UTF-8"
            )
        ) from None
    return text


def _compose(text: str, name: str) -> YamlNode | None:
    loader: Any = None
    try:
        loader = _Loader(text)
        root: YamlNode | None = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            where = Where(name, *_place(loader.peek_event().start_mark))
            raise _Refused(Problem("a second document begins here", where, "take out `---`: one document a file"))
    except ReaderError as error:
        what = f"the character {_codepoint(text[error.position])} cannot be in a text file"
        where = _locate(text[: error.position], name)
        raise _Refused(Problem(what, where, "take the character out")) from None
    except yaml.MarkedYAMLError as error:
        raise _Refused(explain_syntax(error, text, name)) from None
    except (ValueError, OverflowError):
        # An escape such as "\UFFFFFFFF" or a directive with 5,000 digits: PyYAML lets Python's own error out.
        where = Where(name, *_place(loader.get_mark())) if loader else Where(name, 1, 1)
        what = "not valid YAML: a number or an escape is out of range"
        raise _Refused(Problem(what, where, "correct this line")) from None
    finally:
        if loader:
            loader.dispose()
    return None if isinstance(root, ScalarNode) and root.tag == f"{_TAG}null" else root


class _Loader(yaml.SafeLoader):
    """Composes with a limit on nesting: PyYAML recurses, and a thousand brackets would end in a RecursionError."""

    _depth = 0

    def compose_node(self, parent: YamlNode | None, index: Any) -> YamlNode | None:
        self._depth += 1
        if self._depth > _DEEPEST + 1:
            raise yaml.MarkedYAMLError(
                problem="nested too deeply", problem_mark=cast(Any, self).peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Build:
    """Turns composed nodes into ours; counts them, since an alias costs nothing to write and much to follow."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._left = _MOST_VALUES
        self._open: set[int] = set()
        self._constructor = SafeConstructor()

    def node(self, node: YamlNode, keys: tuple[str, ...], key_mark: Mark) -> Node:
        self._count(node)
        made = Node(self._file, keys, None, _place(key_mark), _place(node.start_mark))
        if isinstance(node, ScalarNode):
            return replace(made, value=self._scalar(node, keys), raw=node.value)
        if not self._enter(node, keys):
            return made
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self._problem(f"the tag {quoted(_tag(node))} is not supported", node, keys, _UNSUPPORTED_TAG)
        if isinstance(node, MappingNode):
            entries = {key: self.node(value, (*keys, key), mark) for key, value, mark in self._entries(node, keys)}
            made = replace(made, value={key: child.value for key, child in entries.items()}, entries=entries)
        else:
            items = tuple(self.node(item, keys, item.start_mark) for item in cast("list[YamlNode]", node.value))
            made = replace(made, value=[item.value for item in items], items=items)
        self._open.discard(id(node))
        return made

    def _count(self, node: YamlNode) -> None:
        self._left -= 1
        if self._left < 0:
            where = Where(self._file, *_place(node.start_mark))
            raise _Refused(
                Problem(f"more than {_MOST_VALUES} values, counting those repeated by aliases", where, "use fewer `*`")
            )

    def _enter(self, node: YamlNode, keys: tuple[str, ...]) -> bool:
        if id(node) in self._open:
            self._problem("contains itself by an alias", node, keys, "take out the `*` that leads back here")
            return False
        self._open.add(id(node))
        return True

    def _entries(self, node: MappingNode, keys: tuple[str, ...]) -> Iterator[tuple[str, YamlNode, Mark]]:
        found: dict[str, tuple[YamlNode, Mark]] = {}
        merged: dict[str, tuple[YamlNode, Mark]] = {}
        for key_node, value in cast("list[tuple[YamlNode, YamlNode]]", node.value):
            self._count(key_node)
            if key_node.tag == f"{_TAG}merge":
                for key, (inner, mark) in self._merge(value, keys).items():
                    merged.setdefault(key, (inner, mark))
                continue
            key = self._key(key_node, keys)
            if key is None:
                continue
            if key in found:
                first = _place(found[key][1])[0]
                self._problem(f"given twice, first in line {first}", key_node, (*keys, key), f"keep one {quoted(key)}")
                continue
            found[key] = (value, key_node.start_mark)
        for key, (value, mark) in (merged | found).items():
            yield key, value, mark

    def _merge(self, value: YamlNode, keys: tuple[str, ...]) -> dict[str, tuple[YamlNode, Mark]]:
        sources = cast("list[YamlNode]", value.value) if isinstance(value, SequenceNode) else [value]
        merged: dict[str, tuple[YamlNode, Mark]] = {}
        for source in sources:
            self._count(source)
            if not isinstance(source, MappingNode):
                self._problem(
                    "`<<` needs a mapping", source, keys, "write `<<: *name`, with `&name` at a mapping before it"
                )
            elif self._enter(source, keys):
                for key, inner, mark in self._entries(source, keys):
                    merged.setdefault(key, (inner, mark))
                self._open.discard(id(source))
        return merged

    def _key(self, node: YamlNode, keys: tuple[str, ...]) -> str | None:
        if not isinstance(node, ScalarNode):
            self._problem(
                f"a key must be text, got {_kind(node)}", node, keys, "put a key that begins with `{` or `[` in quotes"
            )
            return None
        if (node.tag in _TEXT_TAGS or node.value == "on") and node.value:  # `on:` of `retry`, true in YAML 1.1
            return str(self._text(node, keys))
        if node.value:
            what = f"a key must be text, {quoted(node.value)} is not"
            self._problem(what, node, keys, f'put it in quotes: "{shortened(node.value)}"')
        else:
            self._problem("a key is empty", node, keys, "write a name before the colon")
        return None

    def _scalar(self, node: ScalarNode, keys: tuple[str, ...]) -> str | int | float | bool | None:
        kind = node.tag.removeprefix(_TAG)
        if node.tag in _TEXT_TAGS:
            return self._text(node, keys)
        with contextlib.suppress(ValueError, LookupError, OverflowError):
            if kind == "null":
                return None
            if kind == "bool":
                return self._constructor.construct_yaml_bool(node)
            if kind == "int" and abs(whole := self._constructor.construct_yaml_int(node)) < _LARGEST:
                return whole
            if kind == "float" and math.isfinite(number := self._constructor.construct_yaml_float(node)):
                return number
        if kind in ("bool", "int", "float"):
            self._problem(
                f"{quoted(node.value)} is not {_WORDS[kind]}", node, keys, "correct it, or put text in quotes"
            )
        else:
            self._problem(f"the tag {quoted(_tag(node))} is not supported", node, keys, _UNSUPPORTED_TAG)
        return self._text(node, keys)

    def _text(self, node: ScalarNode, keys: tuple[str, ...]) -> str:
        text = str(node.value)
        bad = next((char for char in text if char == "\0" or "\ud800" <= char <= "\udfff"), None)
        if bad is None:
            return text
        self._problem(f"the character {_codepoint(bad)} cannot be in a text", node, keys, "take the escape out")
        return "".join(char for char in text if char != "\0" and not "\ud800" <= char <= "\udfff")

    def _problem(self, what: str, node: YamlNode, keys: tuple[str, ...], fix: str) -> None:
        label = ".".join(shortened(key) for key in keys)
        self.problems.append(Problem(what, Where(self._file, *_place(node.start_mark), label), fix))


_WORDS = {"bool": "true or false", "int": "a number that Muster can use", "float": "a number that Muster can use"}


def _place(mark: Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _locate(before: str, name: str) -> Where:
    lines = before.split("\n")
    return Where(name, len(lines), len(lines[-1]) + 1)


def _kind(node: YamlNode) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else "a single value"


def _tag(node: YamlNode) -> str:
    return str(node.tag).replace(_TAG, "!!", 1)


def _codepoint(char: str) -> str:
    return f"U+{ord(char):04X}"
