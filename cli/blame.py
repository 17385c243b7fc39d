"""`muster blame`: who and what stands behind each line of a file that a run wrote."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from cli.output import print_json, result, say
from cli.private_content import PRIVATE, keeps_out, line_without
from cli.runs import JSON, find_in_journal
from cli.session import Session, session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.stored.engine import Reader
    from runs.stored.store import RunRow

_RANGE = re.compile(r"(.+):(\d+)(?:-(\d+))?")
_LONGEST = 110
_MOST_RUNS = 1000


@dataclass(frozen=True)
class _Target:
    name: str
    first: int
    last: int | None


@dataclass(frozen=True)
class _Written:
    """A text and the task of a run whose output it was; "" is the run's result."""

    row: "RunRow"
    folder: Path
    reader: "Reader"
    task: str


def blame(
    context: typer.Context,
    file: str = typer.Argument(..., metavar="FILE[:LINE]", help="The file; `FILE:12` or `FILE:12-20` for some lines."),
    run_id: str = typer.Option(
        "", "--run", help="The run that is asked about; FILE may then be a task's name, or `result`."
    ),
    private: bool = PRIVATE,
    as_json: bool = JSON,
) -> None:
    """Name, for each line of a file that a run wrote, the agent, task, tool call and source behind it."""
    from runs.told.blame import blame as blame_lines
    from runs.told.blame import read_results, split_rows
    from runs.told.report import read_steps

    here = session(context)
    project = here.project_folder()
    target = read_target(file, lambda name: _path(project, name).is_file())
    written = _in_run(here, project, target.name, run_id) if run_id else _newest(here, project, target.name)
    results = read_results(written.reader, written.row.run_id, written.folder)
    path = _path(project, target.name)
    text = _read(path) if path.is_file() else str(results[written.task]["output"])
    rows = split_rows(text.removesuffix("\n"))
    if target.first > len(rows):
        raise AppError(f"{target.name} has {len(rows)} lines", fix="name a line that is there")
    steps = read_steps(written.reader, written.row.run_id, written.folder)
    plan = written.row.read_plan()
    entries = blame_lines(plan, steps, results, written.task, text, target.first, target.last)
    if keeps_out(written.reader.database, written.row.run_id, private):
        entries = [line_without(entry) for entry in entries]
    if as_json:
        print_json(entries)
        return
    changed = sum(entry["changed"] for entry in entries)
    note = f"; {changed} of the lines shown changed since" if changed else ""
    what = f"task {written.task}" if written.task else "its result"
    say(f"{target.name}: written by run {written.row.run_id}, {what}{note}")
    result("\n".join(told(entries)))


def read_target(file: str, exists: Callable[[str], bool]) -> _Target:
    """Read FILE, `FILE:12` or `FILE:12-20`; the name of a file that is there is taken whole. Raises: UsageError."""
    match = None if exists(file) else _RANGE.fullmatch(file)
    if match is None:
        return _Target(file, 1, None)
    first, last = int(match[2]), int(match[3] or match[2])
    if first < 1 or last < first:
        raise UsageError(f"{match[2]}-{last} are no lines", fix="lines count from 1: FILE:12 or FILE:12-20")
    return _Target(match[1], first, last)


# -- which run, which task


def _path(project: Path, name: str) -> Path:
    """Return the file that is meant: from the current folder, else from the project's."""
    near = Path.cwd() / name
    return near.resolve() if near.exists() else (project / name).resolve()


def _newest(here: Session, project: Path, name: str) -> _Written:
    """Find the run that wrote the file last, or whose result it is. Raises: AppError."""
    from runs.stored.database import database_exists, open_database
    from runs.stored.engine import Reader
    from runs.stored.files import runs_folder
    from runs.stored.store import RunStore, find_run

    settings = here.settings()
    runs = runs_folder(settings)
    path = _path(project, name)
    if not database_exists(settings):
        raise AppError(f"no run wrote {name!r}", fix="no run was started in this project yet")
    if path.is_relative_to(runs.resolve()):
        kept = path.relative_to(runs.resolve()).parts
        if len(kept) == 3 and kept[1] == "outputs":
            row, folder, reader = find_in_journal(here, kept[0])
            return _Written(row, folder, reader, Path(kept[2]).stem)
    database = open_database(settings)
    reader = Reader(database)
    text = _read(path).strip() if path.is_file() else None
    best: tuple[float, RunRow, str] | None = None
    printed: tuple[RunRow, str] | None = None
    store = RunStore(database)
    for row in sorted(store.list(_MOST_RUNS), key=lambda row: -row.updated_at):
        if best is not None and row.state != "running" and row.updated_at < best[0]:
            break
        for task, at, output in _outputs(reader, row.run_id):
            if output.get("file") and (project / str(output["file"])).resolve() == path:
                best = max(best or (0.0, row, task), (at, row, task), key=lambda found: found[0])
            elif not task and printed is None and text and str(output.get("output", "")).strip() == text:
                printed = row, task
    if best is None and printed is None:
        fix = "`muster runs list` names the runs; --run ID with a task's name asks about its output"
        raise AppError(f"no run of this project wrote {name!r}", fix=fix)
    row, task = best[1:] if best is not None else cast(tuple[Any, str], printed)
    return _Written(find_run(store, row.run_id), runs / row.run_id, reader, task)  # listed without its plan


