"""What the files of config/ have in common: entries by name, lists of names; and agents.yaml and contracts.yaml."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from project.checks import Findings, Grammar, expect_text, read_spec
from project.contracts import read_fields
from project.foreign import AGENT_KEYS
from project.hints import listed, quoted
from project.names import ENTRY_NAME, HUMAN, Names, check_agent, check_name
from project.parts import item_place
from project.reader import Node
from project.spec import AgentSpec, BudgetSpec, FieldSpec, Spec
from project.uses import read_tools

_S = TypeVar("_S", bound=Spec)

MODEL_FORM = re.compile(r"[^/\s]+/[^\s]+")
MODEL_FIX = "write `provider/name` such as `openai/gpt-4o-mini`, or `auto`, or `offline`"
_PROVIDERS = (("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("claude", "anthropic"), ("gemini", "gemini"))

CEILINGS = {"max_dollars": "max_usd", "max_cost": "max_usd", "max_cost_usd": "max_usd", "deadline": "max_seconds"}
"""Keys that people write for ceilings, and those they mean."""

Known = Callable[[str, Node], bool]
"""Says whether a name is right; where it is not, it has been reported."""


def read_agents(tree: Node, names: Names, findings: Findings) -> dict[str, AgentSpec]:
    """Read agents.yaml."""
    takes = {
        "llm": partial(read_llm, names=names),
        "tools": partial(_tools, names=names),
        "handoffs": partial(read_agent_names, names=names),
        "budget": read_budget,
    }
    meant = {
        "model": "llm",
        "instructions": "backstory",
        "prompt": "backstory",
        "description": "backstory",
        "delegation": "allow_delegation",
        "handoff": "handoffs",
    }
    agents = read_entries(AgentSpec, tree, Grammar("an agent", takes, AGENT_KEYS, meant), findings)
    for name, agent in agents.items():
        refuse_human(tree.entries[name], "agent", findings)
        if name in agent.handoffs:
            where = item_place(tree.entries[name].entries["handoffs"], name)
            findings.wrong(where, "an agent cannot hand a task over to itself", f"take `{name}` out")
    return agents


def read_contracts(tree: Node, findings: Findings) -> dict[str, dict[str, FieldSpec]]:
    """Read contracts.yaml."""
    contracts: dict[str, dict[str, FieldSpec]] = {}
    for name, node in tree.entries.items():
        check_entry_name(name, node, ENTRY_NAME, findings)
        contracts[name] = read_fields(node, findings) or {}
    return contracts


def read_entries(model: type[_S], tree: Node, grammar: Grammar, findings: Findings) -> dict[str, _S]:
    """Read every entry of a file into `model`; what is no mapping is left out, after a problem."""
    specs: dict[str, _S] = {}
    for name, node in tree.entries.items():
        check_entry_name(name, node, ENTRY_NAME, findings)
        spec = read_spec(model, node, grammar, findings)
        if spec is not None:
            specs[name] = spec
    return specs


def check_entry_name(name: str, node: Node, allowed: re.Pattern[str], findings: Findings) -> None:
    """Report a name that steps and workflows could not carry."""
    if not allowed.fullmatch(name):
        findings.wrong(
            node.at_key(), "cannot be a name", "use at most 64 of A-Z, a-z, 0-9, `_` and `-`, and begin with a letter"
        )


def refuse_human(node: Node, noun: str, findings: Findings) -> None:
    """Report an agent or crew that has the name which `agent:` of a task gives to a person."""
    if node.keys[-1] == HUMAN:
        findings.wrong(node.at_key(), f"the name `{HUMAN}` means a person", f"rename the {noun} `{HUMAN}`")


def read_names(node: Node, findings: Findings, *, noun: str, known: Known | None = None) -> list[str] | None:
    """Read a list of names: each known, none twice. Null means not written."""
    if node.value is None:
        return None
    if not node.is_list:
        key = node.keys[-1]
        fix = (
            f"write a list: `{key}: [{node.value}]`" if isinstance(node.value, str) else f"write a list: `{key}: [...]`"
        )
        findings.wrong(node.here(), f"must be a list of {noun}s, got {node.got()}", fix)
        return None
    found: list[str] = []
    for item in node.items:
        name = expect_text(item, findings)
        if name is None:
            continue
        if name in found:
            findings.wrong(item.here(), f"the {noun} {quoted(name)} is listed twice", f"keep one {quoted(name)}")
        elif known is None or known(name, item):
            found.append(name)
    return found


def read_kinds(node: Node, findings: Findings, *, kinds: Sequence[str], noun: str) -> list[str] | None:
    """Read a list of fixed words, at least one."""

    def known(name: str, item: Node) -> bool:
        return check_name(name, kinds, noun, "there are", item.here(), findings)

    found = read_names(node, findings, noun=noun, known=known)
    if found == [] and not node.items:
        findings.wrong(node.here(), "is empty", f"name some of: {listed(kinds)}, or leave it out")
        return None
    return found


def read_agent_names(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    """Read a list of agents of agents.yaml."""
    return read_names(
        node, findings, noun="agent", known=lambda name, item: check_agent(name, names, item.here(), findings)
    )


def read_agent_name(node: Node, findings: Findings, *, names: Names) -> str | None:
    """Read the name of an agent of agents.yaml; a wrong one is returned as well, once it is reported."""
    name = expect_text(node, findings)
    if name is not None:
        check_agent(name, names, node.here(), findings)
    return name


def read_budget(node: Node, findings: Findings) -> BudgetSpec | None:
    """Read ceilings. Null means not written."""
    return None if node.value is None else read_spec(BudgetSpec, node, Grammar("a budget", meant=CEILINGS), findings)


def read_llm(node: Node, findings: Findings, *, names: Names) -> str | None:
    """Read the model of an agent: a name in models.yaml or `provider/model`."""
    if node.value is None:
        return None
    if node.is_mapping:
        findings.wrong(node.here(), "a model is not described here", "describe it in models.yaml and name it here")
        return None
    name = expect_text(node, findings)
    if name is not None and not knows_model(name, names):
        _report_model(name, node, names, findings)
    return name


def knows_model(name: str, names: Names) -> bool:
    """Say whether an agent may have this model."""
    return names.models is None or name in names.models or name == "offline" or bool(MODEL_FORM.fullmatch(name))


def _report_model(name: str, node: Node, names: Names, findings: Findings) -> None:
    if "/" in name:
        findings.wrong(node.here(), f"{quoted(name)} is no model", MODEL_FIX)
        return
    provider = next((provider for start, provider in _PROVIDERS if name.lower().startswith(start)), None)
    if provider:
        fix = f"write `{provider}/{name}`, or add `{name}: {provider}/{name}` to models.yaml"
        findings.wrong(node.here(), f"unknown model {quoted(name)}: the provider is missing", fix)
    elif name == "auto":
        fix = "leave `llm` out: `default` in models.yaml may be `auto`"
        findings.wrong(node.here(), "`auto` is not the name of a model", fix)
    else:
        models = names.models or ()
        known = [*models, *(() if "offline" in models else ("offline",))]
        check_name(name, known, "model", "models.yaml and Muster have", node.here(), findings)


def _tools(node: Node, findings: Findings, *, names: Names) -> Any:
    return read_tools(node, names, findings)
