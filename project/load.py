"""A project folder → a checked Project, or every mistake in every file at once. Runs none of the project's code."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from project.checks import Findings, Note
from project.code import Scan, code_hashes, crewai_tool_names, read_code
from project.declaration import GuardrailDeclaration, ToolDeclaration
from project.entries import read_agents, read_contracts
from project.entries_crews import read_crews
from project.entries_models import read_models
from project.entries_policy import read_policy
from project.entries_schedules import Schedules, check_schedules, read_schedules
from project.entries_tasks import read_tasks
from project.environment_reads import note_undeclared
from project.errors import AppError, ConfigErrors, Problem, Where
from project.leaks import find_leaks, redact
from project.names import Names
from project.network_notes import note_out_of_reach
from project.parts import Parts
from project.reader import Node, parse_yaml, read_file
from project.references import check_crews
from project.rules import RULES
from project.spec import AgentSpec, CrewSpec, FieldSpec, ModelSpec, TaskSpec
from project.spec_policy import PolicySpec
from project.spec_schedules import ChannelSpec, ScheduleSpec

_T = TypeVar("_T")
_Position = tuple[int, str, int, int]

_FILES = ("agents.yaml", "tasks.yaml", "crews.yaml", "models.yaml", "contracts.yaml", "schedules.yaml", "policy.yaml")
_ORDER = (*_FILES, *(name.replace(".yaml", ".yml") for name in _FILES))
_NEEDED = {"agents.yaml": "agent", "tasks.yaml": "task"}
_ENTRIES = {**_NEEDED, "crews.yaml": "crew"}
_MARK = Path("config") / "agents.yaml"
_NEW = "`muster new DIR` makes a project"


@dataclass(frozen=True)
class Project:
    """What a project folder says, checked."""

    root: Path
    """The project folder, absolute."""
    agents: Mapping[str, AgentSpec]
    """agents.yaml."""
    tasks: Mapping[str, TaskSpec]
    """tasks.yaml."""
    crews: Mapping[str, CrewSpec]
    """crews.yaml; without it, one crew `default` of all tasks in the order of the file."""
    models: Mapping[str, ModelSpec]
    """models.yaml; `default` is always there."""
    contracts: Mapping[str, Mapping[str, FieldSpec]]
    """contracts.yaml: name → fields."""
    schedules: Mapping[str, ScheduleSpec]
    """schedules.yaml: when crews run by themselves."""
    channels: Mapping[str, ChannelSpec]
    """schedules.yaml: ways to tell people, by name."""
    policy: PolicySpec
    """policy.yaml: what agents may do; without the file, the defaults."""
    tools: Mapping[str, ToolDeclaration]
    """Built-in tools and the project's own."""
    guardrails: Mapping[str, GuardrailDeclaration]
    """Functions in guardrails/."""
    crewai_tools: frozenset[str]
    """Classes of crewai-tools that may be named as tools."""
    notes: tuple[Note, ...]
    """What loads but is not what its writer may expect, in the order of files and lines."""
    digest: str
    """SHA-256 over all files read of the project: YAML and Python."""


@dataclass
class _Reading:
    """What has been read so far."""

    root: Path
    findings: Findings = field(default_factory=Findings)
    trees: dict[str, Node] = field(default_factory=dict[str, Node])
    unreadable: set[str] = field(default_factory=set[str])
    secrets: list[str] = field(default_factory=list[str])
    spoiled: set[_Position] = field(default_factory=set[_Position])
    """Places where one problem is enough."""
    digests: dict[str, str] = field(default_factory=dict[str, str])


def find_project(option: str | None, environ: Mapping[str, str], start: Path) -> Path:
    """Return the project folder: `option`, else MUSTER_PROJECT, else `start` or its nearest parent that is a project.

    A project has config/agents.yaml. Relative paths are taken from `start`.

    Raises: AppError (exit 3) when there is no project.
    """
    start = Path(os.path.abspath(start))
    for said, source in ((option, "--project"), (environ.get("MUSTER_PROJECT"), "MUSTER_PROJECT")):
        if said:
            folder = Path(os.path.abspath(start / _expand(said)))
            if _is_project(folder):
                return folder
            fix = f"point {source} to a folder that has {_MARK.as_posix()}; {_NEW}"
            raise AppError(f"{source}: no project in {folder}: {_MARK.as_posix()} is not there", fix=fix, exit_code=3)
    for folder in (start, *start.parents):
        if _is_project(folder):
            return folder
    raise AppError(
        f"no project in {start} or any folder above it: {_MARK.as_posix()} is not there",
        fix=f"{_NEW}; --project DIR names one elsewhere{_nearby(start)}",
        exit_code=3,
    )


