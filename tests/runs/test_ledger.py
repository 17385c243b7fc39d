"""Reservations in the database: exact over processes, settled once, and kept for ever where a process died."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from policy.budget import Scope, Spent
from policy.decide import Call
from project.spec import BudgetSpec
from runs.governed.ceilings import Ceilings
from runs.governed.ledger import Ledger, Reservation, Shared, lost_of
from runs.governed.spending import RESERVED, Spending
from runs.stored.store import RunStore
from runs.stored.tables import RESERVATIONS, RUNS, TOTALS, make_tables
from runs.told.report import Step
from tests.lab import APPLICATION, Lab

WORST = Spent(model_calls=1, input_tokens=40, output_tokens=60, usd=Decimal("0.01"))
CALL = Call("model", "one", "write", "writer", "openai/x")
MONTH = Shared(Scope("this month", "policy.yaml"), BudgetSpec(max_usd=Decimal("0.255")), "project p", "month")
SEEDED = replace(MONTH, project="p")
SPENDER = """
import os, sys
from decimal import Decimal
from pathlib import Path
from project.settings import load_settings
from runs.stored.database import open_database
from runs.governed.ledger import Ledger
from tests.runs.test_ledger import CALL, MONTH, WORST, go_on
ledger = Ledger(open_database(load_settings(Path(sys.argv[1]), os.environ)))
number = 0
while not isinstance(made := ledger.reserve(sys.argv[2], CALL, WORST, [MONTH], go_on), str):
    number += 1
    print(number, flush=True)
    if len(sys.argv) > 3:
        sys.stdin.read()
    ledger.settle(made, WORST, go_on)
"""


def go_on() -> None:
    """Nobody wants the process to end."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """An open database with Muster's tables; other processes find it by the environment and the folder."""
    from runs.stored.database import open_database

    if request.param == "postgresql":
        monkeypatch.setenv("MUSTER_DATABASE_URL", request.getfixturevalue("postgres"))
    made = open_database(Lab(tmp_path).settings())
    RunStore(made)
    yield made
    made.dispose()


def reserved(ledger: Ledger, run_id: str = "one", shared: Any = (MONTH,)) -> Reservation:
    made = ledger.reserve(run_id, CALL, WORST, shared, go_on)
    assert isinstance(made, Reservation)
    return made


def month(ledger: Ledger, made: Reservation) -> Spent:
    return ledger.totals(made.totals)[made.totals[0]]


def model_step(made: Reservation, **more: Any) -> Step:
    """A journaled step of the call for which `made` was reserved."""
    usage = {"input_tokens": 30, "output_tokens": 10}
    record = {"kind": "model", "task": "write", "agent": "writer", "usage": usage, "cost_usd": "0.004", "answer": {}}
    return Step("write/writer/model#1", "write", "model", 1.0, 2.0, record | {RESERVED: made.id, "seconds": 2.0} | more)


def spending(ledger: Ledger) -> Spending:
    return Spending(BudgetSpec(max_usd=Decimal(1)), Ceilings(shared=[MONTH]), run_id="one", ledger=ledger)


