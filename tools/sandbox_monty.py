"""Python in pydantic-monty: an interpreter of its own for a part of the language, in a process without rights to lose.

Nothing of the system is reachable from it: there are no files, no sockets, no processes to ask for. The process is a
second wall: it is given no environment, few open files, and limits of the system beside those of the interpreter.
"""

import os
import resource
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tools.sandbox import MOST_CHARACTERS, VALUE, Limits, over_time, prepared, told

if TYPE_CHECKING:
    import pydantic_monty

_GRACE_SECONDS = 1.0
_MISSING = (
    "run_python needs the package pydantic-monty, which is not installed: `pip install pydantic-monty==1.4.0`, "
    "or install Muster with its extra `sandbox`"
)
_TELL = f"if {VALUE} is not None:\n    print(repr({VALUE}))"


class _Enough(Exception):
    """More was printed than is told."""


class _Printed:
    """Takes what the code prints, up to the limit."""

    def __init__(self) -> None:
        self.text = ""

    def __call__(self, _stream: str, text: str) -> None:
        self.text += text[: MOST_CHARACTERS + 1 - len(self.text)]
        if len(self.text) > MOST_CHARACTERS:
            raise _Enough


def run_in_monty(code: str, limits: Limits) -> str:
    """Run code; return what it printed, its last value, or what went wrong. Raises: ValueError where none can run."""
    try:
        import pydantic_monty as monty
    except ImportError as error:
        raise ValueError(_MISSING) from error
    try:
        bound, has_value = prepared(code)
    except ValueError as error:
        return str(error)
    printed = _Printed()
    try:
        with ExitStack() as stack:
            with _no_stderr():
                pool = stack.enter_context(_pool(monty, limits))
            session = stack.enter_context(pool.checkout(limits=_limits(monty, limits), os_policy={"sleep": "zero"}))
            _confine(session.worker_pid, limits)
            session.feed_run(bound, print_callback=printed)
            if has_value:
                session.feed_run(_TELL, print_callback=printed)
    except _Enough:
        return told(printed.text, cut=True)
    except monty.MontyCrashedError as error:
        return told(printed.text, over_time(limits) if error.timed_out else "[ended: it used more than it may]")
    except monty.MontyError as error:
        return _problem(error, printed, limits)
    return told(printed.text)


def _pool(monty: Any, limits: Limits) -> "pydantic_monty.Monty":
    most = limits.seconds + _GRACE_SECONDS
    return monty.Monty(min_processes=1, max_processes=1, checkout_timeout=10.0, request_timeout=most)


@contextmanager
def _no_stderr() -> Generator[None]:
    """Let a process that is started begin without stderr, where its interpreter would write of memory that ran out."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _limits(monty: Any, limits: Limits) -> "pydantic_monty.ResourceLimits":
    return monty.ResourceLimits(
        max_feed_duration_secs=limits.seconds,
        max_memory=limits.memory_bytes,
        max_recursion_depth=500,
        max_total_sleep_secs=0.0,
    )


def _problem(error: "pydantic_monty.MontyError", printed: _Printed, limits: Limits) -> str:
    if len(printed.text) > MOST_CHARACTERS:  # what the callback raises comes back as an error of the code's
        return told(printed.text, cut=True)
    display: Any = getattr(error, "display", None)
    said = str(display("type-msg") if display is not None else error)
    if said.startswith("TimeoutError: feed time limit"):
        return told(printed.text, over_time(limits))
    frames: list[Any] = getattr(error, "traceback", list[Any])()
    return told(printed.text, f"line {frames[-1].line}: {said}" if frames else said)


def _confine(process: int | None, limits: Limits) -> None:
    """Limit what the process may take, whatever its interpreter counts; only Linux has a call for that."""
    if sys.platform != "linux" or process is None:
        return
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes + 1_000_000_000),
        (resource.RLIMIT_CPU, int(limits.seconds) + 3),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.prlimit(process, kind, (most, most))
