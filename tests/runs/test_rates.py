"""Rate limits, shared by all processes on a database: counted from what each of them began, and when."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from project.spec import ModelSpec
from runs.calls.rates import Rates, rate_key
from runs.stored.store import RunStore
from runs.stored.tables import CALLS
from tests.lab import APPLICATION, Lab

CALLER = """
import json, sys, time
from pathlib import Path
from project.settings import load_settings
from runs.stored.database import open_database
from runs.calls.rates import Rates
import os
rates = Rates(open_database(load_settings(Path(sys.argv[1]), os.environ)))
begun = []
for _ in range(8):
    rates.wait("openai", 4, 0.5, lambda: None)
    begun.append(time.monotonic())
print(json.dumps(begun))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """An open database with Muster's tables; other processes find it by the environment and the folder."""
    from runs.stored.database import open_database

    if request.param == "postgresql":
        monkeypatch.setenv("MUSTER_DATABASE_URL", request.getfixturevalue("postgres"))
    made = open_database(Lab(tmp_path).settings())
    RunStore(made)
    return made


def test_three_processes_together_never_begin_more_calls_than_the_limit(database: sa.Engine, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALLER, str(tmp_path)]
    callers = [subprocess.Popen(command, cwd=APPLICATION, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    begun = sorted(at for caller in callers for at in json.loads(caller.communicate(timeout=60)[0]))
    assert len(begun) == 24
    assert min(later - first for first, later in zip(begun, begun[4:], strict=False)) >= 0.5
    database.dispose()


def test_a_limit_does_not_hold_up_the_calls_of_another_provider(database: sa.Engine) -> None:
    rates = Rates(database)
    rates.wait("one", 1, 3600, _never)
    rates.wait("another", 1, 3600, _never)
    database.dispose()


def test_who_waits_for_room_can_be_stopped(database: sa.Engine) -> None:
    rates = Rates(database)
    rates.wait("one", 1, 3600, _never)
    with pytest.raises(KeyboardInterrupt):
        rates.wait("one", 1, 3600, _raise)
    database.dispose()


def test_a_clock_that_was_set_back_does_not_block_calls(database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.execute(CALLS.insert().values(rate="one", at=4_000_000_000.0))
    Rates(database).wait("one", 1, 3600, _never)
    database.dispose()


def test_models_of_one_provider_and_server_share_a_limit() -> None:
    one, other = (ModelSpec(model=f"openai/{name}") for name in ("small", "large"))
    assert rate_key(one) == rate_key(other) == "openai"
    assert rate_key(ModelSpec(model="openai/small", base_url="http://here/v1")) == "openai http://here/v1"


def test_a_call_waits_for_room_while_the_run_can_still_be_stopped(lab: Lab) -> None:
    lab.write(
        agents="worker: {role: Worker, goal: Do it, backstory: You work.}",
        tasks="""
            one: {description: "@answer: one of {topic}", expected_output: A line., agent: worker}
            two: {description: "@answer: two of {topic}", expected_output: A line., agent: worker}
        """,
    )
    text = (lab.root / "config" / "models.yaml").read_text()
    (lab.root / "config" / "models.yaml").write_text(f"{text}  rate_limit: {{calls: 1, seconds: 600}}\n")
    seen = threading.Event()
    plan = lab.plan(inputs={"topic": "rain"})
    run_id = lab.runner.start(plan, listener=_when("task_done", seen))
    assert seen.wait(30)
    lab.runner.store.change(run_id, {"wanted": "pause"}, state="running")
    outcome = lab.runner.wait(run_id)
    assert (outcome.status, outcome.reason) == ("paused", "paused by an operator")


def _when(kind: str, seen: threading.Event) -> Callable[[object], None]:
    def listen(event: object) -> None:
        if getattr(event, "kind", "") == kind:
            seen.set()

    return listen


def _never() -> None:
    raise AssertionError("there was room")


def _raise() -> None:
    raise KeyboardInterrupt
