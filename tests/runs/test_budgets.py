"""Ceilings of tasks, agents, calls, days and months; what a person adds; and what a call that died leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from policy.budget import Added
from project.errors import AppError
from project.spec import BudgetSpec
from runs.governed.ledger import Ledger, Reservation, lost_of
from runs.repair.fork import fork_run
from runs.stored.tables import RESERVATIONS, RUNS, TOTALS
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import effects, model_spec, tool_file, write_project
from tests.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
TWO = {"first": "@answer: one", "second": "@answer: two"}
PRICED = {"price": {"input": 1000, "output": 1000}, "max_tokens": 100}
RUN = """
import sys
from pathlib import Path
from tests.lab import Lab
Lab(Path(sys.argv[1])).run(run_id=sys.argv[2])
"""


def budgets(lab: Lab, **found: Any) -> None:
    """Set `budgets:` of policy.yaml, and let agents do what they like."""
    free = {"send": "allow", "spend": "allow", "execute": "allow"}
    lab.write(policy=json.dumps({"defaults": free, "budgets": found}))


def kept(lab: Lab, run_id: str) -> list[Reservation]:
    return Ledger(lab.runner.database).of_run(run_id)


def totals(lab: Lab) -> dict[str, Any]:
    with lab.runner.database.connect() as connection:
        return {row["name"]: dict(row) for row in connection.execute(sa.select(TOTALS)).mappings()}


@pytest.fixture(autouse=True)
def no_totals(lab: Lab) -> None:
    with lab.runner.database.begin() as connection:
        connection.execute(TOTALS.delete())
        connection.execute(RESERVATIONS.delete())
        connection.execute(RUNS.update().values(project="earlier"))  # their costs would count into the new totals


def kill_in_a_call(lab: Lab, server: ScriptedServer, run_id: str, calls: int = 1) -> None:
    """Kill a process of the run while its model is asked for the n-th time, before any answer."""
    command = [sys.executable, "-c", RUN, str(lab.root), run_id]
    process = subprocess.Popen(command, cwd=lab.root, env=os.environ | {"PYTHONPATH": str(ROOT)})
    server.wait_for(lambda stats: stats["attempts"] == calls)
    process.send_signal(signal.SIGKILL)
    process.wait()


# -- scopes


def test_a_ceiling_of_a_task_stops_all_its_attempts_and_no_other_task(lab: Lab, server: ScriptedServer) -> None:
    second = {
        "description": "@answer: no",
        "guardrails": [{"matches": "FINAL"}],
        "guardrail_max_retries": 9,
        "budget": {"max_model_calls": 2},
    }
    write_project(lab, {"first": "@answer: one", "second": second})
    outcome = lab.run(run_id="task-scope")
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 3)
    assert outcome.reason == (
        "second: max_model_calls of task second: 2 of 2 used; `budget:` of the task in tasks.yaml raises it for new runs"
    )
    assert outcome.fix == (
        "`muster runs resume task-scope --add-budget model_calls=10` goes on; what is done is kept and not paid again"
    )


def test_pieces_of_a_list_share_the_ceiling_of_their_task(lab: Lab, server: ScriptedServer) -> None:
    plan = {"description": '@answer: {"steps": ["a", "b", "c"]}', "output": {"steps": "list[str]"}}
    work = {"description": "@answer: {item}", "for_each": "outputs.plan.steps", "budget": {"max_model_calls": 2}}
    write_project(lab, {"plan": plan, "work": work})
    outcome = lab.run()
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 3)
    assert "max_model_calls of task work: 2 of 2 used" in outcome.reason


def test_a_ceiling_of_an_agent_counts_all_its_tasks_also_over_starts(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO | {"third": "@answer: three"}, {"budget": {"max_model_calls": 2}})
    outcome = lab.run()
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 2)
    assert outcome.reason == (
        "third: max_model_calls of agent worker: 2 of 2 used; `budget:` of the agent in agents.yaml raises it for new runs"
    )
    lab.restart()
    assert lab.resume(outcome.run_id).status == "stopped"
    assert server.stats()["attempts"] == 2


def test_a_call_that_may_cost_more_than_one_call_may_is_not_made(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, TWO)
    budgets(lab, call={"max_usd": 0.15})
    outcome = lab.run()
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 0)
    assert outcome.reason.startswith("first: max_usd of a call: 0.0000 spent, the next call may cost 0.17")
    assert outcome.reason.endswith("ceiling 0.15; `budgets: call:` in policy.yaml raises it for new runs")
    assert lab.resume(outcome.run_id, added=Added(usd=Decimal("0.05"))).status == "succeeded"


def test_a_call_is_given_up_after_the_seconds_that_one_call_may_take(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, max_attempts=1)
    write_project(lab, TWO)
    budgets(lab, call={"max_seconds": 0.4})
    server.configure(faults=[{"fault": "hang"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "no answer within 0.4 s" in outcome.reason


def test_the_seconds_of_a_task_are_those_of_its_calls(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab, {"first": "@answer: one", "second": {"description": "@answer: two", "budget": {"max_seconds": 0.3}}}
    )
    server.configure(latency="700")
    lab.models(server.base_url, max_attempts=2, backoff_seconds=0.01)
    outcome = lab.run()
    assert outcome.status == "stopped"
    assert "max_seconds of task second: 0.3 s of 0.3 s used" in outcome.reason


def test_dollars_of_tools_stop_the_third_call(
    lab: Lab, server: ScriptedServer, muster: Muster, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(noted))
    body = 'with open(os.environ["NOTED"], "a") as file:\n    file.write(text + "\\n")\nreturn "noted"'
    lab.write(tools__note_py=tool_file(body))
    model_spec(lab, server.base_url, price={"input": 0, "output": 0})
    calls = "".join(f'@call note {{"text": "{name}"}}\n' for name in "abc")
    write_project(lab, {"work": f"{calls}@answer: done"}, {"tools": ["note"]})
    lab.write(policy=json.dumps({"tools": {"note": {"price_usd": 0.4}}, "defaults": {"send": "allow"}}))
    outcome = lab.run(budget=BudgetSpec(max_usd=Decimal(1)), run_id="paid-tools")
    assert (outcome.status, effects(noted)) == ("stopped", ["a", "b"])
    assert "max_usd: 0.8000 spent, the next call may cost 0.4000, ceiling 1" in outcome.reason
    assert "in all: $0.8000" in muster("runs", "costs", "paid-tools").out
    assert lab.resume("paid-tools", added=Added(usd=Decimal("0.2"))).output == "done"
    assert effects(noted) == ["a", "b", "c"]


# -- lanes side by side


def test_a_lane_waits_for_calls_that_use_less_than_they_reserved(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, max_tokens=1000)
    tasks: dict[str, Any] = {name: {"description": f"@answer: {name}", "context": []} for name in ("a", "b", "c")}
    write_project(lab, tasks)
    server.configure(latency="200")
    # A call may use about 1080 and uses 60: two do not fit at once, three one after another do.
    outcome = lab.run(budget=BudgetSpec(max_tokens=1300))
    assert (outcome.reason, outcome.status, server.stats()["attempts"]) == ("", "succeeded", 3)


# -- what is shared


def test_runs_share_the_ceilings_of_the_day_and_the_month(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    budgets(lab, day={"max_model_calls": 3}, month={"max_model_calls": 100})
    assert lab.run(run_id="early").status == "succeeded"
    outcome = lab.run(run_id="late")
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 3)
    assert outcome.reason == (
        "second: max_model_calls of this day: 3 of 3 used; `budgets: day:` in policy.yaml raises it for new runs"
    )
    assert sorted(row["model_calls"] for row in totals(lab).values()) == [3, 3]
    assert lab.resume("late", added=Added(model_calls=1)).status == "succeeded"
    assert sorted(row["model_calls"] for row in totals(lab).values()) == [4, 4]


def test_a_ceiling_counts_what_was_spent_before_it_was_written(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, TWO)
    before = [lab.summary(lab.run().run_id) for _ in range(2)]
    journaled = before[1]["run_id"]  # as if it had died before its row told what it had spent
    lab.runner.store.set(journaled, state="failed", spent="{}")
    budgets(lab, month={"max_model_calls": 5, "max_usd": 10})
    outcome = lab.run()
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 5)
    assert "max_model_calls of this month: 5 of 5 used" in outcome.reason
    (total,) = totals(lab).values()
    spent = sum(Decimal(one["cost_usd"]) for one in (*before, lab.summary(outcome.run_id)))
    assert Decimal(total["picodollars"]) / 10**12 == spent


def test_a_fork_does_not_count_what_it_has_taken_over(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    run_id = lab.run().run_id
    row, folder = lab.runner.find(run_id), lab.runner.folder(run_id).parent
    fork_run(lab.runner.database, folder, row, row.read_plan(), "second", "fork-of-it", by="ann", now=time.time())
    assert lab.resume("fork-of-it").status == "succeeded"
    assert server.stats()["attempts"] == 3
    budgets(lab, day={"max_model_calls": 4})
    assert lab.run().status == "stopped"
    assert server.stats()["attempts"] == 4


def test_what_is_settled_is_what_was_used(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, TWO)
    budgets(lab, month={"max_usd": 10})
    outcome = lab.run()
    (total,) = totals(lab).values()
    found = lab.summary(outcome.run_id)
    assert Decimal(total["picodollars"]) / 10**12 == Decimal(found["cost_usd"]) > 0
    assert total["tokens"] == found["usage"]["input_tokens"] + found["usage"]["output_tokens"]
    assert kept(lab, outcome.run_id) == []


def test_a_price_must_be_known_under_a_ceiling_of_any_scope(lab: Lab) -> None:
    write_project(lab, TWO)
    budgets(lab, month={"max_usd": 5})
    assert refused(lab) == "the price of openai/scripted is not known, so max_usd of this month can't be kept"
    budgets(lab, call={"max_usd": 5})
    assert refused(lab) == "the price of openai/scripted is not known, so max_usd of a call can't be kept"
    lab.allow_all()
    write_project(lab, TWO | {"second": {"description": "@answer: two", "budget": {"max_usd": 1}}})
    assert refused(lab) == "the price of openai/scripted is not known, so max_usd of task second can't be kept"
    write_project(lab, TWO, {"budget": {"max_usd": 1}})
    assert refused(lab) == "the price of openai/scripted is not known, so max_usd of agent worker can't be kept"


def refused(lab: Lab) -> str:
    with pytest.raises(AppError) as caught:
        lab.run(run_id="unpriced")
    assert "at default in models.yaml" in caught.value.fixes()[0]
    assert lab.runner.store.find("unpriced") is None
    return str(caught.value)


def test_a_schedule_has_a_ceiling_for_its_day(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    origin = {"schedule": "morning", "daily_budget": {"max_model_calls": 3}, "timezone": "Asia/Tokyo"}
    for number in (1, 2):
        lab.runner.enqueue(lab.plan(), f"morning-{number}", origin=origin)
    assert lab.resume("morning-1").status == "succeeded"
    outcome = lab.resume("morning-2")
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 3)
    assert "max_model_calls of the day of schedule morning: 3 of 3 used" in outcome.reason
    assert "`daily_budget:` in schedules.yaml" in outcome.reason


# -- without ceilings


def test_a_run_without_ceilings_reserves_and_journals_nothing(lab: Lab) -> None:
    write_project(lab, TWO)
    outcome = lab.run(budget=BudgetSpec(max_seconds=60))
    assert outcome.status == "succeeded"
    assert kept(lab, outcome.run_id) == []
    assert not any("reservation" in step.record for step in lab.steps(outcome.run_id))


# -- going on


def test_what_is_added_raises_every_ceiling_and_adds_up(lab: Lab, server: ScriptedServer) -> None:
    tasks = {name: {"description": f"@answer: {name}", "budget": {"max_model_calls": 0}} for name in ("a", "b")}
    write_project(lab, tasks, {"budget": {"max_model_calls": 0}})
    budgets(lab, month={"max_model_calls": 0})
    run_id = lab.run(budget=BudgetSpec(max_model_calls=0)).run_id
    assert lab.resume(run_id, added=Added(model_calls=1)).status == "stopped"
    assert server.stats()["attempts"] == 1
    lab.restart()
    assert lab.resume(run_id).status == "stopped"
    assert lab.resume(run_id, added=Added(model_calls=1)).status == "succeeded"
    assert server.stats()["attempts"] == 2
    assert lab.runner.find(run_id).read_added() == Added(model_calls=2)


def test_a_stopped_run_tells_what_it_has(lab: Lab, muster: Muster) -> None:
    write_project(lab, TWO)
    lab.close()
    stopped = muster("run", "default", "--id", "half", "--max-model-calls", "1", "--json")
    assert stopped.code == 1
    assert json.loads(stopped.out)["partial_outputs"] == {"first": "one"}
    again = muster("runs", "resume", "half")
    assert f"done: first; what they gave lies in {lab.root}/.muster/runs/half/outputs" in again.err.splitlines()
    assert "hint: `muster runs resume half --add-budget model_calls=10` goes on" in again.err
    done = muster("runs", "resume", "half", "--add-budget", "model_calls=10", "--json")
    assert (done.code, json.loads(done.out)["partial_outputs"]) == (0, {})


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("euro=1", "--add-budget takes NAME=AMOUNT, got 'euro=1'"),
        ("usd", "--add-budget usd takes a number > 0, got ''"),
        ("usd=NaN", "--add-budget usd takes a number > 0, got 'NaN'"),
        ("usd=-1", "--add-budget usd takes a number > 0, got '-1'"),
        ("tokens=0.5", "--add-budget tokens takes a whole number > 0, got '0.5'"),
        ("usd=1,usd=2", "--add-budget usd is given twice"),
        ("seconds=1e400", "--add-budget seconds takes a number > 0, got '1e400'"),
    ],
)
def test_wrong_additions_are_refused(muster: Muster, added: str, said: str) -> None:
    printed = muster("runs", "resume", "any", "--add-budget", added)
    assert printed.code == 2
    assert said in printed.err


# -- calls that died


def test_a_call_that_died_keeps_what_was_reserved_for_it(lab: Lab, server: ScriptedServer, muster: Muster) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, TWO)
    budgets(lab, month={"max_usd": 10, "max_model_calls": 4})
    server.configure(faults=[{"fault": "hang"}])
    kill_in_a_call(lab, server, "died")
    (before,) = kept(lab, "died")
    assert (before.state, before.spent.model_calls, before.task) == ("reserved", 1, "first")
    server.configure(faults=[])
    assert lab.resume("died").status == "succeeded"
    (lost,) = kept(lab, "died")
    assert (lost.id, lost.state, lost.spent) == (before.id, "lost", before.spent)
    (total,) = totals(lab).values()
    spent = Decimal(lab.summary("died")["cost_usd"])
    assert Decimal(total["picodollars"]) / 10**12 == spent + lost.spent.usd
    assert total["model_calls"] == 3
    told = muster("runs", "costs", "died")
    assert "1 call whose end nobody knows" in told.out
    shared = muster("runs", "costs").out
    assert "this month  max_model_calls  3" in shared
    lab.restart()
    assert json.loads(muster("runs", "costs", "died", "--json").out)["lost"]["calls"] == 1


def test_a_call_that_died_counts_in_the_scopes_of_its_run(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO | {"first": {"description": "@answer: one", "budget": {"max_model_calls": 1}}})
    server.configure(faults=[{"fault": "hang"}])
    kill_in_a_call(lab, server, "died-in-task")
    server.configure(faults=[])
    outcome = lab.resume("died-in-task")
    assert outcome.status == "stopped"
    assert "max_model_calls of task first: 1 of 1 used" in outcome.reason
    assert lab.resume("died-in-task", added=Added(model_calls=1)).status == "succeeded"


def test_an_attempt_that_may_have_been_billed_keeps_its_worst_case(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, **PRICED, timeout_seconds=0.3, backoff_seconds=0.01)
    write_project(lab, {"first": "@answer: one"})
    budgets(lab, month={"max_usd": 10})
    server.configure(faults=[{"fault": "hang", "attempts": [1]}])
    outcome = lab.run()
    (lost,) = kept(lab, outcome.run_id)
    (total,) = totals(lab).values()
    spent = Decimal(lab.summary(outcome.run_id)["cost_usd"])
    assert (outcome.status, lost.state, lost.spent.model_calls) == ("succeeded", "lost", 0)
    assert lost.spent.usd > Decimal("0.1")
    assert Decimal(total["picodollars"]) / 10**12 == spent + lost.spent.usd
    assert total["model_calls"] == 2
    assert lost_of(kept(lab, outcome.run_id))["calls"] == 1


def test_an_attempt_that_reached_nobody_costs_nothing(lab: Lab) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    model_spec(lab, f"http://127.0.0.1:{port}/v1", **PRICED, max_attempts=2, backoff_seconds=0.01)
    write_project(lab, {"first": "@answer: one"})
    budgets(lab, month={"max_usd": 10})
    outcome = lab.run()
    (total,) = totals(lab).values()
    assert (outcome.status, total["picodollars"], total["tokens"], total["model_calls"]) == ("failed", 0, 0, 2)
    assert kept(lab, outcome.run_id) == []


def test_an_attempt_that_was_refused_gives_back_what_was_reserved(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, **PRICED, backoff_seconds=0.01)
    write_project(lab, {"first": "@answer: one"})
    budgets(lab, month={"max_usd": 10})
    server.configure(faults=[{"fault": "429-ms", "attempts": [1]}])
    outcome = lab.run()
    (total,) = totals(lab).values()
    assert Decimal(total["picodollars"]) / 10**12 == Decimal(lab.summary(outcome.run_id)["cost_usd"])
    assert (total["model_calls"], kept(lab, outcome.run_id)) == (2, [])


def test_an_interrupted_run_gives_back_what_it_did_not_use(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, rate_limit="{calls: 1, seconds: 3600}")
    write_project(lab, TWO)
    budgets(lab, month={"max_model_calls": 10})
    run_id = lab.start(lab.plan())
    server.wait_for(lambda stats: stats["attempts"] == 1)
    until = time.monotonic() + 20
    while not any(one.task == "second" for one in kept(lab, run_id)):
        assert time.monotonic() < until
        time.sleep(0.01)
    lab.runner.interrupt(run_id, "enough")
    (total,) = totals(lab).values()
    assert total["model_calls"] == 1
