"""Start the children of a workflow when what they wait for is done, and wait for them, durably."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.executing.state import Event, Parked, RunState
from runs.governed.tainting import Reading
from runs.stored import engine
from runs.stored.journal import pack, unpack
from runs.work.unit import Start

_POLL_SECONDS = 1.0

Done = dict[str, dict[str, Any]]
"""Results by name."""


@dataclass(frozen=True)
class Child:
    """A part of the work that is a workflow of its own: at `path`, when all of `waits_for` are done."""

    name: str
    path: str
    waits_for: Sequence[str]
    work: Callable[[Done, Sequence[str]], dict[str, Any] | None]
    """Takes the results so far and the names of those under way; returns the work, or None when there is none."""
    agent: str = ""


@dataclass
class Walk:
    """The children of one workflow. `label` tells its steps from those of another walk in the same workflow."""

    run: RunState
    start: Start
    reading: Reading
    """Of the workflow: it takes what the children have read, when all of them are done."""
    label: str = ""
    done: Done = field(default_factory=Done)
    _joins: int = 0
    _handles: list[Any] = field(default_factory=list[Any])

    def go(self, children: Sequence[Child], width: int | None = None) -> Done:
        """Do all of `children`, at most `width` side by side; return `done` with their results.

        A child for which there is no work has the result {"blocked": True}. Raises: Parked.
        """
        paths: dict[str, str] = {}
        while any(child.name not in self.done for child in children):
            for child in children:
                under_way = [name for name in paths if name not in self.done]
                if child.name in paths or child.name in self.done or (width and len(under_way) >= width):
                    continue
                if all(name in self.done for name in child.waits_for):
                    self._start(child, under_way, paths)
            under_way = [name for name in paths if name not in self.done]
            if under_way:
                self._join(under_way, paths)
        for handle in self._handles:  # a result is known a moment before it is written down
            engine.await_recorded(handle)
        self._handles.clear()
        self.reading.take(self.done[child.name] for child in children)
        return self.done

    def _start(self, child: Child, under_way: Sequence[str], paths: dict[str, str]) -> None:
        work = child.work(self.done, under_way)
        if work is None:
            self.done[child.name] = {"blocked": True}
            return
        paths[child.name] = child.path
        agent = child.agent or next(iter(work.get("lead", {}).get("agents", [])), "")
        self.run.tell(Event("task_started", child.path, agent=agent))
        self._handles.append(self.start(child.path, pack(work, self.run.folder)))

    def _join(self, under_way: Sequence[str], paths: dict[str, str]) -> None:
        if len(under_way) == 1:  # no choice, so nothing to journal
            finished = list(under_way)
        else:
            self._joins += 1
            waited = {paths[name]: name for name in under_way}
            found = engine.step(f"{self.label}join#{self._joins}", lambda: _await_any(self.run, list(waited)))
            finished = [waited[path] for path in found["tasks"]]
        for name in finished:
            self.done[name] = unpack(_result_of(self.run, paths[name]), self.run.folder)
            detail = "skipped" if self.done[name].get("skipped") else ""
            if paths[name] not in self.run.fresh:
                detail = "from the journal"
            self.run.tell(Event("task_done", paths[name], detail))


def _await_any(run: RunState, paths: Sequence[str]) -> dict[str, Any]:
    """Wait until a task of `paths` is done; say which are. Raises: Parked when none can be done in this execution."""
    while True:
        with run.changed:
            finished = [path for path in paths if path in run.results]
            if finished:
                return {"kind": "join", "tasks": finished}
            if all(path in run.parked for path in paths):
                raise _worst([run.parked[path] for path in paths], paths)
            run.changed.wait(_POLL_SECONDS)
        for path in paths:
            _look_up(run, path)


def _result_of(run: RunState, path: str) -> dict[str, Any]:
    if run.resumed:
        _look_up(run, path)
    _await_any(run, [path])
    return run.results[path]


def _look_up(run: RunState, path: str) -> None:
    """Take the result of a task that was finished before this process, or by another one."""
    if path not in run.results:
        found = engine.find(f"{run.run_id}.{path}")
        if found is not None and found.status == "SUCCESS":
            run.note_result(path, found.output, fresh=False)


def _worst(stops: Sequence[Parked], names: Sequence[str]) -> Parked:
    order = ("failed", "stopped", "waiting", "interrupted")
    stop = min(stops, key=lambda stop: order.index(stop.kind))
    name = names[list(stops).index(stop)]
    others = [
        f"{other_name}: {other.reason}" for other_name, other in zip(names, stops, strict=True) if other is not stop
    ]
    said = stop.reason if stop.reason.startswith(f"{name}.") else f"{name}: {stop.reason}"  # a part names itself
    return Parked(stop.kind, "; also ".join([said, *others]), stop.fix)