def load_project(root: Path, builtin_tools: Path) -> Project:
    """Read and check the project in `root`; `builtin_tools` is the folder of the application's own tools.

    Raises: ConfigErrors (exit 3) with every problem of every file, in the order of files and lines.
    """
    root = Path(os.path.abspath(root))
    reading = _Reading(root)
    for name in _FILES:
        _read_tree(name, reading)
    tools, guardrails = _read_all_code(reading, builtin_tools)
    crewai_tools = crewai_tool_names()
    findings = reading.findings
    models = _entries(read_models, "models.yaml", reading)
    models.setdefault("default", ModelSpec(model="auto"))
    contracts = _entries(read_contracts, "contracts.yaml", reading)
    names = Names(
        agents=_keys("agents.yaml", reading),
        tasks=_keys("tasks.yaml", reading),
        models=None if "models.yaml" in reading.unreadable else list(models),
        contracts=_keys("contracts.yaml", reading),
        crews=_keys("crews.yaml", reading),
        tools=tools.tools,
        guardrails=guardrails.guardrails,
        crewai_tools=crewai_tools,
        doubtful=frozenset(tools.doubtful | guardrails.doubtful),
        left_out=frozenset(tools.left_out),
        own_crewai=frozenset(tools.crewai),
    )
    agents = _entries(lambda tree, found: read_agents(tree, names, found), "agents.yaml", reading)
    tasks = _entries(lambda tree, found: read_tasks(tree, names, found), "tasks.yaml", reading)
    crews = _entries(lambda tree, found: read_crews(tree, names, found), "crews.yaml", reading)
    if "crews.yaml" not in reading.trees and "crews.yaml" not in reading.unreadable:
        crews = {"default": CrewSpec(tasks=list(tasks))}
    known = "crews.yaml" not in reading.unreadable and len(crews) >= len(_keys("crews.yaml", reading) or ())
    parts = Parts(agents, tasks, crews, reading.trees, contracts, known)
    check_crews(parts, findings)
    names = replace(names, crews=list(crews) if known else names.crews)
    timed = _schedules(names, reading)
    policy = _policy(names, timed, parts, reading)
    check_schedules(timed, parts, policy.approvals.notify, findings)
    note_out_of_reach(parts, tools.tools, crewai_tools | tools.crewai, policy, findings)
    note_undeclared(tools.reads, {name: tool.path for name, tool in tools.tools.items()}, policy, findings)
    notes = _finish(reading)
    return Project(
        root=root,
        agents=agents,
        tasks=tasks,
        crews=crews,
        models=models,
        contracts=contracts,
        schedules=timed.schedules,
        channels=timed.channels,
        policy=policy,
        tools=tools.tools,
        guardrails=guardrails.guardrails,
        crewai_tools=crewai_tools,
        notes=notes,
        digest=_digest(reading.digests | code_hashes(root)),
    )


def _is_project(folder: Path) -> bool:
    try:
        return (folder / _MARK).is_file()
    except (OSError, ValueError):
        return False


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _nearby(start: Path) -> str:
    try:
        found = sorted(start.glob(f"src/*/{_MARK.as_posix()}"))
    except OSError:
        return ""
    return f", such as {found[0].parent.parent.relative_to(start).as_posix()}" if found else ""


def _read_tree(name: str, reading: _Reading) -> None:
    label = f"config/{name}"
    path = reading.root / "config" / name
    if not os.path.lexists(path):
        _report_absent(name, reading)
        return
    content = read_file(path, label)
    if isinstance(content, Problem):
        reading.findings.problems.append(content)
        reading.unreadable.add(name)
        return
    reading.digests[label] = hashlib.sha256(content).hexdigest()
    result = parse_yaml(content, label)
    reading.findings.problems += result.problems
    reading.spoiled.update(_position(problem.where) for problem in result.problems)
    if result.tree is not None and result.tree.entries:
        problems, secrets = find_leaks(result.tree)
        reading.findings.problems += problems
        reading.secrets += secrets
        reading.spoiled.update(_position(problem.where) for problem in problems)
        reading.trees[name] = result.tree
    elif result.problems:
        reading.unreadable.add(name)
    elif name in _ENTRIES:
        noun = _ENTRIES[name]
        fix = f"describe {'an' if noun == 'agent' else 'a'} {noun} in {label}"
        if name not in _NEEDED:
            fix += ", or remove the file: all tasks are then one crew `default`"
        reading.findings.wrong(Where(label, 1, 1), f"is empty: it names no {noun}", fix)
        reading.unreadable.add(name)


