"""PyYAML's syntax errors in plain words: where the mistake was made rather than where the parser gave up."""

import re
from collections.abc import Callable

import yaml
from yaml.error import Mark

from project.errors import Problem, Where
from project.hints import quoted

_QUOTE = "put the whole text in quotes"
_INDENT = "give all keys of one entry the same number of spaces"


def explain_syntax(error: yaml.MarkedYAMLError, text: str, name: str) -> Problem:
    """Turn a scanner's, parser's or composer's error about `text` into a problem. `name` is the path for messages."""
    said = error.problem or ""
    for pattern, tell in _TOLD:
        if re.search(pattern, said) or (error.context and re.search(pattern, error.context)):
            what, fix, opened = tell(said, _character(text, error.problem_mark), _line_before(text, error.problem_mark))
            mark = error.context_mark if opened and error.context_mark else error.problem_mark
            return Problem(what, _where(name, mark), fix)
    return Problem(f"not valid YAML: {said or 'unreadable'}", _where(name, error.problem_mark), _QUOTE)


_Told = tuple[str, str, bool]
"""What, fix, and whether the place is where the thing was opened."""


def _cannot_start(said: str, char: str, before: str) -> _Told:
    if char == "\t":
        return "a tab cannot indent", "use spaces for indentation", False
    return f"text cannot begin with {'a backtick' if char == '`' else quoted(char)}", _QUOTE, False


def _alias(said: str, char: str, before: str) -> _Told:
    return "`*` and `&` at the beginning of a text mean an alias and an anchor", _QUOTE, True


def _undefined(said: str, char: str, before: str) -> _Told:
    alias = said.partition("'")[2].rstrip("'")
    return (
        f"unknown alias {quoted('*' + alias)}",
        f"write `&{alias}` at a value before it, or put the text in quotes",
        False,
    )


def _misplaced(said: str, char: str, before: str) -> _Told:
    last = before.rstrip()[-1:]
    if last in ('"', "'"):
        return "text follows a closing quote", "put the whole text inside the quotes", False
    if last in ("}", "]"):
        opener = "{" if last == "}" else "["
        return f"text follows `{last}`: a text that begins with `{opener}` must be in quotes", _QUOTE, False
    return "does not fit the indentation of the lines before", _INDENT, False


def _inner_bracket(said: str, char: str, before: str) -> _Told:
    word = re.split(r"[\s,{\[]", before)[-1]
    if not word:
        return f"a `,` is missing before `{char}`", "separate by `,`, or put the whole text in quotes", False
    closing = "]" if char == "[" else "}"
    fix = f'put the whole text in quotes, such as "{word}{char}...{closing}"'
    return f"inside brackets, a text with `{char}` in it must be in quotes", fix, False


def _colon(said: str, char: str, before: str) -> _Told:
    if ": " in before:
        return "a second `: ` in one line", "put text that contains `: ` in quotes", False
    return "this key does not fit the lines before", f"{_INDENT}, and end each key with a colon", False


def _told(what: str, fix: str, *, opened: bool = False) -> Callable[[str, str, str], _Told]:
    return lambda said, char, before: (what, fix, opened)


# The first pattern that is found in the problem or its context decides.
_TOLD: tuple[tuple[str, Callable[[str, str, str], _Told]], ...] = (
    ("^nested too deeply", _told("is nested too deeply", "use at most 30 levels")),
    ("cannot start any token", _cannot_start),
    ("scanning an (alias|anchor)", _alias),
    ("undefined alias", _undefined),
    ("duplicate anchor", _told("this anchor is given twice", "give each `&name` once")),
    (
        "unexpected end of stream|document separator",
        _told("the quote that opens here is not closed", "close the quote", opened=True),
    ),
    ("unknown escape|escape sequence", _told("unknown escape after `\\`", "use single quotes, or write `\\\\`")),
    ("scanning a block scalar", _told("nothing may follow `>` or `|` in this line", "begin the text in the next line")),
    ("mapping values are not allowed", _colon),
    (
        "could not find expected ':'",
        _told("this line has no `: `", "write `key: value`, or indent text that belongs to the key above", opened=True),
    ),
    (
        "sequence entries are not allowed",
        _told("a list entry cannot begin here", "put each `- ` on a line of its own, below its key"),
    ),
    ("mapping keys are not allowed", _told("`? ` cannot stand here", _QUOTE)),
    (r"but got '[\[{]'", _inner_bracket),
    (
        r"expected ',' or '\]'",
        _told("the `[` that opens here is not closed", "separate by `,` and close by `]`", opened=True),
    ),
    (
        r"expected ',' or '\}'",
        _told("the `{` that opens here is not closed", f"close it by `}}`, or {_QUOTE}", opened=True),
    ),
    (
        "scanning a (tag|directive)|parsing a tag|tag handle|YAML directive|incompatible YAML",
        _told("tags and directives are not supported", _QUOTE),
    ),
    ("document start", _told("text stands outside of the document", "take it out")),
    ("expected <block end>|expected the node content", _misplaced),
)


def _character(text: str, mark: Mark | None) -> str:
    return text[mark.index : mark.index + 1] if mark else ""


def _line_before(text: str, mark: Mark | None) -> str:
    return text[: mark.index].rpartition("\n")[2] if mark else ""


def _where(name: str, mark: Mark | None) -> Where:
    return Where(name, mark.line + 1, mark.column + 1) if mark else Where(name, 1, 1)
