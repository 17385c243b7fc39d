"""Verify the journal against heads: those that the database keeps, signed, or those of a file that lies elsewhere."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from project.errors import AppError
from runs.audit.chain import Head, Snapshot, digest_of_head, payloads_of, read_snapshots
from runs.audit.compare import Finding, added_since, compare, head_of
from runs.audit.file import AuditFile
from runs.audit.heads import ACCEPT, ROLLBACK_BEGUN, AuditKeys, StoredHead, stored_heads
from runs.audit.tombstones import Tombstone, read_tombstones
from runs.audit.totals import Spendings, lacking
from runs.stored.journal import unpack
from runs.stored.store import OVER

_SETTLED = ("succeeded", "failed", "stopped", "waiting", "interrupted", "paused", "cancelled")
_ENDED_BY = {"pause": "paused", "cancel": "cancelled"}
_MOST_TOLD = 5
Key = tuple[str, float]
Place = tuple[str, int | None, str]
"""A finding within a run: lane, step, what."""


@dataclass
class Verified:
    """What verifying came to. Field names are API."""

    runs: int = 0
    steps: int = 0
    signed: int = 0
    """Runs with a head that is signed, or in the file."""
    uncovered: list[str] = field(default_factory=list[str])
    """Runs without a head: from before there was a key, or not ended yet."""
    deleted: int = 0
    """Runs that a tombstone tells of."""
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.problem]


class Verifier:
    """Compares the runs of one database with heads."""

    def __init__(self, database: sa.Engine, folder: Path, keys: AuditKeys | None) -> None:
        """`folder` holds the folders of the runs."""
        self._database, self._folder, self._keys = database, folder, keys
        self._found = Verified()
        self._heads: dict[Key, list[StoredHead]] = {}
        self._stones: dict[Key, Tombstone] = {}
        self._seen: set[Key] = set()
        self._file: dict[Key, Head] = {}
        self._began_at = float("inf")
        self._forged: set[int] = set()
        self._spent = Spendings()
        self._filed_after = 0

    def of_run(self, run_id: str) -> list[Finding]:
        """Return the problems of one run that a person may accept: in what it differs from what was signed.

        What is wrong with the trail itself, with tombstones, or with a run that is gone is not among them.
        """
        self._read_trail()
        self._found.findings.clear()
        for snapshot in read_snapshots(self._database, [run_id]):
            self._run(snapshot)
        return list(dict.fromkeys(self._found.problems))

    def verify(self, file: AuditFile | None = None) -> Verified:
        """Compare every run with its heads and, where one is given, with the file.

        Raises: AppError (exit 3) without a key where there is no file, or where the file is signed.
        """
        if self._keys is None and (file is None or file.key_id):
            what = "MUSTER_AUDIT_KEY is not set" + (f", and the file is signed with key {file.key_id}" if file else "")
            fix = "put it into .env as it was when the heads were signed; `muster audit new-key` makes a first one"
            raise AppError(what, fix=fix, exit_code=3)
        self._read_trail()
        if file is not None:
            self._found.findings += file.problems(self._keys)
            self._file = {head_of(head): head for head in file.heads}
            self._check_anchors(file)
        for snapshot in read_snapshots(self._database):
            self._run(snapshot)
        self._missing(file)
        for what in lacking(self._database, self._spent, (stone.share for stone in self._stones.values())):
            self._problem("", what)
        self._found.findings = list(dict.fromkeys(self._found.findings))
        return self._found

    # -- the trail itself

    def _read_trail(self) -> None:
        previous = ""
        for head in stored_heads(self._database):
            self._heads.setdefault((head.run_id, head.run_created_at), []).append(head)
            self._began_at = min(self._began_at, head.made_at)
            wrong = self._keys.check(head.hmac, head.key_id, *head.signed()) if self._keys is not None else ""
            if wrong:
                self._forged.add(head.id)
                self._problem(head.run_id, f"head {head.id}: {wrong}")
            if head.previous != previous:
                self._problem(head.run_id, f"head {head.id}: the one before it was removed, or they were reordered")
            if head.head and digest_of_head(json.loads(head.head)) != head.digest:
                self._forged.add(head.id)
                self._problem(head.run_id, f"head {head.id} was changed")
            previous = head.hmac
        previous = ""
        for stone in read_tombstones(self._database):
            self._stones[stone.run_id, stone.run_created_at] = stone
            if wrong := stone.problem(self._keys):
                self._problem(stone.run_id, f"the tombstone was changed: {wrong}")
            if stone.previous != previous:
                self._problem(stone.run_id, "the tombstone before this one was removed, or they were reordered")
            kept = self._heads.get((stone.run_id, stone.run_created_at))
            if kept and stone.head != kept[-1].digest:
                self._problem(stone.run_id, "the tombstone does not name the last head of the run")
            previous = stone.mark
        self._found.deleted = len(self._stones)

    def _check_anchors(self, file: AuditFile) -> None:
        """The newest head and tombstone of the file must still be there: else the trail's end was cut off."""
        heads = {head.hmac: head.id for heads in self._heads.values() for head in heads}
        self._filed_after = heads.get(file.last_head, 0 if not file.last_head else sys.maxsize)
        if file.last_head and file.last_head not in heads:
            self._problem("", "the signed heads were cut off: the newest one of the file is not there")
        if file.last_tombstone and file.last_tombstone not in {stone.mark for stone in self._stones.values()}:
            self._problem("", "the tombstones were cut off: the newest one of the file is not there")

    # -- one run

    def _run(self, now: Snapshot) -> None:
        key = (str(now.row["run_id"]), float(now.row["created_at"]))
        self._seen.add(key)
        self._found.runs += 1
        self._found.steps += sum(len(lane.steps) for lane in now.lanes.values())
        self._spent.add(now)
        kept, filed = self._heads.get(key, []), self._file.get(key)
        if kept or filed is not None:
            self._found.signed += 1
            self._take(self._payloads(now), self._accepted(kept, 0))
        for head in kept[:-1]:
            self._take(_compared(head, now, exact=False), self._accepted(kept, head.id))
        for head in kept:
            if (note := head.note()) and note.get("edit") != ROLLBACK_BEGUN:
                self._note(head.run_id, told_change(note))
        if kept and self._keys is not None:
            self._newest(kept[-1], now)
        elif filed is None or self._keys is not None:
            self._without_head(now)
        if filed is not None:
            self._filed(filed, now, kept)

    def _accepted(self, kept: Sequence[StoredHead], after: int) -> set[Place]:
        """Return what people have accepted in signed heads that came after this one.

        The head that says so is that of the run as it was then: whatever is changed later differs from it.
        """
        if self._keys is None:
            return set()
        notes = [head.note() for head in kept if head.id > after and head.id not in self._forged]
        found = [place for note in notes if note.get("edit") == ACCEPT for place in note["findings"]]
        return {(lane, step, what) for lane, step, what in found}

    def _take(self, findings: Iterable[Finding], accepted: set[Place]) -> None:
        """Keep findings; those that a person has accepted are none any more."""
        self._found.findings += [one for one in findings if (one.lane, one.step, one.what) not in accepted]

    def _newest(self, head: StoredHead, now: Snapshot) -> None:
        if not head.head:
            self._problem(head.run_id, "its head is that of a deleted run, and the run is there")
            return
        document = json.loads(head.head)
        same = now.row["starts"] == document["state"]["starts"] or head.state in OVER
        exact = same and head.note().get("edit") != ROLLBACK_BEGUN
        self._found.findings += _compared(head, now, exact=exact)
        if exact:
            return
        if now.row["state"] in _SETTLED and not _died(now, document):
            self._problem(head.run_id, _NO_HEAD)
        else:
            self._grown(document, now)

    def _without_head(self, now: Snapshot) -> None:
        run_id = str(now.row["run_id"])
        executed = now.row["starts"] > 0 and now.row["state"] in _SETTLED and now.row["spent"] != "{}"
        if executed and self._keys is not None and now.row["updated_at"] >= self._began_at:
            self._problem(run_id, _NO_HEAD)
        else:
            self._found.uncovered.append(run_id)

    def _filed(self, head: Head, now: Snapshot, kept: Sequence[StoredHead]) -> None:
        """Compare with the file. It may have gone on since: with a key the newest signed head answers for what came."""
        same = now.row["starts"] == head["state"]["starts"] or head["state"]["state"] in OVER
        later = bool(kept) and kept[-1].digest != digest_of_head(head) and self._keys is not None
        ended = head["state"]["state"] in _SETTLED
        exact = same and ended and not later and self._keys is not None
        self._take(compare(head, now, exact=exact), self._accepted(kept, self._filed_after))
        if not exact and self._keys is None and head["state"]["state"] == "succeeded":
            for path in sorted(now.lanes.keys() - head["lanes"].keys()):
                if not path.startswith("~"):
                    self._found.findings.append(Finding(str(now.row["run_id"]), path, None, "the lane was added"))
        if not exact and (added_since(head, now) or now.row["state"] != head["state"]["state"]):
            self._grown(head, now)

    def _payloads(self, now: Snapshot) -> Iterator[Finding]:
        run_id = str(now.row["run_id"])
        for path, lane in now.lanes.items():
            for step, part in _parts(lane.steps, lane.result):
                try:
                    unpack({"part": part}, self._folder / run_id)
                except AppError as error:
                    if error.exit_code == 3:
                        raise
                    yield Finding(run_id, path, step, str(error))

    # -- what is not there

    def _missing(self, file: AuditFile | None) -> None:
        """Each run that was signed and is gone must have a tombstone."""
        ids = {run_id for run_id, _ in self._seen}
        buried = dict(self._stones)
        if file is not None:
            for stone in file.tombstones:
                key = (stone["run_id"], float(stone["run_created_at"]))
                if key not in buried:
                    self._problem(stone["run_id"], "its tombstone was removed")
        gone = [key for key in dict.fromkeys([*self._heads, *self._file]) if key not in self._seen]
        for key in gone:
            if key in buried:
                continue
            what = "the run was removed without a tombstone"
            self._problem(key[0], "when the run was started was changed" if key[0] in ids else what)

    def _grown(self, head: Head, now: Snapshot) -> None:
        count = added_since(head, now)
        self._note(str(now.row["run_id"]), f"has grown by {count} steps since the head was made")

    def _problem(self, run_id: str, what: str) -> None:
        self._found.findings.append(Finding(run_id, "", None, what))

    def _note(self, run_id: str, what: str) -> None:
        self._found.findings.append(Finding(run_id, "", None, what, problem=False))


