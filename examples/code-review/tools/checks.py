import ast
from collections.abc import Iterator

from changes import source_of

from muster import ToolContext, tool

Fault = tuple[int, str]
"""Line and what is wrong."""


@tool(effect="read", returns="trusted", cache=True)
def check_python(folder: str, path: str, context: ToolContext) -> str:
    """Check a changed file by rules, without running it. Returns one fault a line: `path:line: what is wrong`.

    The rules: unused imports, mutable defaults, bare `except`, `== None`, queries put together from texts, `eval`.

    Args:
        folder: Folder of the change.
        path: Name of the file, such as basket.py.
    """
    faults = find_faults(source_of(context.project, folder, path))
    return "\n".join(f"{path}:{line}: {what}" for line, what in faults) or f"{path}: no fault was found by these rules"


def find_faults(source: str) -> list[Fault]:
    """Return the faults of a source, in the order of its lines. A source that cannot be read has one fault."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [(error.lineno or 1, f"cannot be read: {error.msg}")]
    found = [*_unused_imports(tree)]
    for node in ast.walk(tree):
        found += _faults_of(node)
    return sorted(found)


def _unused_imports(tree: ast.Module) -> Iterator[Fault]:
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in node.names:
                bound = (name.asname or name.name).split(".")[0]
                if bound not in used and bound != "*":
                    yield node.lineno, f"`{bound}` is imported and not used"


def _faults_of(node: ast.AST) -> Iterator[Fault]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if isinstance(default, ast.List | ast.Dict | ast.Set):
                yield default.lineno, f"`{node.name}` has a mutable default, shared by all its calls"
    elif isinstance(node, ast.ExceptHandler) and node.type is None:
        yield node.lineno, "a bare `except` hides every error, also a typing error in the code"
    elif isinstance(node, ast.Compare) and _compares_with_none(node):
        yield node.lineno, "compare with None by `is` or `is not`"
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node)


def _compares_with_none(node: ast.Compare) -> bool:
    equals = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
    return equals and any(isinstance(one, ast.Constant) and one.value is None for one in node.comparators)


def _faults_of_call(node: ast.Call) -> Iterator[Fault]:
    if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
        yield node.lineno, f"`{node.func.id}` runs whatever it is given"
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("execute", "executemany") and node.args:
        query = node.args[0]
        if isinstance(query, ast.JoinedStr) or (isinstance(query, ast.BinOp) and not isinstance(query.op, ast.Mult)):
            yield node.lineno, "a query is put together from texts: pass the values as parameters"
