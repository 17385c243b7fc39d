"""Schedules: what fires and when, once over all processes; what is caught up; what is told; what a crash leaves."""

import json
import signal
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from project.errors import AppError
from runs.scheduled.schedules import CLAIM_SECONDS, HELD_UNTIL
from runs.stored.tables import RUNS
from tests.farm import Farm
from tests.runs.timed import DAILY, Enqueuer, Timed, at

_TOLD = "\nnotify:\n  ops: {command: [./tell]}\n"


def _daily(more: str = "", cron: str = "0 7 * * *") -> str:
    head = f"schedules:\n  morning: {{crew: brief, cron: {cron}, timezone: Europe/Berlin"
    return f"{head}{', ' + more if more else ''}}}\n{_TOLD if 'ops' in more else ''}"


@pytest.fixture
def timed(tmp_path: Path) -> Timed:
    return Timed(tmp_path / "project")


def _with(tmp_path: Path, more: str = "", cron: str = "0 7 * * *") -> Timed:
    return Timed(tmp_path / "project", _daily(more, cron))


def test_a_new_schedule_fires_nothing_from_before_it_was_known(timed: Timed) -> None:
    assert timed.tick("2026-11-20 12:00", "2026-11-21 06:59") == []
    [firing] = timed.tick("2026-11-21 07:00")
    assert (firing.schedule, firing.due_at, firing.state) == ("morning", at("2026-11-21 07:00"), "fired")


def test_a_firing_stores_a_queued_run_with_its_inputs_filled(tmp_path: Path) -> None:
    words = "{date} {time} {datetime} {year} {month} {day} {week} {yesterday} {schedule}"
    timed = _with(tmp_path, f"inputs: {{topic: '{words}'}}, priority: 7, budget: {{max_usd: 1}}")
    [firing] = timed.tick("2026-01-01 06:00", "2026-01-01 07:00")
    [row] = timed.runs()
    assert (row.run_id, row.state, row.priority) == (firing.run_id, "queued", 7)
    assert row.run_id.startswith("morning-20260101-0700-")
    assert row.read_origin() == {"schedule": "morning", "due_at": at("2026-01-01 07:00")}
    stored = timed.store.find(row.run_id)
    assert stored is not None
    plan = stored.read_plan()
    said = "2026-01-01 07:00 2026-01-01T07:00+01:00 2026 01 01 2026-W01 2025-12-31 morning"
    assert plan.inputs == {"topic": said}
    assert str(plan.budget.max_usd) == "1"


def test_a_second_process_does_not_fire_it_again(timed: Timed) -> None:
    other = timed.another()
    timed.tick("2026-11-21 06:00")
    other.tick(at("2026-11-21 06:00"))
    assert len(timed.tick("2026-11-21 07:00")) == 1
    assert other.tick(at("2026-11-21 07:00")) == []
    assert timed.another().tick(at("2026-11-21 07:10")) == []
    assert len(timed.runs()) == 1


@pytest.mark.parametrize(
    ("catch_up", "runs", "rows"),
    [
        ("none", 0, ["missed", "missed", "missed"]),
        ("latest", 1, ["missed", "missed", "fired"]),
        ("all", 3, ["fired", "held", "held"]),
    ],
)
def test_firings_missed_while_nothing_ran_are_caught_up_as_the_schedule_says(
    catch_up: str, runs: int, rows: list[str], tmp_path: Path
) -> None:
    timed = _with(tmp_path, f"catch_up: {catch_up}, on_failure: {{notify: [ops]}}")
    timed.tick("2026-11-18 08:00")
    timed.another().tick(at("2026-11-21 09:00"))
    assert len(timed.runs()) == runs
    assert [state for _, state in timed.rows()] == rows
    missed = rows.count("missed")
    assert [notice["missed"] for notice in timed.notices()] == ([missed] if missed else [])


def test_a_firing_found_a_little_late_is_not_missed(tmp_path: Path) -> None:
    timed = _with(tmp_path, "catch_up: none")
    timed.tick("2026-11-21 06:00")
    [firing] = timed.scheduler.tick(at("2026-11-21 07:00") + 29)
    assert firing.state == "fired"


