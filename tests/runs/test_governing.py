"""The policy of a run at work: rates of tools, names of tools, the rule that allowed a call, calls that were counted."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from project.spec_policy import OrderSpec, PolicySpec, RuleSpec, ToolPolicySpec
from runs.calls import wanted
from runs.governed.governing import Governor
from runs.told.report import Step
from tests.lab import Lab
from tests.runs.scene import crash_after, database, effects, step_names, tool_file, until, write_project

NOTING = 'with open(os.environ["NOTED"], "a") as file:\n    file.write(f"{text} {time.monotonic()}\\n")\nreturn "noted"'


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the tool `note`, which sends, appends a text and when it was called."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    source = tool_file(NOTING).replace("import os", "import os\nimport time", 1)
    lab.write(
        tools__note_py=source.replace('effect="write", repeat="safe"', 'effect="send", repeat="once", process=False')
    )
    return path


def write_calls(lab: Lab, *texts: str, policy: dict[str, Any]) -> None:
    calls = "\n".join(f'@call note {{"text": "{text}"}}' for text in texts)
    write_project(lab, {"work": f"{calls}\n@answer: done"}, {"tools": ["note"]})
    lab.write(policy=json.dumps(policy))


def forget_calls(lab: Lab) -> None:
    """Forget at what rate calls were made: projects of one name on one database share it, and so do tests."""
    assert lab.runner is not None
    with database(lab) as stored:
        stored.execute("delete from muster_calls")
    stored.close()


def tools_called(lab: Lab, run_id: str) -> list[Any]:
    return [step.record for step in lab.steps(run_id) if step.kind == "tool"]


def test_a_rate_lets_only_so_many_calls_begin_within_its_time(lab: Lab, noted: Path) -> None:
    rate = {"calls": 2, "seconds": 0.5}
    write_calls(lab, *"abcde", policy={"defaults": {"send": "allow"}, "tools": {"note": {"rate": rate}}})
    assert lab.run().status == "succeeded"
    begun = [float(line.split()[1]) for line in effects(noted)]
    assert len(begun) == 5
    assert min(third - first for first, third in zip(begun, begun[2:], strict=False)) >= 0.5


def test_a_call_that_waited_for_its_rate_is_decided_about_again(
    lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evening = datetime(2026, 11, 18, 21, 59, tzinfo=UTC)
    asked: list[datetime] = []

    def now() -> datetime:
        asked.append(evening + timedelta(minutes=len(asked)))
        return asked[-1]

    monkeypatch.setattr(wanted, "now", now)
    rules = [{"decide": "allow", "tools": "note", "hours": "08:00-22:01"}]
    rate = {"calls": 1, "seconds": 0.3}
    write_calls(lab, "a", "b", policy={"rules": rules, "defaults": {"send": "deny"}, "tools": {"note": {"rate": rate}}})
    run_id = lab.run().run_id
    assert [line.split()[0] for line in effects(noted)] == ["a"]
    first, second = tools_called(lab, run_id)
    assert (first["result"], second["rule"]) == ("noted", "default for send")
    assert len(asked) == 3  # it was allowed before it had to wait
    with database(lab) as stored:
        assert stored.execute("select count(*) from muster_calls").fetchone() == (1,)
    stored.close()


def test_a_call_that_waits_for_its_rate_is_not_announced_before_there_is_room(lab: Lab, noted: Path) -> None:
    """Else a run that is told to stop while it waits would ask whether the call has happened."""
    rate = {"calls": 1, "seconds": 600}
    write_calls(lab, "a", "b", policy={"defaults": {"send": "allow"}, "tools": {"note": {"rate": rate}}})
    forget_calls(lab)
    run_id = lab.start(lab.plan())
    until(lambda: effects(noted))
    lab.runner.store.change(run_id, {"wanted": "pause"}, state="running")
    assert lab.runner.wait(run_id).status == "paused"
    assert "work/worker/note#2/intent" not in step_names(lab, run_id)
    assert len(effects(noted)) == 1


def test_a_rate_counts_a_call_when_the_process_of_its_tool_is_ready(lab: Lab, noted: Path) -> None:
    source = (lab.root / "tools" / "note.py").read_text().replace(", process=False", "")
    lab.write(tools__note_py=source.replace("import time\n", "import time\n\ntime.sleep(0.4)\n", 1))
    rate = {"calls": 1, "seconds": 0.5}
    write_calls(lab, "a", "b", policy={"defaults": {"send": "allow"}, "tools": {"note": {"rate": rate}}})
    assert lab.run().status == "succeeded"
    first, second = (float(line.split()[1]) for line in effects(noted))
    assert second - first >= 0.5


def test_the_rule_that_allowed_a_call_stands_in_its_record(lab: Lab, noted: Path) -> None:
    rule = {"name": "notes", "tools": "note", "decide": "allow"}
    write_calls(lab, "a", policy={"rules": [rule]})
    (record,) = tools_called(lab, lab.run().run_id)
    assert record["rule"] == "notes"
    assert record["principal"]["agent"] == "worker"


def test_an_approved_call_counts_once_after_a_crash(lab: Lab, noted: Path) -> None:
    """Its steps are its intent, the question, and the call that was approved: together they are one call."""
    write_calls(lab, "a", "b", policy={"order": [{"tool": "note", "at_most": 2}]})
    run_id = lab.run(ask=lambda _question: "y").run_id
    names = [step.name for step in lab.steps(run_id) if step.task == "work"]
    assert names[4] == "work/worker/note#1/approved#1"
    noted.write_text("")
    crash_after(lab, run_id, "work", 5)
    assert lab.resume(run_id, ask=lambda _question: "y").status == "succeeded"
    assert [line.split()[0] for line in effects(noted)] == ["b"]
    assert [record for record in tools_called(lab, run_id) if "refused" in record] == []


# -- the governor by itself


def made(task: str, tool: str, **more: Any) -> dict[str, Any]:
    return {"kind": "tool", "task": task, "tool": tool, "result": "done", **more}


def governor(**policy: Any) -> Governor:
    return Governor(PolicySpec(**policy))


def call(name: str = "pay", task: str = "work") -> Any:
    from policy.decide import Call

    return Call("tool", "run", task, "worker", name, {}, "send", "once")


def test_the_parts_of_one_call_are_counted_as_one() -> None:
    one = governor(order=[OrderSpec(tool="pay", at_most=2)])
    for step in ("work/worker/pay#1", "work/worker/pay#1/approved#1", "work/worker/pay#1/approved#1.2"):
        one.note(step, made("work", "pay"))
    assert one.out_of_order("work/worker/pay#2", call()) == ""
    one.note("work/worker/pay#2", made("work", "pay"))
    assert "2 times at most" in one.out_of_order("work/worker/pay#3", call())


def test_a_call_does_not_stand_in_its_own_way_when_it_is_made_again() -> None:
    one = governor(order=[OrderSpec(tool="pay", at_most=1)])
    one.note("work/worker/pay#1", made("work", "pay", unknown_outcome=True))
    assert one.out_of_order("work/worker/pay#1", call()) == ""
    assert one.out_of_order("work/worker/pay#2", call()) != ""


def test_each_attempt_is_an_execution() -> None:
    one = governor(order=[OrderSpec(tool="pay", at_most=2)])
    for step in ("work/worker/pay#1", "work/worker/pay#1.2"):
        assert one.out_of_order(step, call()) == ""
        one.begin(step, call())
        one.note(step, made("work", "pay", error={"kind": "x", "message": "y"}))
    assert "2 times at most" in one.out_of_order("work/worker/pay#1.3", call())


def test_what_settles_a_call_that_a_crash_left_open_is_no_further_execution() -> None:
    one = governor(order=[OrderSpec(tool="pay", at_most=2)])
    announced = {"kind": "intent", "task": "work"}
    paid, instead = "work/worker/pay#1", "work/worker/pay#2.4"
    steps = [
        (f"{paid}/intent", announced),
        (paid, {"kind": "decision", "task": "work", "lost": True}),
        (f"{paid}/intent.2", announced),
        (f"{paid}.2", made("work", "pay")),
    ]
    one.remember([Step(name, "work", str(record["kind"]), 1.0, 0.0, record) for name, record in steps])
    assert one.out_of_order(paid, call()) == ""
    assert one.out_of_order(instead, call()) == ""  # in place of another tool, as the fourth attempt
    one.remember([Step(instead, "work", "tool", 1.0, 0.0, made("work", "pay"))])
    assert "2 times at most" in one.out_of_order("work/worker/pay#3", call())


def test_what_was_refused_is_not_counted_but_an_attempt_before_it_is() -> None:
    one = governor(order=[OrderSpec(tool="pay", at_most=1)])
    one.begin("work/worker/pay#1", call())
    one.note("work/worker/pay#1", made("work", "pay", refused="no money"))
    assert one.out_of_order("work/worker/pay#2", call()) == ""
    one.note("work/worker/pay#2", made("work", "pay", error={"kind": "x", "message": "y"}))
    one.note("work/worker/pay#2.2", made("work", "pay", refused="no money"))
    assert one.out_of_order("work/worker/pay#3", call()) != ""


def test_rules_know_a_tool_by_its_name_in_yaml() -> None:
    """CrewAI's tools are called otherwise by agents than in YAML."""
    one = governor(
        rules=[RuleSpec(decide="deny", tools=["FileWriterTool"])],
        order=[OrderSpec(tool="FileWriterTool", at_most=1)],
        tools={"FileWriterTool": ToolPolicySpec(price_usd=1)},
    )
    one.note("work/worker/file_writer_tool#1", made("work", "file_writer_tool"))
    one.declare("file_writer_tool", "FileWriterTool")
    assert one.verdict(call("file_writer_tool")).decide == "deny"
    assert one.tool("file_writer_tool").price_usd == 1
    assert one.out_of_order("work/worker/file_writer_tool#2", call("file_writer_tool")) != ""


def test_a_rulebook_that_breaks_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    one = governor()

    def broken(_self: Any, _call: Any) -> Any:
        raise RecursionError("too deep")

    monkeypatch.setattr("policy.rulebook.Rulebook.verdict", broken)
    found = one.verdict(call())
    assert (found.decide, found.rule) == ("deny", "rule error")
