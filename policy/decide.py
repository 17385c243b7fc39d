"""The guard's decision about one call, in its final shape."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from policy.budget import Ceiling, Spent, first_over, over
from project.hints import listed, nearest, quoted
from project.spec import BudgetSpec
from project.spec_policy import ApprovalSpec, Effect, Ruling


@dataclass(frozen=True)
class Allow:
    """The call may happen."""

    rule: str = ""
    """The rule of the policy that allowed it; "" where there is no policy."""


@dataclass(frozen=True)
class Refuse:
    """The call does not happen; the agent goes on."""

    reason: str
    """What the model reads in place of a result."""
    rule: str = ""
    """The rule of the policy that decided it; "" where none did."""


@dataclass(frozen=True)
class Ask:
    """A person decides; the run waits."""

    question: str
    """Why a person is asked, in one line."""
    rule: str = ""
    """The rule that asks."""
    approval: ApprovalSpec = field(default_factory=ApprovalSpec)
    """Who may answer, and for how long it counts."""


@dataclass(frozen=True)
class Halt:
    """The run ends here."""

    reason: str
    """What the person who started it reads."""


Decision = Allow | Refuse | Ask | Halt


@dataclass(frozen=True)
class Principal:
    """Who makes a call, and on whose behalf."""

    run: str = ""
    """Id of the run."""
    crew: str = ""
    """The crew in which it is made."""
    task: str = ""
    """Path of the task."""
    agent: str = ""
    """Name of the agent."""
    chain: tuple[str, ...] = ()
    """Agents that passed the work on to this one, the first one first."""
    by: str = ""
    """The person who started the run, as user@host."""
    schedule: str = ""
    """The schedule that started it."""

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it, by name."""
        told = {"crew": self.crew, "agent": self.agent, "chain": list(self.chain), "by": self.by}
        return {key: value for key, value in (told | {"schedule": self.schedule}).items() if value}


@dataclass(frozen=True)
class Taint:
    """What a line of work has read that its calls are judged by: names of the steps that brought it."""

    untrusted: tuple[str, ...] = ()
    """Content that anybody may have written: web pages, mails, documents."""
    private: tuple[str, ...] = ()
    """Content that is not for everybody."""

    def plus(self, other: "Taint") -> "Taint":
        """Return both together, each name once."""
        return Taint(
            tuple(dict.fromkeys([*self.untrusted, *other.untrusted])),
            tuple(dict.fromkeys([*self.private, *other.private])),
        )


@dataclass(frozen=True)
class Call:
    """A call of a model or a tool that is about to happen."""

    kind: Literal["model", "tool"]
    run: str
    """Id of the run."""
    task: str
    """Name of the task."""
    agent: str
    """Name of the agent that makes the call."""
    name: str
    """The tool's name as the model wrote it, or the model as `provider/model`."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of a tool call."""
    effect: Effect | None = None
    """What the tool does to the world; None for a model."""
    repeat: Literal["safe", "keyed", "once"] | None = None
    """What doing it twice means; None for a model."""
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments that YAML fixes, which the agent neither sees nor sets."""
    taken: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The arguments as the tool takes them, with what it adds by itself where none is given."""
    principal: Principal = field(default_factory=Principal)
    """Who makes it, and on whose behalf."""
    taint: Taint = field(default_factory=Taint)
    """What was read before it."""
    given: tuple[str, ...] = ()
    """Texts of the inputs that the person gave who started the run."""
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    """Argument → path that it names, links resolved: relative to the run's own folder where it lies in it, else
    absolute."""
    other_places: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same as if they were meant from the run's own folder, where the tool does not know that: no rule that allows
    looks at them."""
    outward: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Words that leave this machine although the tool only reads, by where they stand among the arguments."""
    confidence: float | None = None
    """Least confidence of the outputs that the task builds on; None: not known."""
    autonomy: Literal["supervised", "autonomous"] | None = None
    """How much the agent may do by itself."""
    clearance: Literal["public", "private"] = "private"
    """What the agent may read."""
    private: bool = False
    """Whether what the tool returns is not for everybody."""
    at: datetime | None = None
    """When, with its time zone."""


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a tool call."""

    decide: Ruling
    rule: str
    """Name of the rule, or what stood in its place, such as `default for send`."""
    reason: str = ""
    """Why: for the agent when it is denied, for the person when they are asked."""
    approval: ApprovalSpec = field(default_factory=ApprovalSpec)
    """Who is asked."""


ALLOWED = Verdict("allow", "no policy")


def decide(
    call: Call,
    spent: Spent,
    budget: BudgetSpec,
    allowed_tools: Collection[str],
    *,
    worst_usd: Decimal | None,
    worst_tokens: int,
    price_known: bool,
    argument_problems: Sequence[str] = (),
    out_of_order: str = "",
    verdict: Verdict = ALLOWED,
    approved: bool = False,
    ceilings: Sequence[Ceiling] = (),
) -> Decision:
    """Say whether `call` may happen.

    Pure: reads no clock and no disk, so a replayed run decides alike. A wrong tool, wrong arguments and what the policy
    denies are refused before the budget is looked at: nothing would be called. Only what could be paid is asked about.
    `argument_problems` are what the tool's schema found, `out_of_order` what the order rules did; `approved` says that
    a person has approved exactly this call. `worst_usd` and `worst_tokens` are the most that the call may cost; None is
    nothing, as for the offline model and most tools. Without `price_known`, `worst_usd` is not read. `spent` and
    `budget` are those of the run, `ceilings` those of other scopes.

    Raises: nothing. A refusal is a value, since the model must be able to read it.
    """
    if call.kind == "tool":
        refusal = _refusal(call, allowed_tools, argument_problems, out_of_order, verdict)
        if refusal is not None:
            return refusal
    worst = (worst_usd or Decimal(0)) if price_known else None
    reason = over(spent, budget, kind=call.kind, worst_usd=worst, worst_tokens=worst_tokens, name=call.name)
    reason = reason or first_over(ceilings, kind=call.kind, worst_usd=worst, worst_tokens=worst_tokens, name=call.name)
    if reason is not None:
        return Halt(reason)
    if call.kind == "tool" and verdict.decide != "allow" and not approved:
        return Ask(verdict.reason or verdict.rule, verdict.rule, verdict.approval)
    return Allow("" if verdict is ALLOWED else verdict.rule)


def _refusal(
    call: Call, allowed_tools: Collection[str], problems: Sequence[str], out_of_order: str, verdict: Verdict
) -> Refuse | None:
    if call.name not in allowed_tools:
        return Refuse(_unknown_tool(call.name, sorted(allowed_tools)))
    if problems:
        wrong = "\n".join(f"- {problem}" for problem in problems)
        return Refuse(f"{call.name} was not called, its arguments are wrong:\n{wrong}\nCall it again with right ones.")
    if out_of_order:
        return Refuse(f"{call.name} was not called: {out_of_order}", "order")
    if verdict.decide == "deny":
        why = verdict.reason or f"the policy denies it ({verdict.rule})"
        return Refuse(f"{call.name} was not called: {why}. Do not try to reach the same in another way.", verdict.rule)
    return None


def _unknown_tool(name: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return f"There is no tool {quoted(name)}, and no other one in this task. Answer without tools."
    close = nearest(name, allowed)
    guess = f" Did you mean `{close}`?" if close else ""
    return f"There is no tool {quoted(name)}.{guess} The tools are: {listed(allowed)}."
