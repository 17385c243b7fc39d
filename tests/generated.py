"""The files made from the code: `python -m tests.generated` writes them, `--check` names those that are stale."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic_core import PydanticUndefined
from typer.main import get_command

from main import app
from project.code import read_code
from project.declaration import ToolDeclaration
from project.expressions import FUNCTIONS, METHODS, MOST_CHARACTERS
from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, TASK_KEYS, Foreign
from project.rules import RULES
from project.schema import make_schemas, render
from project.spec import (
    AgentSpec,
    BudgetSpec,
    CandidatesSpec,
    CrewSpec,
    FallbackSpec,
    FieldSpec,
    ForEachSpec,
    InputSpec,
    JudgeSpec,
    ManagerSpec,
    ModelSpec,
    PriceSpec,
    QueueSpec,
    RateSpec,
    RefineSpec,
    RetrySpec,
    ReviewSpec,
    Spec,
    StageSpec,
    StateSpec,
    TaskSpec,
    ToolRetrySpec,
    ToolUse,
)
from project.spec_policy import (
    ApprovalSpec,
    ApprovalsSpec,
    ArgumentSpec,
    BudgetsSpec,
    CallBudgetSpec,
    DefaultsSpec,
    ExampleSpec,
    OrderSpec,
    PolicySpec,
    RuleSpec,
    ToolPolicySpec,
)
from project.spec_schedules import ChannelSpec, OnFailureSpec, RunRetrySpec, ScheduleSpec, SmtpSpec

_ROOT = Path(__file__).resolve().parent.parent
_MADE = "<!-- Made by `python -m tests.generated`: change the code, not this page. -->"
_WIDTH = 100

_SECTIONS: tuple[tuple[str, str, type[Spec], Mapping[str, Foreign]], ...] = (
    ("agents.yaml", "One entry an agent: its name, then these keys.", AgentSpec, AGENT_KEYS),
    ("tasks.yaml", "One entry a task: its name, then these keys.", TaskSpec, TASK_KEYS),
    ("crews.yaml", "One entry a crew. Without this file all tasks are one crew, `default`.", CrewSpec, CREW_KEYS),
    ("models.yaml", "One entry a model: its name, then these keys, or `provider/model` alone.", ModelSpec, MODEL_KEYS),
)
_PARTS: tuple[tuple[str, str, type[Spec]], ...] = (
    ("An entry of `tools:`", "`name`, or `name: {argument: value}`, or the keys written out.", ToolUse),
    (
        "A field of `output:` and of contracts.yaml",
        "`title: str`, or `kind: [brief, report]`, or a mapping of fields, or these keys.",
        FieldSpec,
    ),
    ("`for_each:` of a task", "`for_each: outputs.plan.steps`, or these keys.", ForEachSpec),
    ("`review:` of a task", "`review: reviewer`, or these keys; one criterion needs no list.", ReviewSpec),
    ("`refine:` of a task", "`refine: true`, or these keys.", RefineSpec),
    ("`candidates:` of a task", "`candidates: 3`, or `candidates: [writer, editor]`, or these keys.", CandidatesSpec),
    ("`judge:` of a task", "`judge: editor`, or these keys.", JudgeSpec),
    ("`retry:` of a task", "`retry: 3`, or these keys.", RetrySpec),
    (
        "An entry of `fallback:` of a task",
        "`- agent: NAME`, `- model: NAME`, `- text: ...`, or one of the words `skip`, `ask` and `stop`.",
        FallbackSpec,
    ),
    ("`retry:` of a tool", "`retry: 3`, or these keys.", ToolRetrySpec),
    (
        "`manager:` of a crew",
        "`manager: NAME`, or these keys. CrewAI's `manager_agent` and `manager_llm` are `agent` and `model`.",
        ManagerSpec,
    ),
    ("An entry of `crews:`", "The crew's name alone, or these keys.", StageSpec),
    ("An entry of `state:`", "`facts: list[str]`, or these keys.", StateSpec),
    (
        "An entry of `inputs:`",
        "`topic:` alone (a required text), or `words: 600` (a default), or these keys.",
        InputSpec,
    ),
    (
        "`budget:` of a crew, task or agent",
        "Those of a crew are also options of `muster run` and `muster runs resume`.",
        BudgetSpec,
    ),
    ("`queue:` of a crew", "`queue: slow`, or these keys.", QueueSpec),
    ("`price:` of a model", "", PriceSpec),
    ("`rate_limit:` of a model", "`rate_limit: 60`, calls a minute, or these keys.", RateSpec),
    ("An entry of `schedules:` in schedules.yaml", "Its name, then these keys.", ScheduleSpec),
    ("`on_failure:` of a schedule", "", OnFailureSpec),
    ("`retry:` of a schedule", "", RunRetrySpec),
    ("An entry of `notify:` in schedules.yaml", "Its name, then these keys.", ChannelSpec),
    ("`smtp:` of a channel", "", SmtpSpec),
    ("policy.yaml", "Without this file its defaults hold.", PolicySpec),
    ("An entry of `rules:` in policy.yaml", "A list with a single entry may be written as that entry.", RuleSpec),
    (
        "An entry of `arguments:` of a rule",
        "`channel: general`, or `channel: [general, alerts]`, or these keys.",
        ArgumentSpec,
    ),
    (
        "`approval:` of a rule",
        "`approval: eve`, or `approval: [eve, adam]`, or these keys; what is left out is as `approvals:` say.",
        ApprovalSpec,
    ),
    ("`defaults:` of policy.yaml", "", DefaultsSpec),
    ("An entry of `order:` in policy.yaml", "", OrderSpec),
    ("An entry of `tools:` in policy.yaml", "The tool's name, then these keys.", ToolPolicySpec),
    ("`approvals:` of policy.yaml", "", ApprovalsSpec),
    ("`budgets:` of policy.yaml", "", BudgetsSpec),
    ("`call:` of `budgets:`", "", CallBudgetSpec),
    ("An entry of `tests:` in policy.yaml", "", ExampleSpec),
)
_WORDS: Mapping[Any, str] = {
    str: "text", int: "whole number", float: "number", Decimal: "number", bool: "true or false", Any: "any value",
    ToolUse: "tool", FieldSpec: "field", StageSpec: "crew",
}  # fmt: skip
_SPELLED: Mapping[tuple[type[Spec], str], str] = {
    (TaskSpec, "guardrails"): "list of guardrails",
    (InputSpec, "guardrails"): "list of rules",
    (TaskSpec, "output"): "fields by name, or a contract's name",
    (TaskSpec, "when"): "condition",
    (TaskSpec, "for_each"): "condition that gives a list, or keys",
    (TaskSpec, "review"): "agent, or keys",
    (TaskSpec, "refine"): "true, or keys",
    (TaskSpec, "candidates"): "number, list of agents, or keys",
    (TaskSpec, "judge"): "agent, or keys",
    (TaskSpec, "retry"): "number, or keys",
    (TaskSpec, "fallback"): "ways to go on",
    (ToolUse, "retry"): "number, or keys",
    (ToolUse, "fallback"): "tool, or list of tools",
    (FallbackSpec, "text"): "text, or fields of the contract",
    (CrewSpec, "queue"): "name, or keys",
    (ModelSpec, "fallback"): "model, or list of models",
    (ModelSpec, "rate_limit"): "number, or keys",
    (ForEachSpec, "items"): "condition that gives a list",
    (CrewSpec, "manager"): "agent, model, or keys",
    (CrewSpec, "state"): "types by name",
    (StageSpec, "inputs"): "texts and numbers by name",
    (CrewSpec, "inputs"): "inputs by name",
    (CrewSpec, "budget"): "ceilings",
    (ModelSpec, "price"): "price",
    (ScheduleSpec, "inputs"): "texts and numbers by name",
    (ScheduleSpec, "budget"): "ceilings",
    (ScheduleSpec, "on_failure"): "keys",
    (OnFailureSpec, "retry"): "keys",
    (ChannelSpec, "smtp"): "keys",
    (ScheduleSpec, "daily_budget"): "ceilings",
    (AgentSpec, "budget"): "ceilings",
    (TaskSpec, "budget"): "ceilings",
    (RuleSpec, "arguments"): "values by argument",
    (RuleSpec, "approval"): "name, list of names, or keys",
    (RuleSpec, "effects"): "list of `read`, `write`, `send`, `spend`, `execute`",
    (ArgumentSpec, "one_of"): "list of values",
    (ToolPolicySpec, "rate"): "number, or keys",
    (PolicySpec, "rules"): "list of rules",
    (PolicySpec, "defaults"): "keys",
    (PolicySpec, "order"): "list of order rules",
    (PolicySpec, "tools"): "keys by tool",
    (PolicySpec, "approvals"): "keys",
    (PolicySpec, "budgets"): "keys",
    (PolicySpec, "tests"): "list of example calls",
    (BudgetsSpec, "call"): "ceilings",
    (BudgetsSpec, "day"): "ceilings",
    (BudgetsSpec, "month"): "ceilings",
}


def generated_files() -> dict[str, str]:
    """Return every generated file: path relative to the checkout → its content."""
    schemas = {f"config/schemas/{name}.schema.json": render(schema) for name, schema in make_schemas().items()}
    pages = {"yaml": _yaml_page(), "cli": _cli_page(), "tools": _tools_page()}
    return schemas | {f"docs/reference/{name}.md": text for name, text in pages.items()}


def find_stale(root: Path = _ROOT) -> list[str]:
    """Return the paths of the files that are missing, differ, or are not made any more."""
    wanted = generated_files()
    stale = [path for path, text in wanted.items() if _content(root / path) != text]
    there = [*(root / "config/schemas").glob("*.json"), *(root / "docs/reference").glob("*.md")]
    return stale + sorted(name for path in there if (name := path.relative_to(root).as_posix()) not in wanted)


def write_all(root: Path = _ROOT) -> list[str]:
    """Write every generated file; return the paths."""
    files = generated_files()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _content(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


# -- yaml.md


def _yaml_page() -> str:
    intro = """The files of `config/`. Unknown keys are errors; `muster check` names them with file, line and column.

