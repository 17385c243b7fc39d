"""Progress of a run on stderr: one live line a task on a terminal, one plain line an event in a pipe."""

import re
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.output import duration, fancy, money, say
from policy.budget import Spent

if TYPE_CHECKING:
    from runs.executing.state import Event

_PIECE = re.compile(r"\.[acfi]\d+(r\d+)?$")
JOURNALED = "from the journal"
"""Detail of the event that ends a task which was done before this process."""
_MARKS = {"waiting": "·", "running": "▸", "done": "✓", "parked": "■"}


@dataclass
class _Line:
    agent: str
    state: str = "waiting"
    began: float = 0.0
    ended: float = 0.0
    detail: str = ""
    spent: Spent = field(default_factory=Spent)
    journaled: bool = False
    """Whether it was done before this process."""


class Progress:
    """Shows a run's tasks while it is executed. Use as a context; `listen` may be called from any thread."""

    def __init__(self, tasks: Sequence[tuple[str, str]], *, quiet: bool, verbose: bool) -> None:
        """Take the tasks as (name, agent) in order."""
        self._lines: dict[str, _Line] = {name: _Line(agent) for name, agent in tasks}
        self._quiet, self._verbose = quiet, verbose
        self._lock = threading.Lock()
        self._live: Any = None
        self._plainly = not quiet and not fancy(sys.stderr)

    def __enter__(self) -> "Progress":
        if not self._quiet and not self._plainly:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stderr)
            self._live = Live(
                get_renderable=self._table,
                console=console,
                refresh_per_second=8,
                transient=False,
                redirect_stdout=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the live lines off the terminal for good."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._plainly = True

    def listen(self, event: "Event") -> None:
        """Take note of what happened."""
        line = self._line(event)
        if line is None:
            return
        with self._lock:
            self._note(line, event)
            for path, above in self._lines.items():
                if event.task.startswith(f"{path}.") and above is not line:  # the crew of a pipeline's task
                    above.spent = above.spent.plus(event.more)
        if self._plainly:
            self._plain(line, event)

    def _line(self, event: "Event") -> _Line | None:
        """Return the line of a task; what a manager or a pipeline starts gets one, a piece has its task's."""
        with self._lock:
            if event.task not in self._lines and event.kind == "task_started" and not _PIECE.search(event.task):
                self._lines[event.task] = _Line(event.agent)
            path = event.task
            while path and path not in self._lines:
                path = path.rpartition(".")[0]
            found = self._lines.get(path)
            piece = path != event.task and event.kind in ("task_started", "task_done", "task_parked")
            return None if piece else found

    def _note(self, line: _Line, event: "Event") -> None:
        line.spent = line.spent.plus(event.more)
        line.detail = event.detail
        now = time.monotonic()
        if event.kind == "task_started":
            line.state, line.began = "running", line.began or now
            line.agent = event.agent or line.agent
        elif event.kind == "task_done":
            line.state, line.ended, line.journaled = "done", now, event.detail == JOURNALED
        elif event.kind == "task_parked":
            line.state, line.ended = "parked", now

    def _plain(self, line: _Line, event: "Event") -> None:
        if event.kind == "task_done":
            skipped = event.detail == "skipped"
            say(f"{event.task} ({line.agent}): " + ("skipped" if skipped else f"done, {self._figures(line)}"))
        elif event.kind == "task_parked":
            say(f"{event.task} ({line.agent}): stopped: {event.detail}")
        elif event.kind == "retry":
            say(f"{event.task} ({line.agent}): a call failed: {event.detail}")
        elif self._verbose and event.kind == "call":
            say(f"{event.task} ({line.agent}): {event.detail}")

    def _figures(self, line: _Line) -> str:
        if line.state == "done" and line.journaled:
            return JOURNALED
        took = (line.ended or time.monotonic()) - line.began if line.began else 0.0
        tokens = line.spent.input_tokens + line.spent.output_tokens
        usd = str(line.spent.usd) if line.spent.usd else None
        cost = money(usd, unknown=bool(line.spent.unpriced_calls))
        return f"{duration(took)}, {tokens} tokens, {cost}"

    def _table(self) -> Any:
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(no_wrap=True, style="dim", overflow="ellipsis")
        with self._lock:
            for name, line in self._lines.items():
                figures = self._figures(line) if line.began else ""
                detail = line.detail if line.state in ("running", "parked") else ""
                grid.add_row(f"{_MARKS[line.state]} {name}", line.agent, figures, detail)
        return grid
