"""What a run gives back: result, outputs, usage, files, and what each task was given to read."""

import json
import os
import stat

import pytest

from project.errors import AppError
from tests.lab import ONE_AGENT, Lab
from tests.runs.scene import database, said_to_model, step_names, write_project
from tests.scripted_server import ScriptedServer

THREE = {"first": "@answer: one", "second": "@answer: two", "third": "@answer: three"}


def context_of(server: ScriptedServer, answer: str) -> str:
    """Return the context that the task with this answer was given."""
    found = next(request for request in server.requests if f"@answer: {answer}" in said_to_model(request))
    return said_to_model(found).partition("This is the context you're working with:\n")[2]


def test_the_result_of_a_run_is_the_output_of_its_last_task(lab: Lab) -> None:
    write_project(lab, THREE)
    outcome = lab.run()
    assert (outcome.status, outcome.output, outcome.reason, outcome.fix) == ("succeeded", "three", "", "")


def test_the_summary_holds_every_output_and_what_was_used(lab: Lab, server: ScriptedServer) -> None:
    lab.write(**ONE_AGENT)
    outcome = lab.run(inputs={"topic": "solar power"}, run_id="summed")
    found = lab.summary(outcome.run_id)
    stats = server.stats()
    usage = {
        "model_calls": 1,
        "tool_calls": 0,
        "input_tokens": stats["prompt_tokens"],
        "output_tokens": stats["completion_tokens"],
    }
    task = {
        "name": "work",
        "agent": "worker",
        "model": "default",
        "status": "done",
        "output": "done with solar power",
        "file": None,
        "checks": [],
        "confidence": {"value": None, "measured": False, "from": []},
        "review": None,
        "partial": [],
        "attempts": [],
        "fallback": None,
        "handed_over_by": [],
        "usage": usage,
        "cost_usd": None,
        "unpriced_calls": 1,
        "retries": 0,
    }
    assert found["tasks"][0].pop("seconds") >= 0
    assert found["tasks"] == [task]
    expected = {
        "run_id": "summed",
        "crew": "default",
        "status": "succeeded",
        "offline": False,
        "output": "done with solar power",
        "data": None,
        "reason": "",
        "inputs": {"topic": "solar power"},
        "models": {"default": "openai/scripted"},
        "usage": usage,
        "cost_usd": None,
        "unpriced_calls": 1,
    }
    assert {key: found[key] for key in expected} == expected


def test_outputs_of_finished_tasks_lie_in_the_folder_of_the_run(lab: Lab) -> None:
    write_project(lab, {"text": "@answer: one", "data": {"description": '@answer: {"n": 1}', "output": {"n": "int"}}})
    folder = lab.runner.folder(lab.run().run_id) / "outputs"
    assert (folder / "text.md").read_text() == "one\n"
    assert json.loads((folder / "data.json").read_text()) == {"n": 1}


def test_a_price_in_models_yaml_gives_the_cost(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, price="{input: 1000, output: 2000}")
    write_project(lab, {"work": "@answer: one two three four"})
    found = lab.summary(lab.run().run_id)
    stats = server.stats()
    assert float(found["cost_usd"]) == pytest.approx(
        (stats["prompt_tokens"] * 1000 + stats["completion_tokens"] * 2000) / 1e6
    )
    assert found["unpriced_calls"] == 0


def test_without_context_a_task_reads_all_earlier_outputs(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, THREE)
    lab.run()
    assert context_of(server, "one") == ""
    assert context_of(server, "two") == "one"
    assert context_of(server, "three") == "one\n\n----------\n\ntwo"


def test_a_list_as_context_gives_just_those_outputs_in_its_order(lab: Lab, server: ScriptedServer) -> None:
    tasks = THREE | {"last": {"description": "@answer: four", "context": ["third", "first"]}}
    write_project(lab, tasks)
    lab.run()
    assert context_of(server, "four") == "three\n\n----------\n\none"


def test_an_empty_context_gives_nothing(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"first": "@answer: one", "second": {"description": "@answer: two", "context": []}})
    lab.run()
    assert context_of(server, "two") == ""


def test_an_asynchronous_task_does_not_read_those_that_run_beside_it(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "first": {"description": "@answer: one", "async_execution": True},
            "second": {"description": "@answer: two", "async_execution": True},
            "third": "@answer: three",
        },
    )
    lab.run()
    assert context_of(server, "two") == ""
    assert context_of(server, "three") == "one\n\n----------\n\ntwo"


def test_tasks_whose_inputs_are_ready_run_side_by_side(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            **{name: {"description": f"@answer: {name}", "context": []} for name in ("a", "b", "c")},
            "last": "@answer: all",
        },
    )
    server.configure(latency="500")
    assert lab.run().output == "all"
    assert server.stats()["peak_in_flight"] == 3


