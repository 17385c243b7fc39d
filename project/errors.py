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
