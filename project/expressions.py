"""CEL expressions, read: what is wrong with one, and which inputs, outputs and state it reads.

celpy takes 0.2 s to import, so it is imported where there is an expression.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from project.hints import quoted, suggest

MOST_CHARACTERS = 1000
ENTRY = "[]"
"""Stands in a path for an entry of a list."""

_ROOTS = ("inputs", "outputs", "state")
EXAMPLE = "write it like `inputs.kind == 'refund' && outputs.triage.urgency > 2`"
_MOST_BRACKETS = 20
_DEEPEST = 100
_MOST_LOOPS = 2
_MACROS = ("all", "exists", "exists_one", "filter", "map")
METHODS = ("contains", "startsWith", "endsWith", "matches", "size", *_MACROS)
FUNCTIONS = ("size", "has", "int", "double", "string", "bool", "type", "dyn", "contains", "startsWith", "endsWith",
              "matches")  # fmt: skip
_TYPES = ("int", "uint", "double", "string", "bool", "list", "map", "null_type", "type")
_STRING = re.compile(r"""[rR]?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_SLIPS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"==="), "`===` is no operator", "write `==`"),
    (re.compile(r"<>"), "`<>` is no operator", "write `!=`"),
    (re.compile(r"\$?\{+\s*[A-Za-z_][\w.\-]*\s*\}+"), "a condition has no placeholders", "write `inputs.name`"),
    (re.compile(r"(?<![=!<>])=(?![=])"), "`=` does not compare", "write `==`"),
    (re.compile(r"\band\b", re.IGNORECASE), "`and` is no operator", "write `&&`"),
    (re.compile(r"\bor\b", re.IGNORECASE), "`or` is no operator", "write `||`"),
    (re.compile(r"\bnot\b", re.IGNORECASE), "`not` is no operator", "write `!` before what is to be false"),
    (re.compile(r"(?<!&)&(?!&)"), "`&` is no operator", "write `&&`"),
    (re.compile(r"(?<!\|)\|(?!\|)"), "`|` is no operator", "write `||`"),
    (re.compile(r"(?<![.\w])(True|False)\b"), "true and false are written small", "write `true` or `false`"),
    (re.compile(r"(?<![.\w])(None|nil|undefined)\b"), "what is not there is called null", "write `null`"),
    (re.compile(r"\bis\b"), "`is` is no operator", "write `==`"),
    (re.compile(r"\b(inputs|outputs|state)\.\w+-[A-Za-z_]"), "`-` takes away", "write `inputs['my-name']`"),
    (re.compile(r"\blen\s*\("), "`len` is called size here", "write `size(...)`"),
)

Path = tuple[str, ...]
"""What is read: root, name and fields; an entry of a list is `ENTRY`."""


@dataclass(frozen=True)
class Condition:
    """What can be said of an expression without values."""

    problem: str = ""
    """What is wrong with it, or ""."""
    fix: str = ""
    """What would mend that."""
    paths: tuple[Path, ...] = ()
    """Everything it reads of inputs, outputs and state, in order."""
    whole: Path = ()
    """The path that it is, where it is nothing else."""

    @property
    def names(self) -> list[str]:
        """What it reads as `inputs.name`, `outputs.task` or `state.name`, each once, in order."""
        return list(dict.fromkeys(".".join(path[:2]) for path in self.paths if len(path) > 1 and path[1] != ENTRY))


@lru_cache(maxsize=512)
def read_condition(text: str) -> Condition:
    """Read an expression; what is wrong with it is a value, never an error."""
    if len(text) > MOST_CHARACTERS:
        what = f"a condition has at most {MOST_CHARACTERS} characters, got {len(text)}"
        return Condition(what, "let a task decide it and ask for a field of its output")
    bare = _STRING.sub("''", text)
    if _bracket_depth(bare) > _MOST_BRACKETS:
        return Condition("it is nested too deeply", "let a task decide it and ask for a field of its output")
    from celpy.celparser import CELParseError

    try:
        tree = _parse(text)
    except CELParseError as error:
        return _slip(bare) or _unreadable(text, error)
    except (RecursionError, ValueError):
        return Condition("it cannot be read", EXAMPLE)
    reader = _Reader()
    reader.walk(tree, frozenset(), 0, 0)
    if reader.problem:
        slip = _slip(bare) if reader.unknown_name else None
        return slip or Condition(reader.problem, reader.fix)
    whole = _path(_collapse(tree))
    return Condition(paths=tuple(dict.fromkeys(reader.paths)), whole=whole or ())


def _parse(text: str) -> Any:
    from celpy import Environment

    environment: Any = Environment()
    return environment.compile(text)


