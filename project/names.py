"""The names that a project's files give and refer to."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from project.checks import Findings
from project.declaration import GuardrailDeclaration, ToolDeclaration
from project.errors import Where
from project.hints import listed, quoted, suggest

# Step and workflow names are made of them, with `/`, `#` and `.` between: none of these may be inside.
ENTRY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,63}")
MODEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
STATE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
HUMAN = "human"
"""What `agent:` of a task says where a person does it."""


@dataclass(frozen=True)
class Names:
    """What may be referred to. None: the file that gives the names cannot be read, so any name may be right."""

    agents: Collection[str] | None = ()
    tasks: Collection[str] | None = ()
    models: Collection[str] | None = ()
    contracts: Collection[str] | None = ()
    crews: Collection[str] | None = ()
    tools: Mapping[str, ToolDeclaration] = field(default_factory=dict[str, ToolDeclaration])
    guardrails: Mapping[str, GuardrailDeclaration] = field(default_factory=dict[str, GuardrailDeclaration])
    crewai_tools: frozenset[str] = frozenset()
    """Classes of crewai-tools."""
    doubtful: frozenset[str] = frozenset()
    """Functions in Python files that cannot be parsed."""
    left_out: frozenset[str] = frozenset()
    """Tools of the project that are written for other libraries."""
    own_crewai: frozenset[str] = frozenset()
    """Tools of the project that are written for CrewAI."""


def check_name(
    name: str, known: Collection[str] | None, noun: str, lead: str, where: Where, findings: Findings, nothing: str = ""
) -> bool:
    """Report `name` when it is not among `known`; return whether it is, or may be."""
    if known is None or name in known:
        return True
    findings.wrong(where, f"unknown {noun} {quoted(name)}", suggest(name, known, lead, nothing))
    return False


def check_agent(name: str, names: Names, where: Where, findings: Findings) -> bool:
    """Report `name` when it is no agent of agents.yaml; return whether it is, or may be."""
    if names.agents is not None and name not in names.agents:
        if name == HUMAN:
            fix = "name an agent of agents.yaml; a person checks outputs by `human_input: true` of the task"
            findings.wrong(where, "a person cannot be named here", fix)
            return False
        if name in (names.crews or ()):
            fix = f"name an agent: {listed(names.agents)}" if names.agents else "name an agent of agents.yaml"
            findings.wrong(where, f"{quoted(name)} is a crew, not an agent", fix)
            return False
    return check_name(name, names.agents, "agent", "agents.yaml has", where, findings)


def check_worker(name: str, names: Names, where: Where, findings: Findings, own: str = "") -> bool:
    """Report `name` when it is neither an agent nor a crew; return whether it is one, or may be.

    `own` is the crew in which it stands: never proposed, and reported elsewhere as a circle.
    """
    if names.agents is None or names.crews is None or (own and name == own):
        return True
    crews = [crew for crew in names.crews if crew not in names.agents and crew != own]
    lead = "agents.yaml and crews.yaml have" if crews else "agents.yaml has"
    return check_name(name, [*names.agents, *crews], "agent", lead, where, findings)
