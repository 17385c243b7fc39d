"""A scripted model server, and one project folder and runner for all tests of a file: closing DBOS takes a second."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import quiet
from runs.stored import journal
from tests.cli.conftest import muster as muster
from tests.lab import Lab
from tests.postgres import PostgresServer
from tests.runs.machines import Machines
from tests.scripted_server import ScriptedServer

quiet.prepare(Path(tempfile.gettempdir()) / "muster-tests")  # now, as some files import the parts that they test

_QUIET = {
    "latency": "0",
    "rates": {},
    "faults": [],
    "retry_after_seconds": 0.01,
    "context_window": 0,
    "answer_words": 40,
}


@pytest.fixture(scope="module")
def _server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def server(_server: ScriptedServer) -> ScriptedServer:
    """The scripted server, without faults, and its counts at nought."""
    _server.configure(**_QUIET)
    _server.reset()
    return _server


@pytest.fixture(scope="module")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("project"))
    yield made
    made.close()


@pytest.fixture
def lab(_lab: Lab, server: ScriptedServer) -> Lab:
    """An empty project folder whose default model is the scripted server; its runs are those of the whole file."""
    for path in _lab.root.iterdir():
        if path.name != ".muster":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _lab.models(server.base_url)
    _lab.allow_all()
    return _lab


@pytest.fixture(scope="module")
def _model(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with ScriptedServer(request.module.SCRIPT) as running:
        yield running


@pytest.fixture
def model(_model: ScriptedServer, lab: Lab) -> ScriptedServer:
    """A server that answers by the file's own SCRIPT, as the default model."""
    _model.configure(latency="0", faults=[])
    _model.reset()
    lab.models(_model.base_url)
    return _model


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, which a test may stop and start."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a fresh database, for `monkeypatch.setenv("MUSTER_DATABASE_URL", ...)`."""
    address = postgres_server.new_database()
    yield address
    postgres_server.drop(address)


# -- files that go with a run


@pytest.fixture
def machines(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Machines]:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MUSTER_FILES", str(tmp_path / "shared"))
    made = Machines(tmp_path, server.base_url)
    yield made
    made.close()


@pytest.fixture(params=["folder", "memory", "file"])
def any_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    place = {
        "folder": str(tmp_path / "shared"),
        "memory": f"memory://muster-{tmp_path.name}",
        "file": f"file://{tmp_path}/shared/below",
    }[request.param]
    monkeypatch.setenv("MUSTER_FILES", place)
    return place


@pytest.fixture
def small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put parts of records into files that are not large enough for that otherwise."""
    monkeypatch.setattr(journal, "_RECORD_LIMIT", 20_000)
    monkeypatch.setattr(journal, "_PART_LIMIT", 2_000)
