"""A new run from an old one: what is taken over, what is done anew, which changes are refused."""

import json
import time
from typing import Any

import pytest

from project.errors import AppError, UsageError
from project.load import load_project
from runs.repair.fork import Forked, fork_run
from runs.repair.forked_plan import plan_of_fork
from tests.lab import APPLICATION, Lab
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.scene import step_names, write_project
from tests.scripted_server import ScriptedServer

CHAIN = {
    "gather": "@answer: notes on {topic}",
    "check": "@answer: checked",
    "write": {"description": "@answer: a {style} text", "context": ["gather", "check"]},
    "polish": {"description": "@answer: polished {style} text", "context": ["write"]},
}
CREWS = {"default": {"agents": ["worker"], "tasks": list(CHAIN)}}
GIVEN = {"topic": "rain", "style": "short"}


def fork(lab: Lab, run_id: str, task: str, new_id: str = "", reread: bool = False, **inputs: str) -> Forked:
    row = lab.runner.find(run_id)
    made = plan_of_fork(
        row, lambda: load_project(lab.root, APPLICATION / "tools"), lab.settings().environment, inputs, reread=reread
    )
    new_id = new_id or f"{run_id}-at-{task.replace('.', '-')}-{time.monotonic_ns()}"
    folder = lab.runner.folder(run_id).parent
    return fork_run(lab.runner.database, folder, row, made, task, new_id, by="ann@desk", now=time.time())


def test_what_does_not_wait_for_the_task_comes_from_the_journal(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    server.reset()
    forked = fork(lab, old.run_id, "write")
    assert (forked.kept, forked.again, forked.steps) == (["gather", "check"], [], 2)
    told: list[tuple[str, str]] = []

    def listen(event: Any) -> None:
        told.append((event.task, event.detail))

    lab.runner.resume(forked.run_id, listener=listen)
    outcome = lab.runner.wait(forked.run_id)
    assert (outcome.status, outcome.output) == ("succeeded", old.output)
    assert server.stats()["attempts"] == 2
    assert ("gather", "from the journal") in told
    assert ("polish", "") in told
    assert sorted(step_names(lab, forked.run_id)) == sorted(step_names(lab, old.run_id))
    row = lab.runner.find(forked.run_id)
    assert row.read_origin() == {"fork_of": old.run_id, "from": "write", "by": "ann@desk"}
    assert [task["status"] for task in lab.summary(forked.run_id)["tasks"]] == ["done"] * 4


def test_an_input_that_only_later_tasks_read_may_be_changed(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    forked = fork(lab, old.run_id, "write", style="long")
    outcome = lab.resume(forked.run_id)
    assert outcome.output == "polished long text"
    assert lab.runner.find(forked.run_id).read_plan().inputs == {"topic": "rain", "style": "long"}
    assert lab.runner.find(old.run_id).read_plan().inputs == GIVEN


def test_a_change_that_reaches_earlier_work_is_refused_by_name(lab: Lab) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    with pytest.raises(AppError, match=r"before write: gather \(description\)") as refused:
        fork(lab, old.run_id, "write", topic="snow")
    assert refused.value.fixes() == ["fork from gather or earlier, or start a new run"]
    with pytest.raises(AppError, match=r"before polish: write \(description\)"):
        fork(lab, old.run_id, "polish", style="long")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"worker": {"goal": "Do it better"}}, "agent.goal"),
        ({"models": json.dumps({"default": {"model": "openai/other", "base_url": "http://127.0.0.1:9"}})}, "model"),
        ({"gather": {"guardrails": [{"words": {"max": 50}}]}}, "guardrails"),
        ({"gather": {"output": {"title": "str"}}}, "contract"),
        ({"gather": {"tools": ["calculator"]}}, "tools"),
    ],
)
def test_a_change_of_the_project_before_the_task_is_refused(lab: Lab, change: dict[str, Any], told: str) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    usual = {"description": CHAIN["gather"], "expected_output": "A line.", "agent": "worker"}
    tasks = {**CHAIN, "gather": usual | change.get("gather", {})}
    models = {"models": change["models"]} if "models" in change else {}
    write_project(lab, tasks, worker=change.get("worker"), crews=CREWS, **models)
    with pytest.raises(AppError, match=rf"gather \([^)]*{told}"):
        fork(lab, old.run_id, "write", reread=True)


