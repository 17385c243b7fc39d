"""What an auditor is given: runs step by step with their hashes, who approved what, what was refused, and the heads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from project.errors import AppError
from runs.audit.chain import FORMAT, ChainedLane, ChainedStep, Snapshot, read_snapshots
from runs.audit.file import Line, head_line
from runs.audit.heads import AuditKeys, StoredHead, stored_heads
from runs.audit.tombstones import read_tombstones
from runs.audit.verify import told_change
from runs.governed.redaction import without_private
from runs.stored.journal import unpack
from runs.told.report import Step

EFFECTS = ("write", "send", "spend", "execute")
"""Effects of calls that somebody is answerable for."""
_SAID = (
    "effect",
    "repeat",
    "rule",
    "principal",
    "approved_by",
    "edited",
    "binding",
    "rejected_by",
    "cached",
    "unknown_outcome",
    "settled_by",
    "private",
    "untrusted",
)


@dataclass(frozen=True)
class Exporter:
    """Writes runs down as lines. `full` leaves private content in, and adds each run's whole plan."""

    database: sa.Engine
    folder: Path
    """Folder of the folders of runs."""
    keys: AuditKeys | None
    by: str
    full: bool = False

    def steps_and_heads(self, run_ids: Sequence[str] | None, made_at: float) -> Iterator[Line]:
        """Yield all that is known of these runs, or of all."""
        yield self._header("full" if self.full else "without private content", made_at)
        for snapshot in read_snapshots(self.database, run_ids):
            yield from self._run(snapshot)
            yield head_line(snapshot.to_head(), self.keys)
        yield from self._tombstones()

    def heads(self, run_ids: Sequence[str] | None, made_at: float) -> Iterator[Line]:
        """Yield the heads of these runs, or of all."""
        yield self._header("heads", made_at)
        for snapshot in read_snapshots(self.database, run_ids):
            yield head_line(snapshot.to_head(), self.keys)
        yield from self._tombstones()

    def _header(self, content: str, made_at: float) -> Line:
        heads, stones = stored_heads(self.database), read_tombstones(self.database)
        return {
            "line": "muster-audit",
            "format": FORMAT,
            "content": content,
            "made_at": _instant(made_at),
            "by": self.by,
            "key_id": self.keys.key_id if self.keys is not None else "",
            "last_head": heads[-1].hmac if heads else "",
            "last_tombstone": stones[-1].mark if stones else "",
        }

    def _tombstones(self) -> Iterator[Line]:
        for stone in read_tombstones(self.database):
            told = {key: getattr(stone, key) for key in ("run_id", "crew", "run_created_at", "deleted_by", "head")}
            marks = {"previous": stone.previous, "mark": stone.mark, "key_id": stone.key_id}
            marks |= {"share": stone.share} if stone.share else {}
            yield {"line": "tombstone", **told, "deleted_at": stone.deleted_at, **marks}

    def _run(self, run: Snapshot) -> Iterator[Line]:
        private = not self.full and _has_private(run)
        shown = {} if self.full else _shown(run)
        run_id = str(run.row["run_id"])
        yield self._run_line(run, private)
        for question in run.questions:
            asked = {key: value for key, value in question.items() if key != "run_id"}
            hidden = asked | {key: _hidden(asked[key]) for key in ("prompt", "text", "more", "answer") if asked[key]}
            yield {"line": "question", "run_id": run_id, **(hidden if private else asked)}
        for path, lane in sorted(run.lanes.items()):
            head = lane.to_head()
            yield {"line": "lane", "run_id": run_id, "lane": path, **{key: head[key] for key in head if key != "marks"}}
            for step in lane.steps:
                yield self._step_line(run_id, lane, step, shown.get((path, step.number), step.output))

    def _run_line(self, run: Snapshot, private: bool) -> Line:
        head = run.to_head()
        line: Line = {"line": "run", **head["run"], **head["state"], "created_at": run.row["created_at"]}
        if private and line["reason"]:
            line["reason"] = _hidden(line["reason"])
        return line | ({"plan_text": run.row["plan"]} if self.full else {})

    def _step_line(self, run_id: str, lane: ChainedLane, step: ChainedStep, record: Any) -> Line:
        line: Line = {"line": "step", "run_id": run_id, "lane": lane.path, "number": step.number, "name": step.name}
        line |= {"row": step.row, "chain": step.chain, "began_ms": step.began_ms, "ended_ms": step.ended_ms}
        if step.child is not None:
            line["child"] = step.child
        if record is None:
            return line
        whole = self.full and isinstance(record, dict)
        return line | {"record": _unpacked(cast(dict[str, Any], record), self.folder / run_id) if whole else record}


