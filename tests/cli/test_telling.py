"""What the command line tells of runs that wait, are queued or were turned down, and of a database that fails."""

import json
import sqlite3
import time
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.cli.conftest import Muster
from tests.cli.test_approvals import PERSON, waiting
from tests.lab import Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer


@pytest.fixture
def person(lab: Lab) -> Lab:
    write_project(lab, PERSON)
    return lab


def test_what_a_person_rejected_is_told_as_rejected_with_the_reason(muster: Muster, person: Lab) -> None:
    one = waiting(person)
    muster("approvals", "reject", one, "--reason", "no stamps left")
    assert muster("runs", "resume", "asks").code == 1
    assert "a person rejected it: no stamps left" in muster("runs", "trace", "asks").out
    told = [entry for entry in json.loads(muster("runs", "why", "asks", "--json").out) if entry["by"] == "person"]
    assert [entry["chosen"] for entry in told] == ["rejected: no stamps left"]
    assert told[0]["evidence"][0].startswith("answered by ")


def test_a_task_that_waits_is_listed_with_what_is_to_be_done(muster: Muster, person: Lab) -> None:
    waiting(person)
    assert muster("approvals", "list").out.splitlines()[1].endswith("  Say yes or no.")


def test_a_queued_run_is_listed_with_the_time_it_waits(muster: Muster, person: Lab) -> None:
    assert muster("run", "default", "--id", "later", "--detach").out == "later\n"
    assert "  queued for " in muster("runs").out
    assert json.loads(muster("runs", "list", "--json").out)[0]["status"] == "queued"


def test_queueing_the_same_run_again_is_safe(muster: Muster, person: Lab) -> None:
    first = muster("run", "default", "--id", "later", "--detach")
    assert first.err == "queued; `muster serve` or `muster worker` executes it\n"
    again = muster("run", "default", "--id", "later", "--detach")
    assert (again.code, again.out, again.err) == (0, "later\n", "run later is queued already\n")
    assert json.loads(muster("run", "default", "--id", "later", "--detach", "--json").out) == {
        "run_id": "later",
        "status": "queued",
    }
    assert len(json.loads(muster("runs", "list", "--json").out)) == 1


def test_another_run_of_the_same_id_is_refused(muster: Muster, lab: Lab) -> None:
    write_project(lab, PERSON, crews={"default": {"tasks": ["decide"]}, "other": {"tasks": ["decide"]}})
    muster("run", "default", "--id", "later", "--detach")
    other = muster("run", "other", "--id", "later", "--detach")
    assert (other.code, other.out) == (2, "")
    assert other.err == "run later has another crew or other inputs\n\nhint: choose another --id\n"


def test_plan_shows_what_is_done_when_something_fails(muster: Muster, lab: Lab) -> None:
    work: dict[str, Any] = {
        "description": "Do it",
        "retry": {"attempts": 3, "backoff_seconds": 5},
        "fallback": [{"model": "backup"}, {"text": "nothing"}],
        "timeout_seconds": 60,
    }
    write_project(
        lab,
        {"work": work},
        models={
            "default": {"model": "openai/scripted", "base_url": "http://127.0.0.1:9/v1", "fallback": ["backup"]},
            "backup": {"model": "openai/other", "base_url": "http://127.0.0.1:9/v1"},
        },
        crews={
            "default": {
                "tasks": ["work"],
                "deadline_seconds": 900,
                "queue": {"name": "slow", "max_running": 3, "priority": 5},
            }
        },
    )
    printed = muster("plan", "default")
    assert printed.code == 0
    lines = printed.out.splitlines()
    assert "  deadline 900 s after the first start" in lines
    assert "  queue slow: at most 3 at once, priority 5" in lines
    assert "  model default, when it fails: backup" in lines
    assert (
        "work, when it fails: 3 attempts, 5 s before the second; model backup; a fixed text; at most 60 s in all"
        in lines
    )


@pytest.mark.parametrize("words", ["disk I/O error", "database or disk is full"])
def test_a_disk_without_room_is_no_bug_of_muster(
    muster: Muster, person: Lab, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    waiting(person)

    def full(*_arguments: object, **_named: object) -> None:
        raise OperationalError("PRAGMA journal_mode=WAL", {}, sqlite3.OperationalError(words))

    monkeypatch.setattr("runs.stored.store.RunStore.list", full)
    printed = muster("runs")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("the journal can't be read or written: the disk ")
    assert "\n\nhint: free some space" in printed.err


def test_doctor_looks_at_the_database(muster: Muster, person: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://me:secret@127.0.0.1:9/muster")
    started = time.monotonic()
    found = {item["what"]: item for item in json.loads(muster("doctor", "--json").out)}
    assert found["database"]["ok"] is False
    assert found["database"]["detail"].startswith(
        "the database postgresql://me:***@127.0.0.1:9/muster does not answer: "
    )
    assert time.monotonic() - started < 60  # it gives up, where a client would wait for minutes


def test_doctor_tells_where_the_runs_are(muster: Muster, person: Lab) -> None:
    found = {item["what"]: item for item in json.loads(muster("doctor", "--json").out)}
    assert found["database"] == {"what": "database", "ok": True, "detail": "SQLite; the first run makes it"}
    waiting(person)
    found = {item["what"]: item for item in json.loads(muster("doctor", "--json").out)}
    assert found["database"] == {"what": "database", "ok": True, "detail": f"SQLite: {person.root}/.muster/muster.db"}


def test_pausing_and_cancelling_are_json_for_programs(muster: Muster, person: Lab) -> None:
    waiting(person)
    for verb, state in (("pause", "paused"), ("cancel", "cancelled")):
        printed = muster("runs", verb, "asks", "--json")
        assert (printed.code, printed.err) == (0, "")
        assert json.loads(printed.out) == {"run_id": "asks", "status": state}


def test_costs_count_the_tool_calls_of_a_task(muster: Muster, lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"add": '@call calculator {"expression": "1 + 1"}\n@answer: two'}, {"tools": ["calculator"]})
    lab.models(server.base_url)
    assert muster("run", "default", "--id", "sum").code == 0
    costs = json.loads(muster("runs", "costs", "sum", "--json").out)
    assert (costs["usage"]["model_calls"], costs["usage"]["tool_calls"]) == (2, 1)
    assert [(task["name"], task["tool_calls"]) for task in costs["tasks"]] == [("add", 1)]
