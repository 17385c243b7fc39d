"""Queued runs: which is taken next, by whom, and how many at once."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crews.planned import Plan
from runs.executing.leases import Lease
from runs.executing.owners import LeaseOwners, Owners, open_owners
from runs.executing.queueing import RunQueue
from runs.stored.database import open_database
from runs.stored.store import RunStore
from tests.lab import ONE_AGENT, Lab


class Office:
    """A database with queued runs, and processes that take them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.database: sa.Engine = open_database(lab.settings())
        self.store = RunStore(self.database)
        self._plan: Plan = lab.plan(inputs={"topic": "rain"})

    def put(self, run_id: str, **more: Any) -> None:
        values = {"state": "queued", "queued_at": time.time(), **more}
        assert self.store.insert(run_id, self._plan, {}, time.time(), **values)

    def owners(self, name: str = "") -> Owners:
        made = open_owners(self.database, self._lab.root / "runs", name)
        if isinstance(made, LeaseOwners):
            Lease(self.database, made.worker_id, 60).start()
        return made

    def queue(self, name: str = "") -> RunQueue:
        return RunQueue(self.store, self.owners(name), self._lab.root.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    if request.param == "postgresql":
        monkeypatch.setenv("MUSTER_DATABASE_URL", request.getfixturevalue("postgres"))
    lab = Lab(tmp_path / "project")
    lab.write(**ONE_AGENT)
    made = Office(lab)
    yield made
    made.database.dispose()


def test_the_highest_priority_is_taken_first_then_the_longest_queued(office: Office) -> None:
    office.put("late", queued_at=3.0)
    office.put("early", queued_at=1.0)
    office.put("urgent", queued_at=5.0, priority=1)
    queue = office.queue()
    assert [queue.claim() for _ in range(4)] == ["urgent", "early", "late", None]


def test_a_run_is_not_taken_before_its_time_nor_by_another_project(office: Office) -> None:
    office.put("tomorrow", not_before=time.time() + 3600)
    office.put("theirs", project="other")
    assert office.queue().claim() is None
    assert not office.queue().is_empty()


def test_a_worker_takes_only_the_queues_it_is_told(office: Office) -> None:
    office.put("one", queue="slow")
    office.put("two", queue="fast")
    queue = office.queue()
    assert [queue.claim(["fast"]), queue.claim(["fast"]), queue.claim(["fast", "slow"])] == ["two", None, "one"]


def test_a_full_queue_waits_and_does_not_stand_before_another(office: Office) -> None:
    for number in range(300):
        office.put(f"slow{number:03}", queue="slow", max_running=2, queued_at=float(number))
    office.put("other", queued_at=1000.0)
    queue = office.queue()
    assert [queue.claim() for _ in range(4)] == ["slow000", "slow001", "other", None]
    office.store.change("slow000", {"state": "waiting", "worker": ""})
    assert queue.claim() == "slow002"


def test_many_takers_at_once_get_each_run_once_and_keep_the_limit(office: Office) -> None:
    for number in range(40):
        office.put(f"run{number:02}", queue="some" if number % 2 else "all", max_running=7 if number % 2 else 0)
    taken: list[str] = []

    def take(queue: RunQueue) -> None:
        while (run_id := queue.claim()) is not None:
            taken.append(run_id)

    takers = [threading.Thread(target=take, args=(office.queue(f"w{number}"),)) for number in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(60)
    assert Counter(taken).most_common(1)[0][1] == 1
    assert Counter(office.store.find(run_id).queue for run_id in taken) == {"all": 20, "some": 7}  # type: ignore[union-attr]


def test_a_run_that_somebody_resumes_by_hand_is_not_taken(office: Office) -> None:
    office.put("one")
    owners = office.owners("by-hand")
    assert owners.acquire("one")
    assert office.queue("worker").claim() is None
    owners.release("one")
    assert office.queue("worker").claim() == "one"


def test_a_run_that_this_process_is_just_leaving_is_not_taken_by_it(office: Office) -> None:
    office.put("one")
    queue = office.queue()
    assert queue.claim(besides=["one"]) is None
    assert queue.claim() == "one"


def test_only_runs_whose_process_is_dead_are_left_behind(office: Office) -> None:
    office.put("lives")
    office.put("died", state="running", worker="gone")
    office.put("waits", state="waiting", worker="")
    queue = office.queue("mine")
    assert queue.claim() == "lives"
    assert queue.left_behind() == ["died"]
    assert office.queue("other").left_behind() == ["died"]
