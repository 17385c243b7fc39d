"""Tampering with the journals of real runs, each kind on a fresh copy: what is found of it, and false alarms.

    python -m benchmarks.audit [--runs 1000] [--no-postgres]

Also timed: what signing a run's head costs (50 steps), and verifying so many runs. Exit 1 when anything was missed.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.audit_scenes import KEY, TAMPERINGS, Target, delete, fork, give, make_runs, script
from main import execute
from project.settings import Settings
from runs.audit.compare import Finding
from runs.audit.export import Exporter
from runs.audit.file import AuditFile, read_file, written
from runs.audit.heads import Audit, AuditKeys, audit_keys
from runs.audit.tombstones import Gravedigger
from runs.audit.verify import Verified, Verifier
from runs.people.inbox import Inbox
from runs.repair.retention import prune
from runs.stored.database import open_database
from runs.stored.journal_rows import JournalRows, Taken
from runs.stored.store import RunStore
from runs.stored.tables import RUNS
from tests.lab import Lab
from tests.postgres import PostgresServer
from tests.scripted_server import ScriptedServer

_MOST_MS = 20.0
_STEPS = 50


@dataclass(frozen=True)
class Scene:
    """Finished runs in a database that is copied for each tampering."""

    lab: Lab
    settings: Settings
    postgres: PostgresServer | None = None

    @property
    def keys(self) -> AuditKeys:
        found = audit_keys(self.settings)
        assert found is not None
        return found

    @property
    def folder(self) -> Path:
        return self.settings.state_folder / "runs"

    @contextmanager
    def copied(self) -> Generator[tuple[sa.Engine, Path]]:
        """Give a copy of the database, and of the folders of the runs."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "runs"
            shutil.copytree(self.folder, folder, symlinks=True)
            if self.postgres is None:
                with open_database(self.settings).connect() as connection:
                    connection.connection.driver_connection.execute(f"VACUUM INTO '{name}/muster.db'")  # type: ignore[union-attr]
                settings, address = replace(self.settings, database_url=f"sqlite:///{name}/muster.db"), ""
            else:
                address = copy_database(self.postgres, str(self.settings.database_url))
                settings = replace(self.settings, database_url=address)
            database = open_database(settings)
            try:
                yield database, folder
            finally:
                database.dispose()
                if self.postgres is not None:
                    self.postgres.drop(address)