def _unpacked(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        return unpack(record, folder)
    except AppError:  # missing or changed, which `verify` says
        return record


def _records(run: Snapshot) -> Iterator[tuple[str, ChainedStep, dict[str, Any]]]:
    for path, lane in run.lanes.items():
        yield from ((path, step, record) for step, record in lane.records())


def _has_private(run: Snapshot) -> bool:
    return any(record.get("private") for _, _, record in _records(run))


def _shown(run: Snapshot) -> dict[tuple[str, int], Any]:
    """Return the records of a run as they may be shown, by lane and number."""
    told = [
        (
            path,
            step.number,
            Step(step.name, path, str(record.get("kind", "")), (step.began_ms or 0) / 1000, 0.0, record),
        )
        for path, step, record in _records(run)
    ]
    clean = without_private([step for _, _, step in told])
    return {(path, number): step.record for (path, number, _), step in zip(told, clean, strict=True)}


def _hidden(value: Any) -> str:
    return f"[private: {len(value if isinstance(value, str) else str(value))} characters]"


# -- who is answerable


def answerable(run: Snapshot, folder: Path, heads: Sequence[StoredHead] = ()) -> dict[str, Any]:
    """Say of each call that changed something, or was refused, for whom it was made, by which rule, who approved it.

    `heads` are those of the run: they say who changed it from outside, and what of it was accepted by whom.
    """
    asked = {_base(step.name): record["asks"]["rule"] for _, step, record in _records(run) if "asks" in record}
    calls = [found for _, step, record in _records(run) if (found := _call(step, record, folder)) is not None]
    for call in calls:
        if "/approved#" in call["step"]:
            call["asked_by_rule"] = asked.get(_base(call["step"]), "")
    return {
        "run_id": run.row["run_id"],
        "crew": run.row["crew"],
        "state": run.row["state"],
        "started_at": _instant(float(run.row["created_at"])),
        "started_by": run.to_head()["run"]["origin"],
        "calls": sorted(calls, key=lambda call: (call["began_ms"], call["step"])),
        "answers": [_answer(question) for question in run.questions],
        "changes": [_change(head) for head in heads if head.note()],
        "refused": sum(1 for call in calls if "refused" in call),
        "approved": sum(1 for call in calls if call.get("approved_by")),
    }


def _call(step: ChainedStep, record: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    if record.get("kind") != "tool" or "asks" in record:
        return None
    if "refused" not in record and record.get("effect") not in EFFECTS:
        return None
    told = {"step": step.name, "began_ms": step.began_ms or 0, "tool": record["tool"], "agent": record.get("agent", "")}
    told |= {key: record[key] for key in _SAID if key in record}
    if "error" in record:
        told["failed"] = record["error"]["kind"]
    if "refused" in record:
        told["refused"] = str(_unpacked(record, folder)["refused"])
    return told


def _change(head: StoredHead) -> dict[str, Any]:
    return {"at": _instant(head.made_at), **head.note(), "told": told_change(head.note())}


def _base(step: str) -> str:
    """Return the name of the call that a step belongs to, which asks for an approval or is made after it."""
    return step.partition("/approved#")[0].removesuffix("/intent")


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: question[key] for key in ("question_id", "step", "kind", "prompt", "state", "answered_by")}
    return told | {"answered_at": _instant(question["answered_at"]) if question["answered_at"] else None}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
