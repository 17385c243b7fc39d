"""What a journal must withstand: changed code, another format, tampering, pickles, divergence, large values, bugs."""

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from project.errors import AppError
from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.scene import crash_after, database, model_spec, step_names, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer

TWO = {"first": "@answer: one", "second": "@answer: two"}
STOP = BudgetSpec(max_model_calls=1)
GO = BudgetSpec(max_model_calls=20)


def stopped_run(lab: Lab) -> str:
    """Return a run of two tasks that stopped after the first."""
    write_project(lab, TWO)
    return lab.run(budget=STOP).run_id


def change_run(lab: Lab, run_id: str, column: str, value: str) -> None:
    with database(lab) as journal:
        journal.execute(f"update muster_runs set {column} = ? where run_id = ?", (value, run_id))
    journal.close()


def test_changed_code_stops_a_resume_and_names_the_files(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file("return text"), tools__gone_py="# nothing\n")
    run_id = stopped_run(lab)
    lab.write(tools__note_py=tool_file("return text * 2"), guardrails__added_py="# nothing\n")
    (lab.root / "tools" / "gone.py").unlink()
    with pytest.raises(AppError) as caught:
        lab.resume(run_id, budget=GO)
    assert str(caught.value) == (
        "code of the run was changed since it started: guardrails/added.py, tools/gone.py, tools/note.py"
    )
    assert caught.value.fixes() == ["put the files back, or resume with --accept-code-change"]
    assert lab.resume(run_id, budget=GO, accept_code_change=True).output == "two"


def test_accepted_code_is_what_runs(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"old {text}"'))
    write_project(lab, {"work": '@call note {"text": "a"}\n@call note {"text": "b"}\n@echo'}, {"tools": ["note"]})
    run_id = lab.run(budget=BudgetSpec(max_tool_calls=1)).run_id
    lab.write(tools__note_py=tool_file('return f"new {text}"'))
    outcome = lab.resume(run_id, budget=BudgetSpec(max_tool_calls=9), accept_code_change=True)
    assert outcome.output == "old a\nnew b"


def test_an_accepted_change_of_what_the_model_reads_of_a_tool_does_not_count_as_divergence(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"old {text}"'))
    write_project(lab, {"work": '@call note {"text": "a"}\n@call note {"text": "b"}\n@echo'}, {"tools": ["note"]})
    run_id = lab.run(budget=BudgetSpec(max_tool_calls=1)).run_id
    lab.write(tools__note_py=tool_file('return f"new {text}"').replace("Note a line.", "Note a line, well."))
    outcome = lab.resume(run_id, budget=BudgetSpec(max_tool_calls=9), accept_code_change=True)
    assert (outcome.status, outcome.output) == ("succeeded", "old a\nnew b")


def test_a_change_of_yaml_does_not_touch_a_run_under_way(lab: Lab, server: ScriptedServer) -> None:
    run_id = stopped_run(lab)
    write_project(lab, {"first": "@answer: other", "second": "@answer: another"})
    assert lab.resume(run_id, budget=GO).output == "two"


def test_a_run_in_another_journal_format_is_refused_with_the_version(lab: Lab) -> None:
    run_id = stopped_run(lab)
    versions = lab.runner.find(run_id).read_versions() | {"format": "0", "muster": "0.0.9"}
    change_run(lab, run_id, "versions", json.dumps(versions))
    with pytest.raises(AppError) as caught:
        lab.resume(run_id)
    assert str(caught.value) == f"run {run_id} was written in journal format 0"
    assert caught.value.fixes() == ["finish it with Muster 0.0.9"]


def test_a_plan_that_was_tampered_with_is_refused(lab: Lab) -> None:
    run_id = stopped_run(lab)
    plan = lab.runner.find(run_id).plan
    change_run(lab, run_id, "plan", plan.replace("@answer: two", "@answer: three"))
    with pytest.raises(AppError) as caught:
        lab.resume(run_id)
    assert str(caught.value) == f"the stored plan of run {run_id} was changed"


@pytest.mark.parametrize(("field", "kind"), [("same", "input"), ("exact", "prompt")])
def test_a_replayed_step_with_another_input_ends_the_run_as_failed(lab: Lab, field: str, kind: str) -> None:
    write_project(lab, {"work": '@call calculator {"expression": "1+1"}\n@answer: done'}, {"tools": ["calculator"]})
    run_id = lab.run().run_id
    crash_after(lab, run_id, "work", 2)
    where = "where workflow_uuid = ? and function_name = 'work/worker/model#1'"
    with database(lab) as journal:
        (text,) = journal.execute(f"select output from operation_outputs {where}", (f"{run_id}.work",)).fetchone()
        record = json.loads(text)
        assert record[field]
        record[field] = "0" * 24
        journal.execute(f"update operation_outputs set output = ? {where}", (json.dumps(record), f"{run_id}.work"))
    journal.close()
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.reason) == (
        "failed",
        f"work: step work/worker/model#1 was journaled for another {kind} than now",
    )
    assert lab.resume(run_id).status == "failed"


def test_under_another_version_a_changed_prompt_is_a_warning(lab: Lab) -> None:
    write_project(lab, {"work": '@call calculator {"expression": "1+1"}\n@answer: done'}, {"tools": ["calculator"]})
    run_id = lab.run().run_id
    versions = lab.runner.find(run_id).read_versions() | {"crewai": "1.0.0"}
    crash_after(lab, run_id, "work", 2)
    change_run(lab, run_id, "versions", json.dumps(versions))
    where = "where workflow_uuid = ? and function_name = 'work/worker/model#1'"
    with database(lab) as journal:
        (text,) = journal.execute(f"select output from operation_outputs {where}", (f"{run_id}.work",)).fetchone()
        record = json.loads(text) | {"exact": "0" * 24}
        journal.execute(f"update operation_outputs set output = ? {where}", (json.dumps(record), f"{run_id}.work"))
    journal.close()
    lab.runner.resume(run_id)
    execution = lab.runner._executions[run_id]
    assert lab.runner.wait(run_id).output == "done"
    assert execution.run.warnings == ["step work/worker/model#1 was journaled for another prompt than now"]


def test_values_over_a_megabyte_go_to_files_and_come_back(lab: Lab) -> None:
    large = "The sun rises. " * 80_000

    def script(messages: list[Any], _tools: list[Any]) -> Reply:
        context = messages[-1]["content"].partition("working with:\n")[2]
        return Reply(f"{len(context)}" if context else large)

    write_project(lab, {"big": "Write much", "small": "Count it"})
    with ScriptedServer(script) as model:
        model_spec(lab, model.base_url, context_window=1_000_000)
        run_id = lab.run().run_id
        size = len(large.strip())
        assert [task["output"] for task in lab.summary(run_id)["tasks"]] == [large.strip(), str(size)]
        payloads = list((lab.runner.folder(run_id) / "payloads").iterdir())
        assert payloads
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in payloads)
        crash_after(lab, run_id, "small", 0)
        outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", str(size))
    with database(lab) as journal:
        longest = "select max(length(output)) from operation_outputs where workflow_uuid like ?"
        assert journal.execute(longest, (f"{run_id}%",)).fetchone()[0] < 1_000_000
    journal.close()


