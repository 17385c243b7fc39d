"""Secrets that tools read from the environment by themselves: they are not there unless policy.yaml names them."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from project.checks import Findings, Note
from project.errors import Where
from project.secrets import is_secret_name
from project.spec_policy import PolicySpec

_READERS = ("os.getenv", "os.environ.get", "os.environ.pop", "os.environ.setdefault", "getenv", "environ.get")
_MAPPINGS = ("os.environ", "environ")


@dataclass(frozen=True)
class EnvironmentRead:
    """One place in a file that reads a variable which is called as a secret is."""

    variable: str
    """Its name."""
    function: str
    """The top-level function in which that stands; "" elsewhere in the file."""
    where: Where
    """The place."""


def find_reads(tree: ast.Module, path: str) -> list[EnvironmentRead]:
    """Return where a file reads secret variables by their names; runs nothing."""
    found: list[EnvironmentRead] = []
    for statement in tree.body:
        name = statement.name if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else ""
        for node in ast.walk(statement):
            variable = _variable(node)
            if variable and is_secret_name(variable) and isinstance(node, ast.expr):
                where = Where(path, node.lineno, node.col_offset + 1, name)
                found.append(EnvironmentRead(variable, name, where))
    return found


def note_undeclared(
    reads: Mapping[str, list[EnvironmentRead]], tools: Mapping[str, str], policy: PolicySpec, findings: Findings
) -> None:
    """Note each secret that a tool reads and policy.yaml does not give it. `reads` and `tools`: by file, by tool."""
    for path, found in reads.items():
        mine = [tool for tool, file in tools.items() if file == path]
        for read in found:
            for tool in [read.function] if read.function in mine else mine:
                spec = policy.tools.get(tool)
                if spec is None or read.variable not in spec.secrets:
                    findings.notes.append(Note(read.where, _told(tool, read.variable)))


def _told(tool: str, variable: str) -> str:
    line = f"`tools: {{{tool}: {{secrets: [{variable}]}}}}`"
    return f"`{tool}` is not given `{variable}`: secrets are kept from tools; {line} in policy.yaml gives it"


def _variable(node: ast.AST) -> str:
    """Return the name of the variable that an expression reads; "" where it reads none, or one of a computed name."""
    if isinstance(node, ast.Call) and _dotted(node.func) in _READERS:
        return next(iter(_constants(node.args)), "")
    if isinstance(node, ast.Subscript) and _dotted(node.value) in _MAPPINGS:
        return next(iter(_constants([node.slice])), "")
    return ""


def _constants(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes[:1]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
