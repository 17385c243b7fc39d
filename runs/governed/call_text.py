"""What a person is shown of a call before they allow it. Made within the step that asks: it reads files."""

import difflib
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from policy.budget import Spent
from policy.decide import Call
from policy.places import NOWHERE, is_outside
from runs.executing.state import Found
from runs.governed.terms import Terms, who_may
from runs.governed.visible import mixed_words, visible, visible_json, visible_line
from tools.tool import Tool

_MOST_SHOWN = 1500
"""Characters of one text among the arguments; all of it stands below, in what may be edited."""
_MOST_LINES = 60
_MOST_READ = 500_000
_MOST_STEPS = 5
_MOST_EVIDENCE = 4
_SHORTEST = 4
"""Characters that a value has at least which is looked for in results."""
_QUOTED = 160
_DIGITS = 12
_DOES = {
    "read": "reads",
    "write": "writes files",
    "send": "sends something out of this machine",
    "spend": "spends money",
    "execute": "runs a program",
}
_TWICE = {"safe": "doing it twice does no harm", "keyed": "it has a key, and is done once", "once": "can't be repeated"}


@dataclass(frozen=True)
class Scene:
    """What a call is shown with."""

    call: Call
    tool: Tool
    arguments: Mapping[str, Any]
    """As they are now."""
    terms: Terms
    why: str
    """Why a person is asked."""
    void: str = ""
    """Why an earlier answer does not count."""
    by_agent: Mapping[str, Any] | None = None
    """The agent's own arguments, where a person has changed them."""
    earlier: Mapping[str, Any] | None = None
    """Arguments of the call of this tool that was decided before, in the same line of work."""
    earlier_was: str = ""
    found: Sequence[Found] = ()
    """What this line of work has read, the latest last."""
    spent: Spent = field(default_factory=Spent)
    files: Path | None = None
    """The run's own folder of files."""


def prompt_of(call: Call, tool: Tool) -> str:
    """Ask in one line, without the arguments."""
    return visible_line(f"Allow {call.agent} to call `{call.name}`? It {_DOES.get(tool.effect, tool.effect)}.")


def text_of(scene: Scene) -> str:
    """Tell all that a person needs who decides about the call."""
    call, tool, terms = scene.call, scene.tool, scene.terms
    first = visible_line(tool.description.strip().partition("\n")[0])
    lines = [
        *([f"asked anew: {visible_line(scene.void)}", ""] if scene.void else []),
        f"{visible_line(call.agent)} wants to call `{visible_line(call.name)}`, which {_DOES.get(tool.effect, '?')}",
        f"  tool       {visible_line(call.name)}: {first}",
        f"  effect     {tool.effect}; {tool.repeat}: {_TWICE.get(tool.repeat, '?')}",
        *([f"  set in YAML {visible_line(_as_json(tool.settings))}"] if tool.settings else []),
        f"  on behalf  {_behalf(call)}",
        f"  why asked  {visible_line(scene.why)}"
        + (f" ({visible_line(terms.rule)})" if terms.rule not in scene.why else ""),
        f"  may answer {visible_line(who_may(terms.approval))}",
        f"  counts for {terms.approval.expires_hours:g} h, and only for exactly this call: {terms.binding[:_DIGITS]}",
        f"  spent      {_spent(scene.spent)}",
        *_taint(terms),
        *[f"  approved   by {voice.by} (1 of {terms.needed})" for voice in terms.voices],
        "",
        *_arguments(scene),
        *_evidence(scene),
    ]
    return "\n".join(lines)


def _as_json(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), ensure_ascii=False, default=str)


def _behalf(call: Call) -> str:
    principal = call.principal
    parts = [f"agent {call.agent}"]
    parts += [f"for {agent}" for agent in reversed(principal.chain)]
    parts += [f"crew {principal.crew}"] if principal.crew else []
    parts += [f"task {call.task}"] if call.task else []
    parts += [f"schedule {principal.schedule}"] if principal.schedule else []
    parts += [f"started by {principal.by}"] if principal.by else []
    return visible_line(", ".join(parts))


def _spent(spent: Spent) -> str:
    tokens = spent.input_tokens + spent.output_tokens
    calls = f"model calls {spent.model_calls}, tool calls {spent.tool_calls}, tokens {tokens}"
    unknown = " and calls of unknown price" if spent.unpriced_calls else ""
    return f"{calls}, {spent.usd.normalize():f} USD{unknown} so far" if spent.usd else f"{calls}{unknown} so far"


def _taint(terms: Terms) -> Iterator[str]:
    for what, steps in (("UNTRUSTED", terms.untrusted), ("PRIVATE", terms.private)):
        if steps:
            more = f" and {len(steps) - _MOST_STEPS} more" if len(steps) > _MOST_STEPS else ""
            yield f"  {what.lower():<10} content was read before: {visible_line(', '.join(steps[:_MOST_STEPS]))}{more}"


# -- the arguments


