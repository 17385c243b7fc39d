"""Runs that are over are deleted: by name, by age, or, the oldest first, until everything is small enough."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from project.errors import AppError
from runs.audit.tombstones import Gravedigger
from runs.stored.database import is_sqlite
from runs.stored.files import remove_files
from runs.stored.journal_rows import JournalRows
from runs.stored.places import PlaceError
from runs.stored.store import OVER, RunStore
from runs.stored.tables import QUESTIONS, RESERVATIONS, RUNS

KEEP_DAYS = "MUSTER_KEEP_DAYS"
MAX_MB = "MUSTER_MAX_MB"
ENDED = ("failed", "stopped")
"""Not over, since they can be resumed: they go only where that is asked for."""

_BATCH = 200
_DAY = 86_400.0
_LEFT_OVER_SECONDS = _DAY
_NOBODY = Gravedigger()
_BURIED = (RUNS.c.run_id, RUNS.c.crew, RUNS.c.created_at)


@dataclass(frozen=True)
class Deleted:
    """What a deletion came to. Field names are API."""

    run_ids: list[str]
    bytes_before: int
    """Of the database and the folders of runs; where nothing is compacted, without the database's free pages."""
    bytes_after: int
    """The same afterwards; of a dry run, what it would be, roughly."""
    compacted: bool = False
    dry_run: bool = False
    notes: list[str] = field(default_factory=list[str])


def delete_runs(
    database: sa.Engine,
    store: RunStore,
    folder: Path,
    run_ids: Sequence[str],
    *,
    dry_run: bool = False,
    gravedigger: Gravedigger = _NOBODY,
) -> Deleted:
    """Delete runs with their journals, questions and folders; of each a tombstone is left.

    Raises: AppError, and nothing is deleted, when one of them is not ended: it would be lost half done.
    """
    allowed = (*OVER, *ENDED)
    for run_id in run_ids:
        row = store.find(run_id)
        if row is None or row.state not in allowed:
            state = row.state if row is not None else "not there"
            raise AppError(f"run {run_id} is {state}", fix=f"`muster runs cancel {run_id}` first")
    before = _held(database, folder)
    if dry_run:
        sizes = _sizes(database, folder)
        return Deleted(list(run_ids), before, before - sum(sizes[run_id] for run_id in run_ids), dry_run=True)
    notes: list[str] = []
    gone = _delete(database, folder, run_ids, allowed, notes, gravedigger)
    return Deleted(gone, before, _held(database, folder), notes=notes)


def prune(
    database: sa.Engine,
    store: RunStore,
    folder: Path,
    older_than_seconds: float | None = None,
    max_bytes: int | None = None,
    *,
    failed: bool = False,
    dry_run: bool = False,
    compact: bool = True,
    now: float | None = None,
    gravedigger: Gravedigger = _NOBODY,
) -> Deleted:
    """Delete runs that are over and older than that, then the oldest until all is at most `max_bytes`; then compact.

    `folder` holds the folders of the runs. Age counts from a run's last change. Runs that are not over are never
    deleted; `failed` says that failed and stopped ones count as over. What another process does meanwhile is respected:
    a run that was resumed just now stays.
    """
    states = (*OVER, *ENDED) if failed else OVER
    now = time.time() if now is None else now
    before = size_of(database, folder)
    known = _ended(store.database, states)
    old = [run_id for run_id, at in known if older_than_seconds is not None and at < now - older_than_seconds]
    if dry_run:
        return _foresee(database, folder, known, old, before, max_bytes)
    notes = _delete_left_over(database, folder, now)
    gone = _delete(database, folder, old, states, notes, gravedigger)
    kept = [run_id for run_id, _ in known if run_id not in set(gone)]
    if max_bytes is not None:
        gone += _shrink(database, folder, kept, states, max_bytes, notes, gravedigger)
    too_large = max_bytes is not None and size_of(database, folder) > max_bytes
    compacted = compact and (bool(gone) or too_large or _is_wasteful(database)) and _compact(database, notes)
    after = size_of(database, folder)
    if max_bytes is not None and after > max_bytes and _held(database, folder) > max_bytes:
        notes.append(f"{_megabytes(after)} are left: what is not over is never deleted")
    return Deleted(gone, before, after, compacted, notes=notes)


