"""What the sandboxes of `run_python` have in common: limits, the last value, how a result is told."""

import ast
import warnings
from dataclasses import dataclass

MOST_CHARACTERS = 20_000
"""Characters of a result; more than that ends the code."""
VALUE = "__value__"
"""Name that the last expression's value is given."""
_LONGEST_CODE = 60_000
_LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Limits:
    """What code may use."""

    seconds: float
    memory_bytes: int


def prepared(code: str) -> tuple[str, bool]:
    """Return the code with its last expression bound to VALUE, and whether there is one. No line moves.

    The value is then told by the sandbox itself, so that no object of the code's making ever reaches this process.

    Raises: ValueError, with the line, for what is no Python.
    """
    try:
        whole = code.encode()
        if len(whole) > _LONGEST_CODE:
            raise ValueError(f"the code has {len(whole)} bytes; at most {_LONGEST_CODE} are allowed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = compile(
                code, "<code>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno or 1}: SyntaxError: {error.msg}") from error
    except (UnicodeError, RecursionError, MemoryError) as error:
        raise ValueError("the code is nested too deeply, or holds characters that no program may") from error
    assert isinstance(tree, ast.Module)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or isinstance(last.value, ast.Yield | ast.YieldFrom):
        return code, False
    # Positions in the tree count bytes of UTF-8.
    lines = whole.splitlines(keepends=True)
    start = sum(map(len, lines[: last.lineno - 1])) + last.col_offset
    end = sum(map(len, lines[: (last.end_lineno or last.lineno) - 1])) + (last.end_col_offset or 0)
    bound = whole[:start] + f"{VALUE} = (".encode() + whole[start:end] + b")" + whole[end:]
    return bound.decode(), True


def told(printed: str, problem: str = "", *, cut: bool = False) -> str:
    """Return a result as an agent reads it: what was printed, then what went wrong."""
    parts = [printed[:MOST_CHARACTERS].rstrip("\n")]
    if cut:
        parts.append(f"[ended: more than {MOST_CHARACTERS} characters were printed; the first are shown]")
    if problem:
        parts.append(problem[:_LONGEST_MESSAGE])
    return "\n".join(part for part in parts if part) or "(nothing was printed, and the last line has no value)"


def over_time(limits: Limits) -> str:
    """Return what is told of code that took too long."""
    return f"[ended: it took longer than {limits.seconds:g} s]"