_NO_HEAD = "its last execution has no head: the head was removed, or it was executed without MUSTER_AUDIT_KEY"


def _compared(head: StoredHead, now: Snapshot, *, exact: bool) -> Iterable[Finding]:
    return compare(json.loads(head.head), now, exact=exact) if head.head else ()


def _died(now: Snapshot, head: Head) -> bool:
    """Say whether what was executed after the head never came to an end that could be signed."""
    ended = now.row["state"] in ("failed", "paused", "cancelled", "interrupted")
    return ended and now.row["spent"] == head["state"]["spent"]


def told_change(note: Head) -> str:
    """Tell who changed what of a run from outside, or accepted what was found."""
    why = f": {note['why']}" if note.get("why") else ""
    if note.get("edit") == "set":
        return f"{note['by']} gave the output of {note['task']}{why}"
    if note.get("edit") == ACCEPT:
        found = [f"{lane} {step} {what}" if lane else what for lane, step, what in note["findings"]]
        more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        return f"{note['by']} accepted that {'; '.join(found[:_MOST_TOLD])}{more}{why}"
    if note.get("edit") in _ENDED_BY:
        return f"{_ENDED_BY[note['edit']]} by {note['by']}"
    return f"edited by {note.get('by', 'nobody known')}: {note.get('edit', '')}{why}"


def _parts(steps: Sequence[Any], result: Any) -> Iterator[tuple[int | None, Any]]:
    for step in steps:
        for part in payloads_of([step.output]):
            yield step.number, part
    for part in payloads_of([result]):
        yield None, part
