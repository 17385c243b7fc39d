"""TaskSpec → crewai.Task. Guardrails, contract, files and people are ours, so the task carries none of them."""

from collections.abc import Mapping, Sequence

from crewai import Agent, Task

from project.spec import TaskSpec

_BETWEEN = "\n\n----------\n\n"


def build_task(name: str, spec: TaskSpec, agent: Agent) -> Task:
    """Build the task, fresh: runs mutate tasks."""
    return Task(
        name=name,
        description=spec.description,
        expected_output=spec.expected_output,
        agent=agent,
        markdown=spec.markdown,
        tools=[],
    )


def join_context(needs: Sequence[str], outputs: Mapping[str, str]) -> str:
    """Join the outputs that a task reads, as CrewAI does."""
    return _BETWEEN.join(outputs[name] for name in needs)
