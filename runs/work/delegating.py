"""An agent passing work on: asking a colleague and going on, or handing the task over for good.

Both are tools that the agent sees. They touch nothing themselves: a colleague's calls are steps of its own lane.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from crews.planned import Member
from models.answer import ToolCall
from project.errors import Stop
from project.hints import listed
from runs.calls.lanes import Lane
from runs.calls.toolbox import tools_for
from runs.work.consulting import consult, is_offline
from runs.work.unit import Unit
from tools.tool import Tool

ASK = "ask_coworker"
HAND_OVER = "hand_over"
_MOST_QUESTIONS = 10
MOST_HANDOFFS = 4


class HandedOver(Stop):
    """The agent has handed its task over; carries to whom and what goes with it."""

    def __init__(self, to: str, packet: dict[str, Any]) -> None:
        super().__init__(to)
        self.to = to
        self.packet = packet


@dataclass
class Delegation:
    """The tools by which the agent of `unit` passes work on. `handed` names those who had the task before it."""

    unit: Unit
    act_itself: Callable[[ToolCall], str]
    lane: Lane
    handed: tuple[str, ...] = ()
    _asked: int = 0
    _answers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def coworkers(self) -> list[Member]:
        """Those whom it may ask."""
        planned, scope = self.unit.planned, self.unit.scope
        if not planned.agent.allow_delegation:
            return []
        members = [scope.members[name] for name in scope.workers if name != planned.agent_name]
        return [member for member in members if member.kind == "agent"]

    @property
    def takers(self) -> list[Member]:
        """Those to whom it may hand the task over."""
        if len(self.handed) >= MOST_HANDOFFS:
            return []
        members = [self.unit.scope.members[name] for name in self.unit.planned.agent.handoffs]
        return [member for member in members if member.kind == "agent"]

    def schemas(self) -> list[dict[str, Any]]:
        """Return the tools as a model reads them; none for an agent that works alone."""
        found: list[dict[str, Any]] = []
        if self.coworkers:
            about = "Ask a coworker to do a part of the work or to answer a question. Returns the answer; you go on."
            properties = {
                "coworker": _choice(self.coworkers),
                "request": _text("What is to be done or answered. The coworker knows nothing else."),
                "context": _text("What the coworker must know, with sources."),
            }
            found.append(_tool(ASK, about, properties, ["coworker", "request"]))
        if self.takers:
            about = "Hand this task over for good to an agent that is better placed. You are done with it then."
            properties = {
                "to": _choice(self.takers),
                "reason": _text("Why that agent and not you."),
                "done": _text("What you have found or done so far, with sources."),
                "open": _text("What is still open."),
            }
            found.append(_tool(HAND_OVER, about, properties, ["to", "reason", "done"]))
        return found

    def act(self, call: ToolCall) -> str:
        """Run a tool call of the agent. Raises: HandedOver; what the guard raises."""
        if call.name == ASK and self.coworkers:
            return self._ask(call)
        if call.name == HAND_OVER and self.takers:
            return self._hand_over(call)
        return self.act_itself(call)

    def _ask(self, call: ToolCall) -> str:
        arguments, problem = _read(call, ("coworker", "request"))
        member = _named(self.coworkers, arguments.get("coworker", ""))
        if problem or member is None:
            return problem or f"There is no coworker {arguments['coworker']!r}; {_who(self.coworkers)}"
        key = json.dumps([member.name, arguments["request"]])
        if key in self._answers:
            return f"You have asked this already. The answer was:\n{self._answers[key]}"
        if self._asked >= _MOST_QUESTIONS:
            return f"You have asked {self._asked} times; that is the most. Finish the work yourself."
        tools = tools_for(self.unit.run, member.agent.tools)
        refused = self._kept_from(member) or self._would_tell(member, tools)
        if refused:
            return refused
        if is_offline(self.unit.run, member):
            return "Nobody can be asked: this needs a language model"
        self._asked += 1
        unit = self.unit
        unit.decisions.record(
            "delegate",
            member.name,
            f"{unit.planned.agent_name} asks for: {' '.join(arguments['request'].split())[:300]}",
            among=[one.name for one in self.coworkers],
            by=unit.planned.agent_name,
        )
        context = unit.reading.apart(arguments.get("context", ""), unit.planned.agent_name)
        request = arguments["request"] + (f"\n\nContext:\n{context}" if context else "")
        lane = f"{unit.path}/{unit.planned.agent_name}>{member.name}#{self._asked}"
        answer = consult(
            unit.run,
            member,
            lane,
            unit.path,
            request,
            _any_text,
            unit.reading,
            tools=tools,
            uses=member.agent.tools,
            soft=unit.soft,
            expected="A complete, checkable answer.",
            asked_by=self.lane,
        )
        self._answers[key] = answer
        return answer

    def tools(self) -> list[Tool]:
        """Return the tools of those whom it may ask."""
        return [tool for one in self.coworkers for tool in tools_for(self.unit.run, one.agent.tools).values()]

    def _kept_from(self, member: Member) -> str:
        """Say why a member may not be given the work, where it would see what is not for it."""
        if member.agent.clearance == "public" and self.unit.reading.now().taint.private:
            return (
                f"{member.name} was not asked: it has a public clearance, and you have read private content. "
                "Do the work yourself, or ask somebody else."
            )
        return ""

    def _would_tell(self, member: Member, tools: Mapping[str, Tool]) -> str:
        """Say why a member may not be asked, where its answer could hold what is not for this agent."""
        if self.unit.planned.agent.clearance == "public" and any(tool.private for tool in tools.values()):
            return f"{member.name} was not asked: its tools return private content, and you have a public clearance."
        return ""

    def _hand_over(self, call: ToolCall) -> str:
        arguments, problem = _read(call, ("to", "reason", "done"))
        member = _named(self.takers, arguments.get("to", ""))
        if not problem and member is None:
            problem = f"The task cannot be handed to {arguments['to']!r}; {_who(self.takers)}"
        if member is not None and not problem:
            problem = self._kept_from(member)
        if problem:
            return problem
        assert member is not None
        unit = self.unit
        packet: dict[str, Any] = {
            "goal": unit.planned.task.expected_output,
            "from": unit.planned.agent_name,
            "reason": arguments["reason"],
            "done": arguments["done"],
            "open_questions": arguments.get("open", ""),
            "contract": list(unit.planned.contract or {}),
            "state": dict(unit.state),
            "evidence": [
                {"id": found.id, "source": found.source, "arguments": found.arguments}
                for found in unit.run.found.get(unit.path, [])
            ],
        }
        unit.decisions.record(
            "handoff",
            member.name,
            arguments["reason"],
            among=[one.name for one in self.takers],
            evidence=[item["id"] for item in packet["evidence"]],
            by=unit.planned.agent_name,
            packet=packet,
        )
        raise HandedOver(member.name, packet)


def handed_text(packet: Mapping[str, Any], results: Mapping[str, str]) -> str:
    """Tell a packet to the agent that takes over; `results` holds the texts of its evidence by id."""
    parts = [
        f"This task was handed to you by {packet['from']}. Reason: {packet['reason']}",
        f"What was done so far:\n{packet['done']}",
    ]
    if packet["open_questions"]:
        parts.append(f"Still open:\n{packet['open_questions']}")
    lines = [
        f"- {item['source']}({item['arguments']}) returned:\n{results.get(item['id'], '')[:2000]}"
        for item in packet["evidence"]
    ]
    if lines:
        parts.append("\n".join(["Tool calls made so far:", *lines]))
    return "\n\n".join(parts)


def _any_text(answer: str) -> tuple[str | None, list[str]]:
    return answer, []


def _read(call: ToolCall, needed: tuple[str, ...]) -> tuple[dict[str, str], str]:
    try:
        found: Any = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {}, f"{call.name} takes a JSON object with {listed(needed)}"
    arguments = {key: str(value) for key, value in cast(dict[str, Any], found).items() if value is not None}
    missing = [name for name in needed if not arguments.get(name, "").strip()]
    if missing:
        return arguments, f"{call.name}: {listed(missing)} must say something; nothing was passed on. Call it again."
    return arguments, ""


def _named(members: list[Member], name: str) -> Member | None:
    wanted = name.strip().casefold()
    return next((one for one in members if wanted in (one.name.casefold(), one.agent.role.casefold())), None)


def _who(members: list[Member]) -> str:
    return f"there are: {listed([member.name for member in members])}"


def _choice(members: list[Member]) -> dict[str, Any]:
    who = "; ".join(f"{member.name}: {member.agent.role}, {member.agent.goal}" for member in members)
    return {"type": "string", "enum": [member.name for member in members], "description": who}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
