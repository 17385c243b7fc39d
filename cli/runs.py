"""`muster runs`: list, show, watch, trace, costs and resume."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from cli.output import duration, money, print_json, result, say, table
from cli.run import go_on, open_runner, read_added, read_budget
from cli.session import Session, session

if TYPE_CHECKING:
    from decimal import Decimal

    from policy.budget import Spent
    from runs.stored.engine import Reader
    from runs.stored.store import RunRow, RunStore
    from runs.told.report import Step

app = typer.Typer(help="Look at runs and go on with them.", rich_markup_mode=None, invoke_without_command=True)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
PRIVATE = typer.Option(False, "--private", help="Show private content, too; at a terminal alone.")
RUN = typer.Argument(..., help="The run's id, or the beginning of it.")
_WATCH_SECONDS = 0.5


@app.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _print_list(session(context), 20, "", False)


@app.command("list")
def list_runs(
    context: typer.Context,
    limit: int = typer.Option(20, "--limit", min=1, max=100_000, help="How many, the newest first."),
    crew: str = typer.Option("", "--crew", help="Only runs of this crew."),
    as_json: bool = JSON,
) -> None:
    """List runs, the newest first."""
    _print_list(session(context), limit, crew, as_json)


def _print_list(here: Session, limit: int, crew: str, as_json: bool) -> None:
    from runs.told.report import current_state

    store, folder = open_store_if_any(here)
    rows: list[RunRow] = store.list(limit, crew=crew or None) if store else []
    states = {row.run_id: current_state(row, folder / row.run_id) for row in rows}
    if as_json:
        print_json([_listed(row, states[row.run_id]) for row in rows])
    elif not rows:
        say("no runs yet; `muster run CREW` starts one")
    else:
        head = ("RUN", "CREW", "STATE", "STARTED", "WORKED", "TOKENS", "COST")
        result(table(head, [_line(row, states[row.run_id]) for row in rows]))


def _listed(row: "RunRow", state: str) -> dict[str, Any]:
    from runs.told.report import instant

    spent = row.read_spent()
    return {
        "run_id": row.run_id,
        "crew": row.crew,
        "status": state,
        "offline": row.offline,
        "reason": row.reason,
        "started_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
        "seconds": round(row.worked_seconds, 3),
        "tokens": spent.input_tokens + spent.output_tokens,
        "cost_usd": str(spent.usd) if spent.usd else None,
    }


def _line(row: "RunRow", state: str) -> tuple[str, ...]:
    spent = row.read_spent()
    return (
        row.run_id,
        row.crew,
        _told_state(row, state),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created_at)),
        duration(row.worked_seconds) if row.worked_seconds else "–",
        str(spent.input_tokens + spent.output_tokens) if spent.model_calls else "–",
        money(str(spent.usd), unknown=bool(spent.unpriced_calls)),
    )


def _told_state(row: "RunRow", state: str) -> str:
    """Tell a run's state; of a queued one also how long it has waited, or for what."""
    told = f"{state} (offline)" if row.offline else state
    if state != "queued":
        return told
    from runs.scheduled.schedules import HELD_UNTIL

    now = time.time()
    if row.not_before >= HELD_UNTIL:
        return f"{told} behind the run before"
    if row.not_before > now:
        return f"{told}, due in {duration(row.not_before - now)}"
    return f"{told} for {duration(max(0.0, now - max(row.updated_at, row.not_before)))}"


def open_store_if_any(here: Session) -> "tuple[RunStore | None, Path]":
    """Open the table of runs without DBOS, and name the folder of their files; None when nothing was ever run."""
    from runs.stored.database import database_exists, open_database
    from runs.stored.files import runs_folder
    from runs.stored.store import RunStore

    settings = here.settings()
    folder = runs_folder(settings)
    if not database_exists(settings):
        return None, folder
    return RunStore(open_database(settings)), folder


def open_store(here: Session) -> "tuple[RunStore, Path]":
    """Open the table of runs, and name the folder of their files. Raises: AppError when nothing was ever run."""
    from project.errors import AppError

    store, folder = open_store_if_any(here)
    if store is None:
        raise AppError("there is no run yet", fix="`muster run CREW` starts one")
    return store, folder


def find_in_journal(here: Session, run_id: str) -> "tuple[RunRow, Path, Reader]":
    """Return a run, its folder and a reader of its journal. Raises: AppError."""
    from project.errors import AppError
    from runs.stored.engine import Reader
    from runs.stored.store import find_run

    store, folder = open_store_if_any(here)
    if store is None:
        raise AppError(f"there is no run {run_id!r}", fix="none was started in this project yet")
    row = find_run(store, run_id)
    return row, folder / row.run_id, Reader(store.database)