def test_processes_together_spend_up_to_the_limit_and_not_a_call_more(database: sa.Engine, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(tmp_path)]
    spenders = [
        subprocess.Popen([*command, f"run-{number}"], cwd=APPLICATION, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    made = sum(len(one.communicate(timeout=90)[0].split()) for one in spenders)
    ledger = Ledger(database)
    assert made == 25
    assert ledger.reserve("one", CALL, WORST, [MONTH], go_on) == (
        "max_usd of this month: 0.2500 spent, the next call may cost 0.0100, ceiling 0.255; policy.yaml raises it for new runs"
    )


def test_a_process_killed_in_a_call_leaves_its_reservation(database: sa.Engine, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPENDER, str(tmp_path), "one", "stay"]
    process = subprocess.Popen(command, cwd=APPLICATION, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ledger = Ledger(database)
    run = spending(ledger)
    run.remember([])
    (left,) = ledger.of_run("one")
    assert (left.state, left.spent.usd, left.spent.input_tokens) == ("lost", Decimal("0.01"), 100)
    assert month(ledger, left).usd == Decimal("0.01")
    assert (run.spent, run.committed().usd) == (Spent(), Decimal("0.01"))
    assert lost_of([left]) == {"calls": 1, "tokens": 100, "cost_usd": "0.01"}


def test_what_is_settled_twice_counts_once(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger)
    real = Spent(model_calls=1, input_tokens=7, usd=Decimal("0.013"), seconds=1.5)
    for _ in range(2):
        ledger.settle(made, real, go_on)
    assert month(ledger, made) == real
    assert [one.state for one in ledger.of_run("one")] == ["settled"]


def test_fractions_of_the_smallest_amount_are_rounded_up(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger)
    ledger.settle(made, Spent(model_calls=1, usd=Decimal("0.0000000000001")), go_on)
    assert month(ledger, made).usd == Decimal("0.000000000001")


def test_a_call_that_does_not_fit_leaves_nothing(database: sa.Engine) -> None:
    ledger = Ledger(database)
    day = Shared(Scope("this day"), BudgetSpec(max_model_calls=0), "project p", "day")
    assert "max_model_calls of this day: 0 of 0 used" in str(ledger.reserve("one", CALL, WORST, [MONTH, day], go_on))
    assert ledger.of_run("one") == []
    assert all(one == Spent() for one in ledger.totals([MONTH.total(0), day.total(0)]).values())


def test_what_was_journaled_before_it_was_settled_is_settled_by_the_journal(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger)
    run = spending(ledger)
    run.remember([model_step(made)])
    assert (ledger.of_run("one"), month(ledger, made).usd) == ([], Decimal("0.004"))
    assert run.committed().usd == Decimal("0.004")


def test_what_was_settled_and_never_journaled_was_spent_all_the_same(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger)
    ledger.settle(made, Spent(model_calls=1, usd=Decimal("0.004")), go_on)
    run = spending(ledger)
    run.remember([])
    assert [(one.state, one.spent.usd) for one in ledger.of_run("one")] == [("lost", Decimal("0.004"))]
    assert (run.committed().usd, month(ledger, made).usd) == (Decimal("0.004"), Decimal("0.004"))


def test_a_journaled_attempt_that_may_have_been_billed_keeps_its_reservation(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger)
    failed = model_step(made, error={"kind": "timeout"}, usage=None, cost_usd=None)
    for _ in range(2):
        run = spending(ledger)
        run.remember([failed])
        assert (run.spent.model_calls, run.committed().model_calls, run.committed().usd) == (1, 1, Decimal("0.01"))
        assert (month(ledger, made).usd, month(ledger, made).model_calls) == (Decimal("0.01"), 1)


def test_reservations_without_shared_ceilings_touch_no_total(database: sa.Engine) -> None:
    ledger = Ledger(database)
    made = reserved(ledger, shared=())
    assert made.totals == ()
    with database.connect() as connection:
        assert connection.execute(sa.select(TOTALS)).all() == []


def test_tables_and_columns_are_added_to_an_older_database(database: sa.Engine) -> None:
    with database.begin() as connection:
        for table in (RESERVATIONS, TOTALS):
            table.drop(connection)
        connection.exec_driver_sql(f"ALTER TABLE {RUNS.name} DROP COLUMN added")
    make_tables(database)
    assert "added" in {column["name"] for column in sa.inspect(database).get_columns(RUNS.name)}
    assert Ledger(database).of_run("one") == []


def test_processes_that_begin_a_total_together_count_what_was_before_once(database: sa.Engine, tmp_path: Path) -> None:
    with database.begin() as connection:
        row = {column.name: "" if isinstance(column.type, sa.Text) else 0 for column in RUNS.columns}
        row |= {"offline": False, "project": "p", "state": "succeeded", "created_at": time.time()}
        row |= {"updated_at": time.time(), "origin": "{}", "added": "{}"}
        spent = Spent(model_calls=20, usd=Decimal("0.105")).to_json()
        connection.execute(RUNS.insert().values(row | {"run_id": "before", "spent": json.dumps(spent)}))
        connection.execute(RUNS.insert().values(row | {"run_id": "other", "project": "q", "spent": json.dumps(spent)}))
    command = [sys.executable, "-c", SPENDER.replace("MONTH", "SEEDED"), str(tmp_path)]
    spenders = [
        subprocess.Popen([*command, f"run-{number}"], cwd=APPLICATION, stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    assert sum(len(one.communicate(timeout=90)[0].split()) for one in spenders) == 15
    total = SEEDED.total(time.time())
    assert Ledger(database).totals([total])[total].model_calls == 35


@pytest.mark.parametrize(
    ("period", "zone", "begins"),
    [
        ("day", "UTC", 1_795_996_800.0),
        ("day", "Asia/Tokyo", 1_796_050_800.0),
        ("month", "UTC", 1_793_491_200.0),
        ("month", "Asia/Tokyo", 1_796_050_800.0),
    ],
)
def test_a_period_begins_at_midnight_of_its_time_zone(period: Any, zone: str, begins: float) -> None:
    at = 1_796_065_200.0  # 2026-11-30 19:00 UTC
    assert Shared(Scope(), BudgetSpec(), "project p", period, ZoneInfo(zone)).begins_at(at) == begins


@pytest.mark.parametrize(
    ("period", "zone", "named"),
    [
        ("day", "UTC", "project p 2026-11-30"),
        ("day", "Asia/Tokyo", "project p 2026-12-01"),
        ("month", "UTC", "project p 2026-11"),
        ("month", "Asia/Tokyo", "project p 2026-12"),
    ],
)
def test_a_day_is_that_of_its_time_zone(period: Any, zone: str, named: str) -> None:
    at = 1_796_065_200.0  # 2026-11-30 19:00 UTC
    assert Shared(Scope(), BudgetSpec(), "project p", period, ZoneInfo(zone)).total(at) == named
