"""How a task is worked beyond one answer – conditions, lists, reviews, candidates – as written in YAML → specs."""

from functools import partial
from typing import Any, TypeVar, cast, get_args

from pydantic import ValidationError

from project.checks import Findings, Grammar, Take, expect_text, explain, read_spec
from project.entries import read_agent_name, read_agent_names, read_kinds, read_llm
from project.expressions import read_condition
from project.hints import quoted
from project.names import Names
from project.reader import Node
from project.spec import (
    CandidatesSpec,
    Failure,
    FallbackSpec,
    ForEachSpec,
    JudgeSpec,
    RefineSpec,
    RetrySpec,
    ReviewSpec,
    Spec,
)

_S = TypeVar("_S", bound=Spec)

_WIDTHS = {"in": "items", "list": "items", "over": "items", "max_parallel": "width", "parallel": "width"}
_REVIEWS = {"agent": "by", "reviewer": "by", "rounds": "max_rounds", "max_revisions": "max_rounds"}
_RETRIES = {"max_attempts": "attempts", "times": "attempts", "count": "attempts", "backoff": "backoff_seconds"}
_ACTS = ("skip", "ask", "stop")
_FALLBACKS = "write `- agent: NAME`, `- model: NAME`, `- text: ...`, `- skip`, `- ask` or `- stop`"


def read_condition_text(node: Node, findings: Findings) -> str | None:
    """Read `when:` or the items of `for_each:`; names in it are checked where the crew is known."""
    if node.value is None:
        return None
    if isinstance(node.value, (bool, int, float)):
        findings.wrong(node.here(), f"must be a condition, got {node.got()}", "write it like `outputs.check.score > 2`")
        return None
    text = expect_text(node, findings)
    if text is None:
        return None
    condition = read_condition(text.strip())
    if condition.problem:
        findings.wrong(node.here(), condition.problem, condition.fix)
    return text.strip()


def read_for_each(node: Node, findings: Findings) -> ForEachSpec | None:
    """Read `for_each:`: what gives the list, or the long form. Null means not written."""
    if node.value is None:
        return None
    if isinstance(node.value, str):
        items = read_condition_text(node, findings)
        return ForEachSpec(items=items) if items else None
    if not node.is_mapping:
        fix = "name the list: `for_each: outputs.plan.steps`"
        findings.wrong(node.here(), f"must be an expression that gives a list, got {node.got()}", fix)
        return None
    return read_spec(ForEachSpec, node, Grammar("`for_each`", {"items": read_condition_text}, meant=_WIDTHS), findings)


def read_review(node: Node, findings: Findings, *, names: Names) -> ReviewSpec | None:
    """Read `review:`: the agent who reviews, or the long form. Null means not written."""
    if node.value is None:
        return None
    if not _names_an_agent(node, "reviewer", findings):
        return None
    if isinstance(node.value, str):
        by = read_agent_name(node, findings, names=names)
        return ReviewSpec(by=by) if by else None
    takes: dict[str, Take] = {"by": partial(read_agent_name, names=names), "criteria": _read_criteria}
    return read_spec(ReviewSpec, node, Grammar("`review`", takes, meant=_REVIEWS), findings)


def read_refine(node: Node, findings: Findings) -> RefineSpec | None:
    """Read `refine:`: true, or the long form. Null and false mean not written."""
    if node.value is None or node.value is False:
        return None
    if node.value is True:
        return RefineSpec()
    if not node.is_mapping:
        fix = "write `refine: true`, or `refine: {max_rounds: 3}`"
        findings.wrong(node.here(), f"must be true or a mapping of keys, got {node.got()}", fix)
        return None
    grammar = Grammar("`refine`", {"criteria": _read_criteria}, meant={"rounds": "max_rounds"})
    return read_spec(RefineSpec, node, grammar, findings)


def read_candidates(node: Node, findings: Findings, *, names: Names) -> CandidatesSpec | None:
    """Read `candidates:`: how many, or the agents who make one each, or the long form. Null means not written."""
    if node.value is None:
        return None
    if type(node.value) is int:
        return _fitted(CandidatesSpec, {"count": node.value}, node, findings)
    if node.is_list:
        agents = read_agent_names(node, findings, names=names) or []
        return _one_each(agents, len(node.items), node, findings)
    if not node.is_mapping:
        fix = "write how many, such as `candidates: 3`, or who makes them: `candidates: [writer, editor]`"
        findings.wrong(node.here(), f"must be a number, a list of agents or a mapping of keys, got {node.got()}", fix)
        return None
    takes: dict[str, Take] = {"agents": partial(read_agent_names, names=names)}
    spec = read_spec(CandidatesSpec, node, Grammar("`candidates`", takes, meant={"number": "count"}), findings)
    if spec is None or len(spec.agents) < 2:
        return spec
    count = node.entries.get("count")
    if count is None or count.value is None:
        return _one_each(spec.agents, len(spec.agents), node.entries["agents"], findings)
    if len(spec.agents) > spec.count:
        what = f"{len(spec.agents)} agents cannot make {spec.count} candidates"
        findings.wrong(count.here(), what, f"set `count` to {len(spec.agents)}, or name fewer agents")
    return spec


