"""Ask an agent one thing beside its task: to plan, review, judge, answer a colleague. Steps of their own lane."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from agents.build import GuardedLLM, build_agent
from crews.planned import Member
from models.answer import Answer, ToolCall, Usage, estimate_tokens
from models.offline.respond import OfflineTask, respond
from policy.decide import Taint
from project.spec import TaskSpec, ToolUse
from runs.calls.lanes import Lane
from runs.calls.model_calls import AskModel
from runs.calls.seams import Guard
from runs.executing.state import Parked, RunState
from runs.governed.tainting import Reading, Watch
from runs.work.unit import Decisions
from tasks.build import build_task
from tasks.contracts import ask_again
from tools.tool import Tool, openai_schema

_T = TypeVar("_T")
_TRIES = 4
OFFLINE_WINDOW = 1_000_000

Read = Callable[[str], "tuple[_T | None, list[str]]"]
"""Reads an answer: what it says, or why it cannot be used."""


def consult(
    run: RunState,
    member: Member,
    lane_name: str,
    task: str,
    request: str,
    read: "Read[_T]",
    reading: Reading,
    *,
    tools: Mapping[str, Tool] | None = None,
    uses: Sequence[ToolUse] = (),
    tries: int = _TRIES,
    soft: bool = False,
    expected: str = "Exactly what is asked for, in the form that is asked for.",
    asked_by: Lane | None = None,
) -> _T:
    """Put `request` to `member` until `read` takes the answer; a wrong one goes back with its reasons.

    `reading` is that of the workflow in which it is asked: its lanes know from then on what was read for the answer.
    `asked_by` is the lane of the agent that asks: its rights and what it has read count for the answer's calls.

    Raises: AppError when the member may not see what was read; Parked when `tries` answers cannot be used: a resume
    asks again, unless `soft`, then that is a result.
    """
    spec = run.plan.models[member.model]
    lane = reading.open(Lane(lane_name, task, member.name), member.agent)
    if asked_by is not None:
        lane.chain = (*asked_by.chain, asked_by.agent)
        lane.autonomy = "supervised" if asked_by.autonomy == "supervised" else lane.autonomy
    limit = member.agent.max_execution_time
    guard = Guard(run, lane, member.model, run.models[member.model].ask, tools or {}, limit, soft=soft, uses=uses)
    taken: list[_T] = []
    rejections = 0
    decisions = Decisions(lane_name, run.folder)

    def judge(answer: str) -> str | None:
        nonlocal rejections
        value, reasons = read(answer)
        if value is not None:
            taken.append(value)
            return None
        rejections += 1
        if rejections >= tries:
            why = f"{member.name} gave no answer that can be used: {'; '.join(reasons[:5])}"
            if soft or decisions.give_up(why):
                raise Parked("failed", why, f"`muster runs trace {run.run_id}` shows every answer; try another model")
            rejections = 0
        return ask_again(reasons)

    untrusted = run.plan.policy is not None and any(tool.returns == "untrusted" for tool in (tools or {}).values())
    agent = build_agent(
        member.agent,
        GuardedLLM(spec.model, guard.ask, run.models[member.model].context_window),
        act=guard.act,
        judge=judge,
        schemas=[openai_schema(tool) for tool in (tools or {}).values()],
        protocol=spec.tool_calling,
        max_output_tokens=spec.max_tokens or 1024,
        source=Watch(lane).source if untrusted else None,
    )
    asked = TaskSpec(description=request, expected_output=expected)
    build_task(lane_name, asked, agent).execute_sync(context=None, tools=[])
    if asked_by is not None:
        reading.refresh(asked_by)
        if lane.taint.untrusted:  # the answer itself, so that it is set apart
            asked_by.taint = asked_by.taint.plus(Taint((lane_name,)))
    return taken[-1]


def is_offline(run: RunState, member: Member) -> bool:
    """Say whether the offline model answers for this member."""
    return run.plan.models[member.model].model == "offline"


def offline_asker(task: OfflineTask) -> AskModel:
    """Return what answers a task without a model."""

    def ask(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], _limit: float) -> Answer:
        reply = respond(messages, tools, task)
        calls = tuple(
            ToolCall(call.id, call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in reply.calls
        )
        text = reply.text or ""
        prompt = sum(estimate_tokens(str(message.get("content") or "")) for message in messages)
        return Answer(text, calls, Usage(prompt, estimate_tokens(text), estimated=True))

    return ask
