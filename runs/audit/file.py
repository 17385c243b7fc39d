"""The file of an audit: JSON lines, one thing a line, with a hash over all of them at the end."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from project.errors import AppError
from runs.audit.chain import FORMAT, Head, digest_of_head
from runs.audit.compare import Finding
from runs.audit.heads import AuditKeys

Line = dict[str, Any]


def head_line(head: Head, keys: AuditKeys | None) -> Line:
    """Return the line of a run's head, signed where there is a key."""
    digest = digest_of_head(head)
    run = head["run"]
    line: Line = {"line": "head", "run_id": run["run_id"], "created_at": run["created_at"], "digest": digest}
    if keys is not None:
        line |= {"hmac": keys.sign("muster-audit-head", digest), "key_id": keys.key_id}
    return line | {"head": head}


def written(lines: Iterable[Line], keys: AuditKeys | None) -> Iterator[str]:
    """Yield the text of each line, and one at the end with the hash of all before it, signed where there is a key."""
    total, count = hashlib.sha256(), 0
    for line in lines:
        text = _text(line)
        total.update(text.encode())
        count += 1
        yield text
    end: Line = {"line": "end", "lines": count, "digest": total.hexdigest()}
    if keys is not None:
        end |= {"hmac": keys.sign("muster-audit", count, total.hexdigest()), "key_id": keys.key_id}
    yield _text(end)


def _text(line: Line) -> str:
    # A lone surrogate cannot be written as UTF-8: everything beyond ASCII stands escaped.
    return json.dumps(line, separators=(",", ":"), default=str) + "\n"


@dataclass
class AuditFile:
    """What a file says. `key_id` names the key that signed it, "" for none."""

    key_id: str
    last_head: str
    """HMAC of the newest head that the database kept when the file was written."""
    last_tombstone: str
    heads: list[Head] = field(default_factory=list[Head])
    tombstones: list[Line] = field(default_factory=list[Line])
    end: Line | None = None
    lines: int = 0
    digest: str = ""
    wrong: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    head_lines: list[Line] = field(default_factory=list[Line])

    def problems(self, keys: AuditKeys | None) -> list[Finding]:
        """Say what is wrong with the file itself."""
        found = [Finding(run_id, "", None, what) for run_id, what in self.wrong]
        found += [Finding("", "", None, f"the file: {what}") for what in self._whole(keys)]
        if keys is None:
            return found
        for line in self.head_lines:
            wrong = keys.check(line.get("hmac", ""), line.get("key_id", ""), "muster-audit-head", line["digest"])
            if wrong:
                found.append(Finding(line["run_id"], "", None, f"the file: the head of the run is {wrong}"))
        return found

    def _whole(self, keys: AuditKeys | None) -> Iterator[str]:
        end = self.end
        if end is None:
            yield "it has no last line: its end was cut off"
            return
        if (end.get("lines"), end.get("digest")) != (self.lines, self.digest):
            yield "it was changed after it was written"
        if keys is not None:
            wrong = keys.check(end.get("hmac", ""), end.get("key_id", ""), "muster-audit", self.lines, self.digest)
            if wrong:
                yield wrong


def read_file(texts: Iterable[str]) -> AuditFile:
    """Read a file line by line. Raises: AppError (exit 3) when it is none of `muster audit`."""
    total, found = hashlib.sha256(), None
    for number, text in enumerate(texts, 1):
        line = _line(text)
        if found is None:
            found = _opened(line)
        if line is not None and line.get("line") == "end":
            found.end = line
            continue
        total.update(text.encode("utf-8", "surrogateescape"))
        found.lines = number
        _take(found, number, line)
    if found is None:
        raise _no_audit()
    found.digest = total.hexdigest()
    return found


def _take(found: AuditFile, number: int, line: Line | None) -> None:
    if line is None:
        found.wrong.append(("", f"the file: line {number} cannot be read"))
    elif line.get("line") == "tombstone":
        found.tombstones.append(line)
    elif line.get("line") == "head":
        if digest_of_head(line.get("head", {})) != line.get("digest"):
            what = "the file: the head of the run was changed"
            found.wrong.append((str(line.get("run_id")), what))
        else:
            found.head_lines.append(line)
            found.heads.append(line["head"])


def _opened(line: Line | None) -> AuditFile:
    if line is None or line.get("line") != "muster-audit":
        raise _no_audit()
    if line.get("format") != FORMAT:
        raise AppError(f"the file is of audit format {line.get('format')}, not {FORMAT}", exit_code=3)
    return AuditFile(str(line.get("key_id", "")), str(line.get("last_head", "")), str(line.get("last_tombstone", "")))


def _line(text: str) -> Line | None:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast(Line, found) if isinstance(found, dict) else None


def _no_audit() -> AppError:
    return AppError(
        "this file was not written by `muster audit`",
        fix="`muster audit heads -o FILE` or `export` makes one",
        exit_code=3,
    )
