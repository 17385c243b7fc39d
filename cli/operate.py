"""`muster runs pause` and `cancel`: what an operator wants of a run, whichever process executes it."""

import time
from typing import TYPE_CHECKING

import typer

from cli.output import print_json, say
from cli.runs import JSON, RUN, open_store
from cli.session import Session, session
from cli.signing import sign_change
from project.errors import AppError

if TYPE_CHECKING:
    from pathlib import Path

    from runs.stored.store import RunRow, RunStore

_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.1
_TRIES = 10


def pause(context: typer.Context, run_id: str = RUN, as_json: bool = JSON) -> None:
    """Pause a run: calls under way end, no new one is made. `muster runs resume` goes on with it."""
    store, folder = open_store(session(context))
    want = _Want(
        "pause", "paused", ("queued", "waiting", "interrupted"), "will pause when the calls under way have ended"
    )
    _sign(session(context), store, _operate(store, folder, run_id, want, as_json), want)


def cancel(context: typer.Context, run_id: str = RUN, as_json: bool = JSON) -> None:
    """Cancel a run for good: at once between calls; a call under way is left. What is done stays in the journal."""
    from runs.people.inbox import Inbox

    store, folder = open_store(session(context))
    still = ("queued", "waiting", "interrupted", "failed", "stopped", "paused")
    want = _Want("cancel", "cancelled", still, "will be cancelled as soon as its process sees it")
    found = _operate(store, folder, run_id, want, as_json)
    Inbox(store.database).void(found)
    _sign(session(context), store, found, want)


class _Want:
    """What an operator wants: of a run under way, and of one in one of the states `still`."""

    def __init__(self, verb: str, state: str, still: tuple[str, ...], otherwise: str) -> None:
        self.verb, self.state, self.still, self.otherwise = verb, state, still, otherwise


def _sign(here: Session, store: "RunStore", run_id: str, want: _Want) -> None:
    """Sign who wanted it, and the run as it stands then: a process that had it knows only that somebody did."""
    from runs.people.origin import started_by

    row = store.find(run_id)
    if row is not None and row.state == want.state:
        sign_change(here, store.database, run_id, {"edit": want.verb, "by": started_by()})


def _operate(store: "RunStore", folder: "Path", run_id: str, want: _Want, as_json: bool) -> str:
    """Do what is wanted, and tell what came of it; return the run's id."""
    found, told = _do(store, folder, run_id, want)
    if as_json:
        row = store.find(found)
        print_json({"run_id": found, "status": row.state if row is not None else "deleted"})
    else:
        say(told)
    return found


def _do(store: "RunStore", folder: "Path", run_id: str, want: _Want) -> tuple[str, str]:
    """Do what is wanted, whatever the run does meanwhile; return the run's id, and what is to be told."""
    from runs.stored.store import find_run
    from runs.told.report import current_state

    for _ in range(_TRIES):  # it may start, or end, just now
        row = find_run(store, run_id)
        state = current_state(row, folder / row.run_id)
        if state == "running":
            if store.change(row.run_id, {"wanted": want.verb}, state="running"):
                return row.run_id, _wait_for_end(store, row, want)
        elif state not in want.still:
            raise AppError(f"run {row.run_id} is {state}: there is nothing to {want.verb}")
        elif _change(store, row, want):
            return row.run_id, f"run {row.run_id} {want.state}"
    raise AppError(f"run {run_id} changes all the time", fix="try again")


def _change(store: "RunStore", row: "RunRow", want: _Want) -> bool:
    values = {
        "state": want.state,
        "reason": f"{want.state} by an operator",
        "updated_at": time.time(),
        "wanted": "",
        "worker": "",
    }
    return store.change(row.run_id, values, state=row.state, worker=row.worker)


def _wait_for_end(store: "RunStore", row: "RunRow", want: _Want) -> str:
    until = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < until:
        found = store.find(row.run_id)
        if found is None or found.state != "running":
            return f"run {row.run_id} {found.state if found else 'is gone'}"
        time.sleep(_POLL_SECONDS)
    return f"run {row.run_id} {want.otherwise}"