@app.command()
def show(context: typer.Context, run_id: str = RUN, as_json: bool = JSON) -> None:
    """Show a run: its state, its tasks, its result."""
    from runs.audit.heads import standing
    from runs.people.approvals_told import approvals_of
    from runs.told.report import read_steps, summarise

    row, folder, reader = find_in_journal(session(context), run_id)
    summary = summarise(reader, row, folder)
    steps = read_steps(reader, row.run_id, folder)
    summary["approvals"] = approvals_of(steps)
    summary["audit"] = standing(reader.database, row.run_id, row.created_at, [step.record for step in steps])
    if as_json:
        print_json(summary)
        return
    lines = [
        f"run      {summary['run_id']}",
        f"crew     {summary['crew']}",
        f"state    {summary['status']}" + (f": {summary['reason']}" if summary["reason"] else ""),
        f"started  {summary['started_at']}, worked {duration(summary['seconds'])}",
        "inputs   " + (", ".join(f"{key}={value}" for key, value in summary["inputs"].items()) or "–"),
        "models   " + ", ".join(f"{name}: {model}" for name, model in summary["models"].items()),
    ]
    for note in summary["partial"]:
        lines.append(f"partial  {_short(note, 200)}")
    lines += [f"approval {_approval(said)}" for said in summary["approvals"]]
    lines += _audited(summary["audit"])
    for conflict in summary["conflicts"]:
        lines.append(f"conflict {_short(conflict['text'], 200)} ({conflict['settled'] or 'left open'})")
    if summary["offline"]:
        lines.append(
            "offline  the output is a selection of sentences from the sources, not written by a language model"
        )
    result("\n".join([*lines, "", _task_table(summary["tasks"]), "", _outputs(summary)]).rstrip())


def _audited(found: dict[str, Any]) -> list[str]:
    calls = "call" if found["approved"] == 1 else "calls"
    counts = f"{found['approved']} {calls} approved, {found['refused']} refused"
    told = [counts] if found["approved"] or found["refused"] else []
    told += [f"head {found['head'][:12]}, signed {found['signed_at']}"] if found["head"] else []
    return [f"audit    {'; '.join(told)}"] if told else []


def _approval(said: dict[str, Any]) -> str:
    who, edited = " and ".join(said["by"]), ", with other arguments" if said["edited"] else ""
    told = {"void": "an answer that does not count", "changed": "arguments changed"}.get(said["state"], said["state"])
    why = f": {said['reason']}" if said["reason"] else ""
    return _short(f"{said['tool']}: {told} by {who} at {said['at']}{edited} ({said['rule'] or 'no rule'}){why}", 300)


def _task_table(tasks: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            task["name"],
            task["agent"],
            task["status"],
            str(task["usage"]["model_calls"]),
            str(task["usage"]["tool_calls"]),
            str(task["usage"]["input_tokens"] + task["usage"]["output_tokens"]),
            duration(task["seconds"]),
            money(task["cost_usd"], unknown=task["unpriced_calls"] > 0),
            _sure(task["confidence"]),
        )
        for task in tasks
    ]
    head = ("TASK", "AGENT", "STATE", "MODEL CALLS", "TOOL CALLS", "TOKENS", "TIME", "COST", "CONFIDENCE")
    return table(head, rows)


def _sure(confidence: dict[str, Any] | None) -> str:
    if not confidence or confidence["value"] is None:
        return "–"
    return f"{confidence['value']:g}" + ("" if confidence["measured"] else " (its own word)")


def _outputs(summary: dict[str, Any]) -> str:
    if summary["output"] is not None:
        return f"result\n\n{summary['output']}"
    done = [task for task in summary["tasks"] if task["output"] is not None]
    return "\n\n".join(f"output of {task['name']}\n\n{task['output']}" for task in done)


@app.command()
def trace(context: typer.Context, run_id: str = RUN, private: bool = PRIVATE, as_json: bool = JSON) -> None:
    """Show each step: who, what, how long, what it cost, retries and their reasons."""
    from runs.told.report import read_steps

    row, folder, reader = find_in_journal(session(context), run_id)
    steps = shown_steps(read_steps(reader, row.run_id, folder), private)
    if as_json:
        print_json([_traced(step) for step in steps])
        return
    first = steps[0].started_at if steps else 0.0
    rows = [
        (f"{step.started_at - first:.2f}", step.name, duration(step.seconds), _cost(step), _what(step))
        for step in steps
        if step.kind != "join" or session(context).verbose
    ]
    result(table(("AT (s)", "STEP", "TOOK", "COST", "WHAT"), rows))
    if row.offline:
        say("offline: no language model answered")


