"""What the parts of policy.yaml are made of: rulings, names with patterns, domains, expressions, approvals."""

import contextlib
import fnmatch
import ipaddress
import re
from collections.abc import Collection
from typing import get_args

from project.checks import Findings, Grammar, Note, Take, expect_text, read_spec
from project.entries import Known, read_names
from project.hints import listed, quoted, suggest
from project.names import Names
from project.reader import Node
from project.regex import what_is_wrong
from project.spec_policy import ApprovalSpec, Effect, Ruling
from project.uses import know_tool

RULINGS: tuple[str, ...] = get_args(Ruling)
EFFECTS: tuple[str, ...] = get_args(Effect)

APPROVAL_MEANT = {
    "by": "approvers",
    "who": "approvers",
    "people": "approvers",
    "expires": "expires_hours",
    "hours": "expires_hours",
    "timeout": "expires_hours",
    "two_people": "four_eyes",
}
"""Keys that people write for approvals, and those they mean."""
_MEANT_RULINGS = {
    **dict.fromkeys(("permit", "accept", "grant", "ok", "pass", "yes", "true", "on", "always"), "allow"),
    **dict.fromkeys(("refuse", "block", "forbid", "reject", "no", "false", "off", "never", "disallow"), "deny"),
    **dict.fromkeys(("approve", "approval", "confirm", "prompt", "review", "person", "human"), "ask"),
}
_APPROVER = re.compile(r"[^\s@]+(@[^\s@]+)?")
_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_DOMAIN = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")


def read_ruling(node: Node, findings: Findings) -> str | None:
    """Read `allow`, `ask` or `deny`."""
    if isinstance(node.value, str) and node.value in RULINGS:
        return node.value
    if node.value is None:
        findings.wrong(node.here(), "is empty", f"write one of: {listed(RULINGS)}")
        return None
    meant = _MEANT_RULINGS.get(node.raw.strip().lower())
    guess = f"did you mean `{meant}` instead of {quoted(node.raw)}?" if meant else ""
    fix = guess or suggest(node.raw, RULINGS, f"`{node.keys[-1]}` takes")
    findings.wrong(node.here(), f"must be one of {listed(RULINGS)}; got {node.got()}", fix)
    return None


def list_of(node: Node, noun: str, findings: Findings) -> tuple[Node, ...]:
    """Return the entries of a list that must be one."""
    if node.value is not None and not node.is_list:
        fix = f"write a list: begin each of the {noun} with its own `- `"
        findings.wrong(node.here(), f"must be a list of {noun}, got {node.got()}", fix)
    return node.items


def read_some(node: Node, findings: Findings, *, noun: str, empty: str, known: Known | None = None) -> list[str] | None:
    """Read one name or a list of at least one. `empty` says what leaving the key out means. Null means not written."""
    found = read_names(as_list(node), findings, noun=noun, known=known)
    if found == [] and not as_list(node).items:
        findings.wrong(node.here(), "is empty", f"leave `{node.keys[-1]}` out: {empty}")
        return None
    return found


def as_list(node: Node) -> Node:
    """Return a single text as the list that it stands for."""
    if not isinstance(node.value, str):
        return node
    return Node(node.file, node.keys, [node.value], node.key_place, node.place, items=(node,))