def test_what_was_missed_is_told_once_with_its_times(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {notify: [ops]}")
    timed.tick("2026-11-18 08:00", "2026-11-21 09:00", "2026-11-21 09:01")
    timed.another().tick(at("2026-11-21 09:02"))
    assert timed.notices() == [
        {
            "event": "missed",
            "project": "project",
            "schedule": "morning",
            "due_at": "2026-11-20T06:00:00Z",
            "at": "2026-11-21T08:00:00Z",
            "crew": "brief",
            "missed": 2,
            "first_due_at": "2026-11-19T06:00:00Z",
            "text": "The schedule morning missed 2 firings, the last one due at 2026-11-20T06:00:00Z: nothing ran",
        }
    ]


def test_a_firing_is_skipped_while_the_run_before_is_unfinished(timed: Timed) -> None:
    [first] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    timed.ends(first.run_id, "waiting")
    [second] = timed.tick("2026-11-21 07:00")
    assert (second.state, second.reason) == ("skipped", f"run {first.run_id} was not finished")
    timed.ends(first.run_id, "succeeded")
    [third] = timed.tick("2026-11-22 07:00")
    assert third.state == "fired"
    assert timed.rows() == [("11-20 07:00", "done"), ("11-21 07:00", "skipped"), ("11-22 07:00", "fired")]


def test_a_queued_firing_is_stored_and_let_go_when_the_one_before_has_ended(tmp_path: Path) -> None:
    timed = _with(tmp_path, "overlap: queue")
    [first] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    [second] = timed.tick("2026-11-21 07:00")
    [third] = timed.tick("2026-11-22 07:00")
    assert [first.state, second.state, third.state] == ["fired", "held", "held"]

    def held() -> list[bool]:
        return [row.not_before == HELD_UNTIL for row in timed.runs()]

    assert held() == [False, True, True]
    timed.ends(first.run_id, "failed")
    timed.tick("2026-11-22 07:01", "2026-11-22 07:02")
    assert held() == [False, False, True]
    timed.ends(second.run_id, "succeeded")
    timed.another().tick(at("2026-11-22 07:03"))
    assert held() == [False, False, False]
    assert [state for _, state in timed.rows()] == ["done", "done", "fired"]


def test_a_held_run_that_was_deleted_holds_nothing_up(tmp_path: Path) -> None:
    timed = _with(tmp_path, "overlap: queue")
    timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    [second] = timed.tick("2026-11-21 07:00")
    with timed.database.begin() as connection:
        connection.execute(RUNS.delete().where(RUNS.c.run_id == second.run_id))
    timed.tick("2026-11-21 07:01")
    assert [state for _, state in timed.rows()] == ["fired", "done"]


def test_runs_may_overlap_where_the_schedule_allows_it(tmp_path: Path) -> None:
    timed = _with(tmp_path, "overlap: allow")
    timed.tick("2026-11-20 06:00", "2026-11-20 07:00", "2026-11-21 07:00")
    assert [(row.state, row.not_before) for row in timed.runs()] == [("queued", 0.0), ("queued", 0.0)]


def test_a_clock_set_back_an_hour_fires_nothing_twice(tmp_path: Path) -> None:
    timed = _with(tmp_path, "overlap: allow", cron='"*/10 * * * *"')
    timed.tick("2026-11-21 06:05", "2026-11-21 06:10", "2026-11-21 06:20", "2026-11-21 06:30")
    assert timed.tick("2026-11-21 05:30", "2026-11-21 05:40", "2026-11-21 06:10", "2026-11-21 06:30") == []
    assert timed.another().tick(at("2026-11-21 06:31")) == []
    assert len(timed.tick("2026-11-21 06:40")) == 1
    assert len(timed.runs()) == 4


def test_a_clock_that_was_years_ahead_stops_nothing(timed: Timed) -> None:
    timed.tick("2026-11-20 08:00", "2031-01-01 12:00")
    [early] = timed.runs()
    assert early.run_id.startswith("morning-20310101-0700-")
    timed.ends(early.run_id, "cancelled")
    timed.tick("2026-11-20 09:00")
    [firing] = timed.tick("2026-11-21 07:00")
    assert firing.state == "fired"


def test_a_paused_schedule_fires_nothing_and_catches_nothing_up(timed: Timed) -> None:
    timed.tick("2026-11-18 08:00")
    assert timed.firings.pause("morning", "ann@here", at("2026-11-18 09:00"))
    assert not timed.firings.pause("morning", "bob@here", at("2026-11-18 09:00"))
    assert timed.tick("2026-11-19 07:00", "2026-11-20 07:00") == []
    assert timed.firings.resume("morning", at("2026-11-20 12:00"))
    assert timed.tick("2026-11-20 12:01") == []
    [firing] = timed.another().tick(at("2026-11-21 07:00"))
    assert firing.due_at == at("2026-11-21 07:00")


def test_a_schedule_paused_before_it_was_ever_seen_stays_so(timed: Timed) -> None:
    timed.firings.pause("morning", "ann@here", at("2026-11-18 09:00"))
    assert timed.tick("2026-11-18 10:00", "2026-11-19 07:00") == []
    assert timed.firings.known()["morning"].paused_by == "ann@here"


def test_a_schedule_paused_in_the_file_goes_on_when_the_file_says_so(tmp_path: Path) -> None:
    timed = _with(tmp_path, "paused: true")
    assert timed.tick("2026-11-18 08:00", "2026-11-19 07:00", "2026-11-20 07:00") == []
    timed.rewrite(schedules=DAILY)
    assert timed.tick("2026-11-20 08:00", "2026-11-20 08:01") == []
    assert len(timed.tick("2026-11-21 07:00")) == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["seen", "while nothing ran"])
