"""Calls that a crash left open: a probe, else a person, says whether they happened; only then are they made again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from policy.budget import Spent
from runs.calls.arguments import read_arguments
from runs.calls.calling import context_of
from runs.calls.lanes import Seam
from runs.calls.tool_hosts import FunctionFailed, probe_tool
from runs.calls.tool_records import begin_decision, effects_of, message_of
from runs.calls.wanted import Wanted, begin_record
from runs.executing.state import Parked
from runs.governed.terms import Witness, who_may
from runs.governed.visible import visible_json
from runs.people.asking import ask_person
from runs.people.questions import Question
from tools.tool import Tool

UNKNOWN_OUTCOME = (
    "The outcome of this call is unknown: the process died while it ran. It was not made again, because doing it twice "
    "could do harm. Do not assume that it happened or that it did not."
)
_CONFIRMED = (
    "The process died while this call ran, and a person has confirmed that it happened. It was not made again; what it "
    "returned is not known."
)
_HAPPENED, _DID_NOT, _STOP = "it happened", "it did not", "stop"

Make = Callable[[str, str, Wanted], dict[str, Any]]
"""Makes a call as a step that follows a step which announces it; given both names."""


@dataclass(frozen=True)
class _Settled:
    """How a call ended; `result` is what the model reads."""

    result: str
    by: Literal["probe", "person", "nobody"]
    person: str = ""
    """Who confirmed it, as user@host."""


@dataclass(frozen=True)
class _DidNotHappen:
    witness: Witness | None = None
    """The person who says so; None: the probe."""


def left_open(tool: Tool) -> dict[str, Any]:
    """Return what makes the record of a call that of one which a crash left open: it is settled by later steps."""
    chosen = "ask the probe" if tool.probe is not None else "ask a person"
    why = f"the process died while `{tool.name}` was under way, which may not be done twice"
    told = begin_decision("unknown outcome", "", ("ask the probe", "ask a person", "tell the agent"))
    return told | {"lost": True, "chosen": chosen, "why": why}


class LeftOpen:
    """Settles the calls of one lane that a crash left open."""

    def __init__(self, seam: Seam, make: Make) -> None:
        self._seam, self._run, self._lane = seam, seam.run, seam.lane
        self._make = make

    def settle(self, name: str, wanted: Wanted) -> tuple[str, Wanted, dict[str, Any]]:
        """Find out whether the call in the step `name` happened, and make it again only where it did not.

        Returns the name and the record of the step that settles it, and the call as it was made. Raises: Parked.
        """
        tool = wanted.tool
        assert tool is not None
        arguments, _ = read_arguments(wanted.call.arguments)
        assert arguments is not None
        turn = 1
        while True:
            found = self._find_out(name, turn, tool, arguments, wanted)
            turn += 1
            again = f"{name}.{turn}"
            if isinstance(found, _Settled):
                return again, wanted, self._conclude(again, wanted, tool, arguments, found)
            wanted = replace(wanted, witness=found.witness)
            record = self._make(again, f"{name}/intent.{turn}", wanted)
            if "lost" not in record:  # made, or a person must approve it anew
                return again, wanted, record

    def _conclude(
        self, name: str, wanted: Wanted, tool: Tool, arguments: dict[str, Any], found: _Settled
    ) -> dict[str, Any]:
        def settled() -> dict[str, Any]:
            self._seam.spend("call", tool.name, Spent(tool_calls=1))
            told: dict[str, Any] = {"result": found.result, "settled_by": found.by, "seconds": 0.0}
            told |= {"unknown_outcome": True} if found.by == "nobody" else {}
            told |= {"said_by": found.person} if found.person else {}
            return begin_record(self._seam, wanted, arguments) | effects_of(tool) | told

        _, record = self._seam.journaled(name, settled)
        self._seam.check(name, record, wanted.same, None)
        return record

    def _find_out(
        self, name: str, turn: int, tool: Tool, arguments: dict[str, Any], wanted: Wanted
    ) -> _Settled | _DidNotHappen:
        """Return how the call ended, if it happened. Raises: Parked."""
        nth = "" if turn == 1 else f".{turn}"
        why = "a crash left open whether it happened"
        if tool.probe is not None:
            _, record = self._seam.journaled(f"{name}/probe{nth}", lambda: self._probe(tool, arguments, wanted))
            if "error" not in record:
                return _Settled(record["result"], "probe") if record["happened"] else _DidNotHappen()
            why += f", and its probe failed: {record['error']['message']}"
            if tool.if_unknown == "tell":
                return _Settled(UNKNOWN_OUTCOME, "nobody")
        return self._ask(f"{name}/asked{nth}", tool, _question(self._seam, wanted, tool, arguments, why))

    def _probe(self, tool: Tool, arguments: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
        self._seam.stop_if_asked()
        began = time.monotonic()
        try:
            limit = self._seam.time_left(tool.timeout_seconds)
            here = self._run.paths.all_here(arguments)
            found = probe_tool(self._run.run_id, tool, here, context_of(self._seam, wanted), limit)
            why = "it found nothing of the call" if found is None else f"it found: {found}"
            told: dict[str, Any] = {"chosen": _DID_NOT if found is None else _HAPPENED, "why": why}
            told |= {"happened": found is not None, "result": found}
        except FunctionFailed as error:
            message = message_of(error)
            told = {"chosen": "ask a person" if tool.if_unknown == "ask" else "tell the agent", "why": message}
            told["error"] = {"kind": error.kind, "message": message}
        seconds = round(time.monotonic() - began, 4)
        among = (_HAPPENED, _DID_NOT, "ask a person", "tell the agent")
        return begin_decision("probe", self._lane.task, among) | told | {"seconds": seconds}

    def _ask(self, name: str, tool: Tool, question: Question) -> _Settled | _DidNotHappen:
        """Ask a person, until the answer is not an earlier execution's `stop`. Raises: Parked."""
        number = 0
        while True:
            number += 1
            asked = ask_person(self._run, name if number == 1 else f"{name}#{number}", question, needed=True)
            if asked.said == _HAPPENED:
                return _Settled(_CONFIRMED, "person", asked.by)
            if asked.said == _DID_NOT:
                return _DidNotHappen(Witness(asked.by, asked.at))
            if asked.now:
                what = f"a person stopped it: a crash left open whether a call of `{tool.name}` happened"
                raise Parked("failed", what, f"`muster runs resume {self._run.run_id}` asks again")


def _question(seam: Seam, wanted: Wanted, tool: Tool, arguments: dict[str, Any], why: str) -> Question:
    """Return what a person is asked who says what became of a call."""
    approval, again = wanted.approval, "it is made now"
    approved: list[str] = []
    if approval is not None:
        approved = [f"{' and '.join(approval.by)} approved it."]
        if approval.asked.approvers or approval.asked.four_eyes:
            again = f"it is made again only with the word of: {who_may(approval.asked)}"
    lines = [
        f"{seam.lane.agent} called `{tool.name}` ({tool.effect}); {why}. It is not made again without your word.",
        *approved,
        visible_json(arguments),
        f"{_HAPPENED}: the agent is told so; {_DID_NOT}: {again}; {_STOP}: the task fails",
    ]
    return Question(
        seam.lane.task,
        f"Did this call of `{tool.name}` happen?",
        "\n".join(lines),
        kind="unknown_outcome",
        choices=(_HAPPENED, _DID_NOT, _STOP),
    )