class _Reader:
    """Gathers what an expression reads, and the first thing that is wrong with it."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.problem = ""
        self.fix = ""
        self.unknown_name = False

    def walk(self, tree: Any, bound: frozenset[str], depth: int, loops: int) -> None:
        """Read a part of the tree; `bound` are the variables of the loops around it."""
        node = _collapse(tree)
        if depth > _DEEPEST or loops > _MOST_LOOPS:
            self._wrong("it is nested too deeply", "let a task decide it and ask for a field of its output")
            return
        path = _path(node)
        if path is not None:
            self._meet(path, bound)
            inner = _indices(node)
        elif node.data == "member_dot_arg":
            inner = self._method(node, bound, depth, loops)
        elif node.data in ("ident_arg", "dot_ident_arg"):
            self._known(str(node.children[0]), FUNCTIONS, "function")
            inner = _trees(node)
        elif node.data == "dot_ident":
            self._wrong("a name cannot begin with a dot", EXAMPLE)
            inner = []
        else:
            inner = _trees(node)
        for child in inner:
            self.walk(child, bound, depth + 1, loops)

    def _method(self, node: Any, bound: frozenset[str], depth: int, loops: int) -> list[Any]:
        """Check a call such as `a.contains(b)`; return what is still to be read with the same variables."""
        name = str(node.children[1])
        self._known(name, METHODS, "method")
        arguments: list[Any] = list(node.children[2].children) if len(node.children) > 2 else []
        if name not in _MACROS:
            return [node.children[0], *arguments]
        variable = _path(_collapse(arguments[0])) if len(arguments) >= 2 else None
        if variable is None or len(variable) != 1:
            self._wrong(f"`{name}` needs a name and what is asked of it", f"write `.{name}(entry, entry.done)`")
            return []
        self.walk(node.children[0], bound, depth + 1, loops)
        for argument in arguments[1:]:
            self.walk(argument, bound | {variable[0]}, depth + 1, loops + 1)
        return []

    def _meet(self, path: Path, bound: frozenset[str]) -> None:
        root = path[0]
        if root in bound or (root in _TYPES and len(path) == 1):
            return
        if root not in _ROOTS:
            self.unknown_name = True
            fix = suggest(root, _ROOTS, "names begin with")
            self._wrong(f"unknown name {quoted(root)}", f"{fix}; text stands in quotes: `'{root}'`")
        elif root != "inputs" and (len(path) < 2 or path[1] == ENTRY):
            thing, example = ("a task", "outputs.plan") if root == "outputs" else ("a piece of state", "state.facts")
            self._wrong(f"`{root}` must be followed by the name of {thing}", f"write it like `{example}`")
        else:
            self.paths.append(path)

    def _known(self, name: str, known: Sequence[str], noun: str) -> None:
        if name not in known:
            self.unknown_name = True
            self._wrong(f"unknown {noun} {quoted(name)}", suggest(name, known, f"{noun}s"))

    def _wrong(self, problem: str, fix: str) -> None:
        if not self.problem:
            self.problem, self.fix = problem, fix


def _trees(node: Any) -> list[Any]:
    return [child for child in node.children if hasattr(child, "children")]


_PASSED = frozenset({"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary",
                     "member", "primary", "paren_expr"})  # fmt: skip


def _collapse(tree: Any) -> Any:
    """Step through the levels of the grammar that hold nothing but the next one."""
    while tree.data in _PASSED and len(tree.children) == 1 and hasattr(tree.children[0], "children"):
        tree = tree.children[0]
    return tree


def _path(node: Any) -> Path | None:
    """Return what `a.b['c'][0]` reads, or None where the node is something else."""
    fields: list[str] = []
    while node.data in ("member_dot", "member_index"):
        fields.append(str(node.children[1]) if node.data == "member_dot" else _index(_collapse(node.children[1])))
        node = _collapse(node.children[0])
    return (str(node.children[0]), *reversed(fields)) if node.data == "ident" else None


def _index(node: Any) -> str:
    """Return the text of `['text']`; for positions and everything that is worked out, `ENTRY`."""
    text = str(node.children[0]) if node.data == "literal" else ""
    return text[1:-1] if len(text) > 2 and text[0] in "'\"" and "\\" not in text and text[1] != text[0] else ENTRY


def _indices(node: Any) -> list[Any]:
    found: list[Any] = []
    while node.data in ("member_dot", "member_index"):
        if node.data == "member_index":
            found.append(node.children[1])
        node = _collapse(node.children[0])
    return found


def _bracket_depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _slip(bare: str) -> Condition | None:
    """Name the habit of another language that `bare`, a text without its strings, shows."""
    found = [(match.start(), what, fix) for pattern, what, fix in _SLIPS if (match := pattern.search(bare))]
    if not found:
        return None
    _, what, fix = min(found, key=lambda slip: slip[0])
    return Condition(what, fix)


def _unreadable(text: str, error: Any) -> Condition:
    if getattr(getattr(error.__context__, "token", None), "type", "") == "$END":
        return Condition("it ends too early", EXAMPLE)
    line, column = getattr(error, "line", None), getattr(error, "column", None)
    if not isinstance(line, int) or not isinstance(column, int) or line < 1 or column < 1:
        return Condition("it ends too early", EXAMPLE)
    rest = "".join(text.splitlines(keepends=True)[line - 1 :])[column - 1 :]
    word = re.match(r"\s*(\w+|\S)", rest)
    return Condition(f"cannot go on at {quoted(word[1])}" if word else "it ends too early", EXAMPLE)
