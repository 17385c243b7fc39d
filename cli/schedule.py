"""`muster schedule`: what comes next and what came last, run one now, pause and resume."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from cli.output import print_json, result, say, table
from cli.session import Session, session

if TYPE_CHECKING:
    from project.spec_schedules import ScheduleSpec
    from runs.scheduled.firings import Firings, Known

app = typer.Typer(
    help="Look at schedules, run one now, pause and resume.", rich_markup_mode=None, invoke_without_command=True
)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
NAME = typer.Argument(..., help="The schedule: a name in schedules.yaml.")


@app.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _print_list(session(context), False)


@app.command("list")
def list_schedules(context: typer.Context, as_json: bool = JSON) -> None:
    """List schedules: the next firing of each, the last one and its run, and those missed."""
    _print_list(session(context), as_json)


@app.command()
def run(context: typer.Context, name: str = NAME, as_json: bool = JSON) -> None:
    """Queue a run of a schedule now; `muster serve` or a worker executes it. Prints the run's id."""
    from cli.run import open_runner
    from project.settings import make_state_folder

    here = session(context)
    _find(here, name)
    make_state_folder(here.settings())
    with open_runner(here) as runner:
        from runs.people.origin import started_by
        from runs.scheduled.schedules import Scheduler

        scheduler = Scheduler(here.settings(), runner.store, runner.enqueue, tell=say)
        run_id = scheduler.run_by_hand(name, started_by())
    if as_json:
        print_json({"run_id": run_id, "status": "queued"})
        return
    result(run_id)
    if not here.quiet:
        say("queued; `muster serve` or `muster worker` executes it")


@app.command()
def pause(context: typer.Context, name: str = NAME) -> None:
    """Keep a schedule from firing until it is resumed. Runs under way go on."""
    from runs.people.origin import started_by

    here = session(context)
    _find(here, name)
    firings = _open(here, make=True)
    assert firings is not None
    if not firings.pause(name, started_by(), time.time()):
        known = firings.known()[name]
        say(f"{name} is paused already: {_paused(known)}")
    elif not here.quiet:
        say(f"{name} is paused; `muster schedule resume {name}` lets it fire again")


@app.command()
def resume(context: typer.Context, name: str = NAME) -> None:
    """Let a paused schedule fire again. What was due meanwhile is not caught up."""
    from project.errors import AppError

    here = session(context)
    spec = _find(here, name)
    if spec.paused:
        raise AppError(f"{name} is paused in config/schedules.yaml", fix=f"take `paused: true` of `{name}` out")
    firings = _open(here)
    if firings is None or not firings.resume(name, time.time()):
        say(f"{name} is not paused")
    elif not here.quiet:
        say(f"{name} fires again")


def _find(here: Session, name: str) -> "ScheduleSpec":
    from project.errors import AppError
    from project.hints import quoted, suggest

    schedules = here.load().schedules
    if name not in schedules:
        nothing = "describe it under `schedules:` of config/schedules.yaml"
        fix = suggest(name, list(schedules), "schedules.yaml has", nothing)
        raise AppError(f"unknown schedule {quoted(name)}", fix=fix, exit_code=3)
    return schedules[name]


def _open(here: Session, *, make: bool = False) -> "Firings | None":
    """Open what is stored of schedules; None when nothing ever was, unless it is to be made."""
    from project.settings import make_state_folder
    from runs.scheduled.firings import Firings
    from runs.stored.database import database_exists, open_database
    from runs.stored.store import RunStore

    settings = here.settings()
    if make:
        make_state_folder(settings)
    elif not database_exists(settings):
        return None
    return Firings(RunStore(open_database(settings)).database, settings.root.name)


def _print_list(here: Session, as_json: bool) -> None:
    schedules = here.load().schedules
    firings = _open(here)
    now = time.time()
    known = firings.known() if firings else {}
    rows = [_listed(name, spec, firings, known.get(name), now) for name, spec in schedules.items()]
    if as_json:
        print_json(rows)
    elif not rows:
        say("no schedules; config/schedules.yaml describes them")
    else:
        head = ("SCHEDULE", "CREW", "WHEN", "NEXT", "LAST", "RUN", "MISSED")
        result(table(head, [_line(row, schedules[row["schedule"]]) for row in rows]))


def _listed(
    name: str, spec: "ScheduleSpec", firings: "Firings | None", known: "Known | None", now: float
) -> dict[str, Any]:
    from runs.scheduled.timetable import next_due

    paused = spec.paused or (known is not None and known.paused_at > 0)
    last = firings.last(name) if firings else None
    counts = firings.counts(name) if firings else {}
    due = None if paused else next_due(spec, now)
    return {
        "schedule": name,
        "crew": spec.crew,
        "cron": spec.cron,
        "timezone": spec.timezone,
        "next_due_at": _instant(due),
        "last_due_at": _instant(last[0].due_at if last else None),
        "last_run_id": last[0].run_id if last else None,
        "last_status": (last[1] or "deleted") if last else None,
        "missed": counts.get("missed", 0),
        "skipped": counts.get("skipped", 0),
        "failed_to_start": counts.get("failed", 0),
        "paused": paused,
        "paused_by": known.paused_by if known and known.paused_at else "schedules.yaml" if paused else None,
        "paused_at": _instant(known.paused_at) if known and known.paused_at else None,
    }


def _line(row: dict[str, Any], spec: "ScheduleSpec") -> tuple[str, ...]:
    paused = f"paused by {row['paused_by']}" + (f", {_local(row['paused_at'], spec)}" if row["paused_at"] else "")
    never = [f"{row[key]} {word}" for key, word in (("skipped", "skipped"), ("failed_to_start", "failed")) if row[key]]
    return (
        row["schedule"],
        row["crew"],
        f"{spec.cron} {spec.timezone}",
        paused if row["paused"] else _local(row["next_due_at"], spec),
        _local(row["last_due_at"], spec),
        f"{row['last_run_id']} {row['last_status']}" if row["last_run_id"] else "–",
        ", ".join([str(row["missed"]), *never]),
    )


def _paused(known: "Known") -> str:
    return f"by {known.paused_by}, {_instant(known.paused_at)}"


def _instant(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _local(instant: str | None, spec: "ScheduleSpec") -> str:
    """Tell an instant by the schedule's own clock."""
    from runs.scheduled.timetable import zone_of

    return "–" if instant is None else f"{datetime.fromisoformat(instant).astimezone(zone_of(spec)):%Y-%m-%d %H:%M}"