def _outputs(reader: "Reader", run_id: str) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield (task, instant, result) of a run's tasks; of one that died after it had written its file, the file."""
    for record in reader.family(run_id):
        task = record.id[len(run_id) + 1 :]
        if record.status == "SUCCESS":
            yield task, record.updated_at, cast(dict[str, Any], record.output)
            continue
        for row in reader.steps(record.id):
            output: Any = row.output
            step = cast(dict[str, Any], output) if isinstance(output, dict) else {}
            if step.get("kind") == "file":
                yield task, row.completed_at or record.updated_at, {"file": step["path"]}


def _in_run(here: Session, project: Path, name: str, run_id: str) -> _Written:
    """Find what one run wrote under this name: a file, a task's output, its result. Raises: AppError."""
    from runs.told.blame import changed_lines, read_results, split_rows

    row, folder, reader = find_in_journal(here, run_id)
    path = _path(project, name)
    results = read_results(reader, row.run_id, folder)
    texts: dict[str, str] = {task: str(found["output"]) for task, found in results.items() if found.get("output")}
    files = [task for task in texts if (file := results[task].get("file")) and (project / file).resolve() == path]
    if files:
        return _Written(row, folder, reader, files[0])
    if name in texts and name:
        return _Written(row, folder, reader, name)
    if name == "result" and "" in texts:
        return _Written(row, folder, reader, "")
    if path.is_file() and "" in texts:
        rows = [one for one in split_rows(_read(path)) if one.strip()]
        if rows and len(changed_lines(rows, texts[""])) * 2 <= len(rows):
            return _Written(row, folder, reader, "")
    known = ", ".join(
        [*(str(results[task]["file"]) for task in texts if results[task].get("file")), *filter(None, texts)]
    )
    raise AppError(f"run {row.run_id} wrote no {name!r}", fix=f"one of: {known or 'nothing is done yet'}")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AppError(f"{path} is not text", fix="name a text file in UTF-8") from error


# -- what is printed


def told(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows for a terminal; lines in a row with the same story are told once."""
    before: list[dict[str, Any]] = []
    for _, group in groupby(_numbered(entries), key=lambda pair: pair[0]):
        lines = [entry for _, entry in group]
        first, last = lines[0]["line"], lines[-1]["line"]
        yield f"{first if first == last else f'{first}-{last}'}  {_short(lines[0]['text'])}"
        yield from (f"    {row}" for row in _story(lines[0]))
        reviews: list[dict[str, Any]] = lines[0]["reviewed_by"]
        told_above = bool(reviews) and reviews == before
        yield from ["    reviewed by  the same"] if told_above else (f"    {row}" for row in _reviewers(reviews))
        before = reviews or before


def _numbered(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in entries:
        story = {key: value for key, value in entry.items() if key not in ("line", "text")}
        yield json.dumps(story, default=str), entry


def _story(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry["changed"]:
        yield "changed since the run by somebody else"
        return
    model = f" ({entry['model']})" if entry["model"] else ""
    reworded = entry["reworded_from"]
    where = f"in task {entry['task']}" if entry["task"] else "as the run's result"
    again = f", reworded from task {reworded}" if reworded else ""
    yield f"written by   {entry['agent']} {where}{model}{again}"
    yield f"from         {_origin(entry)}"
    for part in entry["unsupported"]:
        yield f"but          no tool result says: {_short(part)}"


def _reviewers(reviews: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    by_whom: dict[str, list[str]] = {}
    for review in reviews:
        if review["what"] != "read":
            head, what = _reviewed(review)
            by_whom.setdefault(head, []).append(what)
    for head, whats in by_whom.items():
        yield f"reviewed by  {head}: {_short(', '.join(dict.fromkeys(whats)))}"
    readers = [f"{review['by']} in task {review['task']}" for review in reviews if review["what"] == "read"]
    if readers:
        yield f"read by      {_short(', '.join(readers))}"


def _origin(entry: Mapping[str, Any]) -> str:
    steps: list[dict[str, Any]] = entry["steps"]
    how = "named there, in other words" if entry["match"] == "cited" else entry["match"]
    match entry["origin"]:
        case "tool":
            step = steps[0]
            more = f", and {len(steps) - 1} more" if len(steps) > 1 else ""
            place = f"{step['place']}, {how}: " if step["place"] else f"{how}: "
            return f"{place}{step['step']} {_short(json.dumps(step['arguments'], ensure_ascii=False))}{more}"
        case "input":
            return f"the inputs: {steps[0]['place'].removeprefix('input ')}, {how}"
        case "person":
            return f"a person, {how}" + (f": {steps[0]['step']}" if steps else "")
        case _:
            return "the model alone: no tool result says this"


def _reviewed(review: Mapping[str, Any]) -> tuple[str, str]:
    where = f"in task {review['task']}" if review["task"] else "of the whole"
    if review["what"] == "check":
        gate = "" if review["gate"] == "revise" else f" (gate {review['gate']})"
        who = "rules" if review["by"] == "rule" else "a model"
        return f"{who} {where}, {review['outcome']}", f"{review['check']}{gate}"
    score = "" if review["score"] is None else f" with score {review['score']:g}"
    who = {"person": "a person", "rule": "rules"}.get(review["by"], review["by"])
    kind = "" if review["what"] == "answer" else f"{review['what']}: "
    return f"{who} {where}", f"{kind}{review['outcome']}{score}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