def read_limits(environ: Mapping[str, str]) -> tuple[float | None, int | None]:
    """Return what MUSTER_KEEP_DAYS and MUSTER_MAX_MB say, in seconds and bytes. Raises: AppError (exit 3)."""
    days, megabytes = (_positive(environ, name) for name in (KEEP_DAYS, MAX_MB))
    return None if days is None else days * _DAY, None if megabytes is None else int(megabytes * 1_000_000)


def size_of(database: sa.Engine, folder: Path) -> int:
    """Return the bytes of the database and of the folders of the runs, as they lie on the disk."""
    return _database_bytes(database) + sum(_folder_bytes(path) for path in _folders(folder))


# -- choosing


def _ended(database: sa.Engine, states: Sequence[str]) -> list[tuple[str, float]]:
    """Return the runs in these states with the instant of their last change, the oldest first."""
    query = sa.select(RUNS.c.run_id, RUNS.c.updated_at).where(RUNS.c.state.in_(states))
    with database.connect() as connection:
        found = connection.execute(query.order_by(RUNS.c.updated_at, RUNS.c.run_id))
        return [(str(run_id), float(at)) for run_id, at in found]


def _foresee(
    database: sa.Engine,
    folder: Path,
    known: Sequence[tuple[str, float]],
    old: Sequence[str],
    before: int,
    max_bytes: int | None,
) -> Deleted:
    sizes = _sizes(database, folder)
    left = _held(database, folder) - sum(sizes[run_id] for run_id in old)
    chosen = list(old)
    if max_bytes is not None:
        others = [run_id for run_id, _ in known if run_id not in set(old)]
        more = _oldest(others, sizes, left - max_bytes)
        left -= sum(sizes[run_id] for run_id in more)
        chosen += more
    return Deleted(chosen, before, max(0, left), dry_run=True)


def _oldest(run_ids: Sequence[str], sizes: Mapping[str, int], wanted: int) -> list[str]:
    """Return the first of these runs that together take as much as is `wanted`."""
    chosen: list[str] = []
    for run_id in run_ids:
        if wanted <= 0:
            break
        chosen.append(run_id)
        wanted -= sizes[run_id]
    return chosen


def _sizes(database: sa.Engine, folder: Path) -> dict[str, int]:
    """Return roughly what each run takes: its part of the database, by the length of its texts, and its folder."""
    with database.connect() as connection:
        found = {str(run_id): int(length) for run_id, length in connection.execute(_PLANS)}
    journal = JournalRows(database)
    if journal.there:
        for run_id, length in journal.sizes(list(found)).items():
            found[run_id] += length
    share = _filled_bytes(database) / max(1, sum(found.values()))
    return {run_id: int(length * share) + _folder_bytes(folder / run_id) for run_id, length in found.items()}


_PLANS = sa.select(RUNS.c.run_id, sa.func.length(RUNS.c.plan))


def _shrink(
    database: sa.Engine,
    folder: Path,
    kept: Sequence[str],
    states: Sequence[str],
    max_bytes: int,
    notes: list[str],
    gravedigger: Gravedigger,
) -> list[str]:
    """Delete the oldest runs until what is left fits: sizes are guessed, so it is measured and done again."""
    gone: list[str] = []
    left = list(kept)
    while left and (over := _held(database, folder) - max_bytes) > 0:
        chosen = _oldest(left, _sizes(database, folder), over)
        gone += _delete(database, folder, chosen, states, notes, gravedigger)
        left = left[len(chosen) :]
    return gone


def _held(database: sa.Engine, folder: Path) -> int:
    """Return what everything would take if the database were compacted now."""
    return _filled_bytes(database) + sum(_folder_bytes(path) for path in _folders(folder))


# -- deleting