def read_judge(node: Node, findings: Findings, *, names: Names) -> JudgeSpec | None:
    """Read `judge:`: the agent who chooses, or the long form. Null means not written."""
    if node.value is None:
        return None
    if not _names_an_agent(node, "judge", findings):
        return None
    if isinstance(node.value, str):
        by = read_agent_name(node, findings, names=names)
        return JudgeSpec(by=by) if by else None
    takes: dict[str, Take] = {"by": partial(read_agent_name, names=names), "criteria": _read_criteria}
    return read_spec(JudgeSpec, node, Grammar("`judge`", takes, meant={"agent": "by"}), findings)


def read_retry(node: Node, findings: Findings, *, names: Names) -> RetrySpec | None:
    """Read `retry:`: how many attempts in all, or the long form. Null means not written."""
    if node.value is None:
        return None
    if type(node.value) is int:
        return _fitted(RetrySpec, {"attempts": node.value}, node, findings)
    if not node.is_mapping:
        fix = "write how many attempts in all, such as `retry: 3`, or `retry: {attempts: 3, agents: [...]}`"
        findings.wrong(node.here(), f"must be a number or a mapping of keys, got {node.got()}", fix)
        return None
    takes: dict[str, Take] = {
        "agents": partial(read_agent_names, names=names),
        "on": partial(read_kinds, kinds=get_args(Failure), noun="failure"),
    }
    return read_spec(RetrySpec, node, Grammar("`retry`", takes, meant=_RETRIES), findings)


def read_fallback(node: Node, findings: Findings, *, names: Names) -> list[FallbackSpec] | None:
    """Read `fallback:`: what is done in order, one or a list. Null means not written."""
    if node.value is None:
        return None
    items = node.items if node.is_list else (node,)
    ways = [_read_way(item, names, findings) for item in items]
    for item, way in zip(items[:-1], ways[:-1], strict=True):
        if way is not None and (way.text is not None or way.act is not None):
            word = way.act or "text"
            findings.wrong(item.here(), f"nothing comes after `{word}`", f"put `{word}` last, or take the rest out")
            break
    return [way for way in ways if way is not None]


def _read_way(node: Node, names: Names, findings: Findings) -> FallbackSpec | None:
    """Read one entry of `fallback:`."""
    if isinstance(node.value, str) and node.value in _ACTS:
        return FallbackSpec(act=cast(Any, node.value))
    if not node.is_mapping or len(node.entries) != 1:
        what = f"must be one way to go on, got {node.got() if not node.is_mapping else f'{len(node.entries)} keys'}"
        findings.wrong(node.here(), what, _FALLBACKS)
        return None
    key, child = next(iter(node.entries.items()))
    match key:
        case "agent":
            name = read_agent_name(child, findings, names=names)
            return FallbackSpec(agent=name) if name else None
        case "model" | "llm":
            model = read_llm(child, findings, names=names)
            if model is None and child.value is None:
                expect_text(child, findings)
            return FallbackSpec(model=model) if model else None
        case "text" if child.is_mapping:
            return FallbackSpec(text=cast("dict[str, Any]", child.value))
        case "text":
            text = expect_text(child, findings)
            return FallbackSpec(text=text.strip()) if text else None
        case _:
            findings.wrong(child.at_key(), f"unknown way to go on {quoted(key)}", _FALLBACKS)
            return None


def _names_an_agent(node: Node, noun: str, findings: Findings) -> bool:
    key = node.keys[-1]
    if isinstance(node.value, str) or node.is_mapping:
        return True
    fix = f"name the {noun}: `{key}: AGENT`, or `{key}: {{by: AGENT, criteria: [...]}}`"
    findings.wrong(node.here(), f"must be the name of an agent or a mapping of keys, got {node.got()}", fix)
    return False


def _read_criteria(node: Node, findings: Findings) -> list[str] | None:
    """Read one criterion or a list of them."""
    if node.value is None:
        return None
    if isinstance(node.value, str):
        text = expect_text(node, findings)
        return [text.strip()] if text else None
    if not node.is_list:
        findings.wrong(node.here(), f"must be a list of texts, got {node.got()}", "write one demand an entry")
        return None
    return [text.strip() for item in node.items if (text := expect_text(item, findings))]


def _one_each(agents: list[str], written: int, node: Node, findings: Findings) -> CandidatesSpec | None:
    if 2 <= written <= 8:
        return CandidatesSpec(count=written, agents=agents)
    what = f"must name 2 to 8 agents, got {written}"
    findings.wrong(node.here(), what, "name one agent a candidate, or write how many there are: `candidates: 3`")
    return None


def _fitted(model: type[_S], values: dict[str, Any], node: Node, findings: Findings) -> _S | None:
    """Build `model` from a short form; what is wrong is reported at `node`."""
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        findings.problems += [explain(detail, node) for detail in error.errors()]
        return None
