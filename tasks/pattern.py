"""Search a text for a regular expression that somebody wrote in YAML, within bounds."""

import json
import re
import subprocess
import sys
import warnings

_SECONDS = 10.0
_REPEATS = frozenset("*+?{")
_CHILD = """
import json, re, sys, warnings
warnings.simplefilter("ignore")
asked = json.load(sys.stdin.buffer)
found = re.search(asked["pattern"], asked["text"], re.MULTILINE)
sys.stdout.write("no" if found is None else "yes")
"""


def search(pattern: str, text: str, *, timeout_seconds: float = _SECONDS) -> str:
    """Return "" when the pattern is found (`re.search`, `^` and `$` match at each line), else a reason.

    A pattern that can repeat is tried in a process of its own, which is killed after `timeout_seconds`: nothing else
    ends a search that backtracks for hours, and a cap on the text's length does not help against `(a+)+$`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        return f"{pattern!r} is not a regular expression: {error}"
    if not _REPEATS.intersection(pattern):
        return "" if compiled.search(text) else _not_found(pattern)
    return _search_apart(pattern, text, timeout_seconds)


def _search_apart(pattern: str, text: str, timeout_seconds: float) -> str:
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    asked = json.dumps({"pattern": pattern, "text": text}).encode()
    try:
        child = subprocess.run(command, input=asked, capture_output=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"the search for {pattern!r} took more than {timeout_seconds:g} s; write a pattern that backtracks less"
    except OSError as error:
        return f"the search for {pattern!r} could not be started: {error}"
    if child.returncode != 0:
        return f"the search for {pattern!r} ended with code {child.returncode}"
    return "" if child.stdout == b"yes" else _not_found(pattern)


def _not_found(pattern: str) -> str:
    return f"nothing in the text matches the regular expression {pattern!r}; it must"
