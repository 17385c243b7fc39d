"""The signed heads of runs: one is made each time an execution ends, and each names the one before it.

Whoever changes the journal afterwards cannot make a head that fits without the key, which lies outside that folder.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from project.settings import Settings
from runs.audit.chain import Head, Snapshot, canonical, digest_of_head, read_snapshot
from runs.stored.database import is_sqlite
from runs.stored.journal_rows import JournalRows
from runs.stored.tables import HEADS, RUNS
from runs.told.report import instant

_LOCK = 0x6D757468  # "muth": an advisory lock of PostgreSQL, held while a head or a tombstone is put behind the last
_TRIES = 5
ROLLBACK_BEGUN = "rollback begun"
"""Marks the head of a run that steps will be added to, although it is over."""
ACCEPT = "accept"
"""Marks the head of a run with which a person has accepted what `verify` had found."""


@dataclass(frozen=True)
class AuditKeys:
    """The keys of the audit trail: the first one signs, the others only check what was signed before it."""

    keys: tuple[bytes, ...]

    @property
    def key_id(self) -> str:
        """The first digits of the hash of the key that signs."""
        return id_of_key(self.keys[0])

    def sign(self, *parts: Any) -> str:
        """Return the HMAC-SHA-256 of JSON values under the key that signs."""
        return _hmac(self.keys[0], parts)

    def check(self, mark: str, key_id: str, *parts: Any) -> str:
        """Say what is wrong with an HMAC; "" when it is that of these values."""
        key = next((one for one in self.keys if id_of_key(one) == key_id), None)
        if key is None:
            return f"signed with another key ({key_id or 'none'}): give it in MUSTER_AUDIT_OLD_KEYS"
        return "" if hmac.compare_digest(_hmac(key, parts), mark) else "its signature does not fit"


def audit_keys(settings: Settings) -> AuditKeys | None:
    """Return the keys of the audit trail; None where no MUSTER_AUDIT_KEY is set."""
    return AuditKeys(settings.audit_keys) if settings.audit_keys else None


def id_of_key(key: bytes) -> str:
    """Name a key without giving it away."""
    return hashlib.sha256(key).hexdigest()[:8]


def _hmac(key: bytes, parts: Sequence[Any]) -> str:
    return hmac.new(key, canonical(list(parts)).encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class StoredHead:
    """One row of the table of heads. `previous` is the HMAC of the row before it, "" for the first."""

    id: int
    run_id: str
    run_created_at: float
    made_at: float
    state: str
    digest: str
    head: str
    """JSON text; "" once the run is deleted."""
    previous: str
    hmac: str
    key_id: str

    def note(self) -> dict[str, Any]:
        """Return who changed what, where the head was made after a change from outside; else nothing."""
        return json.loads(self.head).get("note", {}) if self.head else {}

    def signed(self) -> tuple[Any, ...]:
        """Return what the HMAC covers."""
        return signed_parts(self.run_id, self.run_created_at, self.made_at, self.state, self.digest, self.previous)


def signed_parts(*parts: Any) -> tuple[Any, ...]:
    """Return what the HMAC of a head covers: run, its start, when it was made, state, digest, the head before."""
    return ("muster-head", *parts)


class Audit:
    """Makes heads of runs and keeps them, in the database of the runs."""

    def __init__(self, database: sa.Engine, keys: AuditKeys) -> None:
        self._database, self._keys = database, keys
        self._journal: JournalRows | None = None

    def append(
        self, run_id: str, moving: Mapping[str, Any] | None = None, note: Mapping[str, Any] | None = None
    ) -> None:
        """Sign the run as it stands. `moving` are columns of its row that are written right after this.

        `note` says who changed what, where it was no execution. A run that is gone is left alone.
        """
        found = self._read(run_id)
        if found is not None:
            self._sign(found, found.to_head(moving, note))

    def append_at_rest(self, run_id: str, note: Mapping[str, Any] | None = None) -> bool:
        """Sign a run that this process does not hold, after somebody changed it from outside; say whether it was.

        One that is under way, or goes on while it is read, is left alone: the end of its execution is signed.
        """
        for _ in range(_TRIES):
            found = self._read(run_id)
            if found is None or found.row["state"] == "running":
                return False
            if self._sign(found, found.to_head(None, note), only_if=found.row):
                return True
        return False

    def _read(self, run_id: str) -> Snapshot | None:
        if self._journal is None or not self._journal.there:
            self._journal = JournalRows(self._database)
        with self._database.connect() as connection:
            return read_snapshot(connection, self._journal, run_id)

    def _sign(self, found: Snapshot, head: Head, only_if: Mapping[str, Any] | None = None) -> bool:
        """Put the head behind the last one; False where the run's row is not as `only_if` any more."""
        run_id = str(found.row["run_id"])
        values = {
            "run_id": run_id,
            "run_created_at": found.row["created_at"],
            "made_at": time.time(),
            "state": head["state"]["state"],
            "digest": digest_of_head(head),
        }
        with self._database.begin() as connection:
            hold_the_trail(connection)
            if only_if is not None and not _is_still(connection, run_id, only_if):
                return False
            self._insert(connection, head, values)
        return True

    def _insert(self, connection: sa.Connection, head: Head, values: dict[str, Any]) -> None:
        mine = sa.select(HEADS.c.digest).where(HEADS.c.run_id == values["run_id"])
        if connection.execute(mine.order_by(HEADS.c.id.desc()).limit(1)).scalar() == values["digest"]:
            return  # a second try, after an outage, at what was written before it
        previous = connection.execute(sa.select(HEADS.c.hmac).order_by(HEADS.c.id.desc()).limit(1)).scalar() or ""
        mark = self._keys.sign(*signed_parts(*values.values(), previous))
        more = {"head": canonical(head), "previous": previous, "hmac": mark, "key_id": self._keys.key_id}
        connection.execute(HEADS.insert().values(**values, **more))


def _is_still(connection: sa.Connection, run_id: str, row: Mapping[str, Any]) -> bool:
    names = ("created_at", "state", "starts", "updated_at")
    query = sa.select(*(RUNS.c[name] for name in names)).where(RUNS.c.run_id == run_id)
    found = connection.execute(query).mappings().first()
    return found is not None and all(found[name] == row[name] for name in names)


def hold_the_trail(connection: sa.Connection) -> None:
    """Keep others from putting a head or tombstone in until this transaction ends."""
    if is_sqlite(connection.engine):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def open_audit(database: sa.Engine, settings: Settings) -> Audit | None:
    """Return what signs heads; None where no MUSTER_AUDIT_KEY is set."""
    keys = audit_keys(settings)
    return Audit(database, keys) if keys is not None else None


def stored_heads(database: sa.Engine, run_id: str | None = None) -> list[StoredHead]:
    """Return the heads that are kept, the oldest first; those of one run or all."""
    query = sa.select(HEADS).order_by(HEADS.c.id)
    if run_id is not None:
        query = query.where(HEADS.c.run_id == run_id)
    with database.connect() as connection:
        return [StoredHead(**row) for row in connection.execute(query).mappings()]


def standing(
    database: sa.Engine, run_id: str, created_at: float, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Say how many of a run's calls were approved and refused, and which head was signed last. Field names are API."""
    calls = [record for record in records if record.get("kind") == "tool"]
    kept = [head for head in stored_heads(database, run_id) if head.run_created_at == created_at]
    return {
        "approved": sum(1 for call in calls if call.get("approved_by")),
        "refused": sum(1 for call in calls if "refused" in call),
        "head": kept[-1].digest if kept else "",
        "signed_at": instant(kept[-1].made_at) if kept else None,
    }
