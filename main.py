"""The command `muster`: global options, commands added, the one error handler."""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__:  # installed: this is muster/main.py, and the rooms beside it are not yet on the path
    sys.path.insert(0, str(Path(__file__).parent))

import typer

from cli import (
    approvals,
    audit,
    blame,
    check,
    doctor,
    inspect_,
    new,
    operate,
    plan,
    policy,
    repair,
    rollback,
    run,
    runs,
    schedule,
    serve,
    why,
)
from cli.output import print_error, result, say, without_secrets
from cli.session import Session, hoist_globals
from muster import __version__
from project.errors import AppError, database_trouble

app = typer.Typer(
    name="muster",
    help="Run durable crews of AI agents, configured in YAML.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        result(f"muster {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    project: str = typer.Option("", "--project", metavar="DIR", help="The project folder. Default: found from here."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say more on stderr."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="Say nothing on stderr but errors."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),
) -> None:
    context.obj = Session(project or None, verbose, quiet, debug)


app.command("run")(run.run)
app.command("check")(check.check)
app.command("plan")(plan.plan)
app.command("new")(new.new)
app.command("agents")(inspect_.agents)
app.command("crews")(inspect_.crews)
app.command("tools")(inspect_.tools)
app.command("models")(inspect_.models)
app.command("doctor")(doctor.doctor)
app.command("blame")(blame.blame)
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
runs.app.command("why")(why.why)
runs.app.command("pause")(operate.pause)
runs.app.command("cancel")(operate.cancel)
runs.app.command("fork")(repair.fork)
runs.app.command("replay")(repair.replay)
runs.app.command("diff")(repair.diff)
runs.app.command("set")(repair.set_)
runs.app.command("delete")(repair.delete)
runs.app.command("rollback")(rollback.rollback)
runs.app.command("prune")(repair.prune)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")
app.add_typer(approvals.app, name="approvals")
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; return the exit code. The one place where exceptions become messages."""
    debug = "--debug" in arguments
    try:
        return app(hoist_globals(arguments), standalone_mode=False, prog_name="muster") or 0
    except AppError as error:
        print_error(error)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say("interrupted")
        return 130
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        stdout = sys.__stdout__ or sys.stdout  # Typer has put a wrapper in the place of sys.stdout, and wants exit 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())  # nobody reads on: no complaint at exit either
        return 0
    except OSError as error:
        if debug:
            raise
        say(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 1
    except Exception as error:
        show: Any = getattr(error, "show", None)
        if callable(show):  # Typer's own: a wrong command line
            show()
            return 2
        if debug:
            raise
        if trouble := database_trouble(error):
            what, _, fix = trouble.partition(". ")
            print_error(AppError(f"the journal can't be read or written: {what}", fix=fix[:1].lower() + fix[1:]))
            return 1
        say(f"unexpected {type(error).__name__}: {error}")
        say(f"this is a bug of Muster; the traceback is in {_keep_traceback()} (or shown with --debug)")
        return 70


def _keep_traceback() -> str:
    import tempfile
    import traceback

    file, path = tempfile.mkstemp(prefix="muster-error-", suffix=".txt")
    with os.fdopen(file, "w", encoding="utf-8", errors="replace") as stream:
        stream.write(without_secrets(traceback.format_exc()))
    return path


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = execute(sys.argv[1:])
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # Threads of calls that were left: the interpreter would wait for each to end. The journal is the truth.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
