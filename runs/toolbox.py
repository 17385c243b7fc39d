"""The tools and guardrails of a run, loaded once from the project's code."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents.crewai_tools import find_own_tools, load_crewai_tool, make_own_tool
from crews.planned import CrewPlan
from project.fill import placeholders_in_settings
from project.spec import ToolUse
from runs.state import RunState
from tools.documents import cited_text
from tools.registry import is_builtin, load_guardrails, load_tools
from tools.tool import Tool


def load_code(run: RunState) -> None:
    """Load every tool and guardrail of the plan once, so that what is wrong with one is known before any cost.

    Raises: AppError.
    """
    for scope in (run.plan, *run.plan.crews.values()):
        for uses in _uses(scope):
            if not any(placeholders_in_settings(use.settings) for use in uses):
                tools_for(run, uses)
    run.guardrails = load_guardrails(Path(run.plan.project))


def tools_for(run: RunState, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    """Return these tools by name; the same list is loaded once in a run. Raises: AppError."""
    key = json.dumps([use.model_dump(mode="json") for use in uses])
    if key not in run.tools:
        run.tools[key] = _load(run, uses)
    return run.tools[key]


def sources_of(run: RunState, scope: CrewPlan) -> Callable[[str], str | None]:
    """Return what reads a cited place in the folders that the crew's tools read."""
    folders = dict.fromkeys(
        str(use.settings["folder"]) for uses in _uses(scope) for use in uses if use.settings.get("folder")
    )

    def find(citation: str) -> str | None:
        for folder in folders:
            text = cited_text(Path(run.plan.project, folder), citation)
            if text is not None:
                return text
        return None

    return find


def _uses(scope: CrewPlan) -> Iterator[list[ToolUse]]:
    for planned in scope.tasks:
        yield planned.tools
    for member in scope.members.values():
        yield member.agent.tools


def _load(run: RunState, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    project = Path(run.plan.project)
    own = find_own_tools(project) if any(not is_builtin(use.name) for use in uses) else {}
    tools = load_tools(project, [use for use in uses if use.name not in own and not use.name[:1].isupper()])
    for use in uses:
        if use.name in own:
            tool = make_own_tool(use, own[use.name], project)
        elif use.name[:1].isupper():
            tool = load_crewai_tool(use, project)
        else:
            continue
        tools[tool.name] = tool
    return tools
