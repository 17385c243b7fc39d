"""A managed run that is killed anywhere ends as it would have, and makes no journaled call again."""

from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.boss import boss, plan, subtask
from tests.runs.crash_points import assert_survives_crashes
from tests.runs.test_managing import FAILING, write_crew
from tests.scripted_server import ScriptedServer

CHAIN = plan(subtask("one"), subtask("two", agent="helper", depends_on=["one"]), result=["one", "two"])
RIVALS = plan(
    subtask("one", "@answer: The revenue of 2025 was 4.2 million dollars."),
    subtask("two", "@answer: The revenue of 2025 was 6.8 million dollars.", depends_on=["one"]),
    result=["one", "two"],
)
REPLANNED = {"plans": [plan(FAILING)], "again": plan(subtask("one"))}
REPAIRED = {"plans": ["I would start with research.", CHAIN]}


@pytest.mark.parametrize(
    "script",
    [{"plans": [CHAIN]}, {"plans": [RIVALS]}, REPLANNED, REPAIRED],
    ids=["a plan", "a conflict", "a failure planned anew", "a repaired plan"],
)
def test_a_managed_run_survives_a_crash_anywhere(lab: Lab, script: Any) -> None:
    with ScriptedServer(boss(**script)) as model:
        write_crew(lab, model)
        assert_survives_crashes(lab, model, crew="team", most=8)


def test_four_side_by_side_survive_a_crash_anywhere(lab: Lab) -> None:
    parts = plan(*(subtask(name) for name in "abcd"), result=list("abcd"))
    with ScriptedServer(boss([parts])) as model:
        write_crew(lab, model, agents=["worker"])  # of several, who has least to do depends on the moment
        assert_survives_crashes(lab, model, crew="team", most=8)


def test_a_question_answered_before_a_crash_is_not_asked_again(lab: Lab) -> None:
    asked: list[str] = []

    def ask(question: Any) -> str:
        asked.append(question.prompt)
        return ""

    with ScriptedServer(boss([CHAIN])) as model:
        write_crew(lab, model, manager={"review_plan": True})
        assert_survives_crashes(lab, model, crew="team", most=3, ask=ask)
    assert 1 < len(asked) < 4
