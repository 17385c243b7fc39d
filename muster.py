"""What user code imports: `from muster import tool, guardrail`, or `import muster; muster.run("brief", topic="solar")`.

Imports no room of the application: it is read before the path is set. Becomes `muster/__init__.py` in the wheel.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

__version__ = "0.2.0"

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class ToolContext:
    """What a tool may ask about the call it serves. A tool that has a parameter named `context` is given one."""

    project: Path
    """The project folder."""
    output_folder: Path
    """The run's own folder for files; made by the first tool that writes."""
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The run's inputs."""
    idempotency_key: str = ""
    """The same for every attempt of one call, also after a crash."""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Variables and values that policy.yaml gives this tool, and no other."""
    domains: tuple[str, ...] | None = None
    """Domains that policy.yaml lets the tool connect to; None where it names none."""
    private_addresses: bool = False
    """Whether it may also connect to this machine and the local network."""

    @property
    def headers(self) -> dict[str, str]:
        """The key as the header that HTTP services know it by; {} where there is none."""
        return {"Idempotency-Key": self.idempotency_key} if self.idempotency_key else {}


def tool(
    *,
    effect: Literal["read", "write", "send", "spend", "execute"],
    repeat: Literal["safe", "keyed", "once"] | None = None,
    returns: Literal["trusted", "untrusted"] = "untrusted",
    private: bool = False,
    timeout_seconds: float = 60.0,
    cache: bool = False,
    process: bool = True,
    probe: Callable[..., Any] | None = None,
    if_unknown: Literal["ask", "tell"] = "ask",
    undo: Callable[..., Any] | None = None,
) -> Callable[[_Function], _Function]:
    """Declare a function as a tool; its docstring and its parameters' types are what the model reads.

    `repeat` says what doing it twice means: `safe` nothing, `keyed` the tool is given a key that is stable over
    crashes, `once` never again without a person. Unset: `safe` for `read`, else `once`.
    `cache`: within a task, the same call again is answered with the first one's result.
    `process`: the function runs in a process beside Muster's, which is ended when the time is up. False: in Muster's
    own, where one that blocks can only be left alone.
    `probe`, for `once`: takes the arguments it names of the call's; returns the call's result when it happened, None
    when it did not. It is asked when a crash leaves that open; without one `if_unknown` says who is: `ask` a person, or
    `tell` the agent that nobody knows.
    `undo`: takes the same and, where it names it, `result: str`; takes back what the call did.
    """

    def mark(function: _Function) -> _Function:
        function.__muster_tool__ = {  # type: ignore[attr-defined]
            "effect": effect,
            "repeat": repeat or ("safe" if effect == "read" else "once"),
            "returns": returns,
            "private": private,
            "timeout_seconds": timeout_seconds,
            "cache": cache,
            "process": process,
            "probe": probe,
            "if_unknown": if_unknown,
            "undo": undo,
        }
        return function

    return mark


def guardrail(function: _Function) -> _Function:
    """Declare a check of a task's output: given the text, it returns "" when all is well, else what is wrong."""
    function.__muster_guardrail__ = True  # type: ignore[attr-defined]
    return function


def run(
    crew: str, *, project: str | Path | None = None, model: str | None = None, **inputs: str | int | float
) -> dict[str, Any]:
    """Run a crew in a process of its own, as `muster run --json` does, and return what it prints.

    `project` is the project folder; unset, it is found from the current folder. The result's `status` is succeeded,
    failed, stopped, waiting or interrupted; its `output` the text of the last task.

    Raises: RuntimeError with the messages when nothing was run: a wrong command line or configuration.
    """
    command = [sys.executable, str(Path(__file__).resolve().parent / "main.py"), "run", crew, "--json"]
    command += ["--project", str(project)] if project else []
    command += ["--model", model] if model else []
    for name, value in inputs.items():
        command += ["-i", f"{name}={value}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise RuntimeError(done.stderr.strip() or f"muster ended with exit code {done.returncode}")
    return json.loads(done.stdout)
