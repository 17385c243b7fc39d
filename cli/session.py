"""What every command is given: the global options, and the project they lead to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from cli.output import hide_secrets

if TYPE_CHECKING:
    from project.load import Project
    from project.settings import Settings

APPLICATION = Path(__file__).resolve().parent.parent
_FLAGS = ("-v", "--verbose", "-q", "--quiet", "--debug")


@dataclass(frozen=True)
class Session:
    """The global options of one call of the command."""

    project_option: str | None
    verbose: bool
    quiet: bool
    debug: bool

    def project_folder(self) -> Path:
        """Find the project. Raises: AppError (exit 3)."""
        from project.load import find_project

        return find_project(self.project_option, os.environ, Path.cwd())

    def load(self) -> "Project":
        """Read the project. Raises: AppError, ConfigErrors (exit 3)."""
        from project.load import load_project

        project = load_project(self.project_folder(), APPLICATION / "tools")
        hide_secrets(self.settings().environment, project.policy)
        return project

    def settings(self) -> "Settings":
        """Read the settings of the project. Raises: AppError."""
        from project.settings import load_settings

        settings = load_settings(self.project_folder(), os.environ)
        hide_secrets(settings.environment)
        return settings


def session(context: typer.Context) -> Session:
    """Return the session of this call."""
    return cast(Session, context.obj)


def hoist_globals(arguments: Sequence[str]) -> list[str]:
    """Put the global options first, wherever they were written, so that each command takes them."""
    front: list[str] = []
    rest: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        if argument == "--":
            rest += [argument, *pending]
        elif argument in _FLAGS or argument.startswith("--project="):
            front.append(argument)
        elif argument == "--project":
            front += [argument, *([value] if (value := next(pending, None)) is not None else [])]
        else:
            rest.append(argument)
    return front + rest
