"""An operator gives the output of a task that is stuck: what is checked, what is recorded, how the run goes on."""

from typing import Any

import pytest

from project.errors import AppError
from tests.lab import Lab
from tests.runs.crash_points import part, reasons
from tests.runs.scene import step_names, write_project
from tests.scripted_server import ScriptedServer

TASKS: dict[str, Any] = {
    "plan": {
        "description": '@answer: {"title": "x", "parts": ["a"]}',
        "output": {"title": "str", "parts": "list[str]"},
    },
}


def give(lab: Lab, run_id: str, task: str, text: str, reason: str = "") -> Any:
    from runs.repair.given_output import set_output

    row = lab.runner.find(run_id)
    folder = lab.runner.folder(run_id).parent
    return set_output(lab.runner.database, folder, row, task, text, reason=reason, by="ann@desk")


def stuck(lab: Lab, server: ScriptedServer, plan: dict[str, Any] | None = None, match: str = "parts") -> str:
    """Start a run whose first task fails for good; the second says what it was given."""
    tasks = {"plan": TASKS["plan"] | (plan or {}), "write": {"description": "@answer: written", "context": ["plan"]}}
    write_project(lab, tasks, crews={"default": {"agents": ["worker"], "tasks": ["plan", "write"]}})
    server.configure(faults=[{"fault": "400", "match": match, "turn": 1}])
    outcome = lab.run()
    assert outcome.status == "failed"
    server.configure(faults=[])
    server.reset()
    return outcome.run_id


def test_the_run_goes_on_with_what_the_operator_gave(lab: Lab, server: ScriptedServer) -> None:
    run_id = stuck(lab, server)
    done = give(lab, run_id, "plan", '{"title": "By hand", "parts": []}', "the provider refuses the text")
    assert (done.task, done.by, done.warnings) == ("plan", "ann@desk", [])
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", "written")
    assert server.stats()["attempts"] == 1
    assert "By hand" in str(server.requests[-1].messages)
    told = part(lab, run_id, "plan")
    assert (told["status"], told["agent"]) == ("done", "operator")
    (reason,) = reasons(lab, run_id, "set")
    assert (reason["task"], reason["why"], reason["by"]) == ("plan", "the provider refuses the text", "ann@desk")
    assert "plan/operator#1" in step_names(lab, run_id)


def test_a_task_that_was_never_begun_can_be_given_too(lab: Lab, server: ScriptedServer) -> None:
    run_id = stuck(lab, server)
    give(lab, run_id, "write", "Written by hand.")
    give(lab, run_id, "plan", '{"title": "t", "parts": []}')
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", "Written by hand.")
    assert server.stats()["attempts"] == 0


def test_a_given_output_keeps_the_contract(lab: Lab, server: ScriptedServer) -> None:
    run_id = stuck(lab, server)
    with pytest.raises(AppError, match=r"breaks the contract of the task:\n.*parts"):
        give(lab, run_id, "plan", '{"title": "t"}')
    with pytest.raises(AppError, match="the output is empty"):
        give(lab, run_id, "plan", "  \n")
    assert "plan/operator#1" not in step_names(lab, run_id)


def test_rules_only_warn_and_the_output_file_is_written(lab: Lab, server: ScriptedServer) -> None:
    run_id = stuck(
        lab,
        server,
        {
            "output": None,
            "description": "@answer: parts",
            "output_file": "plan.md",
            "guardrails": [{"words": {"max": 2}}],
        },
    )
    done = give(lab, run_id, "plan", "far too many words")
    assert len(done.warnings) == 1
    assert done.warnings[0].startswith("words: ")
    assert (lab.root / "plan.md").read_text() == "far too many words\n"
    assert lab.resume(run_id).status == "succeeded"


def test_parts_under_way_end_with_the_task(lab: Lab, server: ScriptedServer) -> None:
    tasks = {
        "list": {"description": '@answer: {"names": ["x", "y"]}', "output": {"names": "list[str]"}},
        "each": {
            "description": "@answer: about {item}",
            "for_each": {"items": "outputs.list.names", "on_failure": "fail"},
            "context": ["list"],
        },
    }
    write_project(lab, tasks, crews={"default": {"agents": ["worker"], "tasks": list(tasks)}})
    server.configure(faults=[{"fault": "400", "match": "about y"}])
    run_id = lab.run().run_id
    server.configure(faults=[])
    server.reset()
    give(lab, run_id, "each", "about both")
    assert lab.resume(run_id).output == "about both"
    assert server.stats()["attempts"] == 0
    assert {one.status for one in lab.runner.source().family(run_id)} == {"SUCCESS"}


def test_what_is_done_or_under_way_is_refused(lab: Lab, server: ScriptedServer) -> None:
    run_id = stuck(lab, server, match="written")
    with pytest.raises(AppError, match="plan is done already") as refused:
        give(lab, run_id, "plan", '{"title": "t", "parts": []}')
    assert refused.value.fixes() == [f"`muster runs fork {run_id} --from plan` does it again"]
    with pytest.raises(AppError, match="there is no task 'plot'"):
        give(lab, run_id, "plot", "x")
    assert lab.runner.owners.acquire(run_id)
    with pytest.raises(AppError, match="is under way in process"):
        give(lab, run_id, "write", "x")
    lab.runner.owners.release(run_id)
    lab.resume(run_id)
    with pytest.raises(AppError, match="is succeeded"):
        give(lab, run_id, "write", "x")


def test_a_repaired_run_replays(lab: Lab, server: ScriptedServer) -> None:
    from tests.runs.test_replay import replay

    run_id = stuck(lab, server)
    give(lab, run_id, "plan", '{"title": "By hand", "parts": []}')
    assert lab.resume(run_id).status == "succeeded"
    (found,) = replay(lab, run_id)
    assert (found.identical, found.difference) == (True, "")
