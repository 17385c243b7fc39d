"""Keys and passwords written into YAML: found, refused, and kept out of every message."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from project.errors import Problem, Where
from project.reader import Node

_KNOWN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_-]{16,}                           # OpenAI, Anthropic, OpenRouter, DeepSeek
      | AIza[A-Za-z0-9_-]{30,}                          # Google
      | gsk_[A-Za-z0-9]{20,} | xai-[A-Za-z0-9]{20,}     # Groq, xAI
      | hf_[A-Za-z0-9]{20,} | r8_[A-Za-z0-9]{20,}       # Hugging Face, Replicate
      | pplx-[A-Za-z0-9]{20,} | tvly-[A-Za-z0-9-]{16,}  # Perplexity, Tavily
      | AKIA[A-Z0-9]{16}                                # Amazon
      | gh[opsu]_[A-Za-z0-9]{30,} | github_pat_[A-Za-z0-9_]{30,} | glpat-[A-Za-z0-9_-]{16,}
      | xox[abprs]-[A-Za-z0-9-]{16,}                    # Slack
    )""",
    re.VERBOSE,
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_SECRET_KEY = re.compile(
    r"(?:^|[_\-])(?:api[_\-]?key|access[_\-]?key|secret|token|password|passwd|authorization)$", re.I
)
_LONG = re.compile(r"(?:Bearer\s+)?[A-Za-z0-9+/_.=\-]{16,}")
_HIDDEN = "…"
_SHORTEST = 6
_FIX = "put it into .env, which Muster reads and git ignores, and replace the key: it was in a file"


def find_leaks(tree: Node) -> tuple[list[Problem], list[str]]:
    """Return a problem for each text or key that looks like a credential, and what must be kept out of messages."""
    problems: list[Problem] = []
    found: list[str] = []
    seen: set[Where] = set()
    for node, where, secret in _walk(tree):
        found.append(secret)
        if where not in seen:
            seen.add(where)
            problems.append(Problem("looks like a key or password, which no YAML file may hold", where, _FIX))
        if secret != node.value and isinstance(node.value, str) and _SECRET_KEY.search(node.keys[-1]):
            found.append(node.value)
    return problems, found


def looks_secret(text: str) -> bool:
    """Say whether `text` contains what looks like a key or password."""
    return bool(_known(text) or _IN_ADDRESS.search(text))


def redact(problem: Problem, secrets: Collection[str] = ()) -> Problem:
    """Return `problem` without `secrets` and without anything else that looks like one."""

    def clean(text: str) -> str:
        for secret in sorted((*secrets, *_known(text)), key=len, reverse=True):
            if len(secret) >= _SHORTEST:
                text = text.replace(secret, _HIDDEN)
        return _IN_ADDRESS.sub(_HIDDEN, text)

    where = problem.where and replace(problem.where, key=clean(problem.where.key))
    return Problem(clean(problem.what), where, clean(problem.fix))


def _walk(node: Node) -> Iterator[tuple[Node, Where, str]]:
    if isinstance(node.value, str):
        yield from ((node, node.here(), secret) for secret in _secrets(node.value, node.keys))
    for key, child in node.entries.items():
        yield from ((child, child.at_key(), secret) for secret in _known(key))
        yield from _walk(child)
    for item in node.items:
        yield from _walk(item)


def _secrets(text: str, keys: Sequence[str]) -> list[str]:
    found = [*_known(text), *_IN_ADDRESS.findall(text)]
    named = bool(keys) and bool(_SECRET_KEY.search(keys[-1]))
    if named and _LONG.fullmatch(text.strip()) and any(char.isdigit() for char in text):
        found.append(text)
    return found


def _known(text: str) -> list[str]:
    # A digit tells a key from a text with hyphens, such as `sk-` before the words of a slug.
    return [secret for secret in _KNOWN.findall(text) if any(char.isdigit() for char in secret)]
