"""Examples copied to where they may be run, each with its own state; offline, or on hand-written answers."""

import base64
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.examples.scripted import read_answers, script_of
from tests.lab import APPLICATION, Lab
from tests.scripted_server import Request, ScriptedServer

EXAMPLES = APPLICATION / "examples"
FOLDERS = sorted(path.parent.parent.relative_to(EXAMPLES) for path in EXAMPLES.rglob("config/agents.yaml"))
"""Every example, as a path below examples/."""
PATTERN_RUNS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "router": ("answer", {"question": "What does a late return cost?"}),
    "map": ("report", {}),
    "review": ("notice", {}),
    "refine": ("welcome", {}),
    "candidates": ("debate", {}),
    "planner-executor": ("request", {}),
    "retry": ("answer", {}),
    "fallbacks": ("answer", {}),
    "human": ("decision", {}),
    "pipeline": ("article", {}),
    "delegation": ("answer", {}),
    "handoff": ("help", {}),
    "state": ("advice", {}),
    "hierarchical": ("given_tasks", {}),
    "gates": ("notice", {}),
}
"""The crew and the inputs of each pattern that its hand-written answers are for."""
JOURNAL_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
"""Encrypts the journals of examples with private tools."""
PERSON = "{decision: agreed, reason: it saves rent}"
"""What a person answers in the pattern `human`."""


def copy_example(name: str, target: Path) -> Lab:
    """Copy an example, such as `patterns/router`, and return a lab of the copy."""
    left_out = shutil.ignore_patterns("output", "site", ".muster", "__pycache__")
    shutil.copytree(EXAMPLES / name, target, ignore=left_out)
    return Lab(target)


@contextmanager
def scripted(name: str, target: Path) -> Generator[tuple[Lab, ScriptedServer]]:
    """Give a copy of an example whose model is a server that says the example's hand-written answers."""
    lab = copy_example(name, target)
    given = {"OPENAI_API_KEY": "sk-test", "MUSTER_JOURNAL_KEY": JOURNAL_KEY}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        with ScriptedServer(script_of(read_answers(Path(name).name))) as server:
            lab.models(server.base_url)
            yield lab, server
            lab.close()
    finally:
        lab.close()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def offered(request: Request) -> list[str]:
    """Return the names of the tools that a request offers to the model."""
    return [str(tool["function"]["name"]) for tool in request.body.get("tools") or ()]
