"""schedules.yaml as it is read, and when a cron line is due: on ordinary days and where clocks are changed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from project.cron import PLACEHOLDERS, Cron, read_cron, read_zone, words_of, zone_names
from project.schema import make_schemas
from project.spec import BudgetSpec
from project.spec_schedules import ChannelSpec, OnFailureSpec, RunRetrySpec, ScheduleSpec
from tests.project.folder import load, write

_TASKS = "research:\n  description: Find {topic}\n  expected_output: Facts\n  agent: researcher\n"
_FULL = """
schedules:
  morning-brief:
    crew: default
    cron: "0  7 * * 1-5"
    timezone: Europe/Berlin
    inputs: {topic: "solar, {date}"}
    model: offline
    catch_up: none
    overlap: queue
    budget: {max_usd: 1}
    priority: 3
    paused: true
    on_failure: {retry: {attempts: 3, backoff_seconds: 60}, notify: [ops, mail]}
    notify_on: [failed, succeeded]
  short: {crew: default, cron: 0 7 * * *, inputs: {topic: 3}}
notify:
  ops: {command: [./notify.sh, --loud], timeout_seconds: 5}
  hook: {webhook_env: OPS_WEBHOOK_URL}
  plain: {webhook: "https://example.org/hooks/muster"}
  mail: {smtp: {host: localhost, port: 2525, from: a@b.c, to: [d@e.f], user_env: U, password_env: P, starttls: true}}