def _delete(
    database: sa.Engine,
    folder: Path,
    run_ids: Sequence[str],
    states: Sequence[str],
    notes: list[str],
    gravedigger: Gravedigger,
) -> list[str]:
    """Delete those of the runs that are in these states now; return them. The rows of a batch go together."""
    journal = JournalRows(database)
    gone: list[str] = []
    for start in range(0, len(run_ids), _BATCH):
        batch = list(run_ids[start : start + _BATCH])
        shares = gravedigger.weigh(database, batch)
        with database.begin() as connection:
            gravedigger.begin(connection)
            mine = (RUNS.c.run_id.in_(batch), RUNS.c.state.in_(states))
            # The state is asked again in the deletion itself: who resumes a run changes it first.
            rows = connection.execute(RUNS.delete().where(*mine).returning(*_BURIED)).mappings()
            found = {str(row["run_id"]): row for row in rows}
            deleted = [run_id for run_id in batch if run_id in found]
            gravedigger.bury(connection, [dict(found[run_id]) for run_id in deleted], shares)
            connection.execute(QUESTIONS.delete().where(QUESTIONS.c.run_id.in_(deleted)))
            connection.execute(RESERVATIONS.delete().where(RESERVATIONS.c.run_id.in_(deleted)))
            if journal.there:
                journal.delete(connection, deleted)
        for run_id in deleted:
            _delete_files(folder, run_id, notes)
        gone += deleted
    return gone


def _delete_files(folder: Path, run_id: str, notes: list[str]) -> None:
    shutil.rmtree(folder / run_id, ignore_errors=True)
    try:
        remove_files(folder, run_id)
    except PlaceError as error:
        notes.append(f"the shared files of run {run_id} could not be deleted: {error}")


def _delete_left_over(database: sa.Engine, folder: Path, now: float) -> list[str]:
    """Delete folders whose run is gone: their process died between the rows and the folder. Says how many."""
    old = [path for path in _folders(folder) if _changed_at(path) < now - _LEFT_OVER_SECONDS]
    if not old:
        return []
    with database.connect() as connection:
        known = {str(run_id) for run_id in connection.execute(sa.select(RUNS.c.run_id)).scalars()}
    left = [path for path in old if path.name not in known]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return [f"folders of runs deleted earlier were removed: {len(left)}"] if left else []


# -- sizes


def _database_bytes(database: sa.Engine) -> int:
    if not is_sqlite(database):
        return _filled_bytes(database)
    path = str(database.url.database)
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def _filled_bytes(database: sa.Engine) -> int:
    """Return what the database would take if it were compacted now; on PostgreSQL what the rows of runs take."""
    if not is_sqlite(database):
        return JournalRows(database).filled_bytes(RUNS)
    with database.connect() as connection:
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def _is_wasteful(database: sa.Engine) -> bool:
    return is_sqlite(database) and _database_bytes(database) > 1.25 * _filled_bytes(database) + 4_000_000


def _compact(database: sa.Engine, notes: list[str]) -> bool:
    """Give the space of what was deleted back to the disk; on PostgreSQL to the tables, for new runs."""
    statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] if is_sqlite(database) else ["VACUUM"]
    connection = database.raw_connection()
    driver = connection.driver_connection
    assert driver is not None
    was = getattr(driver, "isolation_level", None)
    trouble = database.dialect.loaded_dbapi.Error
    try:
        if is_sqlite(database):
            driver.isolation_level = None  # VACUUM runs in no transaction
        else:
            driver.autocommit = True
        for statement in statements:
            driver.execute(statement).fetchall() if is_sqlite(database) else driver.execute(statement)
    except trouble as error:  # the disk is full, or another process is writing: the next time will do
        notes.append(f"the database was not compacted: {error}")
        return False
    finally:
        if is_sqlite(database):
            driver.isolation_level = was
        else:
            driver.autocommit = False
        connection.close()
    return True


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from (Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))


def _folder_bytes(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _positive(environ: Mapping[str, str], name: str) -> float | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise AppError(f"{name} must be a number above 0, got {text!r}", fix=f"for example {name}=30", exit_code=3)
    return value


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
