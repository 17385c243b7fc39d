"""`muster schedule` in a terminal: what comes next, what came last, runs by hand, pauses."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from runs.people.origin import started_by
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.timed import PROJECT

_NAMES = ("schedule", "crew", "cron", "timezone")
_TEXT = """
    schedules:
      morning: {crew: brief, cron: 0 7 * * 1-5, timezone: Europe/Berlin, inputs: {topic: "of {date}"}}
      night: {crew: brief, cron: 30 2 1 1 *, paused: true}
"""


@pytest.fixture
def project(lab: Lab) -> Path:
    lab.write(**PROJECT, schedules=_TEXT)
    return lab.root


def _listed(muster: Muster) -> list[dict[str, object]]:
    return json.loads(muster("schedule", "list", "--json").out)


def test_schedules_are_listed_before_anything_ever_ran(muster: Muster, project: Path) -> None:
    morning, night = _listed(muster)
    assert [morning[name] for name in _NAMES] == ["morning", "brief", "0 7 * * 1-5", "Europe/Berlin"]
    due = datetime.fromisoformat(str(morning["next_due_at"]))
    assert due.timestamp() % 60 == 0
    assert due.isoweekday() <= 5
    assert {key: value for key, value in morning.items() if key not in (*_NAMES, "next_due_at")} == {
        "last_due_at": None,
        "last_run_id": None,
        "last_status": None,
        "missed": 0,
        "skipped": 0,
        "failed_to_start": 0,
        "paused": False,
        "paused_by": None,
        "paused_at": None,
    }
    assert (night["paused"], night["paused_by"], night["next_due_at"]) == (True, "schedules.yaml", None)
    assert not (project / ".muster").exists()


def test_the_table_tells_times_by_the_clock_of_the_schedule(muster: Muster, project: Path) -> None:
    printed = muster("schedule")
    head, morning, night = printed.out.splitlines()
    assert head.split() == ["SCHEDULE", "CREW", "WHEN", "NEXT", "LAST", "RUN", "MISSED"]
    assert " 07:00 " in morning
    assert morning.startswith("morning   brief  0 7 * * 1-5 Europe/Berlin  ")
    assert "paused by schedules.yaml" in night
    assert printed.err == ""


def test_a_project_without_schedules_says_so(muster: Muster, lab: Lab) -> None:
    lab.write(**PROJECT)
    printed = muster("schedule", "list")
    assert (printed.code, printed.out) == (0, "")
    assert printed.err == "no schedules; config/schedules.yaml describes them\n"
    assert muster("schedule", "list", "--json").out == "[]\n"


def test_a_schedule_is_paused_and_resumed_with_who_and_when(muster: Muster, project: Path) -> None:
    printed = muster("schedule", "pause", "morning")
    assert (printed.code, printed.out) == (0, "")
    assert printed.err == "morning is paused; `muster schedule resume morning` lets it fire again\n"
    morning = _listed(muster)[0]
    assert (morning["paused"], morning["paused_by"], morning["next_due_at"]) == (True, started_by(), None)
    assert f"paused by {started_by()}, 2" in muster("schedule").out
    again = muster("schedule", "pause", "morning")
    assert again.err == f"morning is paused already: by {started_by()}, {morning['paused_at']}\n"
    assert muster("schedule", "resume", "morning").err == "morning fires again\n"
    assert muster("schedule", "resume", "morning").err == "morning is not paused\n"
    assert _listed(muster)[0]["paused"] is False


def test_what_the_file_pauses_only_the_file_resumes(muster: Muster, project: Path) -> None:
    printed = muster("schedule", "resume", "night")
    assert printed.code == 1
    assert printed.err.splitlines() == [
        "night is paused in config/schedules.yaml",
        "",
        "hint: take `paused: true` of `night` out",
    ]


@pytest.mark.parametrize("command", ["run", "pause", "resume"])
def test_a_name_that_is_none_is_told_with_the_nearest(command: str, muster: Muster, project: Path) -> None:
    printed = muster("schedule", command, "mornign")
    assert (printed.code, printed.out) == (3, "")
    assert printed.err.splitlines() == [
        "unknown schedule `mornign`",
        "",
        "hint: did you mean `morning` instead of `mornign`? schedules.yaml has: morning, night",
    ]


def test_a_run_by_hand_is_queued_and_named_on_stdout(muster: Muster, project: Path) -> None:
    printed = muster("schedule", "run", "morning")
    run_id = printed.out.strip()
    assert printed.code == 0
    assert printed.err.splitlines()[-1] == "queued; `muster serve` or `muster worker` executes it"
    [run] = json.loads(muster("runs", "list", "--json").out)
    assert (run["run_id"], run["status"], run["crew"]) == (run_id, "queued", "brief")
    morning = _listed(muster)[0]
    assert (morning["last_run_id"], morning["last_status"]) == (run_id, "queued")
    shown = json.loads(muster("runs", "show", run_id, "--json").out)
    assert shown["inputs"]["topic"].startswith("of 2")


def test_a_run_by_hand_of_wrong_inputs_stores_nothing(muster: Muster, lab: Lab) -> None:
    crews = "brief: {tasks: [work], inputs: {topic: x, folder: {type: folder}}}\n"
    text = "schedules:\n  a: {crew: brief, cron: 0 7 * * *, inputs: {folder: not-there}}\n"
    lab.write(**{**PROJECT, "crews": crews}, schedules=text)
    printed = muster("schedule", "run", "a")
    assert (printed.code, printed.out) == (3, "")
    assert "not-there` is not there" in printed.err
    assert muster("runs", "list", "--json").out == "[]\n"
