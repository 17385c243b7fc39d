"""The names that a project's files give and refer to."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from project.checks import Findings
from project.declaration import GuardrailDeclaration, ToolDeclaration
from project.errors import Where
from project.hints import quoted, suggest

# Step and workflow names are made of them, with `/`, `#` and `.` between: none of these may be inside.
ENTRY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,63}")
MODEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")


@dataclass(frozen=True)
class Names:
    """What may be referred to. None: the file that gives the names cannot be read, so any name may be right."""

    agents: Collection[str] | None = ()
    tasks: Collection[str] | None = ()
    models: Collection[str] | None = ()
    contracts: Collection[str] | None = ()
    tools: Mapping[str, ToolDeclaration] = field(default_factory=dict[str, ToolDeclaration])
    guardrails: Mapping[str, GuardrailDeclaration] = field(default_factory=dict[str, GuardrailDeclaration])
    crewai_tools: frozenset[str] = frozenset()
    """Classes of crewai-tools."""
    doubtful: frozenset[str] = frozenset()
    """Functions in Python files that cannot be parsed."""
    left_out: frozenset[str] = frozenset()
    """Tools of the project that are written CrewAI's own way."""


def check_name(
    name: str, known: Collection[str] | None, noun: str, lead: str, where: Where, findings: Findings, nothing: str = ""
) -> bool:
    """Report `name` when it is not among `known`; return whether it is, or may be."""
    if known is None or name in known:
        return True
    findings.wrong(where, f"unknown {noun} {quoted(name)}", suggest(name, known, lead, nothing))
    return False
