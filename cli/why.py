"""`muster runs why`: what was chosen in a run, among what, why, on which evidence."""

from collections.abc import Sequence
from typing import Any

import typer

from cli.output import print_json, result, say
from cli.runs import JSON, RUN, find_in_journal
from cli.session import session

_LONGEST = 400


def why(
    context: typer.Context,
    run_id: str = RUN,
    task: str = typer.Argument("", help="Only what was decided about this task."),
    as_json: bool = JSON,
) -> None:
    """Explain every choice of a run: routing, retries, gates, ceilings, aggregation; among what, why."""
    from runs.told.why import reasons_of

    row, folder, reader = find_in_journal(session(context), run_id)
    found = reasons_of(reader, row, folder, task)
    if as_json:
        print_json(found)
    elif not found:
        say(f"nothing was decided about {task!r}; `muster runs show {row.run_id}` names the tasks")
    else:
        result("\n\n".join(_told(entry) for entry in found))


def _told(entry: dict[str, Any]) -> str:
    lines = [f"{entry['task'] or 'run'}: {entry['decision']} → {_short(entry['chosen'])}"]
    lines.append(f"  why       {_short(entry['why'])}")
    if entry["among"]:
        lines.append(f"  among     {_listed(entry['among'])}")
    for item in entry["evidence"]:
        lines.append(f"  evidence  {_short(str(item))}")
    when = f", {entry['at']}" if entry["at"] else ""
    lines.append(f"  by        {entry['by']}{when}")
    return "\n".join(lines)


def _listed(names: Sequence[Any]) -> str:
    return _short(", ".join(map(str, names)))


def _short(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
