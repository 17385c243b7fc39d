"""crews.yaml → specs, with the names of other files checked; what keys of one crew ask of each other."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from project.checks import Findings, Grammar, Take, expect_text, read_spec
from project.contracts import read_type
from project.entries import knows_model, read_agent_name, read_budget, read_entries, read_llm, read_names, refuse_human
from project.entries_inputs import read_inputs
from project.foreign import CREW_KEYS
from project.hints import quoted, suggest
from project.names import ENTRY_NAME, HUMAN, STATE_NAME, Names, check_agent, check_name, check_worker
from project.reader import Node
from project.spec import CrewSpec, ManagerSpec, QueueSpec, StageSpec, StateSpec

_MEANT = {
    "variables": "inputs",
    "pipeline": "crews",
    "stages": "crews",
    "steps": "tasks",
    "objective": "goal",
    "deadline": "deadline_seconds",
    "timeout_seconds": "deadline_seconds",
    "timeout": "deadline_seconds",
    "priority": "queue",
}
_MANAGER_KEYS = {"manager_agent": "agent", "manager_llm": "model"}
_LISTS = ("list[str]", "list[int]", "list[float]", "list[object]")


def read_crews(tree: Node, names: Names, findings: Findings) -> dict[str, CrewSpec]:
    """Read crews.yaml."""
    takes: dict[str, Take] = {
        "goal": _read_goal,
        "agents": partial(_read_agents, names=names),
        "tasks": partial(_read_tasks, names=names),
        "manager": partial(_read_manager, names=names),
        "manager_agent": partial(_read_manager_agent, names=names),
        "manager_llm": partial(read_llm, names=names),
        "crews": partial(_read_stages, names=names),
        "state": _read_state,
        "inputs": partial(read_inputs, names=names),
        "budget": read_budget,
        "queue": _read_queue,
    }
    grammar = Grammar("a crew", takes, CREW_KEYS, _MEANT, tuple(_MANAGER_KEYS))
    crews = read_entries(CrewSpec, tree, grammar, findings)
    for name, crew in crews.items():
        node = tree.entries[name]
        refuse_human(node, "crew", findings)
        crews[name] = crew = _with_managers_keys(crew, node, findings)
        _check_shape(crew, node, findings)
    _check_queues(crews, tree, findings)
    return crews


def _check_queues(crews: Mapping[str, CrewSpec], tree: Node, findings: Findings) -> None:
    """Check that crews which name one queue mean the same by it."""
    first: dict[str, str] = {}
    for name, crew in crews.items():
        node = tree.entries[name].entries.get("queue")
        if node is None or node.value is None:
            continue
        other = first.setdefault(crew.queue.name, name)
        if crews[other].queue.max_running != crew.queue.max_running:
            numbers = [spec.queue.max_running or "no" for spec in (crews[other], crew)]
            what = f"the queue {quoted(crew.queue.name)} has {numbers[0]} `max_running` in the crew `{other}`"
            what += f" and {numbers[1]} here"
            where = node.entries["max_running"].here() if "max_running" in node.entries else node.here()
            findings.wrong(where, what, "write the same number, or give the queue another name")


def _read_queue(node: Node, findings: Findings) -> QueueSpec | None:
    """Read `queue:`: its name, or the long form. Null means not written."""
    if node.value is None:
        return None
    if isinstance(node.value, str):
        name = _read_queue_name(node, findings)
        return QueueSpec(name=name) if name else None
    if not node.is_mapping:
        fix = "name the queue: `queue: slow`, or write `queue: {name: slow, max_running: 3}`"
        findings.wrong(node.here(), f"must be a name or a mapping of keys, got {node.got()}", fix)
        return None
    meant = {"concurrency": "max_running", "limit": "max_running", "max": "max_running"}
    return read_spec(QueueSpec, node, Grammar("`queue`", {"name": _read_queue_name}, meant=meant), findings)


def _read_queue_name(node: Node, findings: Findings) -> str | None:
    name = expect_text(node, findings)
    if name is not None and not ENTRY_NAME.fullmatch(name):
        fix = "use at most 64 of A-Z, a-z, 0-9, `_` and `-`, and begin with a letter"
        findings.wrong(node.here(), "cannot be the name of a queue", fix)
        return None
    return name


def _with_managers_keys(crew: CrewSpec, node: Node, findings: Findings) -> CrewSpec:
    """Take CrewAI's `manager_agent` and `manager_llm` as the keys of `manager`."""
    written = {key: node.entries[key] for key in _MANAGER_KEYS if _is_written(node, key)}
    if not written:
        return crew
    if _is_written(node, "manager"):
        first = next(iter(written.values()))
        names = " and ".join(f"`{key}`" for key in ("manager", *written))
        fix = f"put both under `manager:`, such as `manager: {{{_MANAGER_KEYS[first.keys[-1]]}: {first.raw or '...'}}}`"
        findings.wrong(first.at_key(), f"{names} are both given", fix)
        return crew
    values = {_MANAGER_KEYS[key]: child.value for key, child in written.items() if isinstance(child.value, str)}
    return crew.model_copy(update={"manager": ManagerSpec.model_validate(values)})


