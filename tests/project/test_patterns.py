"""Conditions, lists, reviews, candidates, managers, pipelines and state: short forms are the long ones, and load."""

from pathlib import Path
from textwrap import indent

import pytest

from project.conditions import condition_tasks
from project.inputs import crew_inputs
from project.load import Project
from project.spec import (
    CandidatesSpec,
    ForEachSpec,
    GuardrailSpec,
    InputSpec,
    JudgeSpec,
    ManagerSpec,
    RefineSpec,
    RetrySpec,
    ReviewSpec,
    StageSpec,
    StateSpec,
    TaskSpec,
)
from tests.project.folder import load, write

_NAMES = ("planner", "writer", "editor", "critic", "lead")
_AGENTS = "".join(f"{name}:\n  role: The {name}\n  goal: Do it\n  backstory: You do it.\n" for name in _NAMES)
_TASK = "{0}:\n  description: Do it\n  expected_output: It\n  agent: {1}\n"
_PLAN = _TASK.format("plan", "planner") + (
    '  output: {urgent: bool, level: int, steps: {type: "list[object]", fields: {title: str, words: int}}}\n'
)


def _project(tmp_path: Path, tasks: str, crews: str | None = None, agents: str = "", **files: str) -> Project:
    every = {"config/agents.yaml": _AGENTS + agents, "config/tasks.yaml": tasks, **files}
    return load(write(tmp_path / "project", every if crews is None else {**every, "config/crews.yaml": crews}))


def _task(tmp_path: Path, rest: str) -> TaskSpec:
    tasks = _PLAN + _TASK.format("write", "writer") + indent(rest, "  ")
    return _project(tmp_path, tasks).tasks["write"]


@pytest.mark.parametrize(
    ("written", "key", "spec"),
    [
        ("for_each: outputs.plan.steps", "for_each", ForEachSpec(items="outputs.plan.steps")),
        (
            "for_each: {items: outputs.plan.steps, width: 2, on_failure: fail}",
            "for_each",
            ForEachSpec(items="outputs.plan.steps", width=2, on_failure="fail"),
        ),
        ("review: critic", "review", ReviewSpec(by="critic")),
        (
            "review: {by: critic, criteria: Every claim has a source, max_rounds: 3, if_not_approved: keep}",
            "review",
            ReviewSpec(by="critic", criteria=["Every claim has a source"], max_rounds=3, if_not_approved="keep"),
        ),
        ("refine: true", "refine", RefineSpec()),
        ("refine: {criteria: [Short, Clear]}", "refine", RefineSpec(criteria=["Short", "Clear"])),
        ("refine: false", "refine", None),
        ("candidates: 4\njudge: critic", "candidates", CandidatesSpec(count=4)),
        (
            "candidates: [writer, editor]\njudge: critic",
            "candidates",
            CandidatesSpec(count=2, agents=["writer", "editor"]),
        ),
        (
            "candidates: {agents: [writer, editor]}\njudge: critic",
            "candidates",
            CandidatesSpec(count=2, agents=["writer", "editor"]),
        ),
        (
            "candidates: {agents: [writer, editor], count: 5}\njudge: critic",
            "candidates",
            CandidatesSpec(count=5, agents=["writer", "editor"]),
        ),
        ("judge: critic\ncandidates: 2", "judge", JudgeSpec(by="critic")),
        ("judge: {by: critic, criteria: [Best]}\ncandidates: 2", "judge", JudgeSpec(by="critic", criteria=["Best"])),
        ("retry: 3", "retry", RetrySpec(attempts=3)),
        ("retry: {agents: [editor]}", "retry", RetrySpec(agents=["editor"])),
        ("when: outputs.plan.urgent", "when", "outputs.plan.urgent"),
        ("min_confidence: 0.7", "min_confidence", 0.7),
        ("min_confidence: 1", "min_confidence", 1.0),
    ],
)
def test_a_pattern_has_a_short_and_a_long_form(written: str, key: str, spec: object, tmp_path: Path) -> None:
    assert getattr(_task(tmp_path, written + "\n"), key) == spec


