"""User Python read without running it: `@tool` functions in tools/, `@guardrail` functions in guardrails/."""

import ast
import functools
import hashlib
import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from project.checks import Findings, Note
from project.declaration import GuardrailDeclaration, ToolDeclaration, read_guardrail, read_tool
from project.environment_reads import EnvironmentRead, find_reads
from project.errors import AppError, Problem, Where
from project.reader import read_file

Kind = Literal["tool", "guardrail"]
_APPLICATION = Path(__file__).resolve().parent.parent
_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_OTHERS = ("crewai", "langchain")


@dataclass
class Scan:
    """What the Python files of one folder declare."""

    tools: dict[str, ToolDeclaration] = field(default_factory=dict[str, ToolDeclaration])
    """By name, in the order of files and lines."""
    guardrails: dict[str, GuardrailDeclaration] = field(default_factory=dict[str, GuardrailDeclaration])
    """By name."""
    findings: Findings = field(default_factory=Findings)
    """What is wrong, and what is left out."""
    doubtful: set[str] = field(default_factory=set[str])
    """Functions of files that cannot be parsed: whether they are declared, nobody can say."""
    crewai: set[str] = field(default_factory=set[str])
    """Tools written for CrewAI: functions under its `@tool`, and classes made of its `BaseTool`."""
    left_out: set[str] = field(default_factory=set[str])
    """Tools written for other libraries, which are left out."""
    reads: dict[str, list[EnvironmentRead]] = field(default_factory=dict[str, list[EnvironmentRead]])
    """Where a file reads secrets from the environment, by its path."""

    def add(self, other: "Scan") -> None:
        """Take in what another folder declares; a tool whose name is taken is a problem."""
        for name, declared in other.tools.items():
            if name in self.tools:
                where = Where(declared.path, declared.line, 1, name)
                other.findings.wrong(where, f"`{name}` is the name of a built-in tool", f"rename the function `{name}`")
            self.tools.setdefault(name, declared)
        self.findings.problems += other.findings.problems
        self.findings.notes += other.findings.notes
        self.doubtful |= other.doubtful
        self.crewai |= other.crewai
        self.left_out |= other.left_out
        self.reads |= other.reads


def read_code(folder: Path, label: str, kind: Kind) -> Scan:
    """Read the declarations in `<folder>/*.py`; runs nothing. `label` is the folder for messages."""
    if folder != _APPLICATION / "tools":
        return _read_folder(folder, label, kind)
    scan = Scan()
    scan.add(_read_own_tools(label))
    return scan


@functools.cache
def _read_own_tools(label: str) -> Scan:
    # The application's own files stay what they are, and reading them takes as long as all else of a project.
    return _read_folder(_APPLICATION / "tools", label, "tool")


def _read_folder(folder: Path, label: str, kind: Kind) -> Scan:
    scan = Scan()
    for path in _python_files(folder):
        name = f"{label}/{path.name}"
        source = read_file(path, name)
        if isinstance(source, Problem):
            scan.findings.problems.append(source)
            continue
        tree = _parse(source, name, scan)
        if tree is not None:
            _read_module(tree, name, kind, scan)
            scan.reads[name] = find_reads(tree, name)
    return scan


