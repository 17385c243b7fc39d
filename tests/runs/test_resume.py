"""Stopped in every way there is, a run goes on where it was: no journaled call is made again, the end is the same."""

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from project.errors import AppError
from project.spec import BudgetSpec
from tests.lab import ONE_AGENT, Lab
from tests.runs.scene import (
    crash_after,
    database,
    model_spec,
    said_to_model,
    step_names,
    tool_file,
    write_project,
)
from tests.scripted_server import ScriptedServer

NAMES = [
    "work/worker/model#1",
    "work/worker/note#1",
    "work/worker/model#2",
    "work/worker/note#2",
    "work/worker/model#3",
    "work/judge/verdict#1",
]
TWO = {"first": "@answer: one", "second": "@answer: two"}


def assert_nothing_paid_twice(server: ScriptedServer, calls: int) -> None:
    stats = server.stats()
    assert (stats["paid_twice"], stats["ok"], stats["never_ok"]) == (0, calls, 0)


def test_a_run_stopped_at_a_ceiling_goes_on_in_another_process(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_model_calls=1)).run_id
    lab.restart()
    outcome = lab.resume(run_id, budget=BudgetSpec(max_model_calls=9))
    assert (outcome.status, outcome.output) == ("succeeded", "two")
    assert_nothing_paid_twice(server, 2)


def test_a_run_goes_on_in_the_process_in_which_it_stopped(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_model_calls=1)).run_id
    assert lab.resume(run_id, budget=BudgetSpec(max_model_calls=9)).output == "two"
    assert_nothing_paid_twice(server, 2)


def test_a_run_resumed_without_a_higher_ceiling_stops_again(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_model_calls=1)).run_id
    assert lab.resume(run_id).status == "stopped"
    assert server.stats()["attempts"] == 1


