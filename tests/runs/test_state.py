"""Named state of a crew: who reads and writes it, how values of tasks side by side become one, in which order."""

import json
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, chosen
from tests.runs.scene import said_to_model, write_project
from tests.scripted_server import ScriptedServer


def write_state(lab: Lab, tasks: dict[str, Any], state: dict[str, Any]) -> None:
    write_project(lab, tasks, crews={"team": {"tasks": list(tasks), "state": state}})


def writer(value: Any, kind: str, name: str = "facts", **keys: Any) -> dict[str, Any]:
    """Return a task that writes this value, beside the others."""
    return {
        "description": f"@answer: {json.dumps({name: value})}",
        "output": {name: kind},
        "writes": [name],
        "context": [],
    } | keys


def state_shown(server: ScriptedServer) -> Any:
    """Return the state that the last request showed to the agent."""
    return json.loads(said_to_model(server.requests[-1]).partition("State of the crew:\n")[2].split("\n\n")[0])


READER = {"description": "@answer: read", "reads": ["facts"], "context": []}


def test_what_one_task_writes_another_reads(lab: Lab, server: ScriptedServer) -> None:
    write_state(lab, {"a": writer("rain", "str"), "b": READER}, {"facts": "str"})
    assert lab.run("team").output == "read"
    assert state_shown(server) == {"facts": "rain"}


def test_a_task_that_reads_nothing_is_shown_nothing(lab: Lab, server: ScriptedServer) -> None:
    write_state(lab, {"a": writer("rain", "str"), "b": READER, "c": {"description": "@answer: c"}}, {"facts": "str"})
    lab.run("team")
    assert "State of the crew" not in said_to_model(server.requests[-1])


@pytest.mark.parametrize(
    ("merge", "kind", "first", "second", "both"),
    [
        ("append", "list[str]", ["a", "b"], ["b", "c"], ["a", "b", "b", "c"]),
        ("union", "list[str]", ["a", "b"], ["b", "c"], ["a", "b", "c"]),
        ("sum", "int", 2, 5, 7),
        ("min", "int", 2, 5, 2),
        ("max", "float", 2.5, 0.5, 2.5),
    ],
)
def test_values_of_tasks_side_by_side_are_merged_in_the_order_of_the_tasks(
    lab: Lab, server: ScriptedServer, merge: str, kind: str, first: Any, second: Any, both: Any
) -> None:
    tasks = {"a": writer(first, kind), "b": writer(second, kind), "c": READER}
    write_state(lab, tasks, {"facts": {"type": kind, "merge": merge}})
    server.configure(faults=[{"fault": "slow", "match": json.dumps(first)}], slow_seconds=0.15)
    assert lab.run("team").status == "succeeded"
    assert state_shown(server) == {"facts": both}


def test_a_single_value_becomes_an_entry_where_values_are_appended(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("x", "str"), "b": writer("y", "str"), "c": READER}
    write_state(lab, tasks, {"facts": {"type": "list[str]", "merge": "append"}})
    assert lab.run("team").status == "succeeded"
    assert state_shown(server) == {"facts": ["x", "y"]}


def test_without_a_rule_the_later_task_counts(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("old", "str"), "b": writer("new", "str", context=["a"]), "c": READER}
    write_state(lab, tasks, {"facts": "str"})
    assert lab.run("team").status == "succeeded"
    assert state_shown(server) == {"facts": "new"}


def test_what_a_task_after_it_writes_is_not_read(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("old", "str"), "b": READER, "c": writer("new", "str", context=["b"])}
    write_state(lab, tasks, {"facts": "str"})
    assert lab.run("team").status == "succeeded"
    shown = [said_to_model(request) for request in server.requests if "State of the crew" in said_to_model(request)]
    assert len(shown) == 1
    assert '"facts": "old"' in shown[0]


def test_conditions_and_lists_read_the_state(lab: Lab) -> None:
    write_state(
        lab,
        {
            "a": writer(["x", "y"], "list[str]"),
            "many": {"description": "@answer: many", "when": "size(state.facts) > 1", "reads": ["facts"]},
            "each": {"description": "@answer: {item}", "for_each": "state.facts", "reads": ["facts"], "context": []},
        },
        {"facts": "list[str]"},
    )
    outcome = lab.run("team")
    assert outcome.output == "## x\n\nx\n\n## y\n\ny"
    assert chosen(lab, outcome.run_id, "branch") == ["run"]


def test_a_condition_may_read_state_that_the_task_itself_does_not_read(lab: Lab) -> None:
    tasks = {"a": writer(3, "int"), "b": {"description": "@answer: yes", "when": "state.facts > 2", "context": ["a"]}}
    write_state(lab, tasks, {"facts": "int"})
    assert lab.run("team").output == "yes"


def test_what_a_skipped_task_would_have_written_is_not_there(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("one", "str"), "b": writer("two", "str", when="1 > 2", context=["a"]), "c": READER}
    write_state(lab, tasks, {"facts": "str"})
    assert lab.run("team").output == "read"
    assert state_shown(server) == {"facts": "one"}


def test_entries_of_a_list_write_one_after_the_other_in_its_order(lab: Lab, server: ScriptedServer) -> None:
    each = writer("n{number}", "str", for_each="['x', 'y', 'z']")
    write_state(lab, {"each": each, "read": READER}, {"facts": {"type": "list[str]", "merge": "append"}})
    server.configure(faults=[{"fault": "slow", "match": '"n1"'}], slow_seconds=0.15)
    assert lab.run("team").output == "read"
    assert state_shown(server) == {"facts": ["n1", "n2", "n3"]}


def test_the_winner_among_candidates_and_a_good_attempt_write(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("sure", "str", retry={"attempts": 2}), "b": READER}
    write_state(lab, tasks, {"facts": "str"})
    assert lab.run("team").output == "read"
    assert state_shown(server) == {"facts": "sure"}


def test_a_field_left_out_writes_nothing(lab: Lab, server: ScriptedServer) -> None:
    tasks = {
        "a": writer("one", "str"),
        "b": writer(None, "str", context=["a"], output={"facts": {"type": "str", "optional": True}}),
        "c": READER,
    }
    write_state(lab, tasks, {"facts": "str"})
    assert lab.run("team").output == "read"
    assert state_shown(server) == {"facts": "one"}


def test_what_a_piece_of_state_holds_is_shown_to_those_who_read_it(lab: Lab, server: ScriptedServer) -> None:
    tasks = {"a": writer("rain", "str"), "b": READER}
    write_state(lab, tasks, {"facts": {"type": "str", "description": "The weather of today"}})
    lab.run("team")
    assert "The weather of today" in said_to_model(server.requests[-1])


def test_a_crash_folds_the_state_alike(lab: Lab, server: ScriptedServer) -> None:
    tasks = {
        "a": writer(["a"], "list[str]"),
        "each": writer("n{number}", "str", for_each="['x', 'y']"),
        "b": writer(["b"], "list[str]"),
        "c": {"description": "@answer: read", "reads": ["facts"], "context": [], "when": "size(state.facts) == 4"},
    }
    write_state(lab, tasks, {"facts": {"type": "list[str]", "merge": "append"}})
    assert_survives_crashes(lab, server, crew="team", most=6)
