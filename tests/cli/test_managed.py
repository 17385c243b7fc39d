"""A crew led by a manager, and one of patterns, as seen at the terminal."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.boss import boss, plan, subtask
from tests.runs.test_managing import FAILING, write_crew
from tests.scripted_server import ScriptedServer

PARTS = plan(subtask("one"), subtask("two", agent="helper", depends_on=["one"]))


@pytest.fixture
def led(lab: Lab) -> Iterator[Lab]:
    """A project whose manager answers."""
    with ScriptedServer(boss([PARTS])) as model:
        write_crew(lab, model, manager={"min_confidence": 0.5})
        yield lab


def test_plan_shows_the_manager_and_the_team(muster: Muster, led: Lab) -> None:
    printed = muster("plan", "team")
    assert printed.code == 0
    assert printed.out.splitlines() == [
        "crew team",
        "  ceilings none",
        "  model default: openai/scripted (default in models.yaml)",
        "",
        "goal: Get it done",
        "manager leads: plans, routes, checks, makes one result (synthesize)",
        "",
        "TEAM    ROLE    MODEL            TOOLS",
        "worker  Worker  openai/scripted  –",
        "helper  Helper  openai/scripted  –",
    ]


def test_progress_shows_the_subtasks_as_the_manager_starts_them(muster: Muster, led: Lab) -> None:
    printed = muster("run", "team", "--id", "led")
    assert (printed.code, printed.out) == (0, "result of two\n")
    told = [line.partition(",")[0] for line in printed.err.splitlines() if ": done" in line]
    assert told == ["one (worker): done", "two (helper): done", "manager (manager): done"]


def test_why_tells_every_choice_of_a_run_or_of_a_task(muster: Muster, led: Lab) -> None:
    muster("run", "team", "--id", "led")
    lines = muster("runs", "why", "led", "one").out.splitlines()
    assert lines[0] == "one: route → worker"
    assert lines[1] == "  why       it does work of this kind"
    assert lines[2] == "  among     worker, helper"
    whole = muster("runs", "why", "led").out
    for part in (
        "run: model → openai/scripted",
        "manager: plan → one, two",
        "two: route → helper",
        "manager: done → met",
    ):
        assert part in whole


def test_why_is_json_for_programs(muster: Muster, led: Lab) -> None:
    muster("run", "team", "--id", "led")
    found = json.loads(muster("runs", "why", "led", "--json").out)
    keys = {"at", "task", "decision", "chosen", "among", "why", "evidence", "by", "step"}
    assert {frozenset(entry) for entry in found} == {frozenset(keys)}
    route = next(entry for entry in found if entry["decision"] == "route")
    assert (route["task"], route["chosen"], route["step"]) == ("one", "worker", "manager/route#1")


def test_why_of_a_task_that_is_not_there_says_where_to_look(muster: Muster, led: Lab) -> None:
    muster("run", "team", "--id", "led")
    printed = muster("runs", "why", "led", "nothing")
    assert (printed.code, printed.out) == (0, "")
    assert printed.err == "nothing was decided about 'nothing'; `muster runs show led` names the tasks\n"


def test_why_of_a_run_that_stopped_ends_with_the_ceiling(muster: Muster, led: Lab) -> None:
    assert muster("run", "team", "--id", "led", "--max-model-calls", "2").code == 1
    last = muster("runs", "why", "led").out.split("\n\n")[-1].splitlines()
    assert last[0] == "run: ceiling → the run was set aside"
    assert "max_model_calls: 2 of 2 used" in last[1]


def test_show_lists_the_manager_its_subtasks_and_their_confidence(muster: Muster, led: Lab) -> None:
    muster("run", "team", "--id", "led")
    lines = muster("runs", "show", "led").out.splitlines()
    table = [line.split() for line in lines[lines.index(next(line for line in lines if line.startswith("TASK"))) :]]
    assert [row[0] for row in table[:4]] == ["TASK", "manager", "one", "two"]


def test_crews_tells_what_is_planned_by_a_manager_and_what_is_a_pipeline(muster: Muster, led: Lab) -> None:
    crews = json.loads((led.root / "config" / "crews.yaml").read_text())
    crews |= {"alone": {"tasks": ["unused"]}, "both": {"crews": ["alone", "team"]}}
    led.write(crews=json.dumps(crews))
    rows = {line.split()[0]: line for line in muster("crews").out.splitlines()}
    assert "a manager plans" in rows["team"]
    assert "crew alone → crew team" in rows["both"]
    stages = muster("plan", "both").out.splitlines()
    assert stages[stages.index("stage 1: crew alone") + 2].split() == [
        "1",
        "unused",
        "worker",
        "openai/scripted",
        "–",
        "–",
        "–",
    ]


def test_a_partial_result_is_printed_and_said_to_be_partial(muster: Muster, lab: Lab) -> None:
    work = plan(FAILING, subtask("good"), result=["one", "good"])
    again = plan({**FAILING, "id": "anew"}, result=["anew", "good"])
    with ScriptedServer(boss([work], again=again)) as model:
        write_crew(lab, model)
        printed = muster("run", "team", "--id", "led")
    assert (printed.code, printed.out) == (0, "result of good\n")
    told = printed.err[printed.err.index("The result is partial:") :].splitlines()
    assert told[1].startswith("- anew: not done: 2 attempts failed: worker and helper: the output was not accepted")
