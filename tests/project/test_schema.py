"""The schemas for editors: current, valid, and no stricter than the application."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from project.foreign import AGENT_KEYS, CREW_KEYS, TASK_KEYS
from project.rules import RULES
from project.schema import make_schemas, render, write_schemas
from project.spec import AgentSpec, CrewSpec, TaskSpec

_ROOT = Path(__file__).resolve().parents[2]
_CLASSIC = Path(__file__).with_name("classic")


def _mistakes(name: str, content: Any) -> list[str]:
    validator: Any = Draft7Validator(make_schemas()[name])
    return [error.message for error in validator.iter_errors(content)]


@pytest.mark.parametrize("name", list(make_schemas()))
def test_the_schema_in_the_starter_is_current(name: str) -> None:
    path = _ROOT / "config" / "schemas" / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == render(make_schemas()[name]), "run python -m project.schema"


@pytest.mark.parametrize("name", list(make_schemas()))
def test_the_schema_is_a_schema(name: str) -> None:
    Draft7Validator.check_schema(make_schemas()[name])


def test_all_of_them_are_written(tmp_path: Path) -> None:
    written = write_schemas(tmp_path / "schemas")
    assert [path.name for path in written] == [f"{name}.schema.json" for name in make_schemas()]
    assert all(json.loads(path.read_text())["type"] == "object" for path in written)


@pytest.mark.parametrize("path", sorted(_ROOT.glob("config/*.yaml")), ids=lambda path: path.name)
def test_the_starter_is_valid(path: Path) -> None:
    if path.stem in make_schemas():
        assert _mistakes(path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", sorted(_CLASSIC.rglob("*.yaml")), ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_files_written_for_crewai_are_valid(path: Path) -> None:
    assert _mistakes(path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_every_key_is_described() -> None:
    agents = make_schemas()["agents"]["additionalProperties"]["properties"]
    assert set(agents) == set(AgentSpec.model_fields) | set(AGENT_KEYS)
    assert agents["role"]["description"] == "Who the agent is; opens its system prompt."
    assert agents["verbose"] == {
        "description": "ignored: Muster shows progress itself; `-v` shows more of it.",
        "deprecated": True,
    }
    tasks = make_schemas()["tasks"]["additionalProperties"]["properties"]
    assert set(tasks) == set(TaskSpec.model_fields) | set(TASK_KEYS) | {"guardrail"}
    crews = make_schemas()["crews"]["additionalProperties"]["properties"]
    assert set(crews) == set(CrewSpec.model_fields) | set(CREW_KEYS) | {"manager_agent", "manager_llm"}
    assert all(value["description"] for value in (*agents.values(), *tasks.values(), *crews.values()))


@pytest.mark.parametrize("name", list(RULES))
def test_the_example_of_every_rule_is_valid(name: str) -> None:
    task = {"description": "D", "expected_output": "E", "agent": "a"}
    example = yaml.safe_load(RULES[name].example)
    assert _mistakes("tasks", {"t": {**task, "guardrails": [example]}}) == []


_REFUSED: list[tuple[str, Any]] = [
    ("agents", {"a": {"role": "R", "goal": "G"}}),
    ("agents", {"a": {"role": "R", "goal": "G", "backstory": "B", "gaol": "x"}}),
    ("agents", {"a": {"role": "R", "goal": "G", "backstory": "B", "memory": True}}),
    ("agents", {"a b": {"role": "R", "goal": "G", "backstory": "B"}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "context": "b"}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "output": {"x": "string"}}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "guardrails": [{"words": "x"}]}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "offline": "x"}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "candidates": 1}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "retry": {"attempts": 0}}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "review": {"criteria": ["x"]}}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "guardrails": [{"gate": "warn"}]}}),
    ("tasks", {"t": {"description": "D", "expected_output": "E", "agent": "a", "refine": 3}}),
    ("crews", {"c": {"tasks": ["a"], "process": "parallel"}}),
    ("crews", {"c": {"process": "hierarchical"}}),
    ("crews", {"c": {"goal": "G"}}),
    ("crews", {"c": {"crews": [{"a": {}}]}}),
    ("crews", {"c": {"tasks": ["a"], "state": {"facts": "text"}}}),
    ("crews", {"c": {"tasks": ["a"], "manager": {"agent": "a", "max_subtasks": 0}}}),
    ("crews", {"c": {"tasks": ["a"], "inputs": ["topic"]}}),
    ("models", {"m": {"temperature": 1}}),
    ("models", {"m": {"model": "openai/x", "api_key": "x"}}),
    ("contracts", {"c": {"x": {"type": "int", "colour": 1}}}),
    ("crews", {"c": {"tasks": ["a"], "inputs": {"topic": {"guardrails": [{"words": "many"}]}}}}),
    ("policy", {"rules": [{"tools": ["a"]}]}),
    ("policy", {"rules": [{"decide": "block"}]}),
    ("policy", {"rules": [{"decide": "ask", "tools": []}]}),
    ("policy", {"rules": [{"decide": "ask", "arguments": {"a": {"regex": "x"}}}]}),
    ("policy", {"rules": [{"decide": "ask", "approval": {"expires_hours": 0}}]}),
    ("policy", {"order": [{"at_most": 1}]}),
    ("policy", {"tools": {"a": {"secrets": ["my-token"]}}}),
    ("policy", {"budgets": {"day": {"max_dollars": 1}}}),
    ("policy", {"tests": [{"tool": "a"}]}),
    ("policy", {"secrets": ["A"]}),
]


@pytest.mark.parametrize(("name", "content"), _REFUSED)
def test_an_editor_shows_what_the_application_would_refuse(name: str, content: Any) -> None:
    assert _mistakes(name, content)
