"""The files of config/, entry by entry → specs, with the names of other files checked."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar, cast

from project.checks import Findings, Grammar, Note, Take, expect_text, read_spec
from project.contracts import read_fields, read_output
from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, PROCESSES, TASK_KEYS
from project.hints import quoted, shown
from project.leaks import looks_secret
from project.names import ENTRY_NAME, INPUT_NAME, MODEL_NAME, Names, check_name
from project.reader import Node
from project.spec import (
    AgentSpec,
    BudgetSpec,
    CrewSpec,
    FieldSpec,
    InputSpec,
    ModelSpec,
    PriceSpec,
    Spec,
    TaskSpec,
)
from project.uses import read_guardrails, read_tools

_S = TypeVar("_S", bound=Spec)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL_FORM = re.compile(r"[^/\s]+/[^\s]+")
_UNSAFE = re.compile(r"""[|<>&;$`*?"'!\\:\x00-\x1f]""")
_RESERVED = frozenset({"config", "tools", "guardrails", ".muster", ".git", ".env"})
_MODEL_FIX = "write `provider/name` such as `openai/gpt-4o-mini`, or `auto`, or `offline`"
_CEILINGS = {"max_dollars": "max_usd", "max_cost": "max_usd", "max_cost_usd": "max_usd", "deadline": "max_seconds"}
_NAME_FIX = "use at most 64 of A-Z, a-z, 0-9, `_` and `-`, and begin with a letter"
_INPUT_FIX = "use letters, digits, `_` and `-`, and begin with a letter"
_PROVIDERS = (("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("claude", "anthropic"), ("gemini", "gemini"))


def read_agents(tree: Node, names: Names, findings: Findings) -> dict[str, AgentSpec]:
    """Read agents.yaml."""
    takes = {"llm": partial(_read_llm, names=names), "tools": partial(_tools, names=names)}
    meant = {"model": "llm", "instructions": "backstory", "prompt": "backstory", "description": "backstory"}
    return _read_entries(AgentSpec, tree, Grammar("an agent", takes, AGENT_KEYS, meant), findings)


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
    }
    meant = {"depends_on": "context", "needs": "context", "schema": "output", "timeout": "timeout_seconds"}
    grammar = Grammar("a task", takes, TASK_KEYS, meant, ("guardrail",))
    tasks = _read_entries(TaskSpec, tree, grammar, findings)
    for name, task in tasks.items():
        single = tree.entries[name].entries.get("guardrail")
        if single is None or single.value is None:
            continue
        if "guardrails" in tree.entries[name].entries:
            findings.wrong(
                single.at_key(), "`guardrail` and `guardrails` are both given", "put all of them under `guardrails`"
            )
            continue
        specs = read_guardrails(single, names, findings)
        tasks[name] = task.model_copy(update={"guardrails": specs or []})
    return tasks


def read_crews(tree: Node, names: Names, findings: Findings) -> dict[str, CrewSpec]:
    """Read crews.yaml."""
    takes = {
        "process": _read_process,
        "agents": partial(_read_list, noun="agent", known=names.agents, lead="agents.yaml has"),
        "tasks": partial(_read_list, noun="task", known=names.tasks, lead="tasks.yaml has", needed=True),
        "inputs": _read_inputs,
        "budget": _read_budget,
    }
    grammar = Grammar("a crew", takes, CREW_KEYS, {"variables": "inputs"}, replaced={"tasks": "crews"})
    return _read_entries(CrewSpec, tree, grammar, findings)


def read_models(tree: Node, findings: Findings) -> dict[str, ModelSpec]:
    """Read models.yaml."""
    takes = {"model": _read_model, "price": _read_price, "api_key_env": _read_variable, "parameters": _read_parameters}
    grammar = Grammar("a model", takes, MODEL_KEYS, {"name": "model", "url": "base_url", "pricing": "price"})
    models: dict[str, ModelSpec] = {}
    for name, node in tree.entries.items():
        _check_entry_name(name, node, MODEL_NAME, findings)
        if isinstance(node.value, str):
            model = _read_model(node, findings)
            models[name] = ModelSpec(model=model or "")
        else:
            models[name] = read_spec(ModelSpec, node, grammar, findings) or ModelSpec(model="")
        if name in ("offline", "auto") and models[name].model != name:
            findings.wrong(node.at_key(), f"the name `{name}` is taken by Muster", f"rename the model `{name}`")
    return models


def read_contracts(tree: Node, findings: Findings) -> dict[str, dict[str, FieldSpec]]:
    """Read contracts.yaml."""
    contracts: dict[str, dict[str, FieldSpec]] = {}
    for name, node in tree.entries.items():
        _check_entry_name(name, node, ENTRY_NAME, findings)
        contracts[name] = read_fields(node, findings) or {}
    return contracts


def _read_entries(model: type[_S], tree: Node, grammar: Grammar, findings: Findings) -> dict[str, _S]:
    specs: dict[str, _S] = {}
    for name, node in tree.entries.items():
        _check_entry_name(name, node, ENTRY_NAME, findings)
        spec = read_spec(model, node, grammar, findings)
        if spec is not None:
            specs[name] = spec
    return specs


def _check_entry_name(name: str, node: Node, allowed: re.Pattern[str], findings: Findings) -> None:
    if not allowed.fullmatch(name):
        findings.wrong(
            node.at_key(), "cannot be a name", "use at most 64 of A-Z, a-z, 0-9, `_` and `-`, and begin with a letter"
        )


def _wait(node: Node, findings: Findings) -> None:
    """Leave `guardrail` until its task is known: it is only right where `guardrails` is not given too."""


def _read_llm(node: Node, findings: Findings, *, names: Names) -> str | None:
    if node.value is None:
        return None
    if node.is_mapping:
        findings.wrong(node.here(), "a model is not described here", "describe it in models.yaml and name it here")
        return None
    name = expect_text(node, findings)
    if name is None or names.models is None or name in names.models or name == "offline":
        return name
    if "/" in name:
        if not _MODEL_FORM.fullmatch(name):
            findings.wrong(node.here(), f"{quoted(name)} is no model", _MODEL_FIX)
        return name
    provider = next((provider for start, provider in _PROVIDERS if name.lower().startswith(start)), None)
    if provider:
        fix = f"write `{provider}/{name}`, or add `{name}: {provider}/{name}` to models.yaml"
        findings.wrong(node.here(), f"unknown model {quoted(name)}: the provider is missing", fix)
    elif name == "auto":
        fix = "leave `llm` out: `default` in models.yaml may be `auto`"
        findings.wrong(node.here(), "`auto` is not the name of a model", fix)
    else:
        known = [*names.models, *(() if "offline" in names.models else ("offline",))]
        check_name(name, known, "model", "models.yaml and Muster have", node.here(), findings)
    return name


def _read_agent(node: Node, findings: Findings, *, names: Names) -> str | None:
    name = expect_text(node, findings)
    if name is not None:
        check_name(name, names.agents, "agent", "agents.yaml has", node.here(), findings)
    return name


def _read_context(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    if node.value is None:
        text = "taken as CrewAI does: an empty `context:` means no output is read; write `context: []` to say so"
        findings.notes.append(Note(node.at_key(), text))
        return []
    return _read_list(node, findings, noun="task", known=names.tasks, lead="tasks.yaml has")


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


def _read_process(node: Node, findings: Findings) -> Any:
    if isinstance(node.value, str) and node.value in PROCESSES:
        later = PROCESSES[node.value]
        findings.wrong(node.here(), later.message(), later.fix)
        return None
    return node.value


def _read_list(
    node: Node, findings: Findings, *, noun: str, known: Any, lead: str, needed: bool = False
) -> list[str] | None:
    """Read a list of names: each known, none twice."""
    if node.value is None and not needed:
        return None
    if not node.is_list:
        key = node.keys[-1]
        fix = (
            f"write a list: `{key}: [{node.value}]`" if isinstance(node.value, str) else f"write a list: `{key}: [...]`"
        )
        findings.wrong(node.here(), f"must be a list of {noun}s, got {node.got()}", fix)
        return None
    if needed and not node.items:
        findings.wrong(node.here(), f"lists no {noun}", f"name at least one {noun}")
    found: list[str] = []
    for item in node.items:
        name = expect_text(item, findings)
        if name is None:
            continue
        if name in found:
            findings.wrong(item.here(), f"the {noun} {quoted(name)} is listed twice", f"keep one {quoted(name)}")
        elif check_name(name, known, noun, lead, item.here(), findings):
            found.append(name)
    return found


def _read_budget(node: Node, findings: Findings) -> BudgetSpec | None:
    return None if node.value is None else read_spec(BudgetSpec, node, Grammar("a budget", meant=_CEILINGS), findings)


def _read_inputs(node: Node, findings: Findings) -> dict[str, InputSpec] | None:
    if node.value is None:
        return None
    if not node.is_mapping:
        fix = "write `topic:` for a text that must be given, `words: 600` for one with a default"
        findings.wrong(node.here(), f"must be a mapping of inputs, got {node.got()}", fix)
        return None
    inputs: dict[str, InputSpec] = {}
    for name, child in node.entries.items():
        if not INPUT_NAME.fullmatch(name):
            findings.wrong(
                child.at_key(),
                "cannot be the name of an input",
                "use letters, digits, `_` and `-`, and begin with a letter",
            )
        inputs[name] = _read_input(child, findings) or InputSpec()
    return inputs


def _read_input(node: Node, findings: Findings) -> InputSpec | None:
    if node.value is None:
        return InputSpec()
    if node.is_mapping:
        default = node.entries.get("default")
        spec = read_spec(InputSpec, node, Grammar("an input", {"default": _read_default}), findings)
        if spec is None or default is None or spec.default is None:
            return spec
        kind = spec.type if "type" in node.entries else _type_of(spec.default)
        return _fit_default(spec.model_copy(update={"type": kind}), default, findings)
    default_value = _read_default(node, findings)
    return None if default_value is None else InputSpec(type=cast(Any, _type_of(default_value)), default=default_value)


def _read_default(node: Node, findings: Findings) -> str | int | float | None:
    if isinstance(node.value, bool) or node.is_mapping or node.is_list:
        what = f"a default must be a text or a number, got {node.got()}"
        findings.wrong(
            node.here(),
            what,
            f'put it in quotes: "{node.raw}"' if node.raw else f"write one value for {quoted(node.keys[-1])}",
        )
        return None
    return cast("str | int | float | None", node.value)


def _type_of(default: str | int | float) -> str:
    if isinstance(default, str):
        return "text"
    return "integer" if isinstance(default, int) else "number"


def _fit_default(spec: InputSpec, node: Node, findings: Findings) -> InputSpec:
    kind = _type_of(cast(Any, spec.default))
    if spec.type == "number" and kind == "integer":
        return spec.model_copy(update={"default": float(cast(int, spec.default))})
    if kind != ("text" if spec.type in ("folder", "file") else spec.type):
        fix = (
            f'put it in quotes: "{node.raw}"'
            if kind != "text"
            else "write a number without quotes, or set `type: text`"
        )
        got = node.got()
        findings.wrong(
            node.here(), f"the default of an input of type {spec.type} must be {_FITS[spec.type]}, got {got}", fix
        )
    return spec


_FITS: Mapping[str, str] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "folder": "a path",
    "file": "a path",
}


def _read_model(node: Node, findings: Findings) -> str | None:
    name = expect_text(node, findings)
    if name is None or name in ("auto", "offline") or _MODEL_FORM.fullmatch(name):
        return name
    findings.wrong(node.here(), f"must be `provider/name`, `auto` or `offline`, got {shown(name)}", _MODEL_FIX)
    return None


def _read_price(node: Node, findings: Findings) -> PriceSpec | None:
    return None if node.value is None else read_spec(PriceSpec, node, Grammar("a price"), findings)


def _read_variable(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    name = expect_text(node, findings)
    if name is None or (_VARIABLE.fullmatch(name) and not looks_secret(name)):
        return name
    findings.wrong(
        node.here(), "must be the name of an environment variable", "write its name, such as `OPENAI_API_KEY`"
    )
    return None


def _read_parameters(node: Node, findings: Findings) -> dict[str, Any] | None:
    if node.value is None:
        return None
    for key, child in node.entries.items():
        if key.lower().replace("-", "_") in ("api_key", "apikey", "authorization"):
            findings.wrong(child.at_key(), MODEL_KEYS["api_key"].message(), MODEL_KEYS["api_key"].fix)
    return cast("dict[str, Any]", node.value)
