"""What `muster approvals` shows of a question: in a list, whole, and as JSON."""

import shutil
import time
from typing import TYPE_CHECKING, Any, TextIO

from cli.output import duration

if TYPE_CHECKING:
    from runs.governed.terms import Terms
    from runs.people.inbox import InboxRow
    from runs.people.questions import Question

_MOST_SHOWN = 80
_MARK = "  | "
_LEAST_COLUMNS = 20


def _gist(question: "Question") -> str:
    """Tell in a line what is wanted: of a task what is to be done, since all of them are asked for "your answer"."""
    first = question.text.strip().partition("\n")[0]
    return first if question.kind == "task" and question.prompt.startswith("your answer") and first else question.prompt


CALL_HEAD = ("TOOL", "AGENT", "RULE", "EXPIRES", "HAS READ")


def list_line(row: "InboxRow", every: bool, calls: bool) -> tuple[str, ...]:
    """Return the columns of a question in a list; with `calls`, those of calls, too."""
    age = duration(max(0.0, time.time() - row.asked_at))
    prompt = " ".join(_gist(row.question).split())
    short = prompt if len(prompt) <= _MOST_SHOWN else f"{prompt[: _MOST_SHOWN - 1]}…"
    about = _about_call(row) if calls else ()
    head = (row.question_id, row.run_id, row.question.task, row.question.kind, *about, age)
    return (*head, *([state_of(row)] if every else []), short)


def _about_call(row: "InboxRow") -> tuple[str, ...]:
    """Tell of a call what it is, who makes it, which rule asks, until when, and what was read before."""
    terms = row.question.terms
    if terms is None:
        return ("–",) * len(CALL_HEAD)
    read = ", ".join(what for what, steps in (("untrusted", terms.untrusted), ("private", terms.private)) if steps)
    until = _expires(terms) if row.state == "open" else "–"
    return terms.call["tool"], terms.call.get("agent", "?"), terms.rule or "–", until, read or "–"


def _expires(terms: "Terms") -> str:
    left = terms.expires_at - time.time()
    return f"in {duration(left)}" if left > 0 else "expired"


def state_of(row: "InboxRow") -> str:
    """Tell whether it is open, answered, rejected or void."""
    return "rejected" if row.answer is not None and row.answer.rejected else row.state


def document_of(row: "InboxRow") -> dict[str, Any]:
    """Return a question as JSON."""
    from runs.told.report import instant

    answer = row.answer
    return {
        "question_id": row.question_id,
        "run_id": row.run_id,
        "task": row.question.task,
        "kind": row.question.kind,
        "state": state_of(row),
        "prompt": row.question.prompt,
        "choices": list(row.question.choices),
        "asked_at": instant(row.asked_at),
        "answer": answer.said if answer is not None else None,
        "reason": answer.reason or None if answer is not None else None,
        "answered_by": answer.by if answer is not None else None,
        "answered_at": instant(answer.at) if answer is not None else None,
        **({"call": _call(row, row.question.terms)} if row.question.terms is not None else {}),
    }


def _call(row: "InboxRow", terms: "Terms") -> dict[str, Any]:
    from runs.told.report import instant

    voices = row.answer.voices if row.answer is not None else terms.voices
    keys = ("tool", "effect", "agent", "chain", "step", "arguments")
    return {
        **{key: terms.call.get(key) for key in keys},
        "rule": terms.rule,
        "binding": terms.binding,
        "unchanged": row.question.is_whole,
        "expires_at": instant(terms.expires_at),
        "approvers": terms.approval.approvers,
        "four_eyes": terms.approval.four_eyes,
        "voices": [{"by": voice.by, "at": instant(voice.at)} for voice in voices],
        "untrusted": list(terms.untrusted),
        "private": list(terms.private),
    }


def told_terms(row: "InboxRow", terms: "Terms") -> list[str]:
    """Tell of a question about a call until when it may be answered, by whom, and what exactly is approved."""
    from runs.governed.terms import who_may
    from runs.told.report import instant

    approved = [voice.by for voice in terms.voices]
    changed = "what is stored of this call was changed after it was asked about: it can't be approved"
    return [
        *([f"CHANGED   {changed}"] if not row.question.is_whole else []),
        f"answers   {who_may(terms.approval)}",
        *([f"approved  by {', '.join(approved)}: {len(approved)} of {terms.needed}"] if approved else []),
        *([f"expires   {instant(terms.expires_at)}, {_expires(terms)}"] if row.state == "open" else []),
        f"hash      {terms.binding}",
    ]


def told_state(row: "InboxRow") -> str:
    """Tell how it stands, and who said what."""
    if row.answer is None:
        return row.state if row.state == "open" else "void: nobody needs to answer it any more"
    said = row.answer.reason or row.answer.said or "accepted"
    return f"{state_of(row)} {by_whom(row)}: {said}"


def by_whom(row: "InboxRow") -> str:
    """Tell who has answered, and when."""
    from runs.told.report import instant

    assert row.answer is not None
    return f"by {row.answer.by} at {instant(row.answer.at)}"


def ways_to_answer(row: "InboxRow") -> list[str]:
    """Tell how the question is answered."""
    from runs.people.questions import manner_of

    choices = row.question.choices
    manner = manner_of(row.question.kind, choices)
    base = f"muster approvals approve {row.question_id}"
    lines: list[str] = []
    if manner.approve:
        lines.append(f"{base}: {manner.approve}")
    if manner.answer and choices:
        lines.append(f"{base} --answer CHOICE: {manner.answer}")
    elif manner.answer:
        editor = ", or --edit" if row.question.editable else ""
        lines.append(f"{base} --answer TEXT, or --file FILE{editor}: {manner.answer}")
    if manner.reject:
        lines.append(f"muster approvals reject {row.question_id} --reason TEXT: {manner.reject}")
    return lines


def fitted(text: str, stream: TextIO) -> str:
    """Return a text with its marked lines broken so that each piece has the mark; as it is where no terminal shows it.

    A terminal breaks long lines by itself: what an agent wrote could then look like a line of Muster's.
    """
    if not stream.isatty():
        return text
    room = max(_LEAST_COLUMNS, shutil.get_terminal_size().columns) - len(_MARK)
    lines: list[str] = []
    for line in text.split("\n"):
        rest = line.removeprefix(_MARK)
        if rest == line or len(rest) <= room:
            lines.append(line)
        else:
            lines += [f"{_MARK}{rest[at : at + room]}" for at in range(0, len(rest), room)]
    return "\n".join(lines)