def shown_steps(steps: "Sequence[Step]", private: bool) -> "Sequence[Step]":
    """Return steps as they are shown: private content only to who asks for it at a terminal. Raises: UsageError."""
    from project.errors import UsageError
    from runs.governed.redaction import without_private

    if not private:
        return without_private(steps)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("private content is shown at a terminal alone", fix="leave --private out")
    return steps


def _traced(step: "Step") -> dict[str, Any]:
    from runs.told.report import instant

    head = {"step": step.name, "task": step.task, "kind": step.kind}
    return {**head, "started_at": instant(step.started_at), "seconds": step.seconds, "record": step.record}


def _cost(step: "Step") -> str:
    if step.kind != "model" or "answer" not in step.record:
        return ""
    return money(step.record["cost_usd"], unknown=step.record["price"] == "unknown")


def _what(step: "Step") -> str:
    record = step.record
    if "error" in record:
        error, then = record["error"], record.get("next", "")
        other = f"{then} is asked next; " if then not in ("", record.get("asked")) else ""
        return _short(f"{other}{error['kind']}: {error['message']}")
    if "asks" in record:
        return _short(f"{record['arguments']} → a person must approve it: {record['asks']['question']}")
    match step.kind:
        case "model":
            usage = record["usage"]
            calls = ", ".join(call["name"] for call in record["answer"].get("calls", ()))
            tokens = f"{usage['input_tokens']} → {usage['output_tokens']} tokens"
            return _short(f"{record['model']}, {tokens}: " + (f"calls {calls}" if calls else record["answer"]["text"]))
        case "tool":
            said = f"refused: {record['refused']}" if "refused" in record else record["result"]
            cached = "as before: " if record.get("cached") else ""
            return _short(f"{record['arguments']} → {cached}{said}")
        case "verdict":
            return _short("accepted" if record["passed"] else f"not accepted: {'; '.join(record['reasons'])}")
        case "intent":
            said = f"refused: {record['refused']}" if record["refused"] else "about to be made, once"
            return _short(f"{record['arguments']}: {said}")
        case "backoff":
            return _short(f"waited {record['seconds']:g} s: {record['reason']}")
        case "answer":
            from runs.people.questions import tell_answer

            return _short(tell_answer(record))
        case "file":
            return f"wrote {record['path']}" if record["path"] else "kept in the run's folder"
        case "decision":
            return _short(f"{record['decision']}: {_chosen(record['chosen'])}: {record['why']}")
        case "inputs":
            return _short(f"{record['crew']}: {record['values']}")
        case "join":
            return f"done: {', '.join(record['tasks'])}"
        case _:
            return ""


def _chosen(chosen: Any) -> str:
    return ", ".join(map(str, cast(list[Any], chosen))) if isinstance(chosen, list) else str(chosen)


def _short(text: str, limit: int = 110) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@app.command()
def costs(
    context: typer.Context,
    run_id: str = typer.Argument(
        "", help="The run's id, or the beginning of it. None: what counts to shared ceilings."
    ),
    as_json: bool = JSON,
) -> None:
    """Show what a run cost, by task and by model; without a run, what is used of the ceilings that runs share."""
    from runs.governed.ledger import Ledger, lost_of
    from runs.told.report import costs_of

    if not run_id:
        _print_shared(session(context), as_json)
        return
    row, folder, reader = find_in_journal(session(context), run_id)
    found = costs_of(reader, row, folder)
    lost = found["lost"] = lost_of(Ledger(reader.database).of_run(row.run_id))
    if as_json:
        print_json(found)
        return
    head = ("", "CALLS", "FAILED", "INPUT", "OUTPUT", "COST")
    for title, group in (("task", "tasks"), ("model", "models")):
        rows = [
            (
                str(item["name"]),
                str(item["model_calls"]),
                str(item["failed_calls"]),
                str(item["input_tokens"]),
                str(item["output_tokens"]),
                money(item["cost_usd"], unknown=item["unpriced_calls"] > 0),
            )
            for item in found[group]
        ]
        result(table((title.upper(), *head[1:]), rows) + "\n")
    whole = money(found["cost_usd"], unknown=found["unpriced_calls"] > 0)
    result(f"in all: {whole}" + ("; token counts are estimates" if found["estimated"] else ""))
    if lost["calls"]:
        calls = "call" if lost["calls"] == 1 else "calls"
        most = f"{lost['tokens']} tokens, {money(lost['cost_usd'])}"
        result(f"beside that, at most: {most} for {lost['calls']} {calls} whose end nobody knows")