def _check_shape(crew: CrewSpec, node: Node, findings: Findings) -> None:
    """Check which keys a crew has beside each other."""
    if _is_written(node, "crews") or ("crews" in node.entries and node.entries["crews"].is_list):
        for key in ("tasks", "agents", "manager", "manager_agent", "manager_llm", "state"):
            if _is_written(node, key):
                what = f"`{key}` and `crews` are both given: a pipeline has crews in place of it"
                findings.wrong(node.entries[key].at_key(), what, f"take `{key}` out, or put it into a crew of its own")
        if crew.process == "hierarchical":
            fix = "take `process` out; the crews of a pipeline may be hierarchical themselves"
            findings.wrong(node.entries["process"].here(), "the crews of a pipeline run in their order", fix)
        return
    process = node.entries.get("process")
    if process is not None and process.value not in (None, "sequential", "hierarchical"):
        return
    if crew.process == "sequential":
        _need_tasks(node, findings)
        for key in ("manager", *_MANAGER_KEYS):
            if _is_written(node, key) and "process" not in node.entries:
                what = "only a hierarchical crew has a manager"
                findings.wrong(node.entries[key].at_key(), what, "add `process: hierarchical`")
            elif _is_written(node, key) and node.entries["process"].value in ("sequential", None):
                what = "a sequential crew has no manager"
                findings.wrong(node.entries[key].at_key(), what, f"write `process: hierarchical`, or take `{key}` out")
    elif not _is_written(node, "tasks") and not _is_written(node, "goal"):
        what = "a hierarchical crew needs a goal to plan from, or tasks"
        findings.wrong(node.at_key("goal"), what, "add `goal:`, what the crew is to reach, or `tasks:`")


def _need_tasks(node: Node, findings: Findings) -> None:
    tasks = node.entries.get("tasks")
    if tasks is None:
        fix = "a crew needs tasks; a pipeline has `crews:` instead"
        if "goal" in node.entries:
            fix += ", and with `process: hierarchical` a manager plans from the goal"
        findings.wrong(node.at_key("tasks"), "missing", fix)
    elif tasks.value is None or (tasks.is_list and not tasks.items):
        findings.wrong(tasks.here(), "lists no task", "name at least one task")


def _is_written(node: Node, key: str) -> bool:
    return key in node.entries and node.entries[key].value not in (None, [], {})


def _read_goal(node: Node, findings: Findings) -> str | None:
    text = expect_text(node, findings) if node.value is not None else None
    return text.strip() if text else None