A key that CrewAI knows and Muster does not take as it is stands in the second table of each file: *ignored* and *taken
differently* load with a note, *refused* and *not yet* are errors (exit 3). Values that change nothing, such as `false`
or an empty list, pass without a word."""
    parts = [_head("The YAML files", intro)]
    for file, about, spec, foreign in _SECTIONS:
        parts += [f"## {file}", f"{_line(spec.__doc__)} {about}", _spec_table(spec), "### Keys that are not Muster's"]
        parts.append(_foreign_table(foreign))
    parts.append(
        "## contracts.yaml\n\nContracts by name, for `output:` of tasks: one entry a contract, its fields below."
    )
    for title, about, spec in _PARTS:
        parts.append(f"## {title}\n\n{_line(spec.__doc__)} {about}".rstrip())
        parts.append(_spec_table(spec))
    parts += [_conditions_section(), _rules_section()]
    return "\n\n".join(parts) + "\n"


def _spec_table(spec: type[Spec]) -> str:
    rows = [
        (
            f"`{name}`",
            _SPELLED.get((spec, name)) or _spell(field.annotation) + _bounds(field.metadata),
            _default(field),
            _line(field.description),
        )
        for name, field in spec.model_fields.items()
    ]
    return _table(("key", "value", "default", "meaning"), rows)


def _spell(annotation: Any) -> str:
    """Spell a type in words for people who write YAML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_spell(item) for item in arguments if item is not NoneType))
    if origin is list:
        return "list of " + _plural(_spell(arguments[0]))
    if origin is dict:
        return "mapping of " + _plural("value" if arguments[1] is Any else _spell(arguments[1]))
    return _WORDS.get(annotation, str(annotation))


