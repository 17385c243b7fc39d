"""Whatever the files hold, the answer is a project or its problems, each with a place and a way out."""

import contextlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from project.errors import AppError, ConfigErrors
from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, TASK_KEYS
from project.inputs import crew_inputs, read_inputs
from project.load import Project
from project.rules import RULES
from project.schema import make_schemas
from project.spec import (
    AgentSpec,
    BudgetSpec,
    CandidatesSpec,
    CrewSpec,
    FieldSpec,
    JudgeSpec,
    ManagerSpec,
    ModelSpec,
    PriceSpec,
    RefineSpec,
    RetrySpec,
    ReviewSpec,
    Spec,
    StageSpec,
    StateSpec,
    TaskSpec,
)
from project.spec_policy import (
    ApprovalSpec,
    ApprovalsSpec,
    ArgumentSpec,
    BudgetsSpec,
    ExampleSpec,
    OrderSpec,
    RuleSpec,
    ToolPolicySpec,
)
from tests.project.folder import AGENTS, TASKS, load, write

_MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_STEMS = ("agents", "tasks", "crews", "models", "contracts", "policy", "schedules")
_VALIDATORS: Mapping[str, Any] = {name: Draft7Validator(schema) for name, schema in make_schemas().items()}

_NAMES = st.sampled_from(["researcher", "research", "write", "brief", "fast", "default", "Report", "topic", "offline"])
_WORDS = st.sampled_from(
    ["cited", "words", "str", "list[str]", "object", "search_documents", "openai/gpt-4o", "{topic}"]
)
_TEXTS = _NAMES | _WORDS | st.text(max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.floats() | _TEXTS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


_ODD = st.dictionaries(_TEXTS, _VALUES, max_size=3)
_CONDITIONS = st.sampled_from(
    ["inputs.topic == 'x'", "outputs.research", "outputs.write.kind > 2", "state.topic", "a and b", "[1, 2]"]
) | st.text(alphabet="inputs.ou =&|!()[]'x1{}", max_size=20)


def _with(model: type[Spec]) -> st.SearchStrategy[dict[str, Any]]:
    """Make mappings with some keys of a spec, right or wrong."""
    right = {"by": _NAMES, "agent": _NAMES, "agents": st.lists(_NAMES, max_size=3), "crew": _NAMES, "model": _NAMES}
    values = {key: right.get(key, _VALUES) | _VALUES for key in model.model_fields}
    return st.fixed_dictionaries({}, optional=values)


_LONG: Mapping[str, st.SearchStrategy[Any]] = {
    "tools": st.lists(_TEXTS | st.dictionaries(_TEXTS, _VALUES, max_size=2), max_size=3),
    "guardrails": st.lists(_TEXTS | st.dictionaries(st.sampled_from(sorted(RULES)), _VALUES, max_size=2), max_size=3),
    "output": st.dictionaries(_TEXTS, _VALUES | _ODD, max_size=3) | _TEXTS,
    "inputs": st.dictionaries(_TEXTS, _VALUES, max_size=3),
    "budget": st.dictionaries(st.sampled_from(sorted(BudgetSpec.model_fields)), _VALUES, max_size=3),
    "when": _CONDITIONS,
    "for_each": _CONDITIONS | st.fixed_dictionaries({"items": _CONDITIONS}, optional={"width": _VALUES}),
    "review": _with(ReviewSpec),
    "judge": _with(JudgeSpec),
    "refine": st.booleans() | _with(RefineSpec),
    "candidates": st.integers(0, 9) | st.lists(_NAMES, max_size=3) | _with(CandidatesSpec),
    "retry": st.integers(0, 3) | _with(RetrySpec),
    "reads": st.lists(_NAMES, max_size=2),
    "writes": st.lists(_NAMES, max_size=2),
    "handoffs": st.lists(_NAMES, max_size=2),
    "agent": _NAMES | st.just("human") | _VALUES,
    "process": st.sampled_from(["sequential", "hierarchical", None, "x"]),
    "goal": _TEXTS,
    "agents": st.lists(_NAMES, max_size=3),
    "tasks": st.lists(_NAMES, max_size=3),
    "manager": _NAMES | _with(ManagerSpec),
    "crews": st.lists(_NAMES | _with(StageSpec), max_size=3),
    "state": st.dictionaries(_NAMES, _WORDS | _with(StateSpec), max_size=3),
    "price": st.dictionaries(st.sampled_from(sorted(PriceSpec.model_fields)), _VALUES, max_size=3),
}
_RIGHT: Mapping[str, Mapping[str, Any]] = {
    "agents": {"role": "R", "goal": "G {topic}", "backstory": "B"},
    "tasks": {"description": "D {topic}", "expected_output": "E", "agent": "researcher"},
    "crews": {"tasks": ["research"]},
    "models": {"model": "offline"},
    "contracts": {"title": "str"},
}
_KEYS: Mapping[str, list[str]] = {
    "agents": [*AgentSpec.model_fields, *AGENT_KEYS],
    "tasks": [*TaskSpec.model_fields, *TASK_KEYS, "guardrail"],
    "crews": [*CrewSpec.model_fields, *CREW_KEYS, "manager_agent", "manager_llm"],
    "models": [*ModelSpec.model_fields, *MODEL_KEYS],
    "contracts": ["kind", *FieldSpec.model_fields],
}


@st.composite
def _entries(draw: st.DrawFn, stem: str) -> dict[str, Any]:
    """Right entries with some keys that are right or wrong, and sometimes an entry that is nothing of the kind."""
    first = {"agents": "researcher", "tasks": "research"}.get(stem, "brief")
    entries: dict[str, Any] = {}
    for name in dict.fromkeys([first, *draw(st.lists(_NAMES, max_size=1))]):
        entry = dict(_RIGHT[stem])
        for key in draw(st.lists(st.sampled_from(_KEYS[stem]), max_size=3)):
            entry[key] = draw(_LONG.get(key, _VALUES))
        entries[name] = entry
    return entries if draw(st.integers(0, 5)) else {**entries, **draw(_ODD)}


@st.composite
def _projects(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    stems = ["agents", "tasks", *draw(st.lists(st.sampled_from(["crews", "models", "contracts"]), unique=True))]
    return {stem: draw(_entries(stem)) for stem in stems}


_RULINGS = st.sampled_from(["allow", "ask", "deny", "block"])
_POLICY_NAMES = st.sampled_from(["list_notes", "search_documents", "list_*", "researcher", "default", "*", "research"])
_RIGHT_IN_POLICIES: Mapping[str, st.SearchStrategy[Any]] = {
    "decide": _RULINGS,
    "expect": _RULINGS,
    "tool": _POLICY_NAMES,
    "effect": st.sampled_from(["read", "send"]),
    "effects": st.lists(st.sampled_from(["read", "send"]), max_size=2),
    "arguments": st.dictionaries(st.sampled_from(["query", "limit"]), _VALUES | _with(ArgumentSpec), max_size=2),
    "domains": st.lists(st.sampled_from(["a.org", "*.a.org", "A.org", "10.0.0.1", "a b"]), max_size=2),
    "paths": st.lists(st.sampled_from(["a/**", "/b", "../c"]), max_size=2),
    "hours": st.sampled_from(["mon", "mon-fri 09:00-17:00", "9-17"]),
    "approval": _with(ApprovalSpec) | st.lists(st.sampled_from(["ann", "ben@desk", "a b"]), max_size=2),
    "secrets": st.lists(st.sampled_from(["TOKEN", "MUSTER_X", "a-b"]), max_size=2),
    "at": st.sampled_from(["2026-11-20 14:30", "soon"]),
    **dict.fromkeys(
        ("tools", "agents", "crews", "after", "before", "never_with", "tasks", "delegated_by"),
        _POLICY_NAMES | st.lists(_POLICY_NAMES, max_size=2),
    ),
}


def _of_policy(model: type[Spec], **needed: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make mappings with what must be there and some other keys, each right more often than wrong."""
    optional = {key: _RIGHT_IN_POLICIES.get(key, _VALUES) | _VALUES for key in model.model_fields if key not in needed}
    rare = st.sampled_from(sorted(optional)).flatmap(lambda key: st.fixed_dictionaries({key: optional[key]}))
    return st.tuples(st.fixed_dictionaries(needed), st.lists(rare, max_size=3)).map(
        lambda parts: {key: value for part in (*parts[1], parts[0]) for key, value in part.items()}
    )


def _policies() -> st.SearchStrategy[dict[str, Any]]:
    rules = _of_policy(RuleSpec, decide=_RULINGS)
    orders = _of_policy(OrderSpec, tool=_POLICY_NAMES)
    tests = _of_policy(ExampleSpec, tool=_POLICY_NAMES, expect=_RULINGS)
    sections: dict[str, st.SearchStrategy[Any]] = {
        "rules": st.lists(rules, max_size=3),
        "defaults": st.dictionaries(st.sampled_from(["read", "send"]), _RULINGS, max_size=2),
        "order": st.lists(orders, max_size=3),
        "tools": st.dictionaries(_POLICY_NAMES, _of_policy(ToolPolicySpec), max_size=2),
        "approvals": _of_policy(ApprovalsSpec),
        "budgets": _of_policy(BudgetsSpec),
        "redact": st.lists(st.sampled_from(["a", "(a+)+", "x*", "("]), max_size=2),
        "tests": st.lists(tests, max_size=2),
    }
    chosen = st.lists(st.sampled_from(sorted(sections)), max_size=3, unique=True)
    return chosen.flatmap(lambda keys: st.fixed_dictionaries({key: sections[key] for key in keys}))


def _mistakes(stem: str, content: Any) -> list[str]:
    return [error.message for error in _VALIDATORS[stem].iter_errors(content)]


def _try(files: Mapping[str, str | bytes]) -> Project | None:
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder) / "project", files)
        try:
            project = load(root)
        except ConfigErrors as error:
            _check(error)
            return None
        for crew in project.crews:
            crew_inputs(project, crew)
            with contextlib.suppress(AppError):
                read_inputs(project, crew, {"topic": "x"}, root)
        return project


def _check(error: ConfigErrors) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.where is not None, problem
        assert problem.where.line >= 1
        assert problem.where.column >= 1
        assert problem.fix, problem
        assert "\n" not in str(problem)
        assert "\n" not in problem.fix
        str(problem).encode()
        assert len({*map(str, error.problems)}) == len(error.problems)


@_MANY
@given(st.sampled_from(_STEMS), st.binary(max_size=200))
def test_no_bytes_break_it(stem: str, content: bytes) -> None:
    _try({f"config/{stem}.yaml": content})


@_MANY
@given(st.sampled_from(_STEMS[:5]), st.text(alphabet="ab:-[]{}\"'&*!|>#%@,?<~ \n\t.0", max_size=60))
@example("agents", "a: &a\n  <<: *a\n")
@example("tasks", "? - a\n: b\n")
@example("models", "a: !!binary x\n")
@example("crews", "%YAML 1.1\n---\na: 1\n...\n")
@example("agents", "a: !!int ''\nb: !!float x\nc: !!bool x\nd: !!null x\ne: !!timestamp x\nf: !!merge x\n")
@example("agents", "=: 1\n<<: {a: 1}\n!!null x: 1\n")
def test_no_text_breaks_it(stem: str, text: str) -> None:
    _try({f"config/{stem}.yaml": text})


@_MANY
@given(st.sampled_from(["agents", "tasks"]), st.data())
def test_no_slip_of_the_keyboard_breaks_it(stem: str, data: st.DataObject) -> None:
    text = {"agents": AGENTS, "tasks": TASKS}[stem]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 3)))
        text = text[:start] + data.draw(st.text(alphabet=" \n\t:-'\"[]{}#&*a0", max_size=2)) + text[end:]
    _try({f"config/{stem}.yaml": text})


@settings(_MANY, max_examples=200)
@given(_projects())
def test_no_mapping_breaks_it_and_what_loads_is_right_for_editors(content: Mapping[str, dict[str, Any]]) -> None:
    texts = {stem: yaml.safe_dump(file, allow_unicode=True) for stem, file in content.items()}
    if _try({f"config/{stem}.yaml": text for stem, text in texts.items()}) is None:
        return
    for stem, text in texts.items():
        assert _mistakes(stem, yaml.load(text, _WithoutDates)) == []


@settings(_MANY, max_examples=300)
@given(_policies())
def test_no_policy_breaks_it_and_what_loads_is_right_for_editors(content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    if _try({"config/policy.yaml": text}) is not None:
        assert _mistakes("policy", yaml.load(text, _WithoutDates)) == []


@_MANY
@given(st.sampled_from(["tools", "guardrails"]), st.text(alphabet="@()=,:'\"*/ \nabdeftolgurin", max_size=80))
@example("tools", "@tool(effect='read', **{})\ndef a(): ...\n")
@example("tools", "@tool(effect=[1], timeout_seconds=float('inf'))\ndef a(*, b, c=1): ...\n")
@example("guardrails", "@guardrail\ndef a(*b, c): ...\n")
def test_no_python_breaks_it(folder: str, text: str) -> None:
    _try({f"{folder}/a.py": text})


class _WithoutDates(yaml.SafeLoader):
    """Reads dates as the text that they are to Muster."""


_WithoutDates.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not re.search("timestamp", tag)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
