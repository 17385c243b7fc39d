"""The plan of a fork: that of the old run, or one made anew with other inputs or from the project as it is now."""

from collections.abc import Callable, Mapping
from pathlib import Path

from crews.plan import plan_crew
from crews.planned import Plan
from project.code import code_hashes
from project.errors import AppError
from project.inputs import crew_inputs, read_inputs
from project.load import Project
from runs.stored.store import RunRow


def plan_of_fork(
    row: RunRow, load: Callable[[], Project], environ: Mapping[str, str], given: Mapping[str, str], *, reread: bool
) -> Plan:
    """Return what a fork of run `row` does, with the inputs in `given` in place of the old ones.

    The project is read where there are such inputs or it is to be `reread`. Raises: AppError when it was changed since
    the run began and is not to be reread; ConfigErrors for an input that does not fit.
    """
    old = row.read_plan()
    code = code_hashes(Path(old.project))
    if not given and not reread:
        if code != old.code:
            raise _changed(row, "its code was")
        return old
    project = load()
    if not reread and (project.digest != old.project_digest or code != old.code):
        raise _changed(row, "the project was")
    kept = {name: str(value) for name, value in old.inputs.items() if name in crew_inputs(project, old.crew)}
    return plan_crew(
        project,
        old.crew,
        read_inputs(project, old.crew, {**kept, **given}, Path.cwd()),
        environ,
        model=_model_option(old),
        budget=None if reread else old.budget,
        code=code_hashes(project.root),
    )


def _changed(row: RunRow, what: str) -> AppError:
    fix = "put the files back, or take the project as it is now with --project-now"
    return AppError(f"{what} changed since run {row.run_id} was started", fix=fix)


def _model_option(old: Plan) -> str | None:
    """Return the model that `--model` named when the run was started."""
    return next((name for name, reason in old.model_reasons.items() if reason == "--model"), None)
