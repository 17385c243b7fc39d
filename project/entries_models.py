"""models.yaml → specs."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, cast, get_args

from project.checks import Findings, Grammar, Take, expect_text, read_spec
from project.entries import MODEL_FIX, MODEL_FORM, check_entry_name, read_kinds, read_names
from project.foreign import MODEL_KEYS
from project.hints import quoted, shown
from project.leaks import looks_secret
from project.names import MODEL_NAME, check_name
from project.order import find_circle
from project.parts import item_place
from project.reader import Node
from project.spec import ModelFailure, ModelSpec, PriceSpec, RateSpec

_MEANT = {
    "name": "model",
    "url": "base_url",
    "pricing": "price",
    "fallbacks": "fallback",
    "rpm": "rate_limit",
    "max_rpm": "rate_limit",
    "rate": "rate_limit",
    "backoff": "backoff_seconds",
    "retries": "max_attempts",
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_models(tree: Node, findings: Findings) -> dict[str, ModelSpec]:
    """Read models.yaml."""
    takes: dict[str, Take] = {
        "model": _read_model,
        "price": _read_price,
        "api_key_env": _read_variable,
        "parameters": _read_parameters,
        "fallback": partial(_read_fallback, known=list(tree.entries)),
        "retry_on": partial(read_kinds, kinds=get_args(ModelFailure), noun="failure"),
        "rate_limit": read_rate,
    }
    grammar = Grammar("a model", takes, MODEL_KEYS, _MEANT)
    models: dict[str, ModelSpec] = {}
    for name, node in tree.entries.items():
        check_entry_name(name, node, MODEL_NAME, findings)
        if isinstance(node.value, str):
            model = _read_model(node, findings)
            models[name] = ModelSpec(model=model or "")
        else:
            models[name] = read_spec(ModelSpec, node, grammar, findings) or ModelSpec(model="")
        if name in ("offline", "auto") and models[name].model != name:
            findings.wrong(node.at_key(), f"the name `{name}` is taken by Muster", f"rename the model `{name}`")
    _check_chains(models, tree, findings)
    return models


def _check_chains(models: Mapping[str, ModelSpec], tree: Node, findings: Findings) -> None:
    """Check that a conversation can go on with each model of a chain, and that no chain comes back to its start."""
    ways = {name: spec.fallback for name, spec in models.items()}
    told: set[str] = set()
    for name, spec in models.items():
        if not spec.fallback:
            continue
        node = tree.entries[name].entries["fallback"]
        if spec.model == "offline":
            findings.wrong(node.at_key(), "the offline model always answers", "take `fallback` out")
        for other in spec.fallback:
            where = item_place(node, other)
            if models[other].model in ("offline", "auto"):
                what = f"{quoted(other)} is `{models[other].model}`, which cannot go on with a model's conversation"
                findings.wrong(where, what, "name a model with a provider; a task may have `fallback: [skip]`")
            elif models[other].tool_calling != spec.tool_calling:
                what = f"{quoted(other)} has another `tool_calling` than {quoted(name)}, so it cannot take over"
                findings.wrong(where, what, f"name a model with `tool_calling: {spec.tool_calling}`")
        circle = find_circle(ways, name)
        if circle and not told.intersection(circle):
            told.update(circle)
            what = f"the models stand in for each other: {' → '.join(circle)}"
            findings.wrong(item_place(node, circle[1]), what, f"take `{circle[1]}` out: a chain is named at its first")


def _read_fallback(node: Node, findings: Findings, *, known: list[str]) -> list[str] | None:
    """Read the models of a chain: one name, or a list."""

    def is_known(name: str, item: Node) -> bool:
        return check_name(name, known, "model", "models.yaml has", item.here(), findings)

    if isinstance(node.value, str) and node.value.strip():
        return [node.value] if is_known(node.value, node) else None
    return read_names(node, findings, noun="model", known=is_known)


def read_rate(node: Node, findings: Findings) -> RateSpec | None:
    """Read `rate_limit:` of a model or `rate:` of a tool: calls a minute, or the long form."""
    key = node.keys[-1]
    if node.value is None:
        return None
    if type(node.value) is int and node.value >= 1:
        return RateSpec(calls=node.value)
    if not node.is_mapping:
        fix = f"write calls a minute, such as `{key}: 60`, or `{key}: {{calls: 60, seconds: 60}}`"
        findings.wrong(node.here(), f"must be a number or a mapping of keys, got {node.got()}", fix)
        return None
    return read_spec(RateSpec, node, Grammar(f"`{key}`"), findings)


def _read_model(node: Node, findings: Findings) -> str | None:
    name = expect_text(node, findings)
    if name is None or name in ("auto", "offline") or MODEL_FORM.fullmatch(name):
        return name
    findings.wrong(node.here(), f"must be `provider/name`, `auto` or `offline`, got {shown(name)}", MODEL_FIX)
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