def _plural(word: str) -> str:
    return f"{word}s"


def _bounds(metadata: Sequence[Any]) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    found = [f"{sign} {getattr(item, key)}" for item in metadata for key, sign in signs if hasattr(item, key)]
    return f", {', '.join(found)}" if found else ""


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if value is None or value == "" or value == [] or value == {} or isinstance(value, Spec):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _foreign_table(foreign: Mapping[str, Foreign]) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for name, key in foreign.items():
        groups.setdefault((key.message(), key.fix), []).append(name)
    rows = [
        (", ".join(f"`{name}`" for name in names), _line(message), _line(fix))
        for (message, fix), names in groups.items()
    ]
    return _table(("key", "what happens", "instead"), rows)


def _conditions_section() -> str:
    functions = ", ".join(f"`{name}`" for name in FUNCTIONS)
    methods = ", ".join(f"`{name}`" for name in METHODS)
    return f"""## Conditions

`when:` and `for_each:` are expressions in CEL over three names: `inputs.topic`, `outputs.task` (with the fields of its
contract, such as `outputs.triage.urgency`; without a contract it is a text), and `state.facts`. A name with `-` in it is
written `inputs['my-name']`. A task waits for the tasks that its conditions name.

Operators: `==` `!=` `<` `<=` `>` `>=` `&&` `||` `!` `+` `-` `*` `/` `%` `in` `? :`. Text stands in quotes. Functions:
{functions}. Methods: {methods}. An expression has at most {MOST_CHARACTERS} characters. What is asked for must be there:
`has(outputs.check.score)` says whether it is."""


