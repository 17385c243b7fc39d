"""The table of foreign keys: complete, told apart, and silent where a value changes nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, TASK_KEYS, Foreign
from project.spec import AgentSpec, CrewSpec, ModelSpec, Spec, TaskSpec
from tests.project.folder import complaints, load, write

_ROOT = Path(__file__).resolve().parents[2]
_TABLES: list[tuple[type[Spec], Mapping[str, Foreign]]] = [
    (AgentSpec, AGENT_KEYS),
    (TaskSpec, TASK_KEYS),
    (CrewSpec, CREW_KEYS),
    (ModelSpec, MODEL_KEYS),
]
_SHORT_FORMS: list[set[str]] = [set(), {"guardrail"}, {"manager_agent", "manager_llm"}]  # read by entries_*.py
_ASK_CREWAI = """
import json
from crewai import Agent, Crew, Task
from crewai.project.crew_base import AgentConfig, TaskConfig
print(json.dumps([sorted(set(Agent.model_fields) | set(AgentConfig.__annotations__)),
                  sorted(set(Task.model_fields) | set(TaskConfig.__annotations__)), sorted(Crew.model_fields)]))
"""


@pytest.fixture(scope="module")
def crewai_keys(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Return the keys of CrewAI's agents, tasks and crews; asked in a child, which keeps its files to itself."""
    home = str(tmp_path_factory.mktemp("home"))
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ASK_CREWAI],
        env={**os.environ, **quiet, "HOME": home, "CREWAI_STORAGE_DIR": home},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("place", [0, 1, 2], ids=["agents", "tasks", "crews"])
def test_every_key_of_crewai_is_known(place: int, crewai_keys: list[list[str]]) -> None:
    model, table = _TABLES[place]
    assert set(crewai_keys[place]) - set(model.model_fields) - set(table) - _SHORT_FORMS[place] == set()


@pytest.mark.parametrize(("model", "table"), _TABLES, ids=["agents", "tasks", "crews", "models"])
def test_no_key_is_both_taken_and_foreign(model: type[Spec], table: Mapping[str, Foreign]) -> None:
    assert set(model.model_fields) & set(table) == set()


def test_every_foreign_key_says_why_and_every_refused_one_what_to_do() -> None:
    for _, table in _TABLES:
        for name, key in table.items():
            assert key.why, name
            assert not key.why.endswith("."), name
            assert key.allowed or key.fix, name


@pytest.mark.parametrize("name", sorted(AGENT_KEYS))
def test_an_agent_with_a_foreign_key_that_is_unset_loads_without_a_word(name: str, tmp_path: Path) -> None:
    text = f"researcher:\n  role: R\n  goal: G\n  backstory: B\n  {name}:\n"
    assert load(write(tmp_path / "project", {"config/agents.yaml": text})).notes == ()


@pytest.mark.parametrize("name", sorted(TASK_KEYS))
def test_a_task_with_a_foreign_key_that_is_set_loads_with_a_note_or_not_at_all(name: str, tmp_path: Path) -> None:
    text = f"research:\n  description: D\n  expected_output: E\n  agent: researcher\n  {name}: something\n"
    root = write(tmp_path / "project", {"config/tasks.yaml": text})
    expected = f"config/tasks.yaml:5:3: research.{name}: {TASK_KEYS[name].message()}"
    if TASK_KEYS[name].allowed:
        assert [str(note) for note in load(root).notes] == [expected]
    else:
        assert complaints(root)[0] == expected


def test_zero_is_not_taken_for_false() -> None:
    assert not AGENT_KEYS["max_rpm"].passes(0)
    assert AGENT_KEYS["max_rpm"].passes(False)
    assert not AGENT_KEYS["cache"].passes(1)