def test_an_interrupted_run_keeps_the_call_that_was_in_flight(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(latency="300")
    run_id = lab.start(lab.plan())
    server.wait_for(lambda stats: stats["in_flight"] == 1)
    outcome = lab.runner.interrupt(run_id, "interrupted by a test")
    assert outcome.status == "interrupted"
    assert outcome.reason.endswith("interrupted by a test")
    assert step_names(lab, run_id) == ["first/worker/model#1"]
    lab.restart()
    assert lab.resume(run_id).output == "two"
    assert_nothing_paid_twice(server, 2)


def test_an_abandoned_run_makes_the_call_in_flight_again(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(latency="300")
    run_id = lab.start(lab.plan())
    server.wait_for(lambda stats: stats["in_flight"] == 1)
    assert lab.runner.abandon(run_id, "left").status == "interrupted"
    lab.restart()
    server.wait_for(lambda stats: stats["in_flight"] == 0)
    server.configure(latency="0")
    assert lab.resume(run_id).output == "two"
    assert server.stats()["attempts"] == 3


def test_a_run_that_ran_out_of_attempts_makes_only_the_failed_call_again(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, max_attempts=2)
    write_project(lab, TWO)
    server.configure(faults=[{"fault": "429-ms", "match": "@answer: two"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason == "second: the model 'default' did not answer after 2 attempts: 429: Rate limit reached"
    server.configure(faults=[])
    lab.restart()
    assert lab.resume(outcome.run_id).output == "two"
    assert_nothing_paid_twice(server, 2)
    assert step_names(lab, outcome.run_id) == [
        "first/worker/model#1",
        "second/worker/model#1",
        "second/worker/backoff#1.1",
        "second/worker/model#1.2",
        "second/worker/backoff#1.2",
        "second/worker/model#1.3",
    ]


def test_a_resumed_run_has_its_attempts_again(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, max_attempts=2)
    write_project(lab, {"work": "@answer: one"})
    server.configure(faults=[{"fault": "429-ms", "attempts": [1, 2, 3]}])
    run_id = lab.run().run_id
    assert lab.resume(run_id).output == "one"
    assert server.stats()["attempts"] == 4


def test_a_run_whose_answers_were_rejected_has_its_tries_again(lab: Lab, server: ScriptedServer) -> None:
    answers = "@answer: no\n@after-refusal: not yet\n@after-refusal: FINAL"
    write_project(
        lab, {"work": {"description": answers, "guardrails": [{"matches": "FINAL"}], "guardrail_max_retries": 0}}
    )
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: the output was not accepted: ")
    assert outcome.fix == f"`muster runs trace {outcome.run_id}` shows every answer and verdict"
    lab.restart()
    assert lab.resume(outcome.run_id).status == "failed"
    assert lab.resume(outcome.run_id).output == "FINAL"
    assert_nothing_paid_twice(server, 3)


def test_a_run_that_waits_for_a_person_asks_again(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"first": {"description": "@answer: one", "human_input": True}, "second": "@answer: two"})
    outcome = lab.run()
    assert (outcome.status, outcome.reason) == ("waiting", "first: a person is asked about the output of first")
    lab.restart()
    assert lab.resume(outcome.run_id).status == "waiting"
    assert lab.resume(outcome.run_id, ask=lambda question: "").output == "two"
    assert_nothing_paid_twice(server, 2)


def test_a_crash_before_the_run_was_started_loses_nothing(lab: Lab) -> None:
    write_project(lab, TWO)
    versions = lab.runner.store.find(lab.run().run_id).read_versions()
    lab.runner.store.insert("stored", lab.plan(), versions, 0.0)
    assert lab.resume("stored").output == "two"


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_crash_after_any_step_ends_with_the_same_output_and_totals(
    lab: Lab, server: ScriptedServer, steps: int
) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    work = '@call note {"text": "a"}\n@call note {"text": "b"}\n@echo'
    write_project(lab, {"work": {"description": work, "guardrails": [{"matches": "noted b"}]}}, {"tools": ["note"]})
    undisturbed = lab.run()
    calm = lab.summary(undisturbed.run_id)
    assert step_names(lab, undisturbed.run_id) == NAMES
    crash_after(lab, undisturbed.run_id, "work", steps)
    outcome = lab.resume(undisturbed.run_id)
    found = lab.summary(undisturbed.run_id)
    assert (outcome.status, outcome.output) == ("succeeded", undisturbed.output)
    assert found["usage"] == calm["usage"]
    journaled = sum("model#" in name for name in NAMES[:steps])
    assert server.stats()["attempts"] == 3 + 3 - journaled


def test_a_crash_in_a_task_leaves_its_finished_neighbours_alone(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "a": {"description": "@answer: one", "context": []},
            "b": {"description": "@answer: two", "context": []},
            "last": "@answer: three",
        },
    )
    run_id = lab.run().run_id
    crash_after(lab, run_id, "last", 0)
    assert lab.resume(run_id).output == "three"
    again = [request for request in server.requests if request.attempt == 2]
    assert [said_to_model(request).count("@answer: three") for request in again] == [1]


def test_a_finished_run_is_not_run_again(lab: Lab) -> None:
    write_project(lab, TWO)
    run_id = lab.run().run_id
    with pytest.raises(AppError) as caught:
        lab.resume(run_id)
    assert str(caught.value) == f"run {run_id} is finished"
    assert caught.value.fixes() == [f"`muster runs show {run_id}` prints its result"]


def test_a_run_under_way_in_another_process_is_not_resumed(lab: Lab) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_model_calls=1)).run_id
    code = "import fcntl, os, sys; f = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(f, fcntl.LOCK_EX); "
    code += "os.ftruncate(f, 0); os.write(f, str(os.getpid()).encode()); print('held', flush=True); sys.stdin.read()"
    lock = str(lab.runner.folder(run_id) / "lock")
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(AppError) as caught:
            lab.resume(run_id)
        assert str(caught.value) == f"run {run_id} is under way in process {other.pid}"
        other.communicate("")
    assert lab.resume(run_id, budget=BudgetSpec(max_model_calls=9)).output == "two"


def test_a_run_under_way_here_is_not_resumed_beside_itself(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(latency="200")
    run_id = lab.start(lab.plan())
    with pytest.raises(AppError) as caught:
        lab.runner.resume(run_id)
    assert str(caught.value) == f"run {run_id} is under way in process {os.getpid()}"
    assert lab.runner.wait(run_id).output == "two"


def test_several_runs_at_once_do_not_meet(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"first": "@answer: one {topic}", "second": "@answer: two {topic}"})
    server.configure(latency="50")
    ids = [lab.start(lab.plan(inputs={"topic": str(number)})) for number in range(6)]
    found: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda run_id=run_id: found.update({run_id: lab.runner.wait(run_id)})) for run_id in ids
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[run_id].output for run_id in ids] == [f"two {number}" for number in range(6)]
    assert_nothing_paid_twice(server, 12)


def test_work_before_a_crash_counts_as_worked(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(latency="300")
    run_id = lab.run().run_id
    before = lab.summary(run_id)["seconds"]
    crash_after(lab, run_id, "second", 1)
    lab.resume(run_id)
    assert lab.summary(run_id)["seconds"] >= before


def test_a_run_whose_process_died_right_after_its_end_is_settled_by_a_resume(lab: Lab, server: ScriptedServer) -> None:
    lab.write(**ONE_AGENT)
    run_id = lab.run(inputs={"topic": "rain"}).run_id
    lab.close()
    with database(lab) as journal:
        journal.execute("update muster_runs set state = 'running' where run_id = ?", (run_id,))
    journal.close()
    server.reset()
    assert lab.resume(run_id).output == "done with rain"
    assert lab.summary(run_id)["status"] == "succeeded"
    assert server.stats()["attempts"] == 0
