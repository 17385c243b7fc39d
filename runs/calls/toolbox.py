"""The tools and guardrails of a run, loaded once from the project's code."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agents.crewai_tools import find_own_tools, load_crewai_tool, make_own_tool
from crews.planned import CrewPlan
from project.crew_texts import with_stand_ins
from project.errors import AppError
from project.fill import placeholders_in_settings
from project.hints import listed
from project.spec import ToolUse
from project.spec_policy import ToolPolicySpec
from runs.calls.tool_hosts import warm
from runs.executing.state import RunState
from runs.stored.sealing import check_private
from tools.documents import cited_text
from tools.registry import is_builtin, load_guardrails, load_tools
from tools.tool import Tool


def load_code(run: RunState) -> None:
    """Load every tool and guardrail of the plan once, so that what is wrong with one is known before any cost.

    Raises: AppError.
    """
    for scope in (run.plan, *run.plan.crews.values()):
        for uses in _uses(scope):
            if not any(placeholders_in_settings(use.settings) for use in with_stand_ins(uses)):
                tools_for(run, uses)
                for use in uses:
                    _check_use(run, use)
    run.guardrails = load_guardrails(run.project)


def tools_for(run: RunState, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    """Return these tools by name; the same list is loaded once in a run. Raises: AppError."""
    key = json.dumps([use.model_dump(mode="json") for use in uses])
    if key not in run.tools:
        here = [use.model_copy(update={"settings": run.paths.all_here(use.settings)}) for use in uses]
        run.tools[key] = load_uses(run.project, here, lambda tool, name: _known_as(run, tool, name))
        if run.plan.policy is not None:
            check_private({name: _is_said_private(run, tool) for name, tool in run.tools[key].items()})
        if any(tool.home is not None for tool in run.tools[key].values()):
            warm()
    return run.tools[key]


def _known_as(run: RunState, tool: Tool, name: str) -> Tool:
    """Return a tool as policy.yaml declares it under its name in YAML, by which the rules know it, too."""
    run.governor.declare(tool.name, name)
    return _declared(tool, run.governor.tool(name))


def _declared(tool: Tool, said: ToolPolicySpec) -> Tool:
    """Return a tool as policy.yaml declares it."""
    names = ("effect", "repeat", "returns", "private")
    return replace(tool, **{name: value for name in names if (value := getattr(said, name)) is not None})


def _is_said_private(run: RunState, tool: Tool) -> bool:
    """Say whether its author or policy.yaml declares it private: what Muster supposes of crewai-tools needs no key."""
    supposed = run.governor.written(tool.name)[:1].isupper() and run.governor.tool(tool.name).private is None
    return tool.private and not supposed


def tool_names(run: RunState) -> set[str]:
    """Return what the tools of the plan are called, in YAML and by agents."""
    uses = {use.name for scope in (run.plan, *run.plan.crews.values()) for uses in _uses(scope) for use in uses}
    return uses | {name for tools in run.tools.values() for name in tools}


def sources_of(run: RunState, scope: CrewPlan) -> Callable[[str], str | None]:
    """Return what reads a cited place in the folders that the crew's tools read."""
    folders = dict.fromkeys(
        str(use.settings["folder"])
        for uses in _uses(scope)
        for use in with_stand_ins(uses)
        if use.settings.get("folder")
    )

    def find(citation: str) -> str | None:
        for folder in folders:
            text = cited_text(Path(run.project, run.paths.here(folder)), citation)
            if text is not None:
                return text
        return None

    return find


def _uses(scope: CrewPlan) -> Iterator[list[ToolUse]]:
    for planned in scope.tasks:
        yield planned.tools
    for member in scope.members.values():
        yield member.agent.tools


def load_uses(
    project: Path, uses: Sequence[ToolUse], declared: Callable[[Tool, str], Tool] = lambda tool, _name: tool
) -> dict[str, Tool]:
    """Make these tools of a project, by name; `declared` adds what is said of one by its name in YAML.

    Raises: AppError.
    """
    own = find_own_tools(project) if any(not is_builtin(use.name) for use in uses) else {}
    tools = load_tools(project, [use for use in uses if use.name not in own and not use.name[:1].isupper()])
    for use in uses:
        if use.name in own:
            tool = make_own_tool(use, own[use.name], project)
        elif use.name[:1].isupper():
            tool = load_crewai_tool(use, project)
        else:
            tool = tools[use.name]
        limit = tool.timeout_seconds if use.timeout_seconds is None else use.timeout_seconds
        tools[tool.name] = declared(replace(tool, timeout_seconds=limit), use.name)
    return tools


def tool_of(run: RunState, use: ToolUse) -> Tool:
    """Return one tool; what agents call it may differ from its name in YAML. Raises: AppError."""
    return next(iter(tools_for(run, [use]).values()))


def _check_use(run: RunState, use: ToolUse) -> None:
    """Check what YAML says of failed calls against the tools as they are loaded. Raises: AppError (exit 3)."""
    if use.retry is None and not use.fallback:
        return
    tool = tool_of(run, use)
    if use.retry is not None and tool.repeat == "once":
        what = f"the tool `{use.name}` is to be called once: a failed call may have done its work"
        raise AppError(what, fix="take its `retry` out, or declare it as one that may be repeated", exit_code=3)
    wanted, _ = _parameters(tool)
    for other in use.fallback:
        taken, required = _parameters(tool_of(run, other))
        missing, needed = sorted(wanted - taken), sorted(required - wanted)
        if missing or needed:
            what = f"`{other.name}` cannot stand in for `{use.name}`: it "
            what += f"does not take {listed(missing)}" if missing else f"needs {listed(needed)}"
            raise AppError(what, fix="give both tools the same parameters, or fix some in YAML", exit_code=3)


def _parameters(tool: Tool) -> tuple[set[str], set[str]]:
    return set(tool.parameters.get("properties", {})), set(tool.parameters.get("required", []))
