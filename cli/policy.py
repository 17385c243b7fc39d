"""`muster policy`: try the rules of policy.yaml, and see which one decides about a call."""

import json
from typing import TYPE_CHECKING, Any

import typer

from cli.output import print_json, result, say, table
from cli.run import read_pairs
from cli.session import session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from agents.crewai_declared import Declared
    from policy.decide import Verdict
    from policy.examples import Setting, Tried
    from policy.rulebook import Account
    from project.declaration import ToolDeclaration
    from project.load import Project
    from project.spec_policy import ApprovalSpec, ExampleSpec, ToolPolicySpec

app = typer.Typer(help="Try the rules of policy.yaml, and see which one decides.", rich_markup_mode=None)

_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_EFFECTS = ("read", "write", "send", "spend", "execute")


@app.command("test")
def try_examples(context: typer.Context, as_json: bool = _JSON) -> None:
    """Try the example calls under `tests:` of policy.yaml. Exit 1 when one is decided otherwise than expected."""
    from policy.examples import try_example
    from policy.rulebook import Rulebook

    project = session(context).load()
    rules = Rulebook(project.policy)
    tried = [try_example(rules, example, setting_of(project, example)) for example in project.policy.tests]
    failed = [one for one in tried if not one.passed]
    if as_json:
        print_json({"passed": not failed, "tests": [_tried_document(one) for one in tried]})
    elif not tried:
        say("policy.yaml has no `tests:`")
    else:
        result("\n\n".join([_table(tried), *[_told_failure(tried.index(one) + 1, one) for one in failed]]))
        result(f"\n{len(tried) - len(failed)} of {len(tried)} as expected")
    if failed:
        raise typer.Exit(1)


@app.command()
def explain(
    context: typer.Context,
    tool: str = typer.Argument(..., help="The tool that is called."),
    arguments: list[str] = typer.Option(
        [], "-a", "--argument", metavar="KEY=VALUE", help="An argument: JSON, or else a text. May be repeated."
    ),
    agent: str = typer.Option("", "--agent", help="The agent that calls. Default: one that no rule names."),
    crew: str = typer.Option("", "--crew", help="The crew in which it works. Default: one that no rule names."),
    delegated_by: list[str] = typer.Option(
        [], "--delegated-by", metavar="AGENT", help="An agent that passed the work on. May be repeated."
    ),
    tainted: bool = typer.Option(False, "--tainted", help="Untrusted content was read before."),
    private: bool = typer.Option(False, "--private", help="Private content was read before."),
    confidence: float | None = typer.Option(None, "--confidence", min=0, max=1, help="Of what the task builds on."),
    at: str = typer.Option("", "--at", metavar="TIME", help="Such as 'YYYY-MM-DD HH:MM', UTC. Default: a noon."),
    effect: str = typer.Option("", "--effect", help=f"What the tool does: {', '.join(_EFFECTS)}."),
    as_json: bool = _JSON,
) -> None:
    """Say which rule decides about a call, what it decides, and why the rules before it do not fit. Calls nothing."""
    from policy.examples import example_call
    from policy.rulebook import Rulebook
    from project.spec_policy import ExampleSpec

    project = session(context).load()
    _check_names(project, tool, [*([agent] if agent else []), *delegated_by], crew, effect)
    given = _read_arguments(arguments)
    _check_arguments(project, tool, given)
    example = ExampleSpec(
        tool=tool,
        expect="allow",
        arguments=given,
        agent=agent,
        crew=crew,
        effect=effect or None,  # type: ignore[arg-type]  # checked in `_check_names`
        delegated_by=delegated_by,
        tainted=tainted,
        private=private,
        confidence=confidence,
        at=_check_time(at),
    )
    setting = setting_of(project, example)
    verdict, accounts = Rulebook(project.policy).explain(example_call(example, setting))
    shown_effect, besides = example.effect or setting.effect, _besides(project, tool)
    if as_json:
        print_json(_explained_document(tool, shown_effect, verdict, accounts) | {"besides": besides})
    else:
        result(_explained(tool, shown_effect, verdict, accounts, besides))


def setting_of(project: "Project", example: "ExampleSpec") -> "Setting":
    """Return what the project says of a call: what the tool does, and how much the agent may do by itself."""
    from agents.crewai_declared import DECLARED, UNDECLARED
    from policy.examples import Setting
    from tools.registry import is_builtin

    declared = project.tools.get(example.tool) or DECLARED.get(example.tool, UNDECLARED)
    said = project.policy.tools.get(example.tool)
    effect: Any = (said.effect if said else None) or declared.effect
    spec = project.agents.get(example.agent)
    folder = project.root / ".muster" / "runs" / "example" / "files"
    own = project.tools.get(example.tool)
    base = None if own is not None and (own.knows_run or is_builtin(own.name)) else str(project.root)
    private = declared.private if said is None or said.private is None else said.private
    afar = _is_afar(example.tool, declared, said)
    autonomy, clearance = (spec.autonomy, spec.clearance) if spec else (None, "private")
    return Setting(effect, autonomy, folder, base, afar, clearance, private)


def _is_afar(name: str, declared: "ToolDeclaration | Declared", said: "ToolPolicySpec | None") -> bool:
    """Say whether a tool that reads asks something outside of this machine, as far as is known of it."""
    from agents.crewai_declared import Declared
    from tools.registry import is_builtin

    if (said is not None and said.domains == []) or is_builtin(name):
        return False
    if isinstance(declared, Declared):
        return declared.afar
    returns = (said.returns if said else None) or declared.returns
    private = declared.private if said is None or said.private is None else said.private
    return returns == "untrusted" and not private


