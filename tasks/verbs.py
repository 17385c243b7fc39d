"""Forms of English verbs: `search` was `searched`, and while it lasts it is `searching`."""

_IRREGULAR = {
    "run": "ran run",
    "re-run": "re-ran reran re-run",
    "rerun": "reran rerun",
    "send": "sent",
    "write": "wrote written",
    "read": "read",
    "re-read": "re-read",
    "reread": "reread",
    "pay": "paid",
    "buy": "bought",
    "put": "put",
    "set": "set",
    "reset": "reset",
    "let": "let",
    "hit": "hit",
    "do": "did done",
    "make": "made",
    "take": "took taken",
    "get": "got gotten",
    "draw": "drew drawn",
    "go": "went gone",
    "ring": "rang rung",
    "find": "found",
    "leave": "left",
    "cancel": "cancelled canceled",
    "label": "labelled labeled",
}
_DOUBLED_TEXT = """
    ship tag scan drop commit transfer submit scrap plan log skim debug run put get set let hit
"""
_DOUBLED = frozenset(_DOUBLED_TEXT.split())
_DOUBLED_AS_PAST = frozenset(("run", "re-run", "rerun", "put", "set", "get", "let", "hit", "reset"))


def past_forms(verb: str) -> tuple[str, ...]:
    """Return the past and the participle: ("wrote", "written"), ("searched",)."""
    if verb in _IRREGULAR:
        return tuple(_IRREGULAR[verb].split())
    if verb.endswith("e"):
        return (f"{verb}d",)
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return (f"{verb[:-1]}ied",)
    return (f"{verb}{verb[-1]}ed",) if verb in _DOUBLED else (f"{verb}ed",)


def gerund(verb: str) -> str:
    """Return "searching" for "search", "running" for "run"."""
    if verb in _DOUBLED or verb in _DOUBLED_AS_PAST:
        return f"{verb}{verb[-1]}ing"
    if verb in ("cancel", "label"):
        return f"{verb}ling"
    return f"{verb[:-1]}ing" if verb.endswith("e") and not verb.endswith("ee") else f"{verb}ing"