def read_tool_patterns(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    """Read tools by name or pattern."""
    return read_patterns(
        node, findings, "tool", known_tools(names), lambda name, item: know_tool(name, item, names, findings)
    )


def read_patterns(
    node: Node, findings: Findings, noun: str, every: Collection[str] | None, is_known: Known
) -> list[str] | None:
    """Read names, or patterns in which `*` is any text. `every` are the names that there are, None where not known."""

    def known(name: str, item: Node) -> bool:
        if "*" not in name:
            return is_known(name, item)
        if any(char in name for char in "?[]{}|!/ "):
            findings.wrong(item.here(), f"{quoted(name)} is no pattern", "only `*` has a meaning: any text")
            return False
        if every is not None and not any(fits(one, [name]) for one in every):
            findings.notes.append(Note(item.here(), f"no {noun} has a name that fits {quoted(name)}"))
        return True

    return read_some(node, findings, noun=noun, empty=f"the rule is then for every {noun}", known=known)


def known_tools(names: Names) -> list[str]:
    """Return the names of every tool that there is, or may be."""
    return [*names.tools, *sorted(names.crewai_tools), *sorted(names.own_crewai), *sorted(names.doubtful)]


def fits(name: str, patterns: Collection[str]) -> bool:
    """Say whether a name fits one of the patterns; no pattern fits every name."""
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def read_domains(node: Node, findings: Findings) -> list[str] | None:
    """Read domains, or patterns of them, in small letters. Null means not written."""
    found: list[str] = []
    for item in as_list(node).items:
        before = len(findings.problems)
        text = expect_text(item, findings)
        domain = _read_domain(item, text.strip().lower(), findings) if text else None
        if domain in found and len(findings.problems) == before:
            findings.wrong(item.here(), f"{quoted(str(domain))} is listed twice", f"keep one {quoted(str(domain))}")
        elif domain is not None:
            found.append(domain)
    if node.value is not None and not as_list(node).is_list:
        fix = "write a list: `domains: [api.example.com, '*.example.org']`"
        findings.wrong(node.here(), f"must be a list of domains, got {node.got()}", fix)
    if node.is_list and not node.items and node.keys[0] == "rules":
        findings.wrong(node.here(), "is empty", "leave `domains` out: the rule then fits every domain")
    return found if node.value is not None else None


def read_pattern(node: Node, findings: Findings) -> str | None:
    """Read a regular expression. Null means not written."""
    if node.value is None:
        return None
    text = expect_text(node, findings)
    if text is None:
        return None
    wrong = what_is_wrong(text)
    if wrong:
        fix = "let no repeat stand in a repeat, or separate their rounds by a character that neither takes"
        findings.wrong(node.here(), wrong, fix if wrong.startswith("repeats") else "correct it, in single quotes")
        return None
    return text


def read_approval(node: Node, findings: Findings, *, approvals: ApprovalSpec) -> ApprovalSpec | None:
    """Read who is asked: people, or the long form; what is left out is as for the whole file."""
    if node.value is None:
        return None
    if node.is_mapping:
        takes: dict[str, Take] = {"approvers": read_approvers}
        spec = read_spec(ApprovalSpec, node, Grammar("`approval`", takes, meant=APPROVAL_MEANT), findings)
        written = {name: getattr(spec, name) for name in (spec.model_fields_set if spec else ())}
    else:
        written = {"approvers": read_approvers(node, findings) or []}
    whole = ApprovalSpec(**{name: getattr(approvals, name) for name in ApprovalSpec.model_fields})
    made = whole.model_copy(update=written)
    check_four_eyes(made, node, findings)
    return made


def read_approvers(node: Node, findings: Findings) -> list[str] | None:
    """Read people: `user` or `user@host`."""

    def known(name: str, item: Node) -> bool:
        if _APPROVER.fullmatch(name):
            return True
        findings.wrong(item.here(), f"{quoted(name)} is nobody's name", "write `user` or `user@host`, without spaces")
        return False

    empty = (
        "those of `approvals:` may answer" if node.keys[0] == "rules" else "anybody who reaches the inbox may answer"
    )
    return read_some(node, findings, noun="approver", empty=empty, known=known)


def check_four_eyes(spec: ApprovalSpec, node: Node, findings: Findings) -> None:
    """Check that four eyes can be found."""
    if spec.four_eyes and len(spec.approvers) == 1:
        place = node.entries.get("four_eyes", node.entries.get("approvers", node)) if node.is_mapping else node
        what = f"needs two people, and {quoted(spec.approvers[0])} alone may answer"
        findings.wrong(place.here(), what, "name a second approver, or take `four_eyes` out")


def _read_domain(node: Node, domain: str, findings: Findings) -> str | None:
    try:
        return str(ipaddress.ip_address(domain.strip("[]")))
    except ValueError:
        pass
    if _DOMAIN.fullmatch(domain):
        return domain
    fix = "write a name such as `api.example.com`, or `*.example.com` for all below it"
    bare = re.sub(r"^[a-z]+://", "", domain).partition("/")[0].partition(":")[0]
    if bare != domain and _DOMAIN.fullmatch(bare):
        fix = f"write the name alone: `{bare}`"
    elif not domain.isascii():
        with contextlib.suppress(UnicodeError):
            fix = f"write `{domain.encode('idna').decode()}` if that is what is meant: other letters may look alike"
    findings.wrong(node.here(), f"{quoted(domain)} is no domain", fix)
    return None