def _read_agents(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        return name == HUMAN or check_worker(name, names, item.here(), findings, own=node.keys[0])

    return read_names(node, findings, noun="agent", known=known)


def _read_tasks(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        return check_name(name, names.tasks, "task", "tasks.yaml has", item.here(), findings)

    return read_names(node, findings, noun="task", known=known)


def _read_manager(node: Node, findings: Findings, *, names: Names) -> ManagerSpec | None:
    if node.value is None:
        return None
    if isinstance(node.value, str):
        return _read_manager_name(node, node.value, names, findings)
    if not node.is_mapping:
        fix = "name an agent or a model: `manager: NAME`, or write `manager: {model: NAME, max_subtasks: 8}`"
        findings.wrong(node.here(), f"must be the name of an agent or a model, got {node.got()}", fix)
        return None
    takes: dict[str, Take] = {
        "agent": partial(_read_manager_agent, names=names),
        "model": partial(read_llm, names=names),
        "reviewer": partial(_read_manager_agent, names=names),
    }
    meant = {"llm": "model", "name": "agent", "review": "reviewer", "approve_plan": "review_plan"}
    return read_spec(ManagerSpec, node, Grammar("`manager`", takes, meant=meant), findings)


def _read_manager_name(node: Node, name: str, names: Names, findings: Findings) -> ManagerSpec | None:
    if expect_text(node, findings) is None:
        return None
    if name in (names.agents or ()):
        return ManagerSpec(agent=name)
    if name == HUMAN or name in (names.crews or ()):
        check_agent(name, names, node.here(), findings)
    elif knows_model(name, names):
        return ManagerSpec(model=name)
    elif names.agents is not None:
        known = [*names.agents, *(names.models or ()), "offline"]
        lead = "agents.yaml, models.yaml and Muster have"
        check_name(name, list(dict.fromkeys(known)), "agent or model", lead, node.here(), findings)
    return None


def _read_manager_agent(node: Node, findings: Findings, *, names: Names) -> str | None:
    return None if node.value is None else read_agent_name(node, findings, names=names)


def _read_stages(node: Node, findings: Findings, *, names: Names) -> list[StageSpec] | None:
    if node.value is None:
        return None
    if not node.is_list or not node.items:
        got = "has no crews" if node.is_list else f"must be a list of crews, got {node.got()}"
        findings.wrong(node.here(), got, "write `crews: [first, second]`, or entries `{crew: first, inputs: {...}}`")
        return None
    stages: list[StageSpec] = []
    for item in node.items:
        stage = _read_stage(item, names, findings)
        if stage is None or not stage.crew:
            continue
        if any(stage.crew == earlier.crew for earlier in stages):
            fix = f"keep one {quoted(stage.crew)}; a crew of another name may have the same tasks"
            findings.wrong(item.here(), f"the crew {quoted(stage.crew)} is listed twice", fix)
        else:
            stages.append(stage)
    return stages


def _read_stage(node: Node, names: Names, findings: Findings) -> StageSpec | None:
    if isinstance(node.value, str):
        crew = _read_stage_crew(node, findings, names=names)
        return StageSpec(crew=crew) if crew else None
    if not node.is_mapping or not node.entries:
        fix = "write the crew's name, or `{crew: NAME, inputs: {...}}`"
        findings.wrong(node.here(), f"must be a crew, got {node.got()}", fix)
        return None
    first = next(iter(node.entries))
    if "crew" not in node.entries and (len(node.entries) == 1 or first in (names.crews or ())):
        findings.wrong(node.here(), "says no crew", f"write `{{crew: {first}, inputs: {{...}}}}`")
        return None
    takes: dict[str, Take] = {"crew": partial(_read_stage_crew, names=names), "inputs": _read_mapping}
    return read_spec(StageSpec, node, Grammar("a crew of a pipeline", takes, meant={"name": "crew"}), findings)


def _read_stage_crew(node: Node, findings: Findings, *, names: Names) -> str | None:
    name = expect_text(node, findings)
    if name is None or not check_name(name, names.crews, "crew", "crews.yaml has", node.here(), findings):
        return None
    return name


def _read_mapping(node: Node, findings: Findings) -> dict[str, str | int | float] | None:
    if node.value is None:
        return None
    if not node.is_mapping:
        fix = 'write `topic: "{topic}"` for each input of the crew that is not given by the same name'
        findings.wrong(node.here(), f"must be a mapping of inputs, got {node.got()}", fix)
        return None
    found: dict[str, str | int | float] = {}
    for name, child in node.entries.items():
        if isinstance(child.value, (str, int, float)) and not isinstance(child.value, bool):
            found[name] = child.value
        elif child.value is None:
            findings.wrong(child.here(), "is empty", f"write a value after `{name}:`, or take it out")
        else:
            fix = f'put it in quotes: "{child.raw}"' if child.raw else f"write one value for {quoted(name)}"
            findings.wrong(child.here(), f"must be a text or a number, got {child.got()}", fix)
    return found


def _read_state(node: Node, findings: Findings) -> dict[str, StateSpec] | None:
    if node.value is None:
        return None
    if not node.is_mapping:
        findings.wrong(node.here(), f"must be a mapping of names, got {node.got()}", "write `facts: list[str]`")
        return None
    state: dict[str, StateSpec] = {}
    for name, child in node.entries.items():
        if not STATE_NAME.fullmatch(name):
            fix = "use letters, digits and `_`, and begin with a letter"
            findings.wrong(child.at_key(), "cannot be the name of a piece of state", fix)
        state[name] = _read_piece(child, findings) or StateSpec()
    return state


def _read_piece(node: Node, findings: Findings) -> StateSpec | None:
    if isinstance(node.value, str):
        kind = read_type(node, findings)
        return StateSpec(type=cast(Any, kind)) if kind else None
    if not node.is_mapping:
        fix = 'write its type, such as `facts: list[str]`, or `{type: "list[str]", merge: union}`'
        findings.wrong(node.here(), f"must be a type, got {node.got()}", fix)
        return None
    spec = read_spec(StateSpec, node, Grammar("a piece of state", {"type": _read_piece_type}), findings)
    merge = node.entries.get("merge")
    if spec is None or spec.merge is None or merge is None:
        return spec
    fits = _LISTS if spec.merge in ("append", "union") else ("int", "float")
    if spec.type not in fits:
        what = f"`{spec.merge}` needs the type {' or '.join(fits[:2])}, not {spec.type}"
        findings.wrong(merge.here(), what, suggest("", fits, "types that it can merge"))
        return spec.model_copy(update={"merge": None})
    return spec


def _read_piece_type(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    return read_type(node, findings) if isinstance(node.value, str) else cast(Any, expect_text(node, findings))