@pytest.mark.parametrize(("damage", "word"), [("gone", "missing"), ("changed", "changed")])
def test_a_damaged_payload_is_told(lab: Lab, damage: str, word: str) -> None:
    write_project(lab, {"big": "Write much"})
    with ScriptedServer(lambda _messages, _tools: Reply("The sun rises. " * 80_000)) as model:
        model_spec(lab, model.base_url, context_window=1_000_000)
        run_id = lab.run().run_id
    for path in (lab.runner.folder(run_id) / "payloads").iterdir():
        path.unlink() if damage == "gone" else path.write_text('"nothing"')
    with pytest.raises(AppError) as caught:
        lab.summary(run_id)
    assert str(caught.value).startswith("a part of the journal ")
    assert word in str(caught.value)


def test_a_bug_keeps_the_run_and_its_traceback(
    lab: Lab, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.work import judging

    def broken(*_arguments: Any, **_more: Any) -> None:
        raise RuntimeError("boom")

    write_project(
        lab, {"first": "@answer: one", "second": {"description": "@answer: two", "guardrails": [{"words": 5}]}}
    )
    with monkeypatch.context() as patch:
        patch.setattr(judging, "check_rule", broken)
        outcome = lab.run()
    path = lab.runner.folder(outcome.run_id) / "error.txt"
    assert (outcome.status, outcome.reason) == ("failed", "second: unexpected RuntimeError: boom")
    assert outcome.fix == f"the traceback is in {path}"
    assert path.read_text().endswith("RuntimeError: boom\n")
    assert lab.resume(outcome.run_id).output == "two"
    assert server.stats()["paid_twice"] == 0


def test_a_bug_in_a_model_call_keeps_the_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from models import make

    def broken(*_arguments: Any, **_more: Any) -> None:
        raise RuntimeError("boom")

    write_project(lab, TWO)
    with monkeypatch.context() as patch:
        patch.setattr(make, "_answer", broken)
        outcome = lab.run()
    assert (outcome.status, outcome.reason) == ("failed", "first: unexpected RuntimeError: boom")
    assert lab.resume(outcome.run_id).output == "two"


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickled_row_is_refused_unread(lab: Lab, tmp_path: Path) -> None:
    write_project(lab, TWO)
    run_id = lab.run().run_id
    crash_after(lab, run_id, "second", 1)
    trap = base64.b64encode(pickle.dumps(_Trap(tmp_path / "sprung"))).decode()
    with database(lab) as journal:
        changed = journal.execute(
            "update operation_outputs set output = ?, serialization = 'py_pickle' where workflow_uuid = ?",
            (trap, f"{run_id}.second"),
        )
        assert changed.rowcount == 1
    journal.close()
    assert step_names(lab, run_id) == ["first/worker/model#1"]
    outcome = lab.resume(run_id)
    assert outcome.status == "failed"
    assert "the journal holds a pickled value, which Muster never writes and does not read" in outcome.reason
    assert not (tmp_path / "sprung").exists()


def test_steps_of_a_parked_run_are_those_that_were_made(lab: Lab) -> None:
    assert step_names(lab, stopped_run(lab)) == ["first/worker/model#1"]
