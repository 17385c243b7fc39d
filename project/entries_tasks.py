"""tasks.yaml → specs, with the names of other files checked; what keys of one task ask of each other."""

import re
from functools import partial
from typing import Any

from project.checks import Findings, Grammar, Note, Take, expect_text
from project.contracts import read_output
from project.entries import read_budget, read_entries, read_names
from project.foreign import TASK_KEYS
from project.hints import quoted
from project.names import HUMAN, Names, check_name, check_worker
from project.patterns import (
    read_candidates,
    read_condition_text,
    read_fallback,
    read_for_each,
    read_judge,
    read_refine,
    read_retry,
    read_review,
)
from project.reader import Node
from project.spec import TaskSpec
from project.uses import read_guardrails, read_tools

_UNSAFE = re.compile(r"""[|<>&;$`*?"'!\\:\x00-\x1f]""")
_RESERVED = frozenset({"config", "tools", "guardrails", ".muster", ".git", ".env"})
_PEOPLE = frozenset({"human", "person", "people", "user", "me", "operator"})
_MEANT = {
    "depends_on": "context",
    "needs": "context",
    "schema": "output",
    "timeout": "timeout_seconds",
    "if": "when",
    "foreach": "for_each",
    "map": "for_each",
    "reviewer": "review",
    "retries": "retry",
    "fallbacks": "fallback",
    "on_failure": "fallback",
    "confidence": "min_confidence",
}


def read_tasks(tree: Node, names: Names, findings: Findings) -> dict[str, TaskSpec]:
    """Read tasks.yaml."""
    takes: dict[str, Take] = {
        "agent": partial(_read_agent, names=names),
        "context": partial(_read_context, names=names),
        "tools": partial(_tools, names=names),
        "guardrails": partial(_guardrails, names=names),
        "guardrail": _wait,
        "output": partial(_output, names=names),
        "output_file": _read_output_file,
        "when": read_condition_text,
        "for_each": read_for_each,
        "review": partial(read_review, names=names),
        "refine": read_refine,
        "candidates": partial(read_candidates, names=names),
        "judge": partial(read_judge, names=names),
        "budget": read_budget,
        "retry": partial(read_retry, names=names),
        "fallback": partial(read_fallback, names=names),
        "reads": partial(read_names, noun="piece of state"),
        "writes": partial(read_names, noun="piece of state"),
    }
    grammar = Grammar("a task", takes, TASK_KEYS, _MEANT, ("guardrail",))
    tasks = read_entries(TaskSpec, tree, grammar, findings)
    for name, task in tasks.items():
        tasks[name] = _with_single_guardrail(task, tree.entries[name], names, findings)
    return tasks


def _with_single_guardrail(task: TaskSpec, node: Node, names: Names, findings: Findings) -> TaskSpec:
    single = node.entries.get("guardrail")
    if single is None or single.value is None:
        return task
    if "guardrails" in node.entries:
        fix = "put all of them under `guardrails`"
        findings.wrong(single.at_key(), "`guardrail` and `guardrails` are both given", fix)
        return task
    return task.model_copy(update={"guardrails": read_guardrails(single, names, findings) or []})


def _wait(node: Node, findings: Findings) -> None:
    """Leave `guardrail` until its task is known: it is only right where `guardrails` is not given too."""


def _read_agent(node: Node, findings: Findings, *, names: Names) -> str | None:
    if node.value is None:
        return None
    name = expect_text(node, findings)
    if name is None or name == HUMAN:
        return name
    if name.lower() in _PEOPLE and name not in (names.agents or ()) and name not in (names.crews or ()):
        fix = f"did you mean `{HUMAN}` instead of {quoted(name)}? it means a person"
        findings.wrong(node.here(), f"unknown agent {quoted(name)}", fix)
    else:
        check_worker(name, names, node.here(), findings)
    return name


def _read_context(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    if node.value is None:
        text = "taken as CrewAI does: an empty `context:` means no output is read; write `context: []` to say so"
        findings.notes.append(Note(node.at_key(), text))
        return []

    def known(name: str, item: Node) -> bool:
        return check_name(name, names.tasks, "task", "tasks.yaml has", item.here(), findings)

    return read_names(node, findings, noun="task", known=known)


def _tools(node: Node, findings: Findings, *, names: Names) -> Any:
    return read_tools(node, names, findings)


def _guardrails(node: Node, findings: Findings, *, names: Names) -> Any:
    return read_guardrails(node, names, findings)


def _output(node: Node, findings: Findings, *, names: Names) -> Any:
    return read_output(node, names, findings)


def _read_output_file(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    text = expect_text(node, findings)
    if text is None:
        return None
    path = text.strip()
    parts = [part for part in path.split("/") if part not in ("", ".")]
    fix = "write a path inside the project, such as `output/report.md`"
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path):
        findings.wrong(node.here(), "must be inside the project, got an absolute path", fix)
    elif ".." in parts:
        findings.wrong(node.here(), "must be inside the project, got `..`", fix)
    elif found := _UNSAFE.search(path):
        findings.wrong(node.here(), f"must be a plain path, got {found.group()!r} in it", fix)
    elif not parts or path.endswith("/"):
        findings.wrong(node.here(), "must name a file, got a folder", fix)
    elif parts[0].lower() in _RESERVED:
        findings.wrong(node.here(), f"must not be in `{parts[0]}`, which is the project's own", fix)
    else:
        return path
    return None
