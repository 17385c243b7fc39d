"""Which task waits for which."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from project.order import find_circle, task_waits, tasks_before
from project.spec import CrewSpec, TaskSpec

_NAMES = st.sampled_from("abcdef")


def _task(**keys: object) -> TaskSpec:
    return TaskSpec.model_validate({"description": "D", "expected_output": "E", "agent": "x", **keys})


def test_tasks_wait_as_crewai_means_it() -> None:
    tasks = {
        "a": _task(async_execution=True),
        "b": _task(async_execution=True),
        "c": _task(),
        "d": _task(context=["a"]),
        "e": _task(),
    }
    waits = task_waits(CrewSpec(tasks=list(tasks)), tasks)
    assert waits == {"a": [], "b": [], "c": ["a", "b"], "d": ["a"], "e": ["a", "b", "c", "d"]}


def test_conditions_and_state_make_a_task_wait() -> None:
    tasks = {
        "find": _task(context=[], output={"facts": {"type": "str"}}, writes=["facts"]),
        "check": _task(context=[]),
        "write": _task(context=[], reads=["facts"], when="outputs.check.contains('ok')"),
    }
    assert task_waits(CrewSpec(tasks=list(tasks)), tasks)["write"] == ["check", "find"]


def test_tasks_of_a_manager_wait_only_for_what_they_name() -> None:
    tasks = {"a": _task(context=["b"]), "b": _task()}
    assert task_waits(CrewSpec(process="hierarchical", tasks=["a", "b"]), tasks) == {"a": ["b"], "b": []}


@given(st.dictionaries(_NAMES, st.lists(_NAMES, unique=True)))
def test_what_is_before_a_task_is_all_that_can_be_reached(waits: dict[str, list[str]]) -> None:
    before = tasks_before(waits)
    assert set(before) == set(waits)
    for name, found in before.items():
        reached = set(waits[name])
        while more := {far for near in reached for far in waits.get(near, [])} - reached:
            reached |= more
        assert found == reached


@given(st.dictionaries(_NAMES, st.lists(_NAMES, unique=True)), _NAMES)
def test_a_circle_is_a_way_from_a_name_back_to_it(edges: dict[str, list[str]], start: str) -> None:
    circle = find_circle(edges, start)
    assert bool(circle) == (start in tasks_before({start: [], **edges})[start])
    if circle:
        assert circle[0] == circle[-1] == start
        assert all(later in edges[earlier] for earlier, later in pairwise(circle))
