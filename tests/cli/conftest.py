"""The command line in this process, with what it prints; and as a process of its own where only that will do."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from main import execute
from tests.lab import APPLICATION, Lab
from tests.scripted_server import ScriptedServer


@dataclass(frozen=True)
class Printed:
    """What a command came to."""

    code: int
    out: str
    err: str


Muster = Callable[..., Printed]


@pytest.fixture
def muster(capfd: pytest.CaptureFixture[str], lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Muster]:
    """Call the command line in this process, in the project's folder."""
    lab.root.mkdir(exist_ok=True)
    monkeypatch.chdir(lab.root)

    def call(*arguments: str) -> Printed:
        capfd.readouterr()
        code = execute(arguments)
        out, err = capfd.readouterr()
        return Printed(code, out, err)

    yield call
    logging.getLogger("dbos").handlers.clear()  # they hold the stderr of this test, which pytest now closes


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def spawn(lab: Lab, *arguments: str, **environ: str | None) -> "subprocess.Popen[str]":
    """Start the real command line in the project's folder; a variable of None is taken out."""
    env = {key: value for key, value in os.environ.items() if environ.get(key, "") is not None}
    env |= {key: value for key, value in environ.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, str(APPLICATION / "main.py"), *arguments],
        cwd=lab.root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> Printed:
    out, err = process.communicate(timeout=120)
    return Printed(process.returncode, out, err)


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