def _print_shared(here: Session, as_json: bool) -> None:
    """Print what runs have used today and in this month of the ceilings that they share."""
    from runs.governed.ceilings import project_ceilings, schedule_ceilings
    from runs.governed.ledger import Ledger, Shared

    project = here.load()
    name = project.root.name
    shared: list[Shared] = project_ceilings(name, project.policy)
    for schedule, spec in project.schedules.items():
        if spec.daily_budget is not None:
            shared.append(schedule_ceilings(name, schedule, spec.daily_budget, spec.timezone))
    store, _ = open_store_if_any(here)
    now = time.time()
    names = [one.total(now) for one in shared]
    used = Ledger(store.database).totals(names) if store is not None else {}
    found = [
        {"scope": one.scope.name, "ceiling": ceiling, "most": str(most), "used": str(_used(used.get(total), ceiling))}
        for one, total in zip(shared, names, strict=True)
        for ceiling, most in one.budget.model_dump(exclude_none=True).items()
    ]
    if as_json:
        print_json(found)
    elif not found:
        say("no ceilings are shared: `budgets:` in policy.yaml and `daily_budget:` in schedules.yaml set them")
    else:
        rows = [(one["scope"], one["ceiling"], one["used"], one["most"]) for one in found]
        result(table(("SCOPE", "CEILING", "USED OR RESERVED", "MOST"), rows))


def _used(spent: "Spent | None", ceiling: str) -> "Decimal | int | float":
    if spent is None:
        return 0
    name = ceiling.removeprefix("max_")
    return spent.input_tokens + spent.output_tokens if name == "tokens" else getattr(spent, name)


@app.command()
def watch(context: typer.Context, run_id: str = RUN, private: bool = PRIVATE, as_json: bool = JSON) -> None:
    """Follow a run under way in another terminal; ends when the run does. With --json, one document a line."""
    import json

    from runs.stored.store import find_run
    from runs.told.report import read_steps

    here = session(context)
    row, folder, reader = find_in_journal(here, run_id)
    store, runs_folder = open_store_if_any(here)
    assert store is not None
    seen: set[str] = set()
    while True:
        state = _state_now(store, row.run_id, runs_folder)
        for step in shown_steps(read_steps(reader, row.run_id, folder), private):
            key = f"{step.task} {step.name}"
            if key in seen or step.kind == "join":
                continue
            seen.add(key)
            line = json.dumps(_traced(step), ensure_ascii=False, default=str) if as_json else ""
            result(line or f"{step.name}  {duration(step.seconds)}  {_what(step)}")
        if state != "running":
            ended = find_run(store, row.run_id)
            result(
                json.dumps({"run_id": row.run_id, "status": state, "reason": ended.reason}, ensure_ascii=False)
                if as_json
                else f"run {row.run_id} {state}" + (f": {ended.reason}" if ended.reason else "")
            )
            return
        time.sleep(_WATCH_SECONDS)


def _state_now(store: "RunStore", run_id: str, folder: Path) -> str:
    from runs.told.report import current_state

    row = store.find(run_id)
    assert row is not None
    return current_state(row, folder / run_id)


@app.command()
def resume(
    context: typer.Context,
    run_id: str = RUN,
    max_usd: str = typer.Option("", "--max-usd", help="Most US dollars, what was spent before included."),
    max_tokens: int = typer.Option(-1, "--max-tokens", help="Most tokens, in all.", show_default=False),
    max_model_calls: int = typer.Option(-1, "--max-model-calls", help="Most model calls, in all.", show_default=False),
    max_tool_calls: int = typer.Option(-1, "--max-tool-calls", help="Most tool calls, in all.", show_default=False),
    max_seconds: float = typer.Option(-1, "--max-seconds", help="Most seconds of work, in all.", show_default=False),
    add_budget: list[str] = typer.Option(
        [],
        "--add-budget",
        metavar="NAME=AMOUNT",
        help="Raise every ceiling of it: usd, tokens, model_calls, tool_calls or seconds. May be repeated.",
    ),
    accept_code_change: bool = typer.Option(False, "--accept-code-change", help="Go on although user code changed."),
    as_json: bool = JSON,
) -> None:
    """Go on with a run that was interrupted, failed, stopped at a ceiling or waits. What is done is not done again."""
    here = session(context)
    budget = read_budget(max_usd, max_tokens, max_model_calls, max_tool_calls, max_seconds)
    added = read_added(add_budget)
    row, _, reader = find_in_journal(here, run_id)
    reader.close()
    with open_runner(here) as runner:
        raise typer.Exit(go_on(runner, here, row.run_id, budget, accept_code_change, as_json, added))