def _arguments(scene: Scene) -> Iterator[str]:
    old = _file_before(scene)
    if old is not None:
        path, before, key = old
        rest = {name: value for name, value in scene.arguments.items() if name != key}
        yield "arguments"
        yield from _indented(_written(rest))
        yield f"  {key}, against {path} as it is"
        yield from _indented(_diff(before.splitlines(), str(scene.arguments[key]).splitlines()))
    elif scene.by_agent is not None:
        yield "arguments, against those of the agent: a person has changed them"
        yield from _indented(_diff(_written(scene.by_agent), _written(scene.arguments)))
    elif scene.earlier is not None:
        yield f"arguments, against those of the call that was {scene.earlier_was} before"
        yield from _indented(_diff(_written(scene.earlier), _written(scene.arguments)))
    else:
        yield "arguments"
        yield from _indented(_written(scene.arguments))
    forged = [word for text in texts_in(scene.arguments) for word in mixed_words(text)]
    if forged:
        yield f"  careful: letters of several alphabets in one word: {', '.join(_ascii(word) for word in forged[:5])}"
    yield from _places(scene)


def _places(scene: Scene) -> Iterator[str]:
    """Tell where paths lead, if that is not what they say."""
    for name, place in sorted(scene.call.places.items()):
        said = str(scene.arguments.get(name, ""))
        where = visible_line(place.replace("\0", "\u2026"))
        if place == NOWHERE:
            yield f"  careful: it can't be told where `{visible_line(name)}` leads"
        elif is_outside(place) and posixpath.normpath(said) != place:
            yield f"  careful: `{visible_line(name)}` leads to {where}, outside the run's folder"
        elif is_outside(place):
            yield f"  `{visible_line(name)}` lies outside the run's folder"
        elif said and posixpath.normpath(said) != place:
            yield f"  `{visible_line(name)}` leads to {where} in the run's folder"


def _indented(lines: Sequence[str]) -> Iterator[str]:
    """Mark each line, so that none can look like one of ours."""
    for line in lines[:_MOST_LINES]:
        yield f"  | {line}"
    if len(lines) > _MOST_LINES:
        yield f"  ({len(lines) - _MOST_LINES} more lines, which are not shown here)"


def _written(arguments: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, value in arguments.items():
        if isinstance(value, str) and ("\n" in value or len(value) > _QUOTED):
            lines += [f"{visible_line(key)}:", *[f"  {line}" for line in visible(_cut(value)).split("\n")]]
        else:
            shown = visible_json(value)
            lines += f"{visible_line(key)}: {shown}".split("\n")
    return lines or ["none"]


def _cut(text: str) -> str:
    if len(text) <= _MOST_SHOWN:
        return text
    return f"{text[:_MOST_SHOWN]}\n[… {len(text) - _MOST_SHOWN} of {len(text)} characters are not shown here]"


def _diff(before: Sequence[str], after: Sequence[str]) -> list[str]:
    found = difflib.unified_diff(
        [visible_line(line) for line in before],
        [visible_line(line) for line in after],
        "before",
        "after",
        lineterm="",
        n=2,
    )
    return [line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]} [… cut]" for line in found] or [
        "no difference"
    ]


def _file_before(scene: Scene) -> tuple[str, str, str] | None:
    """Return the path, the text and the argument's name where the call replaces a file of the run."""
    path, key = scene.arguments.get("path"), next((name for name in ("text", "content") if name in scene.arguments), "")
    if scene.tool.effect != "write" or scene.files is None or not isinstance(path, str) or not key:
        return None
    root = scene.files.resolve()
    try:
        target = (root / path).resolve()
        if not target.is_relative_to(root) or not target.is_file() or target.stat().st_size > _MOST_READ:
            return None
        return visible_line(path), target.read_text(encoding="utf-8"), key
    except (OSError, ValueError):
        return None


def _ascii(word: str) -> str:
    return json.dumps(word)[1:-1]


# -- the evidence


def _evidence(scene: Scene) -> list[str]:
    """Quote the latest results of tools that brought what stands in the arguments."""
    values = [text for text in texts_in(scene.arguments) if len(text) >= _SHORTEST]
    lines: list[str] = []
    for found in reversed(scene.found):
        quoted = _line_with(found, values)
        if quoted:
            mark = ", untrusted" if found.untrusted else ""
            lines += [f"  {visible_line(found.id)}{mark}: {quoted}"]
        if len(lines) == _MOST_EVIDENCE:
            break
    return ["", "where it comes from", *lines] if lines else []


def _line_with(found: Found, values: Sequence[str]) -> str:
    for line in found.text.split("\n"):
        for value in values:
            if value in line or (len(line.strip()) >= 2 * _SHORTEST and line.strip() in value):
                if found.private:
                    return (
                        f"it brought {visible_json(value[:_QUOTED])} (private: the rest is not shown)"
                        if (value in line)
                        else "a line of it stands in the arguments (private: not shown)"
                    )
                return visible_json(line.strip()[:_QUOTED])
    return ""


def texts_in(value: Any) -> list[str]:
    """Return all texts among arguments, numbers included as they would be written."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for one in cast(Mapping[Any, Any], value).values() for text in texts_in(one)]
    if isinstance(value, list):
        return [text for one in cast(list[Any], value) for text in texts_in(one)]
    return [str(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []
