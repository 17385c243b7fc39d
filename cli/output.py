"""What the terminal shows: errors, JSON, tables, plain or rich as the terminal can."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from project.errors import AppError

if TYPE_CHECKING:
    from project.secrets import Redactor
    from project.spec_policy import PolicySpec


def print_error(error: AppError) -> None:
    """Print every problem, one a line, then the hints."""
    for problem in error.problems:
        say(str(problem))
    fixes = error.fixes()
    if fixes:
        say("")
    for fix in fixes:
        say(f"hint: {fix}")


def hide_secrets(environment: Mapping[str, str], policy: "PolicySpec | None" = None) -> None:
    """Keep the secrets of an environment, and of a policy, out of what is printed from now on."""
    from project.secrets import make_redactor

    _hiding[:] = [make_redactor(environment, policy)]


def without_secrets(text: str) -> str:
    """Return a text as it may be printed, or kept in a file."""
    if not _hiding:  # no project was read yet
        hide_secrets(os.environ)
    return _hiding[0].text(text)


_hiding: "list[Redactor]" = []


def say(text: str) -> None:
    """Print a line to stderr: progress, hints, questions; never the result. A run goes on when nobody reads it."""
    try:
        write(sys.stderr, f"{without_secrets(text)}\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def result(text: str) -> None:
    """Print the result to the process's own stdout, wherever `print` leads just now."""
    text = _hiding[0].known(text) if _hiding else text  # by value alone: a command may print a new key
    write(sys.__stdout__ or sys.stdout, text if text.endswith("\n") else f"{text}\n")


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    result(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def write(stream: TextIO, text: str) -> None:
    """Write text in whatever encoding the stream has; what it can't show becomes `?`."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def fancy(stream: TextIO) -> bool:
    """Say whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns; the last column is not padded."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def money(cost_usd: str | None, *, unknown: bool = False) -> str:
    """Tell a cost: `$0.0123`, with `+ unknown` or just `unknown` where a call's price is not known, else `–`.

    Never a zero: a call that costs nothing is rare, one whose price nobody knows is not.
    """
    if cost_usd is not None and float(cost_usd) > 0:
        shown = f"${float(cost_usd):.4f}" if float(cost_usd) >= 0.00005 else "<$0.0001"
        return shown + (" + unknown" if unknown else "")
    return "unknown" if unknown else "–"


def duration(seconds: float) -> str:
    """Tell a duration: `42 ms`, `4.20 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 0.995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