"""


def _load(tmp_path: Path, text: str, **more: str):
    return load(write(tmp_path / "project", {"config/tasks.yaml": _TASKS, "config/schedules.yaml": text, **more}))


def test_every_key_is_read(tmp_path: Path) -> None:
    project = _load(tmp_path, _FULL)
    assert project.schedules["morning-brief"] == ScheduleSpec(
        crew="default",
        cron="0 7 * * 1-5",
        timezone="Europe/Berlin",
        inputs={"topic": "solar, {date}"},
        model="offline",
        catch_up="none",
        overlap="queue",
        budget=BudgetSpec.model_validate({"max_usd": 1}),
        priority=3,
        paused=True,
        on_failure=OnFailureSpec(retry=RunRetrySpec(attempts=3, backoff_seconds=60), notify=["ops", "mail"]),
        notify_on=["failed", "succeeded"],
    )
    assert project.channels["ops"] == ChannelSpec(command=["./notify.sh", "--loud"], timeout_seconds=5)
    assert project.channels["hook"].webhook_env == "OPS_WEBHOOK_URL"
    mail = project.channels["mail"].smtp
    assert mail is not None
    assert (mail.host, mail.port, mail.sender, mail.to, mail.user_env, mail.password_env, mail.starttls) == (
        "localhost", 2525, "a@b.c", ["d@e.f"], "U", "P", True,
    )  # fmt: skip
    assert [str(note) for note in project.notes] == [
        "config/schedules.yaml:19:3: notify.hook: nothing names this channel",
        "config/schedules.yaml:20:3: notify.plain: nothing names this channel",
    ]


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    short = _load(tmp_path, _FULL).schedules["short"]
    assert (short.timezone, short.catch_up, short.overlapping(), short.paused) == ("UTC", "latest", "skip", False)
    assert short.notify_on == ["failed", "stopped", "missed", "waiting"]
    assert (short.model, short.budget, short.priority, short.on_failure) == (None, None, None, OnFailureSpec())


def test_firings_that_are_all_caught_up_wait_for_each_other() -> None:
    assert ScheduleSpec(crew="a", cron="0 7 * * *", catch_up="all").overlapping() == "queue"
    assert ScheduleSpec(crew="a", cron="0 7 * * *", catch_up="all", overlap="allow").overlapping() == "allow"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "schedules:\n", "schedules: {}\nnotify:\n"])
def test_a_file_without_schedules_is_right(text: str, tmp_path: Path) -> None:
    project = _load(tmp_path, text)
    assert (project.schedules, project.channels, project.notes) == ({}, {}, ())


def test_what_does_nothing_is_noted(tmp_path: Path) -> None:
    text = "schedules:\n  a: {crew: default, cron: 0 7 * * *, inputs: {topic: x}, catch_up: all, overlap: skip, notify_on: [failed]}\n"
    assert [str(note) for note in _load(tmp_path, text).notes] == [
        "config/schedules.yaml:2:74: schedules.a.overlap: of firings caught up together only the first is run: `overlap: skip` skips the others",
        "config/schedules.yaml:2:89: schedules.a.notify_on: nobody is told: `on_failure: {notify: [...]}` names no channel",
    ]


# -- when it is due


def _due(line: str, zone: str, day: str, days: int = 1) -> list[str]:
    """Return the due times of some days, by the clock there, with its offset where that tells two apart."""
    place = ZoneInfo(zone)
    start = datetime.fromisoformat(day).replace(tzinfo=place)
    until = (start + timedelta(days=days)).timestamp() - 1
    found = Cron(line).due_between(start.timestamp() - 1, until, place)
    return [datetime.fromtimestamp(at, place).strftime("%d %H:%M %z") for at in found]


@pytest.mark.parametrize(
    ("line", "zone", "day", "due"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00 +0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00 +0200"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-29", []),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:30 +0200"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25", 25),
        ("30 * * * *", "Europe/Berlin", "2026-03-29", 23),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"]),
        ("30 2 * * *", "America/New_York", "2026-03-08", ["08 03:00 -0400"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", ["01 01:30 -0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["04 02:30 +1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["05 01:45 +1100"]),
        ("*/30 2 * * *", "Australia/Lord_Howe", "2026-04-05", ["05 02:00 +1030", "05 02:30 +1030"]),
        ("0 0 * * *", "Pacific/Apia", "2011-12-31", ["31 00:00 +1400"]),
        ("0 7 * * 1-5", "Europe/Berlin", "2026-03-28", []),
        ("0 0 L * *", "UTC", "2026-02-28", ["28 00:00 +0000"]),
        ("0 0 * * 5L", "UTC", "2026-11-27", ["27 00:00 +0000"]),
        ("0 0 13 * FRI", "UTC", "2026-11-20", ["20 00:00 +0000"]),
    ],
)  # fmt: skip
def test_days_on_which_clocks_are_changed(line: str, zone: str, day: str, due: list[str] | int) -> None:
    found = _due(line, zone, day)
    assert (found if isinstance(due, list) else len(found)) == due


_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns",
          "Asia/Tehran", "Pacific/Chatham", "Antarctica/Troll", "Antarctica/Casey", "America/Havana"]  # fmt: skip


@st.composite
def _lines(draw: st.DrawFn) -> str:
    def number(low: int, high: int) -> str:
        value = draw(st.integers(low, high))
        return draw(st.sampled_from([str(value), f"*/{max(value, 1)}", "*", f"{low}-{value}", f"{value},{high}"]))

    days = draw(st.sampled_from(["* *", "1 *", "* 1-6", "*/3 *", "L *", "13 5"])).split()
    hour = draw(st.sampled_from(["1", "2", "0-3", "1,2,3", number(0, 23)]))
    return f"{number(0, 59)} {hour} {days[0]} {draw(st.sampled_from(['*', '3,4,10,11', '*/2']))} {days[1]}"


_STARTS = st.datetimes(datetime(2012, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(tzinfo=UTC).timestamp())
_MANY = settings(max_examples=150, deadline=None)


@_MANY
@given(_lines(), st.sampled_from(_ZONES), _STARTS, st.lists(st.floats(0, 5 * 86_400), max_size=3))
def test_where_a_search_begins_changes_nothing(line: str, zone: str, start: float, cuts: list[float]) -> None:
    cron, place = read_cron(line), ZoneInfo(zone)
    edges = sorted([start, *(start + cut for cut in cuts), start + 5 * 86_400])
    whole = list(cron.due_between(edges[0], edges[-1], place))
    pieces = [at for low, high in pairwise(edges) for at in cron.due_between(low, high, place)]
    assert pieces == whole
    assert all(low < high for low, high in pairwise(whole))
    assert all(edges[0] < at <= edges[-1] and at % 60 == 0 for at in whole)


@_MANY
@given(_lines(), st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]), _STARTS)
def test_it_is_due_when_cronsim_says(line: str, zone: str, start: float) -> None:
    place = ZoneInfo(zone)
    every = read_cron(line).due_after(start, place)
    theirs = (at.timestamp() for at in CronSim(line, datetime.fromtimestamp(start, place)))
    known = (at for at in theirs if at > start)  # begun within the hour shown twice, it repeats one from before
    assert [next(every) for _ in range(20)] == [next(known) for _ in range(20)]


@given(st.text(alphabet="0123456789*/,-L#WMONJAFEB @", max_size=20))
def test_no_text_breaks_it(line: str) -> None:
    try:
        cron = Cron(line)
    except ValueError:
        return
    assert next(cron.due_after(0.0, UTC)) > 0


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 29 2 MON#5", "59 23 31 12 *"])
def test_a_rare_day_is_found(line: str) -> None:
    assert next(Cron(line).due_after(4_100_000_000.0, UTC)) > 4_100_000_000.0


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2,4 *"])
def test_a_day_that_never_comes_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is never due"):
        Cron(line)


def test_words_are_those_of_the_clock_there() -> None:
    at = datetime(2027, 1, 1, 3, 30, tzinfo=UTC).timestamp()
    assert words_of("night", at, ZoneInfo("America/New_York")) == {
        "date": "2026-12-31",
        "time": "22:30",
        "datetime": "2026-12-31T22:30-05:00",
        "year": "2026",
        "month": "12",
        "day": "31",
        "week": "2026-W53",
        "yesterday": "2026-12-30",
        "schedule": "night",
    }
    assert tuple(words_of("night", at, UTC)) == PLACEHOLDERS


def test_every_zone_can_be_read() -> None:
    assert len(zone_names()) > 400
    assert read_zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    assert read_zone("../../etc/passwd") is None


# -- editors


def _mistakes(text: str) -> list[str]:
    validator: Any = Draft7Validator(make_schemas()["schedules"])
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("text", [_FULL, "schedules:\n", "schedules: {}\nnotify:\n"])
def test_an_editor_takes_what_the_application_takes(text: str) -> None:
    assert _mistakes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "daily: {crew: a, cron: 0 7 * * *}",
        "schedules: {a: {crew: a}}",
        "schedules: {a: {crew: a, cron: 0 7 * * *, catchup: all}}",
        "schedules: {a: {crew: a, cron: 0 7 * * *, catch_up: last}}",
        "schedules: {a: {crew: a, cron: 0 7 * * *, inputs: {b: true}}}",
        "schedules: {a: {crew: a, cron: 0 7 * * *, notify_on: [fialed]}}",
        "schedules: {a: {crew: a, cron: 0 7 * * *, on_failure: {retry: {attempts: 0}}}}",
        "notify: {a: {}}",
        "notify: {a: {command: ./tell}}",
        "notify: {a: {smtp: {host: a, to: [b@c.d]}}}",
    ],
)
def test_an_editor_shows_what_the_application_would_refuse(text: str) -> None:
    assert _mistakes(text)
