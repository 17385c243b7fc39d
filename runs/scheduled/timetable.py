"""The project as its schedules see it: read again when a file changes; and the plan of one firing."""

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crews.plan import plan_crew
from crews.planned import Plan
from project.code import code_hashes
from project.cron import read_cron, read_zone, words_of
from project.errors import AppError
from project.fill import fill
from project.inputs import read_inputs
from project.load import Project, load_project
from project.spec_schedules import ScheduleSpec

_TOOLS = Path(__file__).resolve().parents[2] / "tools"
_READ = {"config": (".yaml", ".yml"), "tools": (".py",), "guardrails": (".py",)}
_FILE = "config/schedules.yaml"
_LONGEST_STEM = 40

Stamp = frozenset[tuple[str, int, int]]


class Timetable:
    """The schedules of a project. While its files are wrong, the schedules last read go on."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp: Stamp | None = None
        self._good: Project | None = None
        self._problem: AppError | None = None

    def look(self) -> AppError | None:
        """Read the project where a file has changed; return what is wrong with it, once for each change."""
        stamp = _stamp(self._root)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            self._good, self._problem = load_project(self._root, _TOOLS), None
        except AppError as error:
            self._problem = error
        return self._problem

    @property
    def project(self) -> Project | None:
        """The project as it was when it was last right; None when it never was."""
        return self._good

    @property
    def current(self) -> bool:
        """Whether the files are right as they are now."""
        return self._problem is None

    def project_to_run(self) -> Project:
        """Return the project for a firing. Raises: AppError when anything but schedules.yaml is wrong now."""
        wrong = self._problem.problems if self._problem else ()
        if self._problem is not None and (
            self._good is None or any(problem.where is None or problem.where.path != _FILE for problem in wrong)
        ):
            raise self._problem
        assert self._good is not None
        return self._good


def plan_firing(project: Project, name: str, spec: ScheduleSpec, due_at: float, environ: Mapping[str, str]) -> Plan:
    """Make the plan of one firing, its inputs filled with the time it is due. Raises: AppError."""
    words = words_of(name, due_at, zone_of(spec))
    given = {key: fill(str(value), words) for key, value in spec.inputs.items()}
    values = read_inputs(project, spec.crew, given, project.root)
    code = code_hashes(project.root)
    return plan_crew(project, spec.crew, values, environ, model=spec.model, budget=spec.budget, code=code)


def zone_of(spec: ScheduleSpec) -> ZoneInfo:
    """Return the time zone of a schedule that was checked."""
    zone = read_zone(spec.timezone)
    assert zone is not None
    return zone


def line_of(spec: ScheduleSpec) -> str:
    """Return what says when a schedule is due, as one text."""
    return f"{spec.cron} {spec.timezone}"


def next_due(spec: ScheduleSpec, after: float) -> float | None:
    """Return the next instant at which a schedule is due; None when there is none."""
    return next(read_cron(spec.cron).due_after(after, zone_of(spec)), None)


def run_id_of(project: str, name: str, spec: ScheduleSpec, due_at: float) -> str:
    """Return the id of the run of a firing: always the same, so that storing it again stores nothing."""
    local = datetime.fromtimestamp(due_at, zone_of(spec))
    digest = hashlib.sha256(f"{project}\n{name}\n{due_at!r}".encode()).hexdigest()
    return f"{name[:_LONGEST_STEM]}-{local:%Y%m%d-%H%M}-{digest[:8]}"


def _stamp(root: Path) -> Stamp:
    """Return what changes when a file of the project does."""
    found: set[tuple[str, int, int]] = set()
    for name, endings in _READ.items():
        for folder, _, files in os.walk(root / name):
            for file in files:
                if file.endswith(endings):
                    path = os.path.join(folder, file)
                    try:
                        stat = os.stat(path)
                    except OSError:
                        found.add((path, 0, 0))
                    else:
                        found.add((path, stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
