"""schedules.yaml → specs: schedules with their cron lines, zones, crews and inputs; channels that tell people."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from project.checks import Findings, Grammar, Note, Take, expect_text, read_spec
from project.crew_texts import inputs_of
from project.cron import NAMED, PLACEHOLDERS, read_cron, read_zone, words_of, zone_names
from project.entries import check_entry_name, read_budget, read_llm, read_names
from project.fill import fill, placeholders
from project.foreign import Foreign
from project.hints import quoted, shown, suggest
from project.names import ENTRY_NAME, INPUT_NAME, Names, check_name
from project.parts import Parts
from project.reader import Node
from project.spec import InputSpec
from project.spec_schedules import HAPPENINGS, ChannelSpec, OnFailureSpec, RunRetrySpec, ScheduleSpec, SmtpSpec

_WAYS = ("command", "webhook", "webhook_env", "smtp")
_MEANT = {
    "pipeline": "crew",
    "schedule": "cron",
    "every": "cron",
    "tz": "timezone",
    "zone": "timezone",
    "time_zone": "timezone",
    "llm": "model",
    "variables": "inputs",
    "enabled": "paused",
}
_ELSEWHERE: Mapping[str, Foreign] = {
    "notify": Foreign("refused", "it stands under `on_failure:`", "write `on_failure: {notify: [NAME]}`"),
    "retry": Foreign("refused", "it stands under `on_failure:`", "write `on_failure: {retry: {attempts: 2}}`"),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SECRET_PART = re.compile(r"(?=[^/=&]*[0-9])(?=[^/=&]*[A-Za-z])[A-Za-z0-9_\-]{20,}")
_RANGES = "minute 0-59, hour 0-23, day 1-31 or L, month 1-12 or JAN-DEC, weekday 0-7 or SUN-SAT; with * , - /"
_SAMPLE_AT = 1_700_000_000.0


@dataclass(frozen=True)
class Schedules:
    """What schedules.yaml says."""

    schedules: Mapping[str, ScheduleSpec]
    channels: Mapping[str, ChannelSpec]


def read_schedules(tree: Node, names: Names, crews: Collection[str] | None, findings: Findings) -> Schedules:
    """Read schedules.yaml. `crews` are those of the project; None where crews.yaml can't be read."""
    for key, node in tree.entries.items():
        if key in ("schedules", "notify"):
            continue
        if node.is_mapping and {"cron", "crew"} & node.entries.keys():
            findings.wrong(node.at_key(), "a schedule stands under `schedules:`", f"indent {quoted(key)} below it")
        elif node.is_mapping and set(_WAYS) & node.entries.keys():
            findings.wrong(node.at_key(), "a channel stands under `notify:`", f"indent {quoted(key)} below it")
        else:
            fix = suggest(key, ["schedules", "notify"], "schedules.yaml has")
            findings.wrong(node.at_key(), "unknown key", fix)
    channels = _read_channels(_section(tree, "notify", "channels", findings), findings)
    schedules: dict[str, ScheduleSpec] = {}
    for name, node in _section(tree, "schedules", "schedules", findings).items():
        check_entry_name(name, node, ENTRY_NAME, findings)
        spec = read_spec(ScheduleSpec, node, _grammar(names, crews, channels), findings)
        if spec is not None:
            schedules[name] = spec
    return Schedules(schedules, channels)


def check_schedules(found: Schedules, parts: Parts, told: Collection[str], findings: Findings) -> None:
    """Check the inputs of every schedule against its crew; note channels and ceilings that do nothing.

    `told` are channels that other files name.
    """
    if "schedules.yaml" not in parts.trees:
        return
    tree = parts.trees["schedules.yaml"]
    named = set(told)
    for name, spec in found.schedules.items():
        node = tree.entries["schedules"].entries[name]
        named.update(spec.on_failure.notify)
        if spec.crew in parts.crews and parts.crews_known:
            _check_inputs(name, spec, node, parts, findings)
        if "notify_on" in node.entries and spec.notify_on and not spec.on_failure.notify:
            what = "nobody is told: `on_failure: {notify: [...]}` names no channel"
            findings.notes.append(Note(node.entries["notify_on"].at_key(), what))
        if spec.catch_up == "all" and spec.overlap == "skip":
            what = "of firings caught up together only the first is run: `overlap: skip` skips the others"
            findings.notes.append(Note(node.entries["overlap"].at_key(), what))
    for name in found.channels:
        if name not in named:
            where = tree.entries["notify"].entries[name].at_key()
            findings.notes.append(Note(where, "nothing names this channel"))


def _section(tree: Node, key: str, noun: str, findings: Findings) -> Mapping[str, Node]:
    node = tree.entries.get(key)
    if node is None or node.value is None:
        return {}
    if not node.is_mapping:
        findings.wrong(node.here(), f"must be a mapping of {noun}, got {node.got()}", "begin each with its name")
        return {}
    return node.entries


