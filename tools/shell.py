"""The tool `shell`: one program with its arguments, without a shell that would read more into them.

The policy denies it unless a rule allows the very command. A command that is allowed does what it likes with the rights
of Muster's process: what confines it is the rule alone.
"""

import os
import shlex
from pathlib import Path
from typing import Annotated

from pydantic import Field

from muster import ToolContext, tool
from tools.processes import Ended, run_limited
from tools.tool import FIXED

_MOST_CHARACTERS = 20_000
_LONGEST_COMMAND = 4000
_KEPT = ("PATH", "HOME", "LANG")
_GIT_TRUSTS_NO_FOLDER = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.bareRepository",
    "GIT_CONFIG_VALUE_0": "explicit",
}
"""Else files that an agent has written make the run's folder a repository, whose settings name programs to run."""
_SIGNS = {"|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "&>"}


@tool(effect="execute", repeat="once", returns="untrusted", timeout_seconds=630)
def shell(command: str, context: ToolContext, seconds: Annotated[float, Field(gt=0, le=600), FIXED] = 60.0) -> str:
    """Run a program with its arguments in the run's own folder; return how it ended and what it wrote.

    There is no shell: no pipes, no redirections, no variables, no patterns. Only commands that the project's policy
    names are run. Output beyond 20,000 characters ends the program.

    Args:
        command: Such as `git log --oneline -5`. Quotes keep spaces together, and nothing else has a meaning.
    """
    words = _words(command)
    folder = context.output_folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= _GIT_TRUSTS_NO_FOLDER | dict(context.secrets)
    try:
        ended = run_limited(
            words, folder=Path(folder), environment=environment, seconds=seconds, max_characters=_MOST_CHARACTERS
        )
    except FileNotFoundError as error:
        raise ValueError(f"there is no program {words[0]!r}") from error
    except OSError as error:
        raise ValueError(f"{words[0]!r} cannot be started: {error.strerror}") from error
    return _told(ended, seconds)


def _words(command: str) -> list[str]:
    if len(command) > _LONGEST_COMMAND or "\0" in command:
        raise ValueError(f"the command is longer than {_LONGEST_COMMAND} characters, or holds a NUL")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"the command cannot be read: {error}") from error
    if not words:
        raise ValueError("the command is empty")
    if signs := [word for word in words if word in _SIGNS]:
        raise ValueError(f"{signs[0]!r} means nothing here: there is no shell, and one program is run at a time")
    return words


def _told(ended: Ended, seconds: float) -> str:
    if ended.how == "time":
        head = f"[ended: it took longer than {seconds:g} s]"
    elif ended.how == "output":
        head = f"[ended: it wrote more than {_MOST_CHARACTERS} characters; the first are shown]"
    elif ended.code < 0:
        head = f"[ended by signal {-ended.code}]"
    else:
        head = f"[exit code {ended.code}]"
    return f"{head}\n{ended.output}".rstrip()