def _check_names(project: "Project", tool: str, agents: list[str], crew: str, effect: str) -> None:
    from project.hints import suggest

    known = [*project.tools, *project.policy.tools, *sorted(project.crewai_tools)]
    if effect and effect not in _EFFECTS:
        raise UsageError(f"unknown effect {effect!r}", fix=f"one of: {', '.join(_EFFECTS)}")
    if tool not in known and not effect:
        guess = suggest(tool, known, "the tools are")
        fix = f"{guess}\nwhere the project does not declare it, say what it does: --effect send"
        raise AppError(f"unknown tool {tool!r}", fix=fix, exit_code=3)
    for agent in agents:
        if agent not in project.agents:
            fix = suggest(agent, list(project.agents), "the agents are")
            raise AppError(f"unknown agent {agent!r}", fix=fix, exit_code=3)
    if crew and crew not in project.crews:
        raise AppError(f"unknown crew {crew!r}", fix=suggest(crew, list(project.crews), "the crews are"), exit_code=3)


def _check_arguments(project: "Project", tool: str, given: dict[str, Any]) -> None:
    """Refuse arguments that the tool does not take: a call with them is refused before a rule is asked."""
    from project.hints import suggest

    if (declared := project.tools.get(tool)) is None:
        return
    for name in given:
        if name not in declared.parameters:
            fix = suggest(name, declared.parameters, f"`{tool}` takes", f"`{tool}` takes no arguments")
            raise AppError(f"the tool {tool!r} has no argument {name!r}", fix=fix, exit_code=3)


def _besides(project: "Project", tool: str) -> list[str]:
    """Tell what else a call of the tool must keep to, which no rule decides: order, rate, domains."""
    from cli.plan_governed import limits_of
    from project.network_notes import PAGES

    told = limits_of(project, tool)
    said = project.policy.tools.get(tool)
    if said is not None and said.domains is not None:
        told.append(f"{tool} connects only to {', '.join(said.domains) or 'nothing'}")
    elif tool == PAGES:
        told.append(f"{tool} connects to nothing, until `domains:` under `tools:` of policy.yaml say what it may")
    return told


def _read_arguments(pairs: list[str]) -> dict[str, Any]:
    """Read `-a KEY=VALUE`. Raises: UsageError."""
    found: dict[str, Any] = {}
    for key, value in read_pairs("-a", pairs, noun="argument", example="to=ann@example.com").items():
        try:
            found[key] = json.loads(value)
        except (ValueError, RecursionError):
            found[key] = value
    return found


def _check_time(at: str) -> str:
    from project.hours import read_instant

    try:
        return read_instant(at).isoformat() if at else ""
    except ValueError:
        raise UsageError(f"--at is no time: {at!r}", fix="write it like 'YYYY-MM-DD HH:MM'") from None


# -- what is shown


def _table(tried: "list[Tried]") -> str:
    rows = [
        (str(number), "ok" if one.passed else "FAILED", one.example.tool, one.example.expect, one.verdict.decide,
         one.verdict.rule)
        for number, one in enumerate(tried, 1)
    ]  # fmt: skip
    return table(("TEST", "", "TOOL", "EXPECTED", "DECIDED", "BY"), rows)


def _told_failure(number: int, one: "Tried") -> str:
    example, verdict = one.example, one.verdict
    expected = f"{example.expect} by {example.rule}" if example.rule else example.expect
    shown = json.dumps(example.arguments, ensure_ascii=False, default=str)
    return (
        f"test {number}: {example.tool} {shown}\n"
        f"  expected  {expected}\n"
        f"  decided   {verdict.decide} by {verdict.rule}\n"
        f"  why       {verdict.reason}"
    )


def _tried_document(one: "Tried") -> dict[str, Any]:
    example, verdict = one.example, one.verdict
    return {
        "tool": example.tool,
        "arguments": example.arguments,
        "expected": example.expect,
        "expected_rule": example.rule or None,
        "decided": verdict.decide,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "passed": one.passed,
    }


def _explained(tool: str, effect: str, verdict: "Verdict", accounts: "list[Account]", besides: list[str]) -> str:
    lines = [
        f"tool     {tool} ({effect})",
        f"decided  {verdict.decide}",
        f"rule     {verdict.rule}",
        f"why      {verdict.reason}",
        *([f"asked    {_who(verdict.approval)}"] if verdict.decide == "ask" else []),
        *(f"besides  {line}" for line in besides),
    ]
    parts = ["\n".join(lines)]
    for account in accounts:
        if len(accounts) > 1:
            agent, found = account.agent or "(no agent named)", account.verdict
            parts.append(f"for {agent}: {found.decide} by {found.rule}")
        if account.passed:
            parts.append(table(("RULE", "WHY IT DOES NOT FIT"), account.passed))
    return "\n\n".join(parts)


def _who(approval: "ApprovalSpec") -> str:
    who = ", ".join(approval.approvers) or "anyone who can reach the inbox"
    both = "; two different people must approve" if approval.four_eyes else ""
    return f"{who}{both}; the question counts for {approval.expires_hours:g} h"


def _explained_document(tool: str, effect: str, verdict: "Verdict", accounts: "list[Account]") -> dict[str, Any]:
    return {
        "tool": tool,
        "effect": effect,
        **_verdict_document(verdict),
        "agents": [
            {
                "agent": account.agent or None,
                **_verdict_document(account.verdict),
                "passed": [{"rule": rule, "why": why} for rule, why in account.passed],
            }
            for account in accounts
        ],
    }


def _verdict_document(verdict: "Verdict") -> dict[str, Any]:
    asked = verdict.approval.model_dump(mode="json") if verdict.decide == "ask" else None
    return {"decided": verdict.decide, "rule": verdict.rule, "reason": verdict.reason, "asked": asked}
