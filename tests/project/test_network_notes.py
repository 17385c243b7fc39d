"""What `check` notes about the network: pages out of reach, and tools that nothing could keep to their domains."""

from pathlib import Path

import pytest

from project.load import load_project
from tests.lab import APPLICATION, ONE_AGENT, Lab

TOOL = 'from muster import tool\n\n\n@tool(effect="read"{more})\ndef look() -> str:\n    """Look."""\n    return ""\n'
HTTP_GET = "agents.yaml:2:48: worker.tools: `http_get` reaches nothing; write `tools: {http_get: {domains: [example.com]}}` in policy.yaml"


def notes(folder: Path, tools: str, policy: str = "", more: str = "") -> list[str]:
    lab = Lab(folder)
    lab.write(**ONE_AGENT, tools__look_py=TOOL.format(more=more))
    lab.write(agents=f"worker:\n  {{role: Worker, goal: G, backstory: B, tools: {tools}}}\n")
    if policy:
        lab.write(policy=policy)
    return [str(note) for note in load_project(folder, APPLICATION / "tools").notes]


@pytest.mark.parametrize("policy", ["", "tools: {http_get: {rate: 3}}\n"])
def test_http_get_without_domains_is_noted_with_the_line_to_write(tmp_path: Path, policy: str) -> None:
    assert notes(tmp_path, "[http_get]", policy) == [f"config/{HTTP_GET}"]


def test_http_get_with_domains_is_not(tmp_path: Path) -> None:
    assert notes(tmp_path, "[http_get]", "tools: {http_get: {domains: [example.com]}}\n") == []
    assert notes(tmp_path, "[calculator]") == []


def test_a_tool_in_musters_own_process_cannot_be_kept_to_domains(tmp_path: Path) -> None:
    policy = "tools: {look: {domains: [example.com]}}\n"
    assert notes(tmp_path, "[look]", policy) == []
    assert notes(tmp_path, "[look]", policy, ", process=False") == [
        "config/policy.yaml:1:15: tools.look: runs in Muster's own process, where nothing can keep it to `domains`: no call of it is made"
    ]