def test_a_changed_time_fires_nothing_from_before_the_change(restarted: bool, timed: Timed) -> None:
    timed.tick("2026-11-21 06:00", "2026-11-21 07:00")
    timed.rewrite(schedules=_daily(cron='"*/5 * * * *"'))
    scheduler = timed.another() if restarted else timed.scheduler
    assert scheduler.tick(at("2026-11-21 12:01")) == []
    assert [firing.due_at for firing in scheduler.tick(at("2026-11-21 12:05"))] == [at("2026-11-21 12:05")]


def test_processes_with_other_files_do_not_keep_each_other_from_firing(tmp_path: Path) -> None:
    older = Timed(tmp_path / "one" / "project", DAILY)
    newer = Timed(tmp_path / "two" / "project", _daily(cron="30 7 * * *"), older.database)
    fired: list[str] = []
    for time in ("06:00", "06:30", "06:59", "07:00", "07:01", "07:29", "07:30", "07:31"):
        for timed in (older, newer):
            fired += [f"{time} {firing.state}" for firing in timed.tick(f"2026-11-21 {time}")]
            for row in timed.runs():
                timed.ends(row.run_id, "succeeded")
    assert fired == ["07:00 fired", "07:30 fired"]


def test_a_schedule_that_comes_back_catches_nothing_up(timed: Timed) -> None:
    timed.tick("2026-11-18 08:00")
    timed.rewrite(schedules="schedules:\n")
    timed.tick("2026-11-18 09:00")
    timed.rewrite(schedules=DAILY)
    assert timed.another().tick(at("2026-11-20 12:00")) == []
    assert len(timed.runs()) == 0


def test_a_broken_file_is_reported_once_and_the_last_good_one_goes_on(timed: Timed) -> None:
    timed.tick("2026-11-20 06:00")
    timed.rewrite(schedules="schedules:\n  morning: {crew: breif, cron: x}\n")
    timed.tick("2026-11-20 06:01", "2026-11-20 06:02")
    assert len(timed.said) == 1
    assert "config/schedules.yaml:2:19: schedules.morning.crew: unknown crew `breif`" in timed.said[0]
    [firing] = timed.tick("2026-11-20 07:00")
    assert firing.state == "fired"


