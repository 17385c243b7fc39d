"""What is left of a deleted run: who deleted it and when, and its last head; each tombstone names the one before it."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from project.errors import AppError
from runs.audit.chain import canonical
from runs.audit.heads import AuditKeys, hold_the_trail
from runs.audit.totals import Share, shares_of
from runs.stored.tables import HEADS, TOMBSTONES

RETENTION = "retention"
"""Who deletes runs that are too old or too many."""
_SOME = 200


@dataclass(frozen=True)
class Tombstone:
    """One deleted run. Instants are seconds since 1970, UTC."""

    id: int
    run_id: str
    crew: str
    run_created_at: float
    deleted_at: float
    deleted_by: str
    """user@host, or retention."""
    head: str
    """Digest of the run's last head; "" where none was kept."""
    previous: str
    mark: str
    """HMAC under the key, or without one a hash."""
    key_id: str
    share: str = ""
    """What the run counts to totals of days and months, as JSON; "" for nothing."""

    def signed(self) -> tuple[Any, ...]:
        """Return what the mark covers."""
        told = (self.run_id, self.crew, self.run_created_at, self.deleted_at, self.deleted_by, self.head, self.previous)
        return ("muster-tombstone", *told, *([self.share] if self.share else []))

    def problem(self, keys: AuditKeys | None) -> str:
        """Say what is wrong with its mark; "" when it is right. Without keys a signed one is not checked."""
        if not self.key_id:
            return "" if self.mark == _hash(self.signed()) else "its hash does not fit"
        return keys.check(self.mark, self.key_id, *self.signed()) if keys is not None else ""


@dataclass(frozen=True)
class Gravedigger:
    """Leaves tombstones: in whose name, and signed with which key."""

    by: str = RETENTION
    keys: AuditKeys | None = None

    def begin(self, connection: sa.Connection) -> None:
        """Call this first in the transaction that deletes."""
        hold_the_trail(connection)

    def weigh(self, database: sa.Engine, run_ids: Sequence[str]) -> dict[str, Share]:
        """Return, before anything is deleted, what runs count to totals; none where the journal cannot be read here."""
        try:
            return shares_of(database, run_ids)
        except AppError:
            return {}

    def bury(
        self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]], shares: Mapping[str, Share] | None = None
    ) -> None:
        """Leave a tombstone for each of these deleted runs: run_id, crew, created_at. `shares` is what `weigh` said."""
        if not rows:
            return
        heads = self._last_heads(connection, [row["run_id"] for row in rows])
        last = sa.select(TOMBSTONES.c.mark).order_by(TOMBSTONES.c.id.desc()).limit(1)
        previous: str = connection.execute(last).scalar() or ""
        now = time.time()
        key_id = self.keys.key_id if self.keys is not None else ""
        made: list[dict[str, Any]] = []
        for row in rows:
            head = heads.get((row["run_id"], row["created_at"]), "")
            told = (row["run_id"], row["crew"], row["created_at"], now, self.by, head)
            share = canonical(shares[row["run_id"]], sort=True) if shares and row["run_id"] in shares else ""
            stone = Tombstone(0, *told, previous, "", key_id, share)
            mark = self.keys.sign(*stone.signed()) if self.keys is not None else _hash(stone.signed())
            names = ("run_id", "crew", "run_created_at", "deleted_at", "deleted_by", "head")
            more = {"previous": previous, "mark": mark, "key_id": key_id, "share": share}
            made.append(dict(zip(names, told, strict=True)) | more)
            previous = mark
        connection.execute(TOMBSTONES.insert(), made)
        gone = HEADS.c.run_id.in_([row["run_id"] for row in rows])
        connection.execute(HEADS.update().where(gone).values(head=""))  # their digests stay: they hold the chain

    def _last_heads(self, connection: sa.Connection, run_ids: Sequence[str]) -> dict[tuple[str, float], str]:
        found: dict[tuple[str, float], str] = {}
        for start in range(0, len(run_ids), _SOME):
            some = HEADS.c.run_id.in_(run_ids[start : start + _SOME])
            query = sa.select(HEADS.c.run_id, HEADS.c.run_created_at, HEADS.c.digest).where(some).order_by(HEADS.c.id)
            for run_id, created_at, digest in connection.execute(query):
                found[str(run_id), float(created_at)] = str(digest)
        return found


def read_tombstones(database: sa.Engine) -> list[Tombstone]:
    """Return what is left of deleted runs, the oldest first."""
    with database.connect() as connection:
        rows = connection.execute(sa.select(TOMBSTONES).order_by(TOMBSTONES.c.id)).mappings()
        return [Tombstone(**row) for row in rows]


def _hash(parts: Sequence[Any]) -> str:
    return hashlib.sha256(canonical(list(parts)).encode()).hexdigest()
