"""Programs with limits: so much time, so much output, and nothing of theirs left when they end."""

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.host import kill_tree

_PIECE = 65_536
_NOBODY = 65_534


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    output: str
    """What it wrote to stdout and stderr, in the order of writing, as far as it was read."""
    how: Literal["exit", "time", "output"]
    """By itself, or killed: at the end of its time, or for writing too much."""
    code: int
    """Its exit code, or the number of a signal below zero."""


def run_limited(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    seconds: float,
    max_characters: int,
    given: bytes = b"",
    as_nobody: bool = False,
) -> Ended:
    """Run a program without a shell, in a group of its own, which is killed when a limit is reached and at the end.

    `given` is its stdin, at most 64 kB so that it fits into the pipe; without it stdin is empty. `as_nobody`: under a
    user without rights; only root may ask for it.

    Raises: OSError when it cannot be started.
    """
    until = time.monotonic() + seconds
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=_NOBODY if as_nobody else None,
        group=_NOBODY if as_nobody else None,
        extra_groups=[] if as_nobody else None,
    )
    try:
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(given)
        output, how = _read(process, until, max_characters * 4)
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()) if how == "exit" else 0.0)
        how = "time" if how == "exit" and process.poll() is None else how
    finally:
        # Also when it has ended: what it has started may still be there. Reaped after that, so that its number, which
        # is the group's, belongs to nobody else.
        kill_tree(process.pid)
        process.kill()
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
    text = output.decode("utf-8", "replace")
    return Ended(text[:max_characters], "output" if len(text) > max_characters else how, code)


def _read(
    process: "subprocess.Popen[bytes]", until: float, max_bytes: int
) -> tuple[bytes, Literal["exit", "time", "output"]]:
    """Read what the program writes, until it closes its output or a limit is reached."""
    assert process.stdout is not None
    descriptor, found = process.stdout.fileno(), bytearray()
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return bytes(found), "time"
            if not selector.select(min(left, 0.2)):
                if process.poll() is not None:  # it has ended, and something it started holds the output open
                    return bytes(found), "exit"
                continue
            piece = os.read(descriptor, _PIECE)
            if not piece:
                return bytes(found), "exit"
            found += piece
            if len(found) > max_bytes:
                return bytes(found), "output"
