"""One `@tool` or `@guardrail` function as it is written, and what is wrong with it."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from project.checks import Findings
from project.errors import Where
from project.hints import quoted, suggest

EFFECTS = ("read", "write", "send", "spend", "execute")
REPEATS = ("safe", "keyed", "once")
RETURNS = ("trusted", "untrusted")
IF_UNKNOWN = ("ask", "tell")
HANDED = ("context", "idempotency_key")
"""Parameters that Muster fills; the model neither sees nor sets them."""

_VALUES: Mapping[str, str] = {
    "effect": '"read"',
    "repeat": '"safe"',
    "returns": '"untrusted"',
    "private": "True",
    "timeout_seconds": "60",
    "cache": "True",
    "process": "False",
    "probe": "was_posted",
    "if_unknown": '"tell"',
    "undo": "unpost",
}
KEYWORDS = tuple(_VALUES)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_EXAMPLE = 'write `@tool(effect="read")`; effects: ' + ", ".join(EFFECTS)

_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "effect": EFFECTS,
    "repeat": (*REPEATS, None),
    "returns": RETURNS,
    "private": (True, False),
    "cache": (True, False),
    "process": (True, False),
    "if_unknown": IF_UNKNOWN,
}
_FUNCTIONS = ("probe", "undo")
"""Keywords whose value is a function."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class ToolDeclaration:
    """A tool as its file declares it."""

    name: str
    """The function's name."""
    effect: str
    """read, write, send, spend or execute."""
    repeat: str
    """safe, keyed or once: what doing it twice means."""
    returns: str
    """trusted or untrusted: what its result is."""
    private: bool
    """Whether what it returns may leave the run."""
    timeout_seconds: float
    """Seconds for one call."""
    cache: bool
    """Whether the same call again is answered with the first one's result."""
    process: bool
    """Whether it runs in a process that can be ended."""
    probe: str
    """The function that says whether a call happened; "" for none."""
    if_unknown: str
    """ask or tell: who is asked when a crash leaves that open and no probe says it."""
    undo: str
    """The function that takes a call back; "" for none."""
    doc: str
    """The docstring: what the model reads."""
    parameters: tuple[str, ...]
    """Parameters that the model or YAML may set, in order."""
    required: tuple[str, ...]
    """Those without a default."""
    fixed: tuple[str, ...]
    """Those marked `FIXED`: the model never sets them, so YAML must set the required ones."""
    path: str
    """File, relative to the project or, for a built-in tool, to the application."""
    line: int
    """Line of `def`."""
    knows_run: bool = False
    """Whether it is handed the context, which tells the run's own folder."""


@dataclass(frozen=True)
class GuardrailDeclaration:
    """A user's check of a task's output."""

    name: str
    """The function's name."""
    doc: str
    """The docstring."""
    path: str
    """File, relative to the project."""
    line: int
    """Line of `def`."""


def read_tool(node: _Function, decorator: ast.expr, where: Where, findings: Findings) -> ToolDeclaration:
    """Read a function under `@tool`; what is wrong goes to `findings`, and the default stands for it."""
    said = _read_keywords(decorator, where, findings)
    effect = said.get("effect", "read")
    repeat = said.get("repeat") or ("safe" if effect == "read" else "once")
    parameters, required, handed = _read_parameters(node, where, findings)
    if repeat == "keyed" and not handed:
        what = '`repeat="keyed"` needs a parameter that takes the key'
        findings.wrong(where, what, "add a parameter `idempotency_key: str` or `context: ToolContext`")
    if not _NAME.fullmatch(node.name):
        findings.wrong(where, "no provider takes this as a tool's name", "use at most 64 letters a-z, digits and `_`")
    if repeat != "once" and (needless := [name for name in ("probe", "if_unknown") if name in said]):
        what = f"`{needless[0]}` says what becomes of a call that may not be made twice; this one may"
        findings.wrong(where, what, f'take `{needless[0]}` out, or write `repeat="once"`')
    doc = ast.get_docstring(node) or ""
    if not doc.strip():
        findings.wrong(
            where, "has no docstring; it is what the model reads", "say in one line what the tool does and returns"
        )
    return ToolDeclaration(
        name=node.name,
        effect=effect,
        repeat=repeat,
        returns=said.get("returns", "untrusted"),
        private=said.get("private", False),
        timeout_seconds=float(said.get("timeout_seconds", 60.0)),
        cache=said.get("cache", False),
        process=said.get("process", True),
        probe=said.get("probe", ""),
        if_unknown=said.get("if_unknown", "ask"),
        undo=said.get("undo", ""),
        doc=doc,
        parameters=parameters,
        required=required,
        fixed=_fixed(node),
        path=where.path,
        line=where.line,
        knows_run=any(arg.arg == "context" for arg in (*node.args.args, *node.args.kwonlyargs)),
    )


