"""What runs do on SQLite they do on PostgreSQL, too: a handful of the other files' scenarios, the database switched."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from project.spec import BudgetSpec
from runs.executing.worker import Worker
from runs.people.inbox import Inbox, queue_answered
from tests.lab import Lab
from tests.postgres import PostgresServer
from tests.runs.boss import boss, plan, subtask
from tests.runs.scene import until
from tests.runs.test_for_each import write_each
from tests.runs.test_managing import write_crew
from tests.scripted_server import ScriptedServer


@pytest.fixture
def shared(postgres: str, tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A project whose runs are in PostgreSQL."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres)
    made = Lab(tmp_path / "project")
    made.write(
        agents="worker: {role: Worker, goal: Do the work, backstory: You work.}",
        tasks="""
            draft: {description: "@answer: a draft about {topic}", expected_output: A line., agent: worker}
            final: {description: "@answer: the text about {topic}", expected_output: A line., agent: worker}
        """,
    )
    made.models(server.base_url)
    yield made
    made.close()


def test_a_run_ends_and_its_result_is_kept(shared: Lab) -> None:
    outcome = shared.run(inputs={"topic": "rain"})
    assert (outcome.status, outcome.output) == ("succeeded", "the text about rain")
    shared.restart()
    assert shared.summary(outcome.run_id)["output"] == "the text about rain"


def test_a_run_stopped_at_a_ceiling_goes_on_in_another_process(shared: Lab, server: ScriptedServer) -> None:
    outcome = shared.run(inputs={"topic": "rain"}, budget=BudgetSpec(max_model_calls=1))
    assert outcome.status == "stopped"
    shared.restart()
    assert shared.resume(outcome.run_id, budget=BudgetSpec(max_model_calls=5)).output == "the text about rain"
    assert server.stats()["attempts"] == 2


def test_a_run_whose_process_died_makes_only_the_calls_in_flight_again(shared: Lab, server: ScriptedServer) -> None:
    write_each(shared, ["a", "b", "c"])
    server.configure(latency="300")
    run_id = shared.runner.start(shared.plan())
    server.wait_for(lambda stats: stats["ok"] == 1 and stats["in_flight"] == 3)
    shared.runner.abandon(run_id, "the process died")
    shared.runner.store.set(run_id, state="running", worker="dead")
    shared.restart()
    server.configure(latency="0")
    outcome = shared.resume(run_id)
    assert outcome.output == "## a\n\ndid a as 1\n\n## b\n\ndid b as 2\n\n## c\n\ndid c as 3"
    assert server.stats()["attempts"] == 1 + 3 + 3


def test_a_manager_leads(shared: Lab) -> None:
    with ScriptedServer(
        boss([plan(subtask("one"), subtask("two", depends_on=["one"]), result=["one", "two"])])
    ) as model:
        write_crew(shared, model)
        outcome = shared.run("team")
    assert (outcome.status, outcome.output) == ("succeeded", "The whole.")


def test_a_question_waits_and_its_answer_sets_the_run_going(shared: Lab) -> None:
    shared.write(
        tasks="""
            final:
              description: "@answer: the text about {topic}"
              expected_output: A line.
              agent: worker
              human_input: true
        """
    )
    outcome = shared.run(inputs={"topic": "rain"})
    assert outcome.status == "waiting"
    (question,) = Inbox(shared.runner.database).open(outcome.run_id)
    assert Inbox(shared.runner.database).answer(question.question_id, "", "me")
    assert queue_answered(shared.runner.store, outcome.run_id, time.time())
    lines: list[str] = []
    worker = Worker(shared.runner, shared.root, width=1, tell=lines.append)
    worker.take()
    until(lambda: shared.runner.find(outcome.run_id).state == "succeeded")
    until(worker.is_idle)


def test_a_run_that_another_process_took_is_left_at_its_next_step(shared: Lab, server: ScriptedServer) -> None:
    server.configure(latency="400")
    before = shared.runner
    run_id = before.start(shared.plan(inputs={"topic": "rain"}))
    server.wait_for(lambda stats: stats["in_flight"] == 1)
    before.store.set(run_id, worker="somebody else")
    outcome = before.wait(run_id)
    assert (outcome.status, outcome.reason) == ("interrupted", "another process has taken the run over")
    row = before.find(run_id)
    assert (row.state, row.worker) == ("running", "somebody else")
    assert before.source().family(run_id)[0].status == "PENDING"  # it cancelled nothing


def test_a_run_goes_on_when_the_database_comes_back(
    shared: Lab, server: ScriptedServer, postgres_server: PostgresServer
) -> None:
    server.configure(latency="600")
    lines: list[str] = []
    shared.runner.patience.tell = lines.append
    run_id = shared.runner.start(shared.plan(inputs={"topic": "rain"}))
    server.wait_for(lambda stats: stats["in_flight"] == 1)
    postgres_server.stop()
    found: dict[str, Any] = {}
    waiting = threading.Thread(target=lambda: found.update(outcome=shared.runner.wait(run_id)))
    waiting.start()
    until(lambda: lines)
    postgres_server.start()
    waiting.join(90)
    outcome = found["outcome"]
    assert (outcome.output, outcome.reason) == ("the text about rain", "")
    assert server.stats()["attempts"] == 2
    assert lines[0].startswith("the database does not answer, trying again: ")
    assert lines[1].startswith("the database answers again, after ")
