"""What goes wrong, told to people: what, where, how to fix."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """A place in a file; `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.key}" if self.key else place


@dataclass(frozen=True)
class Problem:
    """One mistake: what is wrong, where, and what would mend it."""

    what: str
    where: Where | None = None
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class AppError(Exception):
    """A failure that is the user's to mend. Printed without a traceback; `exit_code` is the process's."""

    def __init__(self, what: str, *, where: Where | None = None, fix: str = "", exit_code: int = 1) -> None:
        super().__init__(what)
        self.problems: tuple[Problem, ...] = (Problem(what, where, fix),)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def fixes(self) -> list[str]:
        """Return the hints, each once, in the order of the problems."""
        return list(dict.fromkeys(problem.fix for problem in self.problems if problem.fix))


class ConfigErrors(AppError):
    """All that is wrong with a project's files, most certain first. Exit code 3."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems[0].what, exit_code=3)
        self.problems = tuple(problems)


class UsageError(AppError):
    """A wrong command line. Exit code 2."""

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what, fix=fix, exit_code=2)


class Stop(BaseException):
    """End what is running here. Not an Exception: CrewAI turns those from tools into more calls."""


_DATABASE_TROUBLE = {
    "disk is full": "the disk is full. Free some space, then `muster runs resume`; what is journaled is kept",
    # SQLite says so of a disk that has no room for the index of its journal.
    "disk I/O error": "the disk is full or bad. Free some space, then `muster runs resume`; what is journaled is kept",
    "readonly database": "its file or folder is read-only. Make it writable, or point MUSTER_STATE elsewhere",
    "unable to open database": "its file can't be opened. Make it writable, or point MUSTER_STATE elsewhere",
    "database disk image is malformed": "its file is damaged. Put it aside, or restore it from a copy",
    "file is not a database": "its file is not a database. Put it aside, or restore it from a copy",
}


def database_trouble(error: BaseException) -> str:
    """Say what ails the database, and what helps, where an error of it says so; else ""."""
    return next((words for sign, words in _DATABASE_TROUBLE.items() if sign in str(error)), "")
