"""models.yaml → specs."""

import re
from typing import Any, cast

from project.checks import Findings, Grammar, expect_text, read_spec
from project.entries import MODEL_FIX, MODEL_FORM, check_entry_name
from project.foreign import MODEL_KEYS
from project.hints import shown
from project.leaks import looks_secret
from project.names import MODEL_NAME
from project.reader import Node
from project.spec import ModelSpec, PriceSpec

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_models(tree: Node, findings: Findings) -> dict[str, ModelSpec]:
    """Read models.yaml."""
    takes = {"model": _read_model, "price": _read_price, "api_key_env": _read_variable, "parameters": _read_parameters}
    grammar = Grammar("a model", takes, MODEL_KEYS, {"name": "model", "url": "base_url", "pricing": "price"})
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
    return models


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
