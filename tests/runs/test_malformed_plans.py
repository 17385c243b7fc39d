"""Every malformed plan of tests/crews is sent back in a real run, with its reasons, and no part of it is ever run."""

import json

import pytest

from tests.crews.malformed_plans import LIMITS, MALFORMED, Malformed, good_plan
from tests.lab import Lab
from tests.runs.boss import boss
from tests.runs.scene import said_to_model
from tests.scripted_server import ScriptedServer

_DOCUMENTS = {"folder": "papers"}
_AGENTS = {
    "researcher": {
        "role": "Fact finder",
        "goal": "Find what the documents say",
        "backstory": "x",
        "tools": [{"search_documents": _DOCUMENTS}, {"read_document": _DOCUMENTS}],
    },
    "writer": {"role": "Author", "goal": "Write clear texts", "backstory": "x"},
    "reviewer": {
        "role": "Critic",
        "goal": "Find what is wrong",
        "backstory": "x",
        "tools": [{"read_document": _DOCUMENTS}],
    },
    "boss": {"role": "Manager", "goal": "Lead the crew", "backstory": "x"},
}
_CREWS = {
    "team": {
        "process": "hierarchical",
        "goal": "A brief about tea",
        "agents": ["researcher", "writer", "reviewer", "legal", "human"],
        "manager": {"agent": "boss", "max_subtasks": LIMITS.max_subtasks},
    },
    "legal": {"tasks": ["check"], "inputs": {"task": {}}},
}
_TASKS = {"check": {"description": "@answer: checked\n{task}", "expected_output": "A line", "agent": "writer"}}
_BRIEF = {
    "asked": "A brief about tea",
    "done": [{"rule": "words", "value": {"max": 300}, "text": "at most 300 words"}, {"text": "It names a price"}],
    "questions": [],
}
# An empty answer is sent back by the agent's loop, in its own words.
_PLAIN = [bad for bad in MALFORMED if bad.text and not bad.given and not bad.finished and bad.limits == LIMITS]


@pytest.mark.parametrize("bad", _PLAIN, ids=lambda bad: bad.name)
def test_a_malformed_plan_is_sent_back_and_never_run(lab: Lab, bad: Malformed) -> None:
    with ScriptedServer(boss([bad.text, json.dumps(good_plan())], brief=_BRIEF)) as model:
        (lab.root / "papers").mkdir()
        (lab.root / "papers" / "tea.md").write_text("# Tea\n\nTea costs 3 euros.\n")
        files = {"agents": _AGENTS, "tasks": _TASKS, "crews": _CREWS}
        lab.write(**{name: json.dumps(value) for name, value in files.items()})
        lab.models(model.base_url)
        outcome = lab.run("team")
        asked = [said_to_model(request) for request in model.requests if "You make the plan" in said_to_model(request)]
    assert outcome.status == "succeeded", outcome.reason
    assert len(asked) == 2
    assert all(word in asked[1] for word in bad.words)
    done = {task["name"] for task in lab.summary(outcome.run_id)["tasks"]}
    assert done == {"manager", "find", "write"}


def test_they_are_at_least_forty() -> None:
    assert len(_PLAIN) >= 40