def test_a_task_starts_as_soon_as_what_it_reads_is_there(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "slow": {"description": "slowest\n@answer: slow", "context": []},
            "quick": {"description": "@answer: quick", "context": []},
            "after_quick": {"description": "@answer: after", "context": ["quick"]},
            "last": "@answer: all",
        },
    )
    server.configure(slow_seconds=1.0, faults=[{"fault": "slow", "match": "slowest"}])
    assert lab.run().output == "all"
    when = {said_to_model(request).split("@answer: ")[1].split("\n")[0]: request for request in server.requests}
    assert when["after"].answered_at < when["slow"].answered_at


def test_each_task_is_a_child_workflow_of_its_run(lab: Lab) -> None:
    write_project(lab, THREE)
    run_id = lab.run().run_id
    family = {record.id: record.status for record in lab.runner.source().family(run_id)}
    assert family == dict.fromkeys((run_id, *(f"{run_id}.{name}" for name in THREE)), "SUCCESS")


def test_steps_say_who_and_which(lab: Lab) -> None:
    write_project(
        lab, {"first": "@answer: one", "second": {"description": "@answer: two", "guardrails": [{"words": {"max": 3}}]}}
    )
    assert step_names(lab, lab.run().run_id) == [
        "first/worker/model#1",
        "second/worker/model#1",
        "second/judge/verdict#1",
    ]


def test_a_placeholder_in_a_value_stays_as_it_is(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": "@answer: about {topic} and {other}"})
    assert lab.run(inputs={"topic": "{other}", "other": "{topic}"}).output == "about {other} and {topic}"


def test_a_taken_id_is_refused(lab: Lab) -> None:
    write_project(lab, THREE)
    lab.run(run_id="taken")
    with pytest.raises(AppError) as caught:
        lab.run(run_id="taken")
    assert (str(caught.value), caught.value.fixes()) == ("there is a run taken already", ["choose another --id"])


@pytest.mark.parametrize("bad", ["a b", "../x", "a.b", "-x", "x" * 81])
def test_an_id_that_could_leave_its_folder_is_refused(lab: Lab, bad: str) -> None:
    write_project(lab, THREE)
    with pytest.raises(AppError) as caught:
        lab.run(run_id=bad)
    assert str(caught.value) == f"{bad!r} can't be a run id"


def test_an_unknown_run_is_answered_with_the_latest(lab: Lab) -> None:
    write_project(lab, THREE)
    lab.run(run_id="zz-known")
    with pytest.raises(AppError) as caught:
        lab.resume("nowhere")
    assert str(caught.value) == "there is no run 'nowhere'"
    assert caught.value.fixes()[0].startswith("the latest: zz-known")


def test_a_run_started_by_the_model_of_a_project_without_a_key_is_offline(lab: Lab) -> None:
    (lab.root / "config" / "models.yaml").unlink()
    write_project(lab, {"work": "Say what durable execution is"})
    found = lab.summary(lab.run().run_id)
    assert (found["offline"], found["models"], found["cost_usd"], found["unpriced_calls"]) == (
        True,
        {"default": "offline"},
        None,
        0,
    )


def test_the_state_folder_is_open_to_its_owner_only(lab: Lab) -> None:
    write_project(lab, THREE)
    lab.run()
    wrong = []
    for folder, folders, files in os.walk(lab.root / ".muster"):
        found = [(name, 0o700) for name in folders] + [(name, 0o600) for name in files if name != ".gitignore"]
        for name, wanted in found:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            wrong += [(name, oct(mode))] if mode != wanted else []
    assert stat.S_IMODE((lab.root / ".muster").stat().st_mode) == 0o700
    assert wrong == []


def test_no_key_reaches_the_database_or_any_file(
    lab: Lab, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "sk-canary-51c7d0"
    lab.close()
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    write_project(lab, THREE)
    server.configure(faults=[{"fault": "429-ms", "attempts": [1]}, {"fault": "401", "match": "@answer: three"}])
    assert lab.run().status == "failed"
    assert server.requests[0].has_key
    lab.close()
    found = [
        path for path in (lab.root / ".muster").rglob("*") if path.is_file() and canary.encode() in path.read_bytes()
    ]
    assert found == []
    with database(lab) as journal:
        assert journal.execute("select count(*) from operation_outputs").fetchone()[0] > 0


def test_every_task_is_written_down_when_its_run_is(lab: Lab) -> None:
    task = {"description": "Say nothing", "context": [], "offline": "none"}
    write_project(lab, {f"task_{name}": task for name in "abcde"})
    for number in range(12):  # what went missing was a race between the last task and its run
        summary = lab.summary(lab.run("default", {}, model="offline").run_id)
        assert [task["status"] for task in summary["tasks"]] == ["done"] * 5, number
