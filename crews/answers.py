"""What a manager's and a reviewer's prompts share: texts set apart in them, and the fields of the objects answered."""

import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import cast

from project.hints import listed, nearest, quoted
from tasks.strict_json import short

LONGEST_TEXT = 20_000
"""Most characters of one text in an answer."""
ONLY_JSON = "Answer with one JSON object and nothing else: no text before or after it, no code fence."
_MOST_UNKNOWN = 5
_MOST_TEXTS = 100


def block(label: str, text: str) -> str:
    """Set a text apart in a prompt; no line of the text itself can end the block."""
    inside = "\n".join(f" {line}" if line.startswith("===") else line for line in text.strip().splitlines())
    return f"=== {label} ===\n{inside or '(empty)'}\n=== end of {label} ==="


class Answered:
    """One object of a model's answer, read field by field; what is wrong goes to `problems`, each with `label`.

    Harmless slips are mended: whitespace, control characters, null for a list, one text for a list of one.
    """

    def __init__(self, value: Mapping[str, object], label: str, problems: list[str]) -> None:
        self.value = value
        self.label = label
        self._problems = problems

    def wrong(self, reason: str) -> None:
        """Add a reason."""
        self._problems.append(f"{self.label}: {reason}" if self.label else reason)

    def text(self, key: str, *, hint: str = "", required: bool = True) -> str:
        """Return a text without the whitespace around it, or "". `hint` says what belongs there."""
        value = self.value.get(key)
        value = _clean(value) if isinstance(value, str) else value
        if value is None or value == "":
            if required:
                got = "is empty" if value is not None else "is null" if key in self.value else "is missing"
                self.wrong(f"`{key}` {got}; {hint or 'write a text'}")
            return ""
        if not isinstance(value, str):
            self.wrong(f"`{key}` must be a text, got {short(value)}; put it in quotes")
            return ""
        return self._short_enough(key, value)

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; one text alone is a list of one, null and blank entries are none."""
        value = self.value.get(key)
        entries = [value] if isinstance(value, str) else value
        if entries is None:
            return []
        if not isinstance(entries, list):
            self.wrong(f'`{key}` must be a list of texts such as ["a", "b"], got {short(value)}')
            return []
        texts = cast("list[object]", entries)
        if len(texts) > _MOST_TEXTS:
            self.wrong(f"`{key}` has {len(texts)} entries; at most {_MOST_TEXTS} are allowed")
        read: list[str] = []
        for entry in texts[:_MOST_TEXTS]:
            if not isinstance(entry, str):
                self.wrong(f"`{key}` must hold texts only, got {short(entry)} in it")
            elif text := _clean(entry):
                read.append(self._short_enough(key, text))
        return list(dict.fromkeys(read))

    def entries(self, key: str) -> list[object]:
        """Return a list of anything; one object or text alone is a list of one, null is none."""
        value = self.value.get(key)
        if value is None:
            return []
        if isinstance(value, dict | str):
            return [cast("object", value)]
        if not isinstance(value, list):
            self.wrong(f"`{key}` must be a list such as [{{…}}, {{…}}], got {short(value)}")
            return []
        return cast("list[object]", value)

    def inner(self, value: Mapping[str, object], label: str) -> "Answered":
        """Return an object inside of this one, for reading; its faults go to the same place."""
        return Answered(value, f"{self.label}: {label}" if self.label else label, self._problems)

    def objects(self, key: str) -> list["Answered"]:
        """Return a list of objects; each is labelled by its place, counted from 1."""
        read: list[Answered] = []
        for number, entry in enumerate(self.entries(key), 1):
            if isinstance(entry, dict):
                read.append(self.inner(cast("dict[str, object]", entry), f"`{key}`, entry {number}"))
            else:
                self.wrong(f"`{key}`, entry {number} must be an object, got {short(entry)}")
        return read

    def only(self, allowed: Collection[str]) -> None:
        """Report keys that are not among `allowed`."""
        unknown = [key for key in self.value if key not in allowed]
        for key in unknown[:_MOST_UNKNOWN]:
            close = nearest(key, allowed)
            fix = f"did you mean `{close}`?" if close else f"the keys are: {listed(allowed)}"
            self.wrong(f"unknown key {quoted(key)}; {fix}")
        if len(unknown) > _MOST_UNKNOWN:
            self.wrong(f"{len(unknown) - _MOST_UNKNOWN} more unknown keys; the keys are: {listed(allowed)}")

    def _short_enough(self, key: str, text: str) -> str:
        if len(text) > LONGEST_TEXT:
            self.wrong(f"`{key}` has {len(text)} characters; at most {LONGEST_TEXT} are allowed, so shorten it")
        return text[:LONGEST_TEXT]


def _clean(text: str) -> str:
    """Drop the whitespace around a text and the characters that a terminal would act on."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one for one in lines if one in "\n\t" or unicodedata.category(one) != "Cc").strip()


def as_json(value: object) -> str:
    """Write a value of an example on one line."""
    return json.dumps(value, ensure_ascii=False)


def bullets(lines: Iterable[str]) -> str:
    """Write one `- ` line for each text, its line breaks folded."""
    return "\n".join("- " + " ".join(line.split()) for line in lines)