def read_guardrail(node: _Function, decorator: ast.expr, where: Where, findings: Findings) -> GuardrailDeclaration:
    """Read a function under `@guardrail`; what is wrong goes to `findings`."""
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if isinstance(decorator, ast.Call):
        findings.wrong(where, "`@guardrail` takes no brackets", "write `@guardrail`")
    if len(named) != 1 or arguments.kwonlyargs or arguments.vararg or arguments.kwarg:
        count = len(named) + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)
        what = f"a guardrail takes exactly one parameter, the output's text; this one has {count}"
        findings.wrong(where, what, f"write `def {node.name}(text: str) -> str:`")
    if isinstance(node, ast.AsyncFunctionDef):
        findings.wrong(where, "an async function cannot be a guardrail", "write a plain `def`")
    return GuardrailDeclaration(node.name, ast.get_docstring(node) or "", where.path, where.line)


def _read_keywords(decorator: ast.expr, where: Where, findings: Findings) -> dict[str, Any]:
    if not isinstance(decorator, ast.Call):
        findings.wrong(where, "`@tool` does not say its effect", _EXAMPLE)
        return {}
    said: dict[str, Any] = {}
    if decorator.args:
        findings.wrong(_at(where, decorator.args[0]), "`@tool` takes keywords only", _EXAMPLE)
    for keyword in decorator.keywords:
        place = _at(where, keyword)
        if keyword.arg not in KEYWORDS:
            name = keyword.arg or "**"
            findings.wrong(place, f"unknown keyword {quoted(name)}", suggest(name, KEYWORDS, "`@tool` takes"))
            continue
        value = _read_keyword(keyword.arg, keyword.value, place, findings)
        if value is not None:
            said[keyword.arg] = value
    if all(keyword.arg != "effect" for keyword in decorator.keywords):
        findings.wrong(where, "`@tool` does not say its effect", _EXAMPLE)
    return said


def _read_keyword(name: str, node: ast.expr, place: Where, findings: Findings) -> Any:
    if name in _FUNCTIONS:
        return _read_function(name, node, place, findings)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        what = f"`{name}` must be written out, since it is read without running the file"
        findings.wrong(place, what, f"write its value, such as `{name}={_VALUES[name]}`")
        return None
    allowed = _ALLOWED.get(name)
    if allowed is None:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"):
            return value
        findings.wrong(place, f"`{name}` must be a number > 0, got {quoted(repr(value))}", "write seconds, such as 60")
        return None
    if any(type(value) is type(choice) and value == choice for choice in allowed):
        return value
    words = [str(choice) for choice in allowed if choice is not None]
    findings.wrong(
        place,
        f"`{name}` must be one of {', '.join(words)}; got {quoted(repr(value))}",
        suggest(str(value), words, f"`{name}` takes"),
    )
    return None


def _read_function(name: str, node: ast.expr, place: Where, findings: Findings) -> str | None:
    """Return the name of the function that a keyword names; None where it names none."""
    if isinstance(node, ast.Name | ast.Attribute):
        return ast.unparse(node)
    if not (isinstance(node, ast.Constant) and node.value is None):
        findings.wrong(place, f"`{name}` must be a function", f"write its name, such as `{name}={_VALUES[name]}`")
    return None


def _read_parameters(
    node: _Function, where: Where, findings: Findings
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    arguments = node.args
    for star in (arguments.vararg, arguments.kwarg):
        if star:
            sign = "*" if star is arguments.vararg else "**"
            what = f"`{sign}{star.arg}` cannot be a parameter of a tool: the model needs names and types"
            findings.wrong(_at(where, star), what, "name each parameter")
    if arguments.posonlyargs:
        what = "a tool is called by its parameters' names"
        findings.wrong(_at(where, arguments.posonlyargs[0]), what, "take the `/` out of the parameters")
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = {arg.arg for arg in positional[len(positional) - len(arguments.defaults) :]}
    optional |= {arg.arg for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default}
    every = [*positional, *arguments.kwonlyargs]
    for argument in every:
        if argument.annotation is None and argument.arg not in HANDED:
            findings.wrong(
                _at(where, argument), f"parameter `{argument.arg}` has no type", f"write `{argument.arg}: str`"
            )
    parameters = tuple(argument.arg for argument in every if argument.arg not in HANDED)
    return parameters, tuple(name for name in parameters if name not in optional), len(parameters) < len(every)


def _fixed(node: _Function) -> tuple[str, ...]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return tuple(arg.arg for arg in every if arg.annotation is not None and _mentions(arg.annotation, "FIXED"))


def _mentions(annotation: ast.expr, name: str) -> bool:
    return any(getattr(part, "id", getattr(part, "attr", None)) == name for part in ast.walk(annotation))


def _at(where: Where, node: ast.expr | ast.keyword | ast.arg) -> Where:
    return Where(where.path, node.lineno, node.col_offset + 1, where.key)
