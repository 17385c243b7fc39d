"""What differs between a head that was kept and the run as it stands: which lane, which step, and what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runs.audit.chain import ChainedLane, Head, Snapshot, reservation_mark
from runs.governed.spending import RESERVED, may_be_billed

_ENDED = ("SUCCESS", "ERROR")
_OVER = ("succeeded", "cancelled")
_STANDS = ("spent", "budget", "worked_seconds")
"""Columns that change only with an execution."""
_MOST = 20


@dataclass(frozen=True)
class Finding:
    """One thing that verifying came upon. Field names are API."""

    run_id: str
    lane: str
    """The task's path; "" for the run itself."""
    step: int | None
    """Number of the step within its lane."""
    what: str
    problem: bool = True
    """False for what is told but is no sign of tampering."""


def compare(head: Head, now: Snapshot, *, exact: bool) -> Iterator[Finding]:
    """Say in what a run is not what the head says. `exact`: nothing may have been added to it since.

    Without `exact` the run may have gone on: each lane must contain the head's part of it.
    """
    current = now.to_head()
    run_id: str = head["run"]["run_id"]
    yield from _fixed(run_id, head["run"], current["run"])
    if exact:
        yield from _state(run_id, head["state"], current["state"])
    for path, then in head["lanes"].items():
        lane = now.lanes.get(path)
        if lane is None or lane.status == "missing":
            yield Finding(run_id, path, None, "the lane was removed")
            continue
        for step, what in _lane(then, lane, current["lanes"][path], exact):
            yield Finding(run_id, path, step, what)
    for path in current["lanes"].keys() - head["lanes"].keys() if exact else ():
        yield Finding(run_id, path, None, "the lane was added")
    yield from _questions(run_id, head["questions"], current["questions"], exact)
    yield from _reservations(run_id, head.get("reservations", {}), now)


def added_since(head: Head, now: Snapshot) -> int:
    """Count the steps that a run has beyond its head."""
    before = sum(int(lane["count"]) for lane in head["lanes"].values())
    return sum(len(lane.steps) for lane in now.lanes.values()) - before


def _fixed(run_id: str, then: Head, now: Head) -> Iterator[Finding]:
    told = {"plan": "the plan", "origin": "who started the run", "created_at": "when the run was started"}
    for name, value in then.items():
        if now.get(name) != value:
            yield Finding(run_id, "", None, f"{told.get(name, f'the {name} of the run')} was changed")


def _state(run_id: str, then: Head, now: Head) -> Iterator[Finding]:
    """Compare what became of the run. Operators and workers may change the state of one that is not over."""
    was, is_now = then["state"], now["state"]
    changed = was != is_now
    # Killed before it wrote down its end, or going on after that.
    unheard = is_now == "running" and (now["updated_at"] < then["updated_at"] or now["starts"] > then["starts"])
    if changed and not unheard and (was in _OVER or is_now == "succeeded"):
        yield Finding(run_id, "", None, f"the state was changed from {was} to {is_now}")
    elif changed:
        yield Finding(run_id, "", None, f"was {was} when its head was made and is {is_now} now", problem=False)
    names = _STANDS if changed or was not in _OVER else (*_STANDS, "reason", "updated_at")
    for name in () if unheard else names:
        if then[name] != now[name]:
            yield Finding(run_id, "", None, f"{name} of the run was changed")


def _lane(then: Head, lane: ChainedLane, now: Head, exact: bool) -> Iterator[tuple[int | None, str]]:
    for name, told in (("name", "what kind of lane it is"), ("parent", "who started the lane")):
        if then[name] != now[name]:
            yield None, f"{told} was changed"
    if then["created_at"] != now["created_at"]:
        yield None, "when the lane was started was changed"
    if then["given"] != now["given"]:
        yield None, "what the lane was given was changed"
    closed = then["status"] in _ENDED
    if then["status"] != now["status"] and (exact or closed):
        yield None, f"the state of the lane was changed from {then['status']} to {now['status']}"
    if then["result"] != now["result"] and (exact or closed):
        yield None, "the result of the lane was changed"
    yield from _chain(then, lane, exact or closed)


def _chain(then: Head, lane: ChainedLane, whole: bool) -> Iterator[tuple[int | None, str]]:
    count, steps = int(then["count"]), lane.steps
    if count <= len(steps) and lane.chain_at(count) == then["last"]:
        for step in steps[count:] if whole else ():
            yield step.number, f"the step {step.name} was added"
        return
    told = list(_rows(then["marks"], lane))
    yield from told[:_MOST]
    if len(told) > _MOST:
        yield None, f"{len(told) - _MOST} further steps differ"
    if not told:
        yield None, "the chain of the lane differs"


def _rows(marks: str, lane: ChainedLane) -> Iterator[tuple[int, str]]:
    before = {int(number): mark for number, _, mark in (one.partition(":") for one in marks.split())}
    now = {step.number: step for step in lane.steps}
    last = max(before, default=0)
    for number in sorted({*before, *(one for one in now if one <= last)}):
        step = now.get(number)
        if step is None:
            tail = all(one not in now for one in before if one >= number)
            yield number, "the step was cut off" if tail else "the step was removed"
        elif number not in before:
            yield number, f"the step {step.name} was put in"
        elif not step.row.startswith(before[number]):
            yield number, f"the step {step.name} was changed" + ("" if step.readable else ": it cannot be read")


def _questions(run_id: str, then: list[Head], now: list[Head], exact: bool) -> Iterator[Finding]:
    left = {question["id"]: question for question in now}
    for was in then:
        where = f"question {was['id']} ({was['step']})"
        found = left.pop(was["id"], None)
        if found is None:
            yield Finding(run_id, "", None, f"{where} was removed")
            continue
        # One that nobody answered may be asked anew while the run goes on: it was void, or had expired.
        asked_again = (was["state"] == "void" and found["state"] != "void") or (was["state"] == "open" and not exact)
        if found["asked"] != was["asked"] and not asked_again:
            yield Finding(run_id, "", None, f"{where}: what was asked was changed")
        if was["state"] == "answered" and (found["state"], found["answer"]) != (was["state"], was["answer"]):
            yield Finding(run_id, "", None, f"{where}: the answer was changed")
        elif was["state"] == "void" and found["state"] == "answered" and exact:
            yield Finding(run_id, "", None, f"{where}: an answer was put in")
    for question in left.values() if exact else ():
        yield Finding(run_id, "", None, f"question {question['id']} ({question['step']}) was put in")


def _reservations(run_id: str, then: Head, now: Snapshot) -> Iterator[Finding]:
    """A call whose end nobody knows counts towards ceilings for ever, unless it is journaled after all."""
    gone = then.keys() - now.reservations.keys()
    records = [record for lane in now.lanes.values() for _, record in lane.records()] if gone else []
    journaled = {str(record.get(RESERVED)) for record in records if not may_be_billed(record)}
    for one, mark in then.items():
        if one in gone and one not in journaled:
            yield Finding(run_id, "", None, f"the reservation {one} was removed")
        elif one not in gone and mark and reservation_mark(now.reservations[one]) != mark:
            yield Finding(run_id, "", None, f"the reservation {one} was changed")


def head_of(document: Mapping[str, Any]) -> tuple[str, float]:
    """Return what tells runs apart: the id, and when it was started, since an id may be used again."""
    return str(document["run"]["run_id"]), float(document["run"]["created_at"])
