"""Two runs compared: what they were given and to do, and the first step at which each task parts from its twin."""

from typing import Any

from runs.repair.diff import Side, diff_runs
from runs.stored.journal_rows import JournalRows
from tests.lab import Lab
from tests.runs.scene import tool_file, write_project
from tests.scripted_server import ScriptedServer

TASKS: dict[str, Any] = {
    "same": "@answer: as ever",
    "asks": {"description": '@call note {"text": "{topic}"}\n@answer: noted', "tools": ["note"]},
    "says": "@answer: about {topic}",
}
CREWS = {"default": {"agents": ["worker"], "tasks": list(TASKS)}}


def compare(lab: Lab, one: str, other: str) -> dict[str, Any]:
    sides = [Side(lab.runner.find(run_id), lab.runner.folder(run_id)) for run_id in (one, other)]
    return diff_runs(JournalRows(lab.runner.database), *sides)


def test_each_task_parts_at_its_first_step_that_differs(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file("return f'kept {text}'"))
    write_project(lab, TASKS, crews=CREWS)
    rain, snow = (lab.run(inputs={"topic": topic}).run_id for topic in ("rain", "snow"))
    found = compare(lab, rain, snow)
    assert found["inputs"] == [{"name": "topic", "a": "rain", "b": "snow"}]
    assert found["models"] == []
    assert found["plan"] == [{"task": "asks", "changes": ["description"]}, {"task": "says", "changes": ["description"]}]
    told = {task["task"]: task for task in found["tasks"]}
    assert told["same"] == {"task": "same", "same": True, "steps": {"a": 1, "b": 1}}
    assert told["asks"]["at"] == "asks/worker/model#1"
    assert told["asks"] | {"steps": 0} == {
        "task": "asks",
        "same": False,
        "at": "asks/worker/model#1",
        "what": "answer",
        "a": 'note {"text": "rain"}',
        "b": 'note {"text": "snow"}',
        "steps": 0,
    }
    assert (told["says"]["a"], told["says"]["b"]) == ("about rain", "about snow")
    assert (found["equal"], found["different"]) == (1, 2)
    assert found["result"] == {"same": False, "a": "about rain", "b": "about snow"}
    assert found["a"]["usage"]["model_calls"] == 4


def test_what_a_tool_returned_is_told_where_the_calls_are_the_same(lab: Lab, server: ScriptedServer) -> None:
    (lab.root / "said").write_text("one")
    lab.write(tools__note_py=tool_file("from pathlib import Path\nreturn Path('%s').read_text()" % (lab.root / "said")))
    write_project(lab, TASKS, crews=CREWS)
    first = lab.run(inputs={"topic": "rain"}).run_id
    (lab.root / "said").write_text("two")
    second = lab.run(inputs={"topic": "rain"}).run_id
    (parted,) = [task for task in compare(lab, first, second)["tasks"] if not task["same"]]
    assert (parted["at"], parted["what"]) == ("asks/worker/note#1", "tool call")
    assert (parted["a"], parted["b"]) == ('note {"text": "rain"} → one', 'note {"text": "rain"} → two')


def test_a_run_is_the_same_as_itself_and_a_task_that_never_began_differs(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {"first": "@answer: a", "second": {"description": "@answer: b", "context": ["first"]}},
        crews={"default": {"agents": ["worker"], "tasks": ["first", "second"]}},
    )
    whole = lab.run().run_id
    server.configure(faults=[{"fault": "400", "match": "@answer: b"}])
    failed = lab.run().run_id
    same = compare(lab, whole, whole)
    assert (same["equal"], same["different"], same["result"]["same"]) == (2, 0, True)
    found = compare(lab, whole, failed)
    (parted,) = [task for task in found["tasks"] if not task["same"]]
    assert (parted["task"], parted["at"]) == ("second", "second/worker/model#1")
    assert parted["a"] == "b"
    assert parted["b"].startswith("refused: ")