def test_the_project_as_it_is_now_counts_from_the_task_on(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    write_project(lab, {**CHAIN, "polish": "@answer: shining"}, crews=CREWS)
    assert lab.resume(fork(lab, old.run_id, "polish").run_id).output == "polished short text"
    assert lab.resume(fork(lab, old.run_id, "polish", reread=True).run_id).output == "shining"
    with pytest.raises(AppError, match="the project was changed since"):
        fork(lab, old.run_id, "polish", style="long")


def test_finished_work_beside_the_task_is_done_again_where_a_change_reaches_it(
    lab: Lab, server: ScriptedServer
) -> None:
    tasks = {"a": "@answer: a", "b": "@answer: b {style}", "c": "@answer: c {style}", "d": "@answer: d"}
    write_project(
        lab,
        {name: {"description": text, "context": ["a"] if name in "bc" else []} for name, text in tasks.items()},
        crews={"default": {"agents": ["worker"], "tasks": list(tasks)}},
    )
    old = lab.run(inputs={"style": "short"})
    server.reset()
    forked = fork(lab, old.run_id, "b", style="long")
    assert (forked.kept, forked.again) == (["a", "d"], ["c"])
    assert lab.resume(forked.run_id).status == "succeeded"
    assert server.stats()["attempts"] == 2


def test_a_failed_run_is_forked_before_what_failed(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    server.configure(faults=[{"match": "a short text", "fault": "400"}])
    failed = lab.run(inputs=GIVEN)
    server.configure(faults=[])
    assert failed.status == "failed"
    assert lab.resume(fork(lab, failed.run_id, "write", style="long").run_id).output == "polished long text"


def test_pieces_and_attempts_go_with_their_task(lab: Lab, server: ScriptedServer) -> None:
    tasks = {
        "list": {"description": '@answer: {"names": ["x", "y"]}', "output": {"names": "list[str]"}},
        "each": {"description": "@answer: about {item}", "for_each": "outputs.list.names", "context": ["list"]},
        "best": {"description": "@answer: best", "retry": {"attempts": 2}, "context": ["each"]},
        "last": {"description": "@answer: last", "context": ["best"]},
    }
    write_project(lab, tasks, crews={"default": {"agents": ["worker"], "tasks": list(tasks)}})
    old = lab.run()
    assert old.status == "succeeded", old.reason
    server.reset()
    forked = fork(lab, old.run_id, "last")
    assert lab.resume(forked.run_id).output == "last"
    assert server.stats()["attempts"] == 1
    assert len(lab.runner.source().family(forked.run_id)) == len(lab.runner.source().family(old.run_id))


def write_stages(lab: Lab, second: str = "@answer: second of {outline} {style}") -> None:
    write_project(
        lab,
        {"plan": "@answer: plan of {topic}", "draft": second, "finish": "@answer: end {style}"},
        crews={
            "first": {"tasks": ["plan"]},
            "second": {"tasks": ["draft", "finish"]},
            "both": {"crews": ["first", {"crew": "second", "inputs": {"outline": "{first}"}}]},
        },
    )


def test_a_pipeline_is_forked_at_a_stage_or_at_a_task_of_one(lab: Lab, server: ScriptedServer) -> None:
    write_stages(lab)
    old = lab.run("both", GIVEN)
    assert old.status == "succeeded", old.reason
    for place, kept, calls in (("second", ["first"], 2), ("second.finish", ["first", "second.draft"], 1)):
        server.reset()
        forked = fork(lab, old.run_id, place)
        assert forked.kept == kept
        assert lab.resume(forked.run_id).output == "end short"
        assert server.stats()["attempts"] == calls
    assert lab.resume(fork(lab, old.run_id, "second", style="long").run_id).output == "end long"
    with pytest.raises(AppError, match=r"before second.finish: second \(inputs.style\)"):
        fork(lab, old.run_id, "second.finish", style="long")
    with pytest.raises(AppError, match=r"before second: first \(inputs.topic\)"):
        fork(lab, old.run_id, "second", topic="snow")


def managed(lab: Lab, model: ScriptedServer, **more: Any) -> None:
    crew = {"process": "hierarchical", "goal": "Get {topic} done", "agents": ["worker", "helper"], **more}
    unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
    files = {"agents": AGENTS, "tasks": unused, "crews": {"team": crew}}
    lab.write(**{name: json.dumps(value) for name, value in files.items()})
    lab.models(model.base_url)


def test_a_managed_crew_keeps_its_plan_and_what_was_done_before(lab: Lab) -> None:
    work = plan(
        subtask("one"),
        subtask("two", agent="helper", depends_on=["one"]),
        subtask("three", depends_on=["two"]),
        result=["three"],
    )
    with ScriptedServer(boss([work])) as model:
        managed(lab, model)
        old = lab.run("team", {"topic": "it"})
        before = model.stats()["attempts"]
        model.reset()
        forked = fork(lab, old.run_id, "two")
        outcome = lab.resume(forked.run_id)
        made = model.stats()["attempts"]
        with pytest.raises(AppError, match=r"before two: manager \(inputs.topic, goal\)"):
            fork(lab, old.run_id, "two", topic="more")
        with pytest.raises(AppError, match="never came to four"):
            fork(lab, old.run_id, "four")
    assert (outcome.status, outcome.output) == ("succeeded", old.output)
    assert forked.kept == ["one"]
    assert forked.steps > 3  # the brief, the plan and the first subtask
    assert made < before - 2
    assert sorted(step_names(lab, forked.run_id)) == sorted(step_names(lab, old.run_id))


def test_a_managed_stage_keeps_its_plan_too(lab: Lab) -> None:
    work = plan(subtask("one"), subtask("two", depends_on=["one"]), result=["two"])
    with ScriptedServer(boss([work])) as model:
        managed(lab, model)
        tasks = {"start": {"description": "@answer: begun", "expected_output": "A line.", "agent": "worker"}}
        crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"]}
        crews = {"first": {"tasks": ["start"]}, "team": crew, "both": {"crews": ["first", "team"]}}
        lab.write(tasks=json.dumps(tasks), crews=json.dumps(crews))
        old = lab.run("both")
        assert old.status == "succeeded", old.reason
        before = model.stats()["attempts"]
        model.reset()
        forked = fork(lab, old.run_id, "team.two")
        outcome = lab.resume(forked.run_id)
        made = model.stats()["attempts"]
    assert (outcome.status, outcome.output) == ("succeeded", old.output)
    assert forked.kept == ["first", "team.one"]
    assert made < before - 3
    assert sorted(step_names(lab, forked.run_id)) == sorted(step_names(lab, old.run_id))


def test_a_fork_can_be_forked_and_survives_its_source(lab: Lab, server: ScriptedServer) -> None:
    from runs.repair.retention import delete_runs

    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN).run_id
    first = fork(lab, old, "write", style="long").run_id
    lab.resume(first)
    delete_runs(lab.runner.database, lab.runner.store, lab.runner.folder(old).parent, [old])
    server.reset()
    second = fork(lab, first, "polish").run_id
    assert lab.resume(second).output == "polished long text"
    assert server.stats()["attempts"] == 1


def test_ids_inside_texts_stay_as_they_are(lab: Lab) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    lab.run(inputs={"topic": "tea", "style": "short"}, run_id="tea")
    forked = fork(lab, "tea", "write", "coffee")
    lab.resume(forked.run_id)
    outputs = {task["name"]: task["output"] for task in lab.summary("coffee")["tasks"]}
    assert outputs["gather"] == "notes on tea"


def test_a_taken_id_an_unknown_task_and_changed_code_are_said(lab: Lab) -> None:
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN)
    with pytest.raises(UsageError, match="already"):
        fork(lab, old.run_id, "write", old.run_id)
    with pytest.raises(AppError, match="there is no task 'wrote'"):
        fork(lab, old.run_id, "wrote")
    lab.write(tools__mine_py="x = 1\n")
    with pytest.raises(AppError, match="its code was changed since"):
        fork(lab, old.run_id, "write")


def test_on_postgresql_runs_are_forked_given_outputs_replayed_and_pruned_alike(
    lab: Lab, server: ScriptedServer, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runs.test_repair import give
    from tests.runs.test_replay import replay

    lab.close()
    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres)
    write_project(lab, CHAIN, crews=CREWS)
    old = lab.run(inputs=GIVEN).run_id
    forked = fork(lab, old, "write", style="long")
    give(lab, forked.run_id, "write", "by hand")
    assert lab.resume(forked.run_id).output == "polished long text"
    assert [one.identical for one in replay(lab, old, forked.run_id)] == [True, True]
    from runs.repair.retention import prune

    runner = lab.runner
    folder = runner.folder("x").parent
    assert prune(runner.database, runner.store, folder, 3600.0).run_ids == []
    found = prune(runner.database, runner.store, folder, None, 1)
    assert found.run_ids == [old, forked.run_id]
    assert found.compacted, found.notes
    assert runner.store.list() == []
    assert runner.source().family(old) == []
    lab.close()
