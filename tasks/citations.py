"""Citations in a text: `[path:12]`, `[path:12-15]`, `[path p.3]`, several in one pair of brackets.

What tools add behind a place, ` § heading`, is read over.
"""

import re

_BRACKETS = re.compile(r"\[([^\[\]\n]{1,800})\](?:\([^()\s]*\))?")
_SPAN = re.compile(r"\d+(?:[-–]\d+)?")
_AT_LINE = re.compile(r"((?:(?!:\d).)+):(\d+(?:[-–]\d+)?)")
_AT_PAGE = re.compile(r"(.+?),? pp?\. ?(\d+(?:[-–]\d+)?)")


def find_citations(text: str) -> list[str]:
    """Return every cited place, each once, in order, as `path:12`, `path:12-15` or `path p.3`."""
    return list(dict.fromkeys(place for match in _BRACKETS.finditer(text) for place in _places(match[1])))


def strip_citations(text: str, mark: str = " ") -> str:
    """Return the text with `mark` for each character of a citation; brackets that hold anything else stay."""
    return _BRACKETS.sub(lambda match: mark * len(match[0]) if _places(match[1]) else match[0], text)


def _places(inside: str) -> list[str]:
    """Return the places in one pair of brackets; none when any part of it is something else."""
    found: list[str] = []
    heading = False
    for part in inside.replace("`", "").split(";"):
        places = _places_of_part(part.split(" §")[0])
        if not places and not heading:
            return []
        heading = heading or " §" in part  # it may hold semicolons of its own
        found += places
    return found


def _places_of_part(part: str) -> list[str]:
    found: list[str] = []
    path, glue, rest = "", "", ""
    for piece in part.split(","):
        if path and not rest and _SPAN.fullmatch(piece.strip()):
            found.append(path + glue + piece.strip().replace("–", "-"))
            continue
        rest = f"{rest},{piece}" if rest else piece
        at_line, at_page = _AT_LINE.fullmatch(rest.strip()), _AT_PAGE.fullmatch(rest.strip())
        match = at_line or at_page
        if match and not match[1].strip().isdigit():
            path, glue, rest = match[1].strip(), ":" if at_line else " p.", ""
            found.append(path + glue + match[2].replace("–", "-"))
    return [] if rest.strip() else found
