"""`muster serve` and `muster worker`: processes that execute queued runs; `serve` fires the schedules, too."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING

import typer

from cli.output import say
from cli.run import open_runner
from cli.session import Session, session

if TYPE_CHECKING:
    from runs.executing.control import Runner
    from runs.stored.store import RunRow

_WIDTH = 4
_DRAIN_SECONDS = 30.0
_TELL_SECONDS = 1.0

WIDTH = typer.Option(_WIDTH, "--runs", min=1, max=256, help="Most runs at once in this process.")
QUEUES = typer.Option([], "--queue", metavar="NAME", help="Take only runs of this queue. May be repeated.")
DRAIN = typer.Option(_DRAIN_SECONDS, "--drain", min=0, help="Seconds that runs get to end when this is stopped.")
LEASE = typer.Option(30.0, "--lease", min=2, help="Seconds after which others take over (PostgreSQL).")
ONCE = typer.Option(False, "--once", help="End when nothing is queued and nothing runs.")


def worker(
    context: typer.Context,
    width: int = WIDTH,
    queues: list[str] = QUEUES,
    drain: float = DRAIN,
    lease: float = LEASE,
    once: bool = ONCE,
) -> None:
    """Execute queued runs, and take over those of processes that died. Ends on Ctrl-C or SIGTERM, runs handed over."""
    _work(session(context), width, queues, drain, lease, once, schedules=False)


def serve(
    context: typer.Context,
    width: int = WIDTH,
    queues: list[str] = QUEUES,
    drain: float = DRAIN,
    lease: float = LEASE,
    once: bool = ONCE,
) -> None:
    """Fire the schedules and execute queued runs; takes over runs of processes that died."""
    _work(session(context), width, queues, drain, lease, once, schedules=True)


def _work(
    here: Session, width: int, queues: list[str], drain: float, lease: float, once: bool, *, schedules: bool
) -> None:
    from project.settings import make_state_folder

    here.load()  # what is wrong with the project is said now
    make_state_folder(here.settings())
    with open_runner(here, lease_seconds=lease) as runner, _stopping() as stopped:
        from runs.executing.worker import Worker

        tell = _teller(here)
        ticked, ended = _schedules(here, runner, tell, stopped) if schedules else (None, None)
        if not schedules:
            _keep_telling(here, runner, tell, stopped)
        crew_worker = Worker(runner, here.project_folder(), width=width, queues=queues, tell=tell, ended=ended)
        what = "fires schedules and executes" if schedules else "executes"
        tell(f"{what} queued runs, {width} at once; Ctrl-C or SIGTERM ends it")

        def every() -> None:
            if ticked is not None:
                ticked(crew_worker.is_idle())
            if once and crew_worker.is_idle():
                stopped.set()

        crew_worker.work(stopped, every)
        crew_worker.drain(drain)


def _keep_telling(here: Session, runner: "Runner", tell: Callable[[str], None], stopped: threading.Event) -> None:
    """Tell people, in a thread of its own, what waits to be told, where the project has channels."""
    from sqlalchemy.exc import SQLAlchemyError

    from runs.people.notify import send_due

    settings, channels = here.settings(), here.load().channels

    def work() -> None:
        while not stopped.wait(_TELL_SECONDS):
            try:
                for line in send_due(runner.database, settings.root, channels, settings.environment, time.time()):
                    tell(line)
            except SQLAlchemyError as error:  # the notices are still there when the database is
                tell(f"notices wait: the database does not answer ({type(error).__name__})")

    if channels:
        threading.Thread(target=work, name="muster-notices", daemon=True).start()


def _schedules(
    here: Session, runner: "Runner", tell: Callable[[str], None], stopped: threading.Event
) -> "tuple[Callable[[bool], None], Callable[[RunRow], None]]":
    """Return what is to be called at each look, with whether nothing runs, and what with each run that has ended."""
    from runs.repair.keeping import Keeper
    from runs.scheduled.schedules import Scheduler
    from runs.stored.files import runs_folder

    scheduler = Scheduler(here.settings(), runner.store, runner.enqueue, tell=tell)
    keeper = Keeper(here.settings(), runner.store, runs_folder(here.settings()), tell)
    scheduler.keep_sending(stopped)

    def tick(idle: bool) -> None:
        scheduler.tick()
        keeper.turn(idle=idle)

    return tick, scheduler.after


def _teller(here: Session) -> Callable[[str], None]:
    def tell(line: str) -> None:
        if not here.quiet:
            say(f"{time.strftime('%H:%M:%S')} {line}")

    return tell


@contextlib.contextmanager
def _stopping() -> Generator[threading.Event]:
    """Give an event that SIGTERM and Ctrl-C set; the second one ends the process at once."""
    stopped = threading.Event()
    kept = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopped.set()

    for name in kept:
        signal.signal(name, stop)
    try:
        yield stopped
    finally:
        for name, handler in kept.items():
            signal.signal(name, handler)
