"""What `muster plan` tells of how a run is governed: ceilings, prices, who is asked about which calls, their order."""

from typing import TYPE_CHECKING

from project.hints import listed

if TYPE_CHECKING:
    from crews.planned import CrewPlan, Plan
    from project.load import Project
    from project.spec import BudgetSpec
    from project.spec_policy import CallBudgetSpec, Effect, ExampleSpec, OrderSpec, Ruling


def tell_ceilings(resolved: "Plan") -> list[str]:
    """Tell every ceiling that a run by hand has, the run's own first."""
    from runs.governed.ceilings import ceilings_of

    beside = ceilings_of(resolved, {})
    named: list[tuple[str, BudgetSpec | CallBudgetSpec]] = [("", resolved.budget), (" of each model call", beside.call)]
    named += [(f" of task {name}", budget) for name, budget in beside.tasks.items()]
    named += [(f" of agent {name}", budget) for name, budget in beside.agents.items()]
    named += [(f" of {one.scope.name}, all runs together", one.budget) for one in beside.shared]
    told = [f"  ceilings{whose}: {amounts}" for whose, budget in named if (amounts := _amounts(budget))]
    told = [line.replace("ceilings:", "ceilings", 1) for line in told]
    return told or ["  ceilings none"]


def _amounts(budget: "BudgetSpec | CallBudgetSpec") -> str:
    return ", ".join(f"{key} {value}" for key, value in budget.model_dump(exclude_none=True).items())


def tell_unpriced(resolved: "Plan") -> list[str]:
    """Tell the model for whose unknown price the run would be refused, with the line to write."""
    from models.prices import find_price
    from runs.governed.ceilings import ceilings_of, unpriced

    prices = {name: find_price(spec) for name, spec in resolved.models.items()}
    found = unpriced(resolved, resolved.budget, ceilings_of(resolved, {}), prices)
    if found is None:
        return []
    name, ceiling = found
    line = "price: {input: N, output: N}"
    return [
        f"  model {name}: its price is not known, so {ceiling} refuses the run; write `{line}` at it in models.yaml"
    ]


def tell_gates(project: "Project", resolved: "Plan") -> list[str]:
    """Tell which calls a person is asked about, which are denied, and which rules depend on the call itself."""
    callers = sorted(_callers(resolved))
    found: dict[tuple[str, str], list[str]] = {}
    both = _bring_both(project, sorted({tool for _, _, tool in callers}))
    for crew, agent, tool in callers:
        told = _gate(project, crew, agent, tool, both=both)
        who = found.setdefault((tool, told), []) if told else []
        who += [agent] if agent not in who else []
    gates = [f"  {tool} by {', '.join(who)}: {told}" for (tool, told), who in found.items()]
    limits = [f"  {line}" for tool in sorted({tool for _, _, tool in callers}) for line in limits_of(project, tool)]
    return [*gates, *limits]


def _callers(resolved: "Plan") -> set[tuple[str, str, str]]:
    """Return which agent may call which tool in which crew."""
    scopes = [resolved, *resolved.crews.values()]
    by_task = {
        (scope.crew, task.agent_name, use.name) for scope in scopes for task in scope.tasks for use in task.tools
    }
    return by_task | {
        (scope.crew, name, use.name)
        for scope in scopes
        for name in _with_own_tools(scope)
        for use in scope.members[name].agent.tools
    }


def _with_own_tools(scope: "CrewPlan") -> list[str]:
    """Return who may work with the tools of agents.yaml; one whose tasks all name their tools has only those."""
    if scope.manager is not None or any(
        one.agent.allow_delegation or one.agent.handoffs for one in scope.members.values()
    ):
        return scope.workers
    named = {task.agent_name for task in scope.tasks if task.task.tools is not None}
    free = {task.agent_name for task in scope.tasks if task.task.tools is None}
    return [name for name in scope.workers if name in free or name not in named]


def _bring_both(project: "Project", tools: list[str]) -> bool:
    """Say whether results of the tools are untrusted and private, of one tool or of several."""
    from agents.crewai_declared import DECLARED, UNDECLARED

    untrusted = private = False
    for tool in tools:
        declared = project.tools.get(tool) or DECLARED.get(tool, UNDECLARED)
        said = project.policy.tools.get(tool)
        untrusted |= ((said and said.returns) or declared.returns) == "untrusted"
        private |= declared.private if said is None or said.private is None else said.private
    return untrusted and private


def _gate(project: "Project", crew: str, agent: str, tool: str, *, both: bool) -> str:
    """Tell what is decided about calls of a tool; "" where all of them are allowed.

    `both`: the crew has tools whose results are untrusted, and private.
    """
    from cli.policy import setting_of
    from policy.examples import example_call
    from policy.rulebook import Rulebook
    from project.spec_policy import ExampleSpec

    example = ExampleSpec(tool=tool, expect="ask", agent=agent, crew=crew)
    setting = setting_of(project, example)
    rules = Rulebook(project.policy)
    verdict = rules.verdict(example_call(example, setting))
    read = example.model_copy(update={"tainted": True, "private": True}) if both else example
    after = rules.verdict(example_call(read, setting))
    unless = [name for name, decide in _conditional(project, example, setting.effect) if decide != verdict.decide]
    if verdict.decide == after.decide == "allow" and not unless:
        return ""
    words = {"ask": "a person is asked", "deny": "denied", "allow": "allowed"}
    but = f", unless one of these rules fits: {', '.join(unless)}" if unless else ""
    told = f"{words[verdict.decide]} ({verdict.rule}){but}"
    if after.decide == verdict.decide:
        return told
    return f"{told}; {words[after.decide]} once untrusted and private content was read ({after.rule})"


def _conditional(project: "Project", example: "ExampleSpec", effect: "Effect") -> list[tuple[str, "Ruling"]]:
    """Return the rules about a tool that depend on the single call, above the first that does not: name, ruling."""
    from policy.matching import make_ready, named

    found: list[tuple[str, Ruling]] = []
    for number, spec in enumerate(project.policy.rules, 1):
        rule = make_ready(spec, number)
        there = rule.tools(example.tool) and rule.agents(example.agent) and named(spec.crews)(example.crew)
        if not there or (spec.effects and effect not in spec.effects):
            continue
        by_call = (spec.arguments, spec.paths, spec.domains, spec.methods, spec.hours)
        if not any(by_call) and spec.confidence_below is None and spec.tainted is None:
            break
        found.append((rule.name, spec.decide))
    return found


def limits_of(project: "Project", tool: str) -> list[str]:
    """Tell the order rules about a tool and its rate, each beginning with its name."""
    told = [f"{tool} {_order(rule)}" for rule in project.policy.order if rule.tool == tool]
    said = project.policy.tools.get(tool)
    if said is not None and said.rate is not None:
        times = "1 call" if said.rate.calls == 1 else f"{said.rate.calls} calls"
        told.append(f"{tool} at most {times} within {said.rate.seconds:g} s, in all runs")
    return told


def _order(rule: "OrderSpec") -> str:
    said: list[str] = []
    if rule.at_most is not None:
        said.append("at most once" if rule.at_most == 1 else f"at most {rule.at_most} times")
    said += [f"only after {listed(rule.after)}"] if rule.after else []
    said += [f"only before {listed(rule.before)}"] if rule.before else []
    said += [f"never with {listed(rule.never_with)}"] if rule.never_with else []
    said += ["must be called before an answer is accepted"] if rule.must_call else []
    where = f", in {listed(rule.tasks)}" if rule.tasks else ""
    return f"{'; '.join(said)}, within one {rule.per}{where}"
