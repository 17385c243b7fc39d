"""Who executes a run: the kernel's lock on a file in the run's folder, let go at once when its process dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

_CALLS = "calls.lock"
_ENDING_SECONDS = 2.0
"""How long the calls of a process that died may take to end before its run is called taken."""


class RunLock:
    """The lock of one run. Held: this process, and no other, executes the run."""

    def __init__(self, run_folder: Path) -> None:
        self._path = run_folder / "lock"
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False when a living process holds it, or when calls that a dead one began do not end."""
        for folder in (self._path.parent.parent, self._path.parent):  # `mode` is not that of parents made on the way
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        if not _calls_end(self._path.parent):
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(run_folder: Path) -> int | None:
    """Return the process id of the living process that executes the run, or None."""
    try:
        file = os.open(run_folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(file, 32).decode(errors="replace")
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)
    return None


@contextlib.contextmanager
def calls_held(run_folder: Path) -> Generator[int]:
    """Note that a call of the run is being made; yield an open file to give to the process that makes it.

    While that process has the file open the run is nobody else's, also when this one has died: what it began could
    still happen after a probe, or a person, has said that it did not.
    """
    run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(run_folder / _CALLS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file
    finally:
        os.close(file)


def calls_under_way(run_folder: Path) -> bool:
    """Say whether calls of the run are being made, by whatever process."""
    try:
        file = os.open(run_folder / _CALLS, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _calls_end(run_folder: Path) -> bool:
    until = time.monotonic() + _ENDING_SECONDS
    while calls_under_way(run_folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
