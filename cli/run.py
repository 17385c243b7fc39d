"""`muster run`: start a run of a crew, or go on with the one that has this id."""

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from cli.asking import ask_at_terminal
from cli.output import print_json, result, say
from cli.session import Session, session
from project.errors import UsageError

if TYPE_CHECKING:
    from crews.planned import Plan
    from policy.budget import Added
    from project.spec import BudgetSpec
    from runs.executing.control import Runner
    from runs.executing.settling import Outcome
    from runs.people.questions import Question
    from runs.stored.store import RunRow

_EXITS = {
    "succeeded": 0,
    "failed": 1,
    "stopped": 1,
    "cancelled": 1,
    "waiting": 4,
    "paused": 130,
    "interrupted": 130,
}
OFFLINE_WORDS = (
    "Offline mode: no language model is configured. The text is a selection of sentences copied from the sources\n"
    "cited; nothing was written, inferred or checked for truth. Set OPENAI_API_KEY (or another provider's key) in the\n"
    "environment or in .env, or name a local server in config/models.yaml, and run again for written text."
)


def run(
    context: typer.Context,
    crew: str = typer.Argument(..., help="The crew to run: a name in crews.yaml."),
    inputs: list[str] = typer.Option([], "-i", "--input", metavar="KEY=VALUE", help="An input. May be repeated."),
    inputs_file: str = typer.Option("", "--inputs", metavar="FILE", help="A YAML or JSON file of inputs."),
    model: str = typer.Option("", "--model", help="Model for every agent: a name in models.yaml or provider/model."),
    run_id: str = typer.Option("", "--id", help="Id of the run. Given again: it goes on, or its result is printed."),
    max_usd: str = typer.Option("", "--max-usd", help="Most US dollars to spend."),
    max_tokens: int = typer.Option(
        -1, "--max-tokens", help="Most tokens, input and output together.", show_default=False
    ),
    max_model_calls: int = typer.Option(-1, "--max-model-calls", help="Most model calls.", show_default=False),
    max_tool_calls: int = typer.Option(-1, "--max-tool-calls", help="Most tool calls.", show_default=False),
    max_seconds: float = typer.Option(-1, "--max-seconds", help="Most seconds of work.", show_default=False),
    detach: bool = typer.Option(False, "--detach", help="Queue it for `muster serve` or a worker; print its id."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document, and nothing on stderr but errors."),
) -> None:
    """Run a crew. The result goes to stdout, progress to stderr."""
    from crews.plan import plan_crew
    from project.code import code_hashes
    from project.inputs import read_inputs
    from project.settings import make_state_folder

    here = session(context)
    project = here.load()
    settings = here.settings()
    given = gather_inputs(inputs, inputs_file)
    plan = plan_crew(
        project,
        crew,
        read_inputs(project, crew, given, Path.cwd()),
        settings.environment,
        model=model or None,
        budget=read_budget(max_usd, max_tokens, max_model_calls, max_tool_calls, max_seconds),
        code=code_hashes(project.root),
    )
    make_state_folder(settings)
    with open_runner(here) as runner:
        if detach:
            raise typer.Exit(_enqueue(runner, plan, run_id, here.quiet, as_json))
        raise typer.Exit(_start_or_go_on(runner, here, plan, run_id, as_json))


def _enqueue(runner: "Runner", plan: "Plan", run_id: str, quiet: bool, as_json: bool) -> int:
    """Queue the run, or name the one that has this id; so that whoever is not sure may ask again."""
    from runs.people.origin import started_by
    from runs.told.report import current_state

    stored = _find_same(runner, plan, run_id)
    if stored is not None:
        queued, state = stored.run_id, current_state(stored, runner.folder(stored.run_id))
        said = f"run {queued} is {state} already"
    else:
        queued, state = runner.enqueue(plan, run_id or None, origin={"by": started_by()}), "queued"
        said = "queued; `muster serve` or `muster worker` executes it"
    if as_json:
        print_json({"run_id": queued, "status": state})
        return 0
    result(queued)
    if not quiet:
        say(said)
    return 0


def _find_same(runner: "Runner", plan: "Plan", run_id: str) -> "RunRow | None":
    """Return the run that has this id; None when there is none. Raises: UsageError when it is another one."""
    from runs.governed.redaction import clean_plan
    from runs.ids import check_run_id

    row = runner.store.find(check_run_id(run_id)) if run_id else None
    if row is not None:
        stored = row.read_plan()
        if (stored.crew, stored.inputs) != (plan.crew, clean_plan(plan).inputs):
            raise UsageError(f"run {run_id} has another crew or other inputs", fix="choose another --id")
    return row


def _start_or_go_on(runner: "Runner", here: Session, plan: "Plan", run_id: str, as_json: bool) -> int:
    row = _find_same(runner, plan, run_id)
    if row is not None:
        if row.state == "succeeded":
            return show_finished(runner, row.run_id, as_json)
        return go_on(runner, here, row.run_id, None, False, as_json)
    quiet = here.quiet or as_json
    name_interrupted(runner, quiet)
    progress = _progress(plan, quiet, here.verbose)
    attended = _at_terminal() and not quiet
    started = runner.start(plan, run_id or None, listener=progress.listen, attended=attended)
    code = _attend_and_finish(runner, started, plan, progress, quiet, as_json)
    _tell_approvers(runner, here, plan, code)
    return code


def go_on(
    runner: "Runner",
    here: Session,
    run_id: str,
    budget: "BudgetSpec | None",
    accept_code_change: bool,
    as_json: bool,
    added: "Added | None" = None,
) -> int:
    """Resume a run and attend to it until it ends or parks; return the exit code."""
    quiet = here.quiet or as_json
    plan = runner.find(run_id).read_plan()
    progress = _progress(plan, quiet, here.verbose)
    attended = _at_terminal() and not quiet
    runner.resume(
        run_id,
        budget=budget,
        added=added,
        accept_code_change=accept_code_change,
        listener=progress.listen,
        attended=attended,
    )
    code = _attend_and_finish(runner, run_id, plan, progress, quiet, as_json)
    _tell_approvers(runner, here, plan, code)
    return code


def _tell_approvers(runner: "Runner", here: Session, plan: "Plan", code: int) -> None:
    """Tell the channels of `approvals.notify` that the run waits; a channel that fails is left to `muster serve`."""
    if code != _EXITS["waiting"] or plan.policy is None or not plan.policy.approvals.notify:
        return
    from project.errors import AppError
    from runs.people.notify import send_due

    settings = here.settings()
    try:
        channels = here.load().channels
    except AppError as error:
        say(f"note: nobody was told: {error}")
        return
    for line in send_due(runner.database, settings.root, channels, settings.environment, time.time()):
        say(f"note: {line}")


def _attend_and_finish(runner: "Runner", run_id: str, plan: "Plan", progress: Any, quiet: bool, as_json: bool) -> int:
    if not quiet:
        announce(run_id, plan)
    with progress:
        outcome = attend(runner, run_id, progress, quiet)
    return finish(runner, outcome, as_json, quiet)


def _progress(plan: "Plan", quiet: bool, verbose: bool) -> Any:
    from cli.progress import Progress

    known = plan.tasks if plan.process == "sequential" else []  # a manager's subtasks are known when it has planned
    return Progress([(task.name, task.agent_name) for task in known], quiet=quiet, verbose=verbose)


@contextlib.contextmanager
def open_runner(here: Session, lease_seconds: float | None = None) -> Any:
    """Give a runner of the project; what user code and libraries print goes to stderr meanwhile."""
    from runs import quiet

    settings = here.settings()
    with contextlib.redirect_stdout(sys.stderr):
        quiet.prepare(settings.state_folder)
        from runs.executing.control import Runner
        from runs.executing.owners import LEASE_SECONDS

        tell = None if here.quiet else say
        runner = Runner(settings, lease_seconds=lease_seconds or LEASE_SECONDS, tell=tell)
        try:
            yield runner
        finally:
            runner.close()


def attend(runner: "Runner", run_id: str, progress: Any, quiet: bool) -> "Outcome":
    """Wait for the run; Ctrl-C parks it."""
    ask = None
    if _at_terminal() and not quiet:

        def ask_here(question: "Question") -> str:
            progress.pause()
            return ask_at_terminal(question)

        ask = ask_here
    try:
        return runner.wait(run_id, ask=ask)
    except (KeyboardInterrupt, EOFError):
        if not quiet:
            say(f"\nstopping: calls in flight are waited for a little, Ctrl-C again leaves them; run {run_id}")
    try:
        return runner.interrupt(run_id, "interrupted by Ctrl-C")
    except KeyboardInterrupt:
        return runner.abandon(run_id, "interrupted by Ctrl-C")


def _at_terminal() -> bool:
    # The process's own stderr: the live display stands in for sys.stderr.
    return sys.stdin is not None and sys.stdin.isatty() and sys.__stderr__ is not None and sys.__stderr__.isatty()


def announce(run_id: str, plan: "Plan") -> None:
    """Say the run's id and which models answer, first of all."""
    say(f"run {run_id}")
    for name, spec in plan.models.items():
        say(f"model {name}: {spec.model} ({plan.model_reasons[name]})")


def name_interrupted(runner: "Runner", quiet: bool) -> None:
    """Name runs whose process died; they are left alone."""
    if quiet:
        return
    from runs.told.report import current_state

    for row in runner.store.list(200):
        if current_state(row, runner.folder(row.run_id)) != row.state:
            say(f"run {row.run_id} was interrupted; `muster runs resume {row.run_id}` goes on with it")


def finish(runner: "Runner", outcome: "Outcome", as_json: bool, quiet: bool) -> int:
    """Print how the run ended; return the exit code."""
    from runs.told.report import summarise

    row = runner.find(outcome.run_id)
    if as_json:
        print_json(summarise(runner.source(), row, runner.folder(row.run_id)))
    elif outcome.status == "succeeded":
        result(outcome.output)
        _tell_partial(outcome.partial, quiet)
        if row.offline and not quiet:
            say(f"\n{OFFLINE_WORDS}")
    for warning in outcome.warnings if not quiet else ():
        say(f"note: {warning}")
    if outcome.status == "stopped" and not quiet:
        _tell_done(summarise(runner.source(), row, runner.folder(row.run_id)), runner.folder(row.run_id))
    if outcome.status != "succeeded":
        _explain(outcome, quiet)
    return _EXITS[outcome.status]


def _tell_partial(notes: Sequence[str], quiet: bool) -> None:
    """Say what the result lacks: it is there, but not whole."""
    if notes and not quiet:
        say("\nThe result is partial:")
        for note in notes:
            say(f"- {note}")


def _tell_done(summary: Mapping[str, Any], folder: Path) -> None:
    """Say what a run that stopped has got, and where it lies."""
    done = list(summary["partial_outputs"])
    if done:
        say(f"done: {', '.join(done)}; what they gave lies in {folder / 'outputs'}")


def _explain(outcome: "Outcome", quiet: bool) -> None:
    words = {
        "failed": "failed",
        "stopped": "stopped at a ceiling",
        "waiting": "waits",
        "interrupted": "was interrupted",
        "paused": "is paused",
        "cancelled": "was cancelled",
    }
    say(f"run {outcome.run_id} {words[outcome.status]}: {outcome.reason}")
    if outcome.fix:
        say(f"hint: {outcome.fix}")
    if quiet or outcome.status == "cancelled" or (outcome.status == "stopped" and outcome.fix):
        return
    goes_on = {
        "failed": " tries again what failed",
        "stopped": " goes on, once its ceiling is higher",
        "waiting": " at a terminal asks again",
        "interrupted": " goes on",
        "paused": " goes on",
    }[outcome.status]
    say(f"hint: `muster runs resume {outcome.run_id}`{goes_on}; what is done is kept and not paid again")


def show_finished(runner: "Runner", run_id: str, as_json: bool) -> int:
    """Print the stored result of a finished run."""
    from runs.told.report import summarise

    row = runner.find(run_id)
    summary = summarise(runner.source(), row, runner.folder(run_id))
    if as_json:
        print_json(summary)
    else:
        result(summary["output"])
    return 0


def gather_inputs(pairs: list[str], file: str) -> Mapping[str, str]:
    """Read `-i KEY=VALUE` over the file of `--inputs`. Raises: UsageError."""
    found: dict[str, str] = _read_inputs_file(file) if file else {}
    return found | read_pairs("-i", pairs)


def read_pairs(
    option: str, pairs: Sequence[str], *, noun: str = "input", example: str = "topic='solar power'"
) -> dict[str, str]:
    """Read an option that takes KEY=VALUE and may be repeated. Raises: UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} takes KEY=VALUE, got {pair!r}", fix=f"{option} {example}")
        if key in found:
            raise UsageError(f"{noun} {key!r} is given twice")
        found[key] = value
    return found


def _read_inputs_file(file: str) -> dict[str, str]:
    import yaml

    try:
        found: Any = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--inputs {file}: can't be read: {first}") from error
    pairs = cast(dict[Any, Any], found) if isinstance(found, dict) else {None: None}
    if not all(
        isinstance(key, str) and isinstance(value, str | int | float) and not isinstance(value, bool)
        for key, value in pairs.items()
    ):
        raise UsageError(f"--inputs {file}: must hold KEY: VALUE, the values texts or numbers")
    return {str(key): str(value) for key, value in pairs.items()}


def read_budget(
    max_usd: str, max_tokens: int, max_model_calls: int, max_tool_calls: int, max_seconds: float
) -> "BudgetSpec | None":
    """Make ceilings of the options; None when none is given. Raises: UsageError."""
    from project.spec import BudgetSpec

    values: dict[str, Any] = {}
    if max_usd:
        try:
            values["max_usd"] = Decimal(max_usd)
        except InvalidOperation as error:
            raise UsageError(f"--max-usd takes a number, got {max_usd!r}") from error
        if not values["max_usd"].is_finite() or values["max_usd"] < 0:
            raise UsageError(f"--max-usd must be a number >= 0, got {max_usd!r}")
    numbers = {"max_tokens": max_tokens, "max_model_calls": max_model_calls, "max_tool_calls": max_tool_calls}
    for name, value in {**numbers, "max_seconds": max_seconds}.items():
        if value != -1:
            if value < 0 or (name == "max_seconds" and value == 0):
                raise UsageError(f"--{name.replace('_', '-')} must be > 0, got {value}")
            values[name] = value
    return BudgetSpec(**values) if values else None


def read_added(pairs: Sequence[str]) -> "Added | None":
    """Read what `--add-budget` adds, `usd=0.5` or `usd=0.5,tokens=1000`; None for nothing. Raises: UsageError."""
    from policy.budget import Added

    found: dict[str, Decimal | int | float] = {}
    for pair in (part.strip() for text in pairs for part in text.split(",")):
        name, _, value = pair.partition("=")
        read = _AMOUNTS.get(name)
        if read is None:
            raise UsageError(f"--add-budget takes NAME=AMOUNT, got {pair!r}", fix=f"one of: {', '.join(_AMOUNTS)}")
        if name in found:
            raise UsageError(f"--add-budget {name} is given twice")
        try:
            found[name] = amount = read(value)
            fits = 0 < amount < _MOST_ADDED
        except (ValueError, InvalidOperation):  # the latter for a NaN, too
            fits = False
        if not fits:
            whole = "a whole number" if read is int else "a number"
            raise UsageError(f"--add-budget {name} takes {whole} > 0, got {value!r}")
    return Added(**cast(dict[str, Any], found)) if found else None


_AMOUNTS = {"usd": Decimal, "tokens": int, "model_calls": int, "tool_calls": int, "seconds": float}
_MOST_ADDED = 10**15