def test_keys_without_a_value_are_not_written(tmp_path: Path) -> None:
    keys = ("when", "for_each", "review", "refine", "candidates", "judge", "retry", "min_confidence", "reads", "writes")
    assert _task(tmp_path, "".join(f"{key}:\n" for key in keys)) == _task(tmp_path / "other", "")


def test_a_guardrail_may_have_a_gate(tmp_path: Path) -> None:
    text = """\
guardrails:
  - words: {max: 300}
    gate: warn
  - text: "No price is missing: none"
    gate: fail
  - function: polite
    gate: revise
  - text: It is kind
  - polite
"""
    tasks = _PLAN + indent(text, "  ")
    code = "from muster import guardrail\n\n\n@guardrail\ndef polite(text: str) -> str:\n    ...\n"
    assert _project(tmp_path, tasks, **{"guardrails/g.py": code}).tasks["plan"].guardrails == [
        GuardrailSpec(rule="words", value={"max": 300}, gate="warn"),
        GuardrailSpec(text="No price is missing: none", gate="fail"),
        GuardrailSpec(function="polite"),
        GuardrailSpec(text="It is kind"),
        GuardrailSpec(function="polite"),
    ]


def test_delegation_and_handoffs_are_the_agents_own(tmp_path: Path) -> None:
    agents = "boss:\n  role: B\n  goal: G\n  backstory: B\n  allow_delegation: true\n  handoffs: [writer, lead]\n"
    project = _project(tmp_path, _TASK.format("plan", "boss"), agents=agents)
    assert project.agents["boss"].allow_delegation
    assert project.agents["boss"].handoffs == ["writer", "lead"]
    assert not project.agents["writer"].allow_delegation
    assert not any("boss" in str(note) or "writer:" in str(note) for note in project.notes)


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("manager: lead", ManagerSpec(agent="lead")),
        ("manager: openai/gpt-4o", ManagerSpec(model="openai/gpt-4o")),
        ("manager: offline", ManagerSpec(model="offline")),
        ("manager: {agent: lead, review_plan: true, reviewer: critic, aggregate: rank}",
         ManagerSpec(agent="lead", review_plan=True, reviewer="critic", aggregate="rank")),
        ("manager_agent: lead", ManagerSpec(agent="lead")),
        ("manager_llm: default", ManagerSpec(model="default")),
        ("manager_agent: lead\nmanager_llm: offline", ManagerSpec(agent="lead", model="offline")),
        ("manager:\nmanager_agent:", None),
    ],
)  # fmt: skip
def test_a_manager_is_an_agent_or_a_model(written: str, spec: ManagerSpec | None, tmp_path: Path) -> None:
    crews = "team:\n  process: hierarchical\n  goal: Write about {topic}\n  agents: [planner, writer]\n"
    tasks = _TASK.format("spare", "writer")
    models = {"config/models.yaml": "default: offline\n"}
    project = _project(tmp_path, tasks, crews + indent(written, "  ") + "\n", **models)
    assert project.crews["team"].manager == spec
    assert list(crew_inputs(project, "team")) == ["topic"]


def test_a_managers_tasks_need_no_agent_and_may_come_in_any_order(tmp_path: Path) -> None:
    tasks = _TASK.format("write", "writer").replace("  agent: writer\n", "  context: [plan]\n") + _PLAN
    crews = "team:\n  process: hierarchical\n  agents: [writer, planner]\n  tasks: [write, plan]\n"
    project = _project(tmp_path, tasks, crews)
    assert project.tasks["write"].agent is None
    assert [str(note) for note in project.notes if "crews" in str(note)] == []


