"""Inputs are held to their guardrails before anything is planned, let alone spent."""

from pathlib import Path

import pytest

from crews.plan import plan_crew
from project.errors import ConfigErrors
from project.inputs import read_inputs
from project.load import Project
from project.spec import GuardrailSpec
from tests.project.folder import load, write

_CREWS = """
brief:
  tasks: [research]
  inputs:
    topic: {guardrails: [{words: 5}, no_personal_data, {matches: '^[a-z]'}]}
    tone: {default: Very friendly, guardrails: {forbidden_words: [rude]}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return load(write(tmp_path / "project", {"config/crews.yaml": _CREWS}))


def _refused(project: Project, **given: str) -> list[str]:
    values = read_inputs(project, "brief", given, project.root)
    with pytest.raises(ConfigErrors) as caught:
        plan_crew(project, "brief", values, {}, model="offline")
    assert caught.value.exit_code == 3
    return [str(problem) for problem in caught.value.problems]


def test_inputs_that_keep_their_rules_are_planned(project: Project) -> None:
    values = read_inputs(project, "brief", {"topic": "wind and sun"}, project.root)
    assert plan_crew(project, "brief", values, {}, model="offline").inputs == values
    assert project.crews["brief"].inputs["topic"].guardrails[0] == GuardrailSpec(rule="words", value=5, gate="fail")


def test_every_input_that_breaks_a_rule_is_named_with_the_rule_and_the_reason(project: Project) -> None:
    said = _refused(project, topic="Write to ann@example.org about the wind", tone="rude")
    assert [line.split(": ")[0] for line in said] == [
        "input `topic` fails `words`",
        "input `topic` fails `no_personal_data`",
        "input `topic` fails `matches`",
        "input `tone` fails `forbidden_words`",
    ]
    assert "ann@example.org" not in "".join(said)


def test_a_default_is_held_to_the_rules_too(tmp_path: Path) -> None:
    crews = _CREWS.replace("Very friendly", "A bit rude")
    project = load(write(tmp_path / "other", {"config/crews.yaml": crews}))
    assert [line.split(": ")[0] for line in _refused(project, topic="wind")] == ["input `tone` fails `forbidden_words`"]


def test_an_input_that_is_not_given_yet_is_not_judged(project: Project) -> None:
    values = {"topic": "{topic}", "tone": "Very friendly"}
    assert plan_crew(project, "brief", values, {}, model="offline", unset=["topic"]).inputs == values
