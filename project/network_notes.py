"""What policy.yaml leaves out of reach: pages for `http_get`, and tools that nothing could keep to their domains."""

from collections.abc import Mapping

from project.checks import Findings, Note
from project.declaration import ToolDeclaration
from project.parts import Parts
from project.spec_policy import PolicySpec

PAGES = "http_get"
"""The built-in tool that connects to nothing but to domains that policy.yaml names."""

_LINE = f"tools: {{{PAGES}: {{domains: [example.com]}}}}"


def note_out_of_reach(
    parts: Parts,
    tools: Mapping[str, ToolDeclaration],
    crewai_tools: frozenset[str],
    policy: PolicySpec,
    found: Findings,
) -> None:
    """Note calls that will be refused for how the network is declared."""
    said = policy.tools.get(PAGES)
    if said is None or said.domains is None:
        for file, entries in (("agents.yaml", parts.agents), ("tasks.yaml", parts.tasks)):
            for name, entry in entries.items():
                if any(use.name == PAGES for use in entry.tools or ()):
                    where = parts.node(file, name, "tools").here()
                    found.notes.append(Note(where, f"`{PAGES}` reaches nothing; write `{_LINE}` in policy.yaml"))
    for name, spec in policy.tools.items():
        declared = tools.get(name)
        beside = name in crewai_tools if declared is None else not declared.process
        if spec.domains is not None and beside:
            where = parts.node("policy.yaml", "tools", name).here()
            what = "runs in Muster's own process, where nothing can keep it to `domains`: no call of it is made"
            found.notes.append(Note(where, what))