def _grammar(names: Names, crews: Collection[str] | None, channels: Collection[str]) -> Grammar:
    takes: dict[str, Take] = {
        "crew": partial(_read_crew, crews=crews),
        "cron": _read_cron,
        "timezone": read_timezone,
        "inputs": _read_inputs,
        "model": partial(read_llm, names=names),
        "budget": read_budget,
        "daily_budget": read_budget,
        "on_failure": partial(_read_on_failure, channels=channels),
        "notify_on": _read_happenings,
    }
    return Grammar("a schedule", takes, _ELSEWHERE, _MEANT)


def _read_crew(node: Node, findings: Findings, *, crews: Collection[str] | None) -> str | None:
    name = expect_text(node, findings)
    if name is not None:
        check_name(name, crews, "crew", "the project has", node.here(), findings)
    return name


def _read_cron(node: Node, findings: Findings) -> str | None:
    line = expect_text(node, findings)
    if line is None:
        return None
    if line.strip().lower() in NAMED:
        findings.wrong(node.here(), f"{quoted(line)} is no cron line", f'write "{NAMED[line.strip().lower()]}"')
        return None
    try:
        read_cron(line)
    except ValueError as error:
        never = str(error).startswith("is never due")
        findings.wrong(node.here(), str(error), "name a day that comes" if never else _RANGES)
        return None
    return " ".join(line.split())


def read_timezone(node: Node, findings: Findings) -> str | None:
    """Read the name of a time zone. Null means not written."""
    if node.value is None:
        return None
    name = expect_text(node, findings)
    if name is None or read_zone(name) is not None:
        return name
    city = name.replace(" ", "_").lower()
    ending = sorted(zone for zone in zone_names() if zone.rpartition("/")[2].lower() == city)
    fix = f"write `{ending[0]}`" if ending else suggest(name, sorted(zone_names()), "")
    if not ending and not fix.startswith("did you mean"):
        fix = "write an IANA name such as `Europe/Berlin`, `America/New_York` or `UTC`"
    findings.wrong(node.here(), f"unknown time zone {quoted(name)}", fix)
    return None


def _read_inputs(node: Node, findings: Findings) -> dict[str, Any] | None:
    if node.value is None:
        return None
    if not node.is_mapping:
        fix = "write the inputs of the crew by name, such as `inputs: {topic: solar power}`"
        findings.wrong(node.here(), f"must be a mapping of inputs, got {node.got()}", fix)
        return None
    values: dict[str, Any] = {}
    for key, child in node.entries.items():
        if not INPUT_NAME.fullmatch(key):
            fix = "use letters, digits, `_` and `-`, and begin with a letter"
            findings.wrong(child.at_key(), "cannot be the name of an input", fix)
        elif isinstance(child.value, bool) or not isinstance(child.value, str | int | float):
            if child.raw:
                fix = f'put it in quotes: "{child.raw}"'
            else:
                fix = f"write one value after {quoted(key)}, or take it out"
            findings.wrong(child.here(), f"must be a text or a number, got {child.got()}", fix)
        else:
            _check_placeholders(child, findings)
            values[key] = child.value
    return values


def _check_placeholders(node: Node, findings: Findings) -> None:
    for name in placeholders(node.value) if isinstance(node.value, str) else []:
        if name not in PLACEHOLDERS:
            what = f"`{{{name}}}` is nothing that a schedule knows"
            findings.wrong(node.here(), what, suggest(name, PLACEHOLDERS, "it knows"))


def _read_on_failure(node: Node, findings: Findings, *, channels: Collection[str]) -> OnFailureSpec | None:
    if node.value is None:
        return None

    def known(name: str, item: Node) -> bool:
        nothing = "describe it under `notify:` of this file, such as `ops: {command: [./notify.sh]}`"
        return check_name(name, channels, "channel", "`notify:` has", item.here(), findings, nothing)

    def read(node: Node, findings: Findings) -> list[str] | None:
        return read_names(node, findings, noun="channel", known=known)

    grammar = Grammar("`on_failure`", {"retry": _read_retry, "notify": read})
    return read_spec(OnFailureSpec, node, grammar, findings)


def _read_retry(node: Node, findings: Findings) -> RunRetrySpec | None:
    return None if node.value is None else read_spec(RunRetrySpec, node, Grammar("`retry`"), findings)


def _read_happenings(node: Node, findings: Findings) -> Any:
    def known(name: str, item: Node) -> bool:
        return check_name(name, HAPPENINGS, "event", "people are told of", item.here(), findings)

    return read_names(node, findings, noun="event", known=known)