def test_a_pipeline_takes_the_inputs_of_its_crews_that_it_does_not_map(tmp_path: Path) -> None:
    tasks = _PLAN.replace("Do it", "Plan {topic} in {words}") + _TASK.format("write", "writer").replace(
        "Do it", "Write {outline} for {audience}"
    )
    crews = """\
both:
  crews:
    - first
    - crew: second
      inputs: {outline: "{first.steps} of {first} in {style}", audience: experts}
first:
  tasks: [plan]
  inputs: {topic: {description: About what}, words: 600}
second:
  tasks: [write]
"""
    project = _project(tmp_path, tasks, crews)
    assert project.crews["both"].crews == [
        StageSpec(crew="first"),
        StageSpec(crew="second", inputs={"outline": "{first.steps} of {first} in {style}", "audience": "experts"}),
    ]
    assert crew_inputs(project, "both") == {
        "style": InputSpec(),
        "topic": InputSpec(description="About what"),
        "words": InputSpec(type="integer", default=600),
    }


def test_state_has_a_type_or_a_long_form(tmp_path: Path) -> None:
    tasks = (
        _TASK.format("find", "planner")
        + "  async_execution: true\n  output: {facts: str, cost: float}\n  writes: [facts, cost]\n"
        + _TASK.format("search", "planner")
        + '  async_execution: true\n  output: {facts: "list[str]", cost: int}\n  writes: [facts, cost]\n'
        + _TASK.format("write", "writer")
        + "  reads: [facts]\n  when: state.cost < 3 && size(state.facts) > 0\n"
        + "  output: {title: str}\n  writes: [title]\n"
    )
    crews = """\
team:
  tasks: [find, search, write]
  state:
    facts: {type: "list[str]", description: What is known, merge: union}
    cost: {type: float, merge: sum}
    title: str
"""
    assert _project(tmp_path, tasks, crews).crews["team"].state == {
        "facts": StateSpec(type="list[str]", description="What is known", merge="union"),
        "cost": StateSpec(type="float", merge="sum"),
        "title": StateSpec(),
    }


def test_entries_of_a_list_are_no_inputs_where_the_task_is_done_for_each(tmp_path: Path) -> None:
    tasks = (
        _PLAN
        + _TASK.format("write", "writer").replace("Do it", "Write {item.title} of {item} for {topic}")
        + "  for_each: outputs.plan.steps\n  output_file: out/{number}-{item.title}.md\n"
        + "  guardrails: ['{item.title} is there']\n"
        + _TASK.format("close", "editor").replace("Do it", "Close {number} and {item}")
    )
    project = _project(tmp_path, tasks)
    assert list(crew_inputs(project, "default")) == ["topic", "number", "item"]
    assert condition_tasks(project.tasks["write"]) == ["plan"]


def test_an_agent_may_be_a_person_or_a_crew(tmp_path: Path) -> None:
    tasks = (
        _TASK.format("ask", "human")
        + "  when: inputs.kind == 'large'\n  output: {approved: bool}\n  output_file: a.json\n"
        + _TASK.format("do", "team")
        + "  when: outputs.ask.approved\n"
        + _TASK.format("inner", "writer").replace("Do it", "Do {question} in {words} words")
    )
    crews = """\
all: {tasks: [ask, do], inputs: {kind: }}
team: {tasks: [inner], inputs: {words: 600}}
"""
    project = _project(tmp_path, tasks, crews)
    assert project.tasks["ask"].agent == "human"
    assert project.tasks["do"].agent == "team"
    assert list(crew_inputs(project, "all")) == ["kind"]