def code_hashes(root: Path) -> dict[str, str]:
    """Return the path, relative to the project, and SHA-256 of each user tool and guardrail file, sorted by path.

    Where the project is the application's own checkout, its built-in tools are not the user's.

    Raises: AppError for a file that cannot be read.
    """
    hashes: dict[str, str] = {}
    for folder in ("guardrails", "tools"):
        if (root / folder).resolve() == _APPLICATION / "tools":
            continue
        for path in _python_files(root / folder):
            try:
                hashes[f"{folder}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                where = Where(f"{folder}/{path.name}", 1, 1)
                raise AppError(f"cannot be read: {error.strerror}", where=where, fix="check its permissions") from error
    return hashes


def crewai_tool_names() -> frozenset[str]:
    """Return the names of crewai-tools' classes, read without importing it; empty where it is not installed."""
    try:
        found = importlib.util.find_spec("crewai_tools")
    except (ImportError, ValueError):
        return frozenset()
    if found is None or found.origin is None:
        return frozenset()
    source = read_file(Path(found.origin), "crewai_tools")
    if isinstance(source, Problem):
        return frozenset()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset()
    imported = [
        name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    return frozenset(name for name in imported if name.endswith("Tool") and not name.startswith("_"))


def _python_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("*.py") if path.is_file())
    except OSError:
        return []


def _parse(source: bytes, name: str, scan: Scan) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        where = Where(name, max(error.lineno or 1, 1), max(error.offset or 1, 1))
        what = f"not valid Python: {error.msg}"
    except (ValueError, RecursionError, MemoryError):
        where, what = Where(name, 1, 1), "not valid Python: it holds NUL bytes or is nested too deeply"
    scan.findings.wrong(where, what, f"correct the file: `python -m py_compile {name}` shows the same")
    scan.doubtful.update(_DEFINITION.findall(source.decode("utf-8", errors="replace")))
    return None


def _read_module(tree: ast.Module, name: str, kind: Kind, scan: Scan) -> None:
    statements = list(_statements(tree.body))
    origins = _origins(statements)
    top = set(map(id, tree.body))
    for node in statements:
        if isinstance(node, ast.ClassDef):
            _take_class(node, origins, name, scan)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for decorator in node.decorator_list:
            origin = _origin(decorator.func if isinstance(decorator, ast.Call) else decorator, origins)
            if origin.rpartition(".")[2] != kind:
                continue
            where = Where(name, node.lineno, node.col_offset + 1, node.name)
            if origin.startswith(_OTHERS):
                _take_foreign(origin, node.name, where, scan)
            elif id(node) not in top:
                scan.findings.wrong(where, f"a {kind} must stand at the top level of its file", "move the function out")
            else:
                _check_import(origin, origins, kind, where, scan.findings)
                _add(node, decorator, where, kind, scan)


def _add(
    node: ast.FunctionDef | ast.AsyncFunctionDef, decorator: ast.expr, where: Where, kind: Kind, scan: Scan
) -> None:
    known: Mapping[str, ToolDeclaration | GuardrailDeclaration] = scan.tools if kind == "tool" else scan.guardrails
    if node.name in known:
        first = known[node.name]
        what = f"a second {kind} called `{node.name}`; the first is in {first.path}:{first.line}"
        scan.findings.wrong(where, what, f"give every {kind} a name of its own")
    elif kind == "tool":
        scan.tools[node.name] = read_tool(node, decorator, where, scan.findings)
    else:
        scan.guardrails[node.name] = read_guardrail(node, decorator, where, scan.findings)


def _take_class(node: ast.ClassDef, origins: Mapping[str, str], name: str, scan: Scan) -> None:
    for base in node.bases:
        origin = _origin(base, origins)
        if origin.rpartition(".")[2] == "BaseTool":
            _take_foreign(origin, node.name, Where(name, node.lineno, node.col_offset + 1, node.name), scan)


def _take_foreign(origin: str, tool_name: str, where: Where, scan: Scan) -> None:
    """Take a tool that is written for CrewAI, which says nothing of its effect; one of another library is left out."""
    if origin.startswith("crewai"):
        scan.crewai.add(tool_name)
        what = "taken as it is, and as one that sends and must not be done twice, since nothing says what it does"
    else:
        scan.left_out.add(tool_name)
        what = "not taken: a tool of another library"
    scan.findings.notes.append(Note(where, f'{what}; `@tool(effect="read")` of muster says so'))


def _check_import(origin: str, origins: Mapping[str, str], kind: Kind, where: Where, findings: Findings) -> None:
    if origin == kind and kind not in origins and "*" not in origins:
        findings.wrong(where, f"`{kind}` is not imported", f"write `from muster import {kind}` at the top of the file")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body and of those inside them; expressions hold none and are left alone."""
    waiting = body[::-1]
    while waiting:
        statement = waiting.pop()
        yield statement
        inner: list[ast.stmt] = []
        for branch in (statement, *getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            for part in ("body", "orelse", "finalbody"):
                inner += getattr(branch, part, [])
        waiting += reversed(inner)


def _origins(statements: list[ast.stmt]) -> dict[str, str]:
    """Map each name that is imported or defined to where it comes from; "*" is there where anything may be."""
    origins: dict[str, str] = {}
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            origins.setdefault(node.name, node.name)
        if isinstance(node, ast.Import):
            for name in node.names:
                origins[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            origins.update({name.asname or name.name: f"{node.module or ''}.{name.name}" for name in node.names})
    return origins


def _origin(node: ast.expr, origins: Mapping[str, str]) -> str:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    start = origins.get(node.id, node.id) if isinstance(node, ast.Name) else ""
    return ".".join([start, *reversed(attributes)])
