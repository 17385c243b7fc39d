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


# What takes longest begins first: a file is one worker's, and one that began last would keep the other waiting.
_LONG_FILES = (
    *("runs/test_boundaries.py", "runs/test_workers.py", "cli/test_process.py", "runs/test_secrets.py"),
    *("runs/test_audit.py", "runs/test_files_travel.py", "cli/test_approvals.py", "runs/test_operate.py"),
    *("benchmarks/test_gate_faults.py", "runs/test_budgets.py", "benchmarks/test_schedules.py", "runs/test_chaos.py"),
    *("examples/test_killed.py", "benchmarks/test_budgets.py", "benchmarks/test_faults.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, each whole, and leave the order of all others."""
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