def _check_inputs(name: str, spec: ScheduleSpec, node: Node, parts: Parts, findings: Findings) -> None:
    wanted = inputs_of(spec.crew, parts.crews, parts.tasks, parts.agents)
    given = node.entries.get("inputs")
    entries: Mapping[str, Node] = given.entries if given is not None else {}
    words = words_of(name, _SAMPLE_AT, read_zone(spec.timezone) or UTC)
    for key, child in entries.items():
        if key not in wanted:
            fix = suggest(key, list(wanted), f"`{spec.crew}` takes", f"`{spec.crew}` takes no inputs")
            findings.wrong(child.at_key(), f"the crew `{spec.crew}` has no input {quoted(key)}", fix)
        elif key in spec.inputs and set(placeholders(str(spec.inputs[key]))) <= set(PLACEHOLDERS):
            _check_value(key, fill(str(spec.inputs[key]), words), wanted[key], spec.crew, child, findings)
    for key, wants in wanted.items() if given is None or given.is_mapping or given.value is None else ():
        if key not in entries and wants.default is None:
            what = f"the crew `{spec.crew}` needs the input `{key}`"
            findings.wrong((given or node).at_key("" if given else "inputs"), what, f"add `{key}: ...` to `inputs:`")


def _check_value(key: str, text: str, wanted: InputSpec, crew: str, node: Node, findings: Findings) -> None:
    if not text.strip() and not (wanted.type == "text" and wanted.default is not None):
        findings.wrong(node.here(), "is empty", f"write a value after `{key}:`")
    elif wanted.type in ("integer", "number"):
        kind, form = ("a whole number", _WHOLE) if wanted.type == "integer" else ("a number", _NUMBER)
        if not form.fullmatch(text.strip()):
            what = f"the crew `{crew}` takes {kind} for `{key}`, got {shown(node.value, node.raw)}"
            findings.wrong(node.here(), what, f"write {kind}")


def _read_channels(entries: Mapping[str, Node], findings: Findings) -> dict[str, ChannelSpec]:
    takes: dict[str, Take] = {
        "command": _read_command,
        "webhook": _read_webhook,
        "webhook_env": _read_variable,
        "smtp": _read_smtp,
    }
    meant = {"exec": "command", "run": "command", "url": "webhook", "mail": "smtp", "email": "smtp"}
    channels: dict[str, ChannelSpec] = {}
    for name, node in entries.items():
        check_entry_name(name, node, ENTRY_NAME, findings)
        channels[name] = (
            read_spec(ChannelSpec, node, Grammar("a channel", takes, meant=meant), findings) or ChannelSpec()
        )
        written = [way for way in _WAYS if way in node.entries and node.entries[way].value is not None]
        if node.is_mapping and not written:
            findings.wrong(node.at_key(), "says no way to tell anybody", f"give one of: {', '.join(_WAYS)}")
        elif len(written) > 1:
            what = f"{' and '.join(f'`{way}`' for way in written)} are both given"
            findings.wrong(node.entries[written[1]].at_key(), what, "keep one, and make another channel of the other")
    return channels


def _read_command(node: Node, findings: Findings) -> list[str] | None:
    if node.value is None:
        return None
    if not node.is_list or not node.items:
        fix = f'write a list: `command: ["{node.value}"]`' if isinstance(node.value, str) else "write `[./notify.sh]`"
        got = "an empty list" if node.is_list else node.got()
        findings.wrong(node.here(), f"must be a list, the program first, got {got}", fix)
        return None
    parts = [expect_text(item, findings) for item in node.items]
    return [part for part in parts if part is not None] if None not in parts else None


def _read_webhook(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    address = expect_text(node, findings)
    if address is None:
        return None
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        findings.wrong(node.here(), f"must be an address, got {node.got()}", "write `https://...`")
    elif _SECRET_PART.search(f"{parts.path}?{parts.query}"):
        fix = "put the address into .env, and its variable's name into `webhook_env`"
        findings.wrong(node.here(), "looks like an address that holds a secret, which no YAML file may hold", fix)
        return None
    return address.strip()


def _read_variable(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    name = expect_text(node, findings)
    if name is not None and not _VARIABLE.fullmatch(name):
        what = "must be the name of an environment variable"
        findings.wrong(
            node.here(), what, "write the variable's name, such as `OPS_WEBHOOK_URL`, and its value into .env"
        )
        return None
    return name


def _read_smtp(node: Node, findings: Findings) -> Any:
    if node.value is None:
        return None
    takes: dict[str, Take] = {"user_env": _read_variable, "password_env": _read_variable, "to": _read_addresses}
    meant = {"server": "host", "sender": "from", "user": "user_env", "password": "password_env", "tls": "starttls"}
    return read_spec(SmtpSpec, node, Grammar("`smtp`", takes, meant=meant), findings)


def _read_addresses(node: Node, findings: Findings) -> list[str] | None:
    if node.is_list and not node.items:
        findings.wrong(node.here(), "names nobody", "write a list: `to: [ops@example.org]`")
        return None
    if node.value is None:
        findings.wrong(node.here(), "is empty", "write a list: `to: [ops@example.org]`")
        return None
    return read_names(node, findings, noun="address")