def test_the_texts_of_everybody_who_may_work_name_inputs(tmp_path: Path) -> None:
    agents = "".join(
        f"{name}:\n  role: R\n  goal: With {{{name}_input}}\n  backstory: B\n{more}"
        for name, more in (
            ("maker", "  handoffs: [heir]\n"), ("heir", ""), ("judge", ""), ("reviewer", ""), ("second", ""),
            ("boss", ""), ("controller", ""), ("worker", ""), ("stranger", ""),
        )
    )  # fmt: skip
    tasks = _TASK.format("write", "maker") + (
        "  candidates: 2\n  judge: {by: judge, criteria: ['Fits {style}']}\n  review: reviewer\n"
        "  retry: {agents: [second]}\n"
    )
    crews = """\
team:
  goal: Reach {aim}
  process: hierarchical
  tasks: [write]
  agents: [maker, worker]
  manager: {agent: boss, reviewer: controller}
"""
    project = _project(tmp_path, tasks, crews, agents=agents)
    names = {"maker", "heir", "judge", "reviewer", "second", "boss", "controller", "worker"}
    assert set(crew_inputs(project, "team")) == {f"{name}_input" for name in names} | {"aim", "style"}
    idle = {str(note).split(": ")[1] for note in project.notes if "no task is done" in str(note)}
    assert idle == {"stranger", *_NAMES}


@pytest.mark.parametrize("crew", ["goal: G\n  agents: [writer]", "tasks: [plan]\n  agents: [planner, writer]"])
def test_a_manager_without_a_choice_is_noted(crew: str, tmp_path: Path) -> None:
    project = _project(tmp_path, _PLAN, f"team:\n  process: hierarchical\n  {crew}\n")
    note = next(note for note in project.notes if "crews" in str(note))
    assert str(note) == (
        "config/crews.yaml:2:3: team.process: a manager adds model calls and nothing else here; "
        "`process: sequential` does the same"
    )


def test_an_agent_that_others_may_delegate_to_is_not_idle(tmp_path: Path) -> None:
    agents = "boss:\n  role: B\n  goal: G\n  backstory: B\n  allow_delegation: true\n"
    crews = "team:\n  tasks: [plan]\n  agents: [boss, writer]\n"
    project = _project(tmp_path, _TASK.format("plan", "boss"), crews, agents)
    assert not any("writer" in str(note) for note in project.notes)


def test_entries_of_a_list_that_are_something_else_are_noted(tmp_path: Path) -> None:
    tasks = _PLAN + _TASK.format("write", "writer") + "  for_each: outputs.plan.steps\n"
    tasks += _TASK.format("close", "editor").replace("Do it", "Close {item.title}")
    crews = "team: {tasks: [plan, write, close], inputs: {number: }}\n"
    notes = [str(note) for note in _project(tmp_path, tasks, crews).notes if "agents.yaml" not in str(note)]
    assert notes == [
        "config/tasks.yaml:12:16: close.description: `{item.title}` stays as it is: the task has no `for_each`",
        "config/crews.yaml:1:46: team.inputs.number: in the texts of `write`, `{number}` means the entry of its list, "
        "not this input",
        "config/crews.yaml:1:46: team.inputs.number: no text of the crew uses this input",
    ]


def test_state_that_nobody_uses_is_noted(tmp_path: Path) -> None:
    crews = "team: {tasks: [plan], state: {facts: str}}\n"
    notes = [str(note) for note in _project(tmp_path, _PLAN, crews).notes if "agents.yaml" not in str(note)]
    assert notes == ["config/crews.yaml:1:31: team.state.facts: no task reads or writes this piece of state"]


def test_a_list_may_be_written_out_and_conditions_may_name_inputs_by_their_placeholders(tmp_path: Path) -> None:
    tasks = _TASK.format("write", "writer").replace("Do it", "Write {item} on {topic}")
    tasks += "  for_each: \"['intro', 'body']\"\n  when: inputs.topic != ''\n"
    project = _project(tmp_path, tasks)
    assert list(crew_inputs(project, "default")) == ["topic"]


def test_a_task_that_no_crew_has_may_wait_for_its_agent(tmp_path: Path) -> None:
    tasks = _PLAN + _TASK.format("spare", "x").replace("  agent: x\n", "")
    notes = [str(note) for note in _project(tmp_path, tasks, "team: {tasks: [plan]}\n").notes]
    assert "config/tasks.yaml:6:1: spare: no crew has this task" in notes