def _misplaced(name: str, root: Path) -> str:
    """Return where a file lies that was meant to be `config/<name>`; "" where there is none.

    A policy beside `config/` counts, too: rules that are not read protect nobody.
    """
    meant = {name, Path(name).stem + ".yml"}
    folder = root / "config"
    near = sorted(entry.name for entry in folder.iterdir() if entry.name.lower() in meant) if folder.is_dir() else []
    above = sorted(one for one in meant if name == "policy.yaml" and (root / one).is_file())
    return f"config/{near[0]}" if near else above[0] if above else ""


def _report_absent(name: str, reading: _Reading) -> None:
    found = _misplaced(name, reading.root)
    if found:
        reading.findings.wrong(Where(found, 1, 1), "is not read", f"rename {found} to config/{name}")
        reading.unreadable.add(name)
    elif name in _NEEDED:
        reading.findings.wrong(Where(f"config/{name}", 1, 1), "is missing", f"write config/{name}; {_NEW}")
        reading.unreadable.add(name)


def _read_all_code(reading: _Reading, builtin_tools: Path) -> tuple[Scan, Scan]:
    root = reading.root
    tools = read_code(builtin_tools, builtin_tools.name, "tool")
    if (root / "tools").resolve() != builtin_tools.resolve():
        tools.add(read_code(root / "tools", "tools", "tool"))
    guardrails = read_code(root / "guardrails", "guardrails", "guardrail")
    for name, declared in guardrails.guardrails.items():
        if name in RULES:
            where = Where(declared.path, declared.line, 1, name)
            guardrails.findings.wrong(where, f"`{name}` is the name of a rule", f"rename the function `{name}`")
    for scan in (tools, guardrails):
        reading.findings.problems += scan.findings.problems
        reading.findings.notes += scan.findings.notes
    return tools, guardrails


def _entries(read: Callable[[Node, Findings], dict[str, _T]], name: str, reading: _Reading) -> dict[str, _T]:
    tree = reading.trees.get(name)
    return read(tree, reading.findings) if tree is not None else {}


def _schedules(names: Names, reading: _Reading) -> Schedules:
    tree = reading.trees.get("schedules.yaml")
    return read_schedules(tree, names, names.crews, reading.findings) if tree is not None else Schedules({}, {})


def _policy(names: Names, timed: Schedules, parts: Parts, reading: _Reading) -> PolicySpec:
    tree = reading.trees.get("policy.yaml")
    channels = None if "schedules.yaml" in reading.unreadable else list(timed.channels)
    return read_policy(tree, names, channels, parts, reading.findings) if tree is not None else PolicySpec()


def _keys(name: str, reading: _Reading) -> list[str] | None:
    if name in reading.unreadable:
        return None
    tree = reading.trees.get(name)
    return list(tree.entries) if tree is not None else []


def _finish(reading: _Reading) -> tuple[Note, ...]:
    """Return the notes in order. Raises: ConfigErrors with the problems in order, each once and without credentials."""
    problems: dict[str, Problem] = {}
    told: set[_Position] = set()
    for problem in reading.findings.problems:
        place = _position(problem.where)
        if place in told and place in reading.spoiled:
            continue
        told.add(place)
        clean = redact(problem, reading.secrets)
        problems.setdefault(str(clean), clean)
    if problems:
        raise ConfigErrors(sorted(problems.values(), key=lambda problem: _position(problem.where)))
    notes = {str(note): note for note in reading.findings.notes}
    return tuple(sorted(notes.values(), key=lambda note: _position(note.where)))


def _position(where: Where | None) -> _Position:
    if where is None:
        return (0, "", 0, 0)
    name = where.path.removeprefix("config/")
    rank = _ORDER.index(name) if name in _ORDER else len(_ORDER) + where.path.startswith("guardrails/")
    return (rank, where.path, where.line, where.column)


def _digest(files: Mapping[str, str]) -> str:
    lines = [f"{name} {digest}\n" for name, digest in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