def copy_database(server: PostgresServer, address: str) -> str:
    """Make a copy of a database to which nobody is connected; return its address."""
    made = server.new_database()
    name = sa.make_url(made).database
    server.drop(made)
    admin = sa.create_engine(
        sa.make_url(made).set(drivername="postgresql+psycopg", database="postgres"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {sa.make_url(address).database}"))
    admin.dispose()
    return made


def file_of(database: sa.Engine, folder: Path, keys: AuditKeys | None, *, whole: bool = False) -> list[str]:
    """Return what `muster audit heads` would write, or with `whole` what `export --all` would."""
    exporter = Exporter(database, folder, keys, "ada@desk")
    lines = exporter.steps_and_heads(None, time.time()) if whole else exporter.heads(None, time.time())
    return list(written(lines, keys))


def verify(database: sa.Engine, folder: Path, keys: AuditKeys | None, file: Sequence[str] = ()) -> Verified:
    """Verify a database, against a file where one is given."""
    read: AuditFile | None = read_file(file) if file else None
    return Verifier(database, folder, keys).verify(read)


def tampered(scene: Scene, name: str, file: Sequence[str]) -> tuple[list[Finding], list[Finding]]:
    """Tamper with a copy in this way; return what is found in the database alone, and with the file."""
    (tampering,) = (one for one in TAMPERINGS if one.name == name)
    with scene.copied() as (database, folder):
        with database.begin() as connection:
            tampering.do(Target(connection, folder))
        alone = verify(database, folder, scene.keys).problems
        return alone, verify(database, folder, scene.keys, file).problems


def _drop(lines: list[str], number: int) -> list[str]:
    return lines[:number] + lines[number + 1 :]


def _sealed_anew(lines: list[str], keys: AuditKeys | None) -> list[str]:
    import json

    return list(written([json.loads(line) for line in lines[:-1]], keys))


def _swapped(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


FILE_TAMPERINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "a line of the file changed": lambda lines: [
        *lines[:3],
        lines[3].replace('"run_id":"', '"run_id":"x', 1),
        *lines[4:],
    ],
    "a line of the file removed": lambda lines: _drop(lines, 4),
    "lines of the file reordered": _swapped,
    "end of the file cut off": lambda lines: lines[:-5],
    "last line of the file removed": lambda lines: lines[:-1],
    "the file sealed anew without a key": lambda lines: _sealed_anew(_drop(lines, 4), None),
    "the file sealed anew with another key": lambda lines: _sealed_anew(_drop(lines, 4), AuditKeys((b"x" * 32,))),
    "a line put into the file": lambda lines: [*lines[:3], lines[3], *lines[3:]],
}


def false_alarms(scene: Scene, server: ScriptedServer) -> dict[str, list[Finding]]:
    """Do what may be done to runs, one after the other; return what each time was found wrongly."""
    lab = scene.lab
    database = open_database(scene.settings)
    first = file_of(database, scene.folder, scene.keys)
    unsigned = file_of(database, scene.folder, None)
    found: dict[str, list[Finding]] = {}

    def look(name: str) -> None:
        lab.close()
        now = open_database(scene.settings)
        found[name] = verify(now, scene.folder, scene.keys).problems
        found[f"{name}, with the file"] = verify(now, scene.folder, scene.keys, first).problems
        found[f"{name}, without a key"] = verify(now, scene.folder, None, unsigned).problems
        now.dispose()

    look("untouched")
    inbox = Inbox(lab.runner.database)
    (question,) = inbox.open("waiting")
    inbox.answer(question.question_id, "", "ada@desk")
    look("answered")
    assert lab.resume("waiting").status == "succeeded"
    look("resumed and grown")
    fork(lab, "team", "two", "fork-2")
    look("forked, not started")
    assert lab.resume("fork-2").status == "succeeded"
    look("forked")
    server.configure(faults=[{"fault": "400", "match": "never"}])
    assert lab.run("stuck", run_id="stuck-2").status == "failed"
    server.configure(faults=[])
    give(lab, "stuck-2", "failing")
    look("an output given")
    lab.runner.start(lab.plan("row"), "killed")
    lab.runner.abandon("killed", "the process died")
    look("abandoned")
    assert lab.resume("killed").status == "succeeded"
    look("taken up again")
    server.configure(latency="30000")
    lab.runner.start(lab.plan("row"), "dead")
    server.wait_for(lambda stats: stats["in_flight"] > 0)
    look("a process that ended in the middle")
    server.configure(latency="0")
    lab.runner.store.change("dead", {"state": "cancelled", "updated_at": time.time()}, state="running")
    look("cancelled afterwards")
    lab.close()
    assert execute(["--project", str(lab.root), "runs", "rollback", "row", "--force", "-q"]) == 0
    look("rolled back")
    delete(lab, "large")
    look("deleted")
    assert lab.run("row", run_id="large").status == "succeeded"
    look("an id used again")
    runner = lab.runner
    digger = Gravedigger(keys=scene.keys)
    gone = prune(runner.database, RunStore(runner.database), scene.folder, 0.0, gravedigger=digger, now=time.time() + 1)
    assert len(gone.run_ids) > 5
    look("pruned")
    return found


# -- costs


def copy_runs(lab: Lab, run_id: str, number: int, keys: AuditKeys) -> None:
    """Put so many copies of a run into the journal, each with its head."""
    database = open_database(lab.settings())
    rows = JournalRows(database)
    taken = [Taken(one.id) for one in rows.family(run_id)]
    with database.begin() as connection:
        row: dict[str, Any] = dict(connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().one())
        for at in range(number):
            connection.execute(RUNS.insert().values(row | {"run_id": f"copy-{at:05d}"}))
            rows.copy_to(rows, connection, taken, run_id, f"copy-{at:05d}")
    audit = Audit(database, keys)
    for at in range(number):
        audit.append(f"copy-{at:05d}")
    database.dispose()


def cost_of_a_head(lab: Lab, keys: AuditKeys) -> float:
    """Return the milliseconds that signing a run of 50 steps takes; median of 20."""
    lab.write(tasks=_notes(_STEPS // 2))
    lab.run("row", run_id="fifty")
    lab.close()
    database = open_database(lab.settings())
    audit, took = Audit(database, keys), list[float]()
    for number in range(20):
        began = time.perf_counter()
        audit.append("fifty", note={"number": number})
        took.append((time.perf_counter() - began) * 1000)
    database.dispose()
    return statistics.median(took)


def _notes(number: int) -> str:
    import json

    calls = "\n".join(f'@call note {{"text": "{at}"}}' for at in range(number))
    usual: dict[str, Any] = {"expected_output": "A line.", "agent": "worker"}
    tasks = {name: usual | {"description": "@answer: x"} for name in _OTHER_TASKS}
    tasks["each"]["for_each"] = {"items": "outputs.list.names"}
    tasks["each"]["context"] = ["list"]
    tasks["list"] |= {"description": '@answer: {"names": ["x"]}', "output": {"names": "list[str]"}}
    return json.dumps(
        tasks | {"noted": usual | {"description": f"{calls}\n@echo", "tools": ["note"], "agent": "worker"}}
    )


_OTHER_TASKS = ("gather", "write", "list", "each", "reviewed", "after", "failing", "after_it")


# -- all of it


def try_all(lab: Lab, postgres: PostgresServer | None) -> list[str]:
    """Make the runs, try everything, and print a table; return what was missed."""
    with ScriptedServer(script()) as server:
        make_runs(lab, server)
        scene = Scene(lab, lab.settings(), postgres)
        database = open_database(scene.settings)
        heads = file_of(database, scene.folder, scene.keys)
        whole = file_of(database, scene.folder, scene.keys, whole=True)
        database.dispose()
        where = "PostgreSQL" if postgres is not None else "SQLite"
        missed = _tamper(scene, heads, whole, where)
        alarms = false_alarms(scene, server)
    wrong = {name: found for name, found in alarms.items() if found}
    print(f"{where}: {len(alarms)} legal changes, {len(wrong)} false alarms")
    for name, found in wrong.items():
        print(f"  {name}: {found[:3]}")
    return [*missed, *wrong]


def _tamper(scene: Scene, heads: list[str], whole: list[str], where: str) -> list[str]:
    missed: list[str] = []
    for one in TAMPERINGS:
        alone, with_file = tampered(scene, one.name, heads)
        if not with_file or (not alone and not one.elsewhere):
            missed.append(one.name)
        shown = (alone or with_file or [Finding("", "", None, "MISSED")])[0]
        print(f"  {one.name:52} {len(alone):3} {len(with_file):3}  {shown.run_id} {shown.lane} {shown.what}"[:150])
    for name, change in FILE_TAMPERINGS.items():
        for file in (heads, whole):
            database = open_database(scene.settings)
            if not verify(database, scene.folder, scene.keys, change(list(file))).problems:
                missed.append(name)
            database.dispose()
    total = len(TAMPERINGS) + len(FILE_TAMPERINGS)
    print(f"{where}: {total} kinds of tampering, {total - len(set(missed))} found")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--no-postgres", action="store_true")
    asked = parser.parse_args()
    os.environ["MUSTER_AUDIT_KEY"] = KEY
    os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "sqlite")
        missed += try_all(lab, None)
        _costs(lab, asked.runs)
    if not asked.no_postgres:
        with PostgresServer() as server, tempfile.TemporaryDirectory() as folder:
            os.environ["MUSTER_DATABASE_URL"] = server.new_database()
            missed += try_all(Lab(Path(folder) / "postgres"), server)
    print("missed: " + (", ".join(missed) or "nothing"))
    return 1 if missed else 0


def _costs(lab: Lab, runs: int) -> None:
    keys = audit_keys(lab.settings())
    assert keys is not None
    with ScriptedServer(script()) as server:
        lab.models(server.base_url)
        took = cost_of_a_head(lab, keys)
    print(f"signing a run of {_STEPS} steps: {took:.1f} ms")
    copy_runs(lab, "stuck-2", runs, keys)
    database = open_database(lab.settings())
    began = time.perf_counter()
    found = verify(database, lab.settings().state_folder / "runs", keys)
    seconds = time.perf_counter() - began
    print(f"verifying {found.runs} runs, {found.steps} steps: {seconds:.2f} s, {len(found.problems)} problems")
    database.dispose()


if __name__ == "__main__":
    sys.exit(main())
