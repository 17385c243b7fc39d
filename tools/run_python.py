"""The tool `run_python`: Python in a box. Its effect is `read`: nothing outside can be read, changed or reached.

The boxes are in `sandbox_monty` (an interpreter of its own, anywhere) and `sandbox_bubblewrap` (CPython, on Linux).
"""

from typing import Annotated, Literal

from pydantic import Field

from muster import tool
from tools.sandbox import Limits
from tools.sandbox_bubblewrap import run_in_bubblewrap
from tools.sandbox_monty import run_in_monty
from tools.tool import FIXED


@tool(effect="read", repeat="safe", returns="untrusted", timeout_seconds=90)
def run_python(
    code: str,
    sandbox: Annotated[Literal["monty", "bubblewrap"], FIXED] = "monty",
    timeout_seconds: Annotated[float, Field(gt=0, le=60), FIXED] = 5.0,
    memory_mb: Annotated[int, Field(ge=16, le=4096), FIXED] = 64,
) -> str:
    """Run Python code in a sandbox; return what it prints, and the value of its last line where that is an expression.

    For calculations and for working on text. It has no files, no network and no environment, and keeps nothing from one
    call to the next. Depending on the project, classes of the standard library may be missing.

    Args:
        code: A whole program. An error is returned as text, with its line.
    """
    limits = Limits(timeout_seconds, memory_mb * 1_000_000)
    return run_in_bubblewrap(code, limits) if sandbox == "bubblewrap" else run_in_monty(code, limits)