def test_a_wrong_project_at_the_time_of_firing_is_told_and_not_lost(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {notify: [ops]}")
    timed.tick("2026-11-20 06:00")
    timed.rewrite(crews="brief: {tasks: [wrok]}\n")
    [firing] = timed.tick("2026-11-20 07:00")
    reason = "config/crews.yaml:1:17: brief.tasks: unknown task `wrok`"
    assert (firing.state, firing.reason) == ("failed", reason)
    assert timed.said[-1] == f"schedule morning: the firing of 2026-11-20T06:00:00Z failed: {reason}"
    [notice] = timed.notices()
    assert (notice["event"], notice["reason"]) == ("failed", reason)
    timed.rewrite(crews="brief: {tasks: [work], inputs: {topic: solar}}\n")
    [firing] = timed.tick("2026-11-21 07:00")
    assert firing.state == "fired"


def test_an_input_that_is_not_there_fails_the_firing_and_no_other(tmp_path: Path) -> None:
    text = DAILY + "  other: {crew: files, cron: 0 7 * * *, timezone: Europe/Berlin, inputs: {folder: 'in-{date}'}}\n"
    timed = Timed(tmp_path / "project", text)
    crews = "brief: {tasks: [work], inputs: {topic: solar}}\nfiles: {tasks: [work], inputs: {topic: x, folder: {type: folder}}}\n"
    timed.rewrite(crews=crews)
    done = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    assert {firing.schedule: firing.state for firing in done} == {"morning": "fired", "other": "failed"}
    assert "in-2026-11-20` is not there" in next(firing.reason for firing in done if firing.schedule == "other")


def test_a_failed_run_is_resumed_after_a_while_and_told_of_when_that_did_not_help(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {retry: {attempts: 2, backoff_seconds: 60}, notify: [ops]}")
    [firing] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")

    def fail() -> tuple[str, float, int]:
        timed.ends(firing.run_id, "failed", "the model is gone")
        timed.tick("2026-11-20 07:05", "2026-11-20 07:05")
        row = timed.store.find(firing.run_id)
        assert row is not None
        return row.state, row.not_before - at("2026-11-20 07:05"), row.read_origin().get("retries", 0)

    assert fail() == ("queued", 60.0, 1)
    assert fail() == ("queued", 120.0, 2)
    assert timed.notices() == []
    assert fail()[0] == "failed"
    [notice] = timed.notices()
    assert notice["text"] == f"Run {firing.run_id} of the schedule morning failed: the model is gone"
    assert (notice["event"], notice["run_id"], notice["retries"]) == ("failed", firing.run_id, 2)
    assert timed.rows() == [("11-20 07:00", "done")]


def test_people_are_told_each_time_that_a_run_waits_and_when_it_has_ended(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {notify: [ops]}, notify_on: [waiting, succeeded]")
    [firing] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    for starts, state in ((1, "waiting"), (1, "waiting"), (2, "waiting"), (3, "succeeded")):
        timed.store.set(firing.run_id, state=state, starts=starts)
        row = timed.store.find(firing.run_id)
        assert row is not None
        timed.scheduler.after(row, at("2026-11-20 07:01"))
        timed.another().tick(at("2026-11-20 07:02"))
    assert sorted(notice["event"] for notice in timed.notices()) == ["succeeded", "waiting", "waiting"]


def test_of_what_notify_on_leaves_out_nobody_is_told(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {notify: [ops]}")
    [firing] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    timed.ends(firing.run_id, "succeeded")
    timed.tick("2026-11-20 07:01")
    assert (timed.notices(), timed.rows()) == ([], [("11-20 07:00", "done")])


def test_a_run_by_hand_needs_no_due_time_and_delays_none(timed: Timed) -> None:
    timed.tick("2026-11-19 08:00")
    run_id = timed.scheduler.run_by_hand("morning", "ann@here", at("2026-11-20 12:00"))
    row = timed.store.find(run_id)
    assert row is not None
    assert row.read_origin() == {"schedule": "morning", "due_at": at("2026-11-20 12:00"), "by": "ann@here"}
    timed.ends(run_id, "succeeded")
    timed.tick("2026-11-20 12:01")  # the firing of that morning was missed all the same
    assert timed.rows() == [("11-20 07:00", "fired"), ("11-20 12:00", "done")]


def test_a_run_by_hand_of_a_wrong_project_says_so(timed: Timed) -> None:
    timed.rewrite(crews="brief: {tasks: [wrok]}\n")
    with pytest.raises(AppError, match="unknown task `wrok`"):
        timed.scheduler.run_by_hand("morning", "ann@here")
    with pytest.raises(AppError, match="unknown task `wrok`"):
        timed.scheduler.run_by_hand("morning", "ann@here")


_DYING = """
import os, signal, sys
from pathlib import Path
from tests.runs.timed import Enqueuer, Timed, at

timed = Timed(Path(sys.argv[1]))

class Dying(Enqueuer):
    def __call__(self, *given, **more):
        if sys.argv[2] == "after":
            super().__call__(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

timed.scheduler = timed.another(Dying(timed.store))
timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_killed_around_storing_the_run_loses_nothing_and_doubles_nothing(
    when: str, tmp_path: Path, farm: Farm
) -> None:
    root = tmp_path / "project"
    killed = farm.execute(_DYING, str(root), when)
    assert killed.wait() == -signal.SIGKILL, killed.text()
    timed = Timed(root)
    assert timed.rows() == [("11-20 07:00", "claimed")]
    assert len(timed.runs()) == (when == "after")
    now = at("2026-11-20 07:00")
    assert timed.scheduler.tick(now + CLAIM_SECONDS - 1) == []  # it may be alive and slow
    [firing] = timed.scheduler.tick(now + CLAIM_SECONDS + 1)
    assert firing.state == "fired"
    assert [row.run_id for row in timed.runs()] == [firing.run_id]
    assert timed.another().tick(now + 300) == []


def test_a_slow_process_that_was_overtaken_doubles_nothing(timed: Timed) -> None:
    other = timed.another()

    class Slow(Enqueuer):
        def __call__(self, plan: object, run_id: str, **more: object) -> str:  # type: ignore[override]
            other.tick(at("2026-11-20 07:01"))
            return super().__call__(plan, run_id, **more)  # type: ignore[arg-type]

    timed.scheduler = timed.another(Slow(timed.store))
    other.tick(at("2026-11-20 06:00"))
    timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    assert len(timed.runs()) == 1
    assert timed.rows() == [("11-20 07:00", "fired")]


def test_an_unexpected_error_fails_one_firing_and_lets_the_others_go_on(tmp_path: Path) -> None:
    timed = Timed(tmp_path / "project", DAILY + "  second: {crew: brief, cron: 0 7 * * *, timezone: Europe/Berlin}\n")

    class Odd(Enqueuer):
        def __call__(self, plan: object, run_id: str, **more: object) -> str:  # type: ignore[override]
            if run_id.startswith("morning"):
                raise KeyError("odd")
            return super().__call__(plan, run_id, **more)  # type: ignore[arg-type]

    timed.scheduler = timed.another(Odd(timed.store))
    done = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    assert {firing.schedule: firing.state for firing in done} == {"morning": "failed", "second": "fired"}
    assert timed.said == ["schedule morning: the firing of 2026-11-20T06:00:00Z failed: unexpected KeyError: 'odd'"]


_REFUSE = "CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT gone(); END"


@pytest.mark.parametrize("table", ["muster_firings", "muster_schedule_looks", "muster_runs"])
def test_a_firing_that_the_database_refused_to_store_is_not_lost(table: str, timed: Timed) -> None:
    first = "2026-11-20 06:00" if table == "muster_schedule_looks" else "2026-11-20 07:00"
    if first.endswith("07:00"):
        timed.tick("2026-11-20 06:00")
    with timed.database.begin() as connection:
        connection.exec_driver_sql(_REFUSE.format(table=table))
    with pytest.raises(DBAPIError):
        timed.tick(first)
    with timed.database.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER refuse")
    timed.tick(first, "2026-11-20 07:00")
    timed.scheduler.tick(at("2026-11-20 07:00") + CLAIM_SECONDS + 1)
    assert timed.rows() == [("11-20 07:00", "fired")]
    assert len(timed.runs()) == 1


def test_old_firings_are_deleted_but_those_of_open_runs(timed: Timed) -> None:
    [first] = timed.tick("2026-01-01 06:00", "2026-01-01 07:00")
    timed.ends(first.run_id, "waiting")
    timed.tick("2026-01-02 07:00", "2026-06-01 07:00")
    assert timed.rows()[0] == ("01-01 07:00", "fired")
    assert ("01-02 07:00", "skipped") not in timed.rows()


def test_what_is_told_is_one_json_document(tmp_path: Path) -> None:
    timed = _with(tmp_path, "on_failure: {notify: [ops]}")
    script = timed.lab.root / "tell"
    script.write_text("#!/bin/sh\ncat > told.json\n")
    script.chmod(0o755)
    [firing] = timed.tick("2026-11-20 06:00", "2026-11-20 07:00")
    timed.ends(firing.run_id, "stopped", "max_usd is reached")
    timed.tick("2026-11-20 07:10")
    timed.scheduler.send(at("2026-11-20 07:10"))
    told = json.loads((timed.lab.root / "told.json").read_text())
    assert told == {
        "event": "stopped",
        "project": "project",
        "schedule": "morning",
        "due_at": "2026-11-20T06:00:00Z",
        "at": "2026-11-20T06:10:00Z",
        "crew": "brief",
        "run_id": firing.run_id,
        "reason": "max_usd is reached",
        "retries": 0,
        "text": f"Run {firing.run_id} of the schedule morning stopped at a ceiling: max_usd is reached",
    }
    assert [row["state"] for row in timed.outbox.all()] == ["sent"]
