"""The crewai.Agent that is built: works through our loop, asks only the guard, and carries nothing over."""

from pathlib import Path
from typing import Any

import pytest

from models.answer import Answer
from project.spec import AgentSpec, TaskSpec
from runs import quiet

SPEC = AgentSpec(role="Worker", goal="Do the work", backstory="You work.")
TASK = TaskSpec(description="Do {it}", expected_output="A line.", agent="worker")


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path) -> None:
    quiet.prepare(tmp_path / "crewai")


def build(answers: list[str], refuse: dict[str, str] | None = None, **spec: Any) -> tuple[Any, list[Any]]:
    from agents.build import GuardedLLM, build_agent
    from tasks.build import build_task

    asked: list[Any] = []

    def ask(messages: Any, tools: Any) -> Answer:
        asked.append(list(messages))
        return Answer(answers[min(len(asked), len(answers)) - 1])

    agent = build_agent(
        SPEC.model_copy(update=spec),
        GuardedLLM("openai/scripted", ask, 8000),
        act=lambda call: "",
        judge=lambda answer: (refuse or {}).get(answer),
        schemas=[],
        extra="\n\nEXTRA",
    )
    return build_task("work", TASK, agent), asked


def test_a_task_is_carried_out_by_asking_the_guard() -> None:
    task, asked = build(["done"])
    assert str(task.execute_sync(context="what went before", tools=[])) == "done"
    (messages,) = asked
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[0]["content"] == "You are Worker. You work.\nYour personal goal is: Do the work"
    assert "Do {it}" in messages[1]["content"]
    assert messages[1]["content"].endswith("This is the context you're working with:\nwhat went before\n\nEXTRA")


def test_answers_are_judged_until_one_is_accepted() -> None:
    task, asked = build(["bad", "good"], {"bad": "say good"})
    assert str(task.execute_sync(tools=[])) == "good"
    assert asked[1][-1] == {"role": "user", "content": "say good"}


def test_without_a_system_prompt_all_is_one_message() -> None:
    task, asked = build(["done"], use_system_prompt=False)
    task.execute_sync(tools=[])
    (message,) = asked[0]
    assert message["role"] == "user"
    assert "You are Worker." in message["content"]


def test_templates_of_crewai_are_kept() -> None:
    task, asked = build(
        ["done"],
        system_template="<s>{{ .System }}</s>",
        prompt_template="<u>{{ .Prompt }}</u>",
        response_template="<a>{{ .Response }}</a>",
    )
    task.execute_sync(tools=[])
    text = "".join(message["content"] for message in asked[0])
    assert "<s>" in text
    assert "<u>" in text
    assert "Do {it}" in text