def _rules_section() -> str:
    rows = [(f"`{name}`", rule.description, rule.setting, f"`- {rule.example}`") for name, rule in RULES.items()]
    about = """Each entry of `guardrails:` is a rule of this table, the name of a `@guardrail` function of the project,
or a demand in plain language, which a model judges. A rule whose only setting is `true` may be written as its bare
name; a demand may be written as `text: ...`, a function as `function: name`. CrewAI's `guardrail:` with a single entry is
taken as well. An input of a crew has the rules that need no more than its text: not `cited`, `supported` and
`claimed_calls`. An entry may have one key more, `gate`: what a broken one does. `fail` fails the task, `revise` (the
default) sends the output back with the reasons, `warn` only notes them."""
    return f"## Rules for `guardrails:`\n\n{about}\n\n" + _table(("rule", "demand", "setting", "example"), rows)


# -- cli.md


def _cli_page() -> str:
    intro = """Every command with what its `--help` prints. The options of `muster` itself may stand anywhere on a line.

Exit codes: 0 done · 1 run failed, refused or over budget · 2 wrong command line · 3 configuration invalid · 4 waits for
a person · 70 a bug of Muster · 130 interrupted."""
    blocks = [f"## {name}\n\n```text\n{text}\n```" for name, text in command_helps()]
    return "\n\n".join([_head("The command line", intro), *blocks]) + "\n"


def command_helps() -> Iterator[tuple[str, str]]:
    """Yield each command by its full name, such as `muster runs list`, with its help text."""
    yield from _helps(cast(Any, get_command(app)), "muster", None)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    settings = {"info_name": name.rpartition(" ")[2], "parent": parent, "terminal_width": _WIDTH}
    context = command.context_class(command, max_content_width=_WIDTH, **settings, **command.context_settings)
    yield name, "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
    for child, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, f"{name} {child}", context)


# -- tools.md


def _tools_page() -> str:
    intro = """What an agent may name under `tools:` without any code. The text of each is what the model reads.

A parameter marked *fixed* is set in YAML and never by a model: `- search_documents: {folder: "{sources}"}`. Any other
parameter may be fixed the same way; the model then neither sees nor sets it."""
    tools = read_code(_ROOT / "tools", "tools", "tool").tools
    blocks = [_tool_block(tools[name]) for name in sorted(tools)]
    return "\n\n".join([_head("Built-in tools", intro), *blocks]) + "\n"


def _tool_block(tool: ToolDeclaration) -> str:
    parameters = ", ".join(_parameter(name, tool) for name in tool.parameters)
    facts = (f"effect {tool.effect}", f"repeat {tool.repeat}", f"returns {tool.returns}", f"{tool.timeout_seconds:g} s")
    return f"## {tool.name}\n\nParameters: {parameters}. {', '.join(facts).capitalize()}.\n\n```text\n{tool.doc}\n```"


def _parameter(name: str, tool: ToolDeclaration) -> str:
    said = [word for word, there in (("required", name in tool.required), ("fixed", name in tool.fixed)) if there]
    return f"`{name}`" + (f" ({', '.join(said)})" if said else "")


# -- shared


def _head(title: str, intro: str) -> str:
    return f"{_MADE}\n\n# {title}\n\n{intro}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def main(arguments: Sequence[str]) -> int:
    """Write the files, or with `--check` only name the stale ones; return the exit code."""
    if list(arguments) == ["--check"]:
        stale = find_stale()
        for path in stale:
            print(f"{path}: stale; `python -m tests.generated` writes it")
        return 1 if stale else 0
    if arguments:
        print("usage: python -m tests.generated [--check]", file=sys.stderr)
        return 2
    print("\n".join(write_all()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
