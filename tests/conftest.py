"""What every test lives in: no network but loopback, no keys, no home folder."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.farm import Farm
from tests.lab import Lab


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use two cores for everything, or a folder; for files and tests that are named, this process alone."""
    named = [argument.partition("::")[0] for argument in config.args]
    return 0 if all(name.endswith(".py") for name in named) else 2


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse test files that import CrewAI at their top where nothing has told it to be quiet."""
    if "crewai" in sys.modules and "CREWAI_STORAGE_DIR" not in os.environ:
        raise pytest.UsageError("a test file outside tests/runs imports crewai at its top: import it where it is used")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test connects to {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name.startswith(("MUSTER_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "no-home"))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project folder, and runs of it in this process."""
    made = Lab(tmp_path / "project")
    yield made
    made.close()


@pytest.fixture(scope="session")
def farm() -> Iterator[Farm]:
    """Starts real `muster` processes, in the environment of the test."""
    with Farm() as made:
        yield made
