"""Workers: real `muster worker` processes, what they execute, take over and hand over."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.farm import Farm, Process
from tests.lab import Lab
from tests.postgres import PostgresServer
from tests.runs.queue_scene import begun, most_at_once, read_marks, write_scene
from tests.runs.scene import until
from tests.scripted_server import ScriptedServer


class Scene:
    """A project with queued runs, and the marks that they leave."""

    def __init__(self, root: Path, server: ScriptedServer, effects: Path) -> None:
        self.lab, self._server, self._effects = Lab(root), server, effects

    def write(self, tasks: dict[str, str], queue: dict[str, Any] | None = None) -> None:
        write_scene(self.lab, tasks, queue, self._server.base_url)

    def queue(self, count: int, stem: str = "run") -> list[str]:
        plans = [self.lab.plan(inputs={"topic": f"{stem} {number}"}) for number in range(count)]
        return [self.lab.runner.enqueue(plan) for plan in plans]

    def marks(self) -> list[Any]:
        return read_marks(self._effects)

    def row(self, run_id: str) -> Any:
        return self.lab.runner.find(run_id)

    def states(self, ids: list[str]) -> list[str]:
        return [self.row(run_id).state for run_id in ids]


@pytest.fixture
def scene(tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """On SQLite."""
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    made = Scene(tmp_path / "project", server, tmp_path / "effects")
    yield made
    made.lab.close()


@pytest.fixture
def shared(postgres: str, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> Scene:
    """On PostgreSQL."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres)
    return scene


def test_three_workers_execute_all_runs_once_and_keep_the_limit_of_a_queue(shared: Scene, farm: Farm) -> None:
    work = '@call send {"text": "{topic}", "seconds": 0.05}\n@answer: done {topic}'
    shared.write({"work": work}, {"name": "busy", "max_running": 4})
    ids = shared.queue(24)
    workers = [farm.start(shared.lab.root, "worker", "--runs", "3", "--once") for _ in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert shared.states(ids) == ["succeeded"] * 24
    assert [shared.row(run_id).starts for run_id in ids] == [1] * 24
    assert sorted(begun(shared.marks()).values()) == [1] * 24
    assert most_at_once(shared.marks()) <= 4


def test_the_runs_of_a_killed_worker_are_taken_over_and_the_stopped_one_is_refused(shared: Scene, farm: Farm) -> None:
    calls = [
        f'@call {"send" if number == 2 else "look"} {{"text": "{{topic}} {number}", "seconds": 1.0}}'
        for number in range(5)
    ]
    shared.write({"work": "\n".join([*calls, "@answer: done {topic}"])})
    ids = shared.queue(4)
    killed, stopped = [farm.start(shared.lab.root, "worker", "--lease", "4", "--runs", "2") for _ in range(2)]
    until(lambda: {mark.pid for mark in shared.marks()} == {killed.pid, stopped.pid})
    steady = farm.start(shared.lab.root, "worker", "--lease", "4", "--runs", "8")
    steady.wait_for("executes queued runs")
    killed.signal(signal.SIGKILL)
    stopped.signal(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: all(_held_by(shared, run_id) in ("", steady.pid) for run_id in ids))
    assert time.monotonic() - began <= 1.25 * 4 + 30
    stopped.signal(signal.SIGCONT)
    stopped.wait_for("another process has taken the run over")
    until(lambda: shared.states(ids) == ["succeeded"] * 4)
    marks = shared.marks()
    counts = begun(marks)
    assert all(count == 1 for text, count in counts.items() if text.endswith(" 2"))
    assert sum(count - 1 for count in counts.values()) <= 4  # what was in flight
    assert all(_completed_once(marks, text) for text in counts if text.endswith(" 0"))
    steady.signal(signal.SIGKILL)
    more = shared.queue(1, "more")
    until(lambda: shared.states(more) == ["succeeded"])  # by the one that was stopped
    stopped.signal(signal.SIGTERM)
    assert stopped.wait() == 0


def _held_by(scene: Scene, run_id: str) -> int | str:
    worker = scene.row(run_id).worker
    return int(worker.rsplit("-", 2)[1]) if worker else ""


def _completed_once(marks: list[Any], text: str) -> bool:
    """Say whether a call that had ended before the kill was left alone: the journal has its result."""
    ended = [mark for mark in marks if mark.text == text and mark.what == "end"]
    begun_again = [mark for mark in marks if mark.text == text and mark.what == "begin" and mark.at > ended[0].at + 1.0]
    return not begun_again


def test_on_one_machine_the_runs_of_a_killed_process_are_taken_over_within_seconds(scene: Scene, farm: Farm) -> None:
    scene.write({"work": '@call look {"text": "{topic}", "seconds": 4}\n@answer: done {topic}'})
    (run_id,) = scene.queue(1)
    first = farm.start(scene.lab.root, "worker")
    until(lambda: scene.marks())
    second = farm.start(scene.lab.root, "worker")
    second.wait_for("executes queued runs")
    first.signal(signal.SIGKILL)
    began = time.monotonic()
    second.wait_for("taken over from a process that died")
    assert time.monotonic() - began < 30
    until(lambda: scene.states([run_id]) == ["succeeded"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_hands_its_runs_over(scene: Scene, farm: Farm, number: int) -> None:
    calls = [f'@call look {{"text": "{{topic}} {number}", "seconds": 1.0}}' for number in range(3)]
    scene.write({"work": "\n".join([*calls, "@answer: done {topic}"])})
    (run_id,) = scene.queue(1)
    first = farm.start(scene.lab.root, "worker", "--drain", "0.1")
    until(lambda: scene.marks())
    scene.queue(1, "later")
    first.signal(number)
    assert first.wait() == 0
    assert "is handed over" in first.text()
    row = scene.row(run_id)
    assert (row.state, row.worker, row.reason) == ("queued", "", "handed over by a worker that was stopped")
    second = farm.start(scene.lab.root, "worker", "--once")
    assert second.wait() == 0
    assert scene.states([run_id]) == ["succeeded"]
    assert sum(count - 1 for count in begun(scene.marks()).values()) <= 1  # the call that was left


def test_a_worker_that_is_told_to_end_lets_its_runs_end_when_they_are_quick(scene: Scene, farm: Farm) -> None:
    scene.write({"work": '@call send {"text": "{topic}", "seconds": 0.5}\n@answer: done {topic}'})
    (run_id,) = scene.queue(1)
    worker = farm.start(scene.lab.root, "worker", "--drain", "30")
    until(lambda: scene.marks())
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert scene.states([run_id]) == ["succeeded"]


def test_a_second_signal_ends_a_worker_at_once(scene: Scene, farm: Farm) -> None:
    scene.write({"work": '@call look {"text": "{topic}", "seconds": 30}\n@answer: done {topic}'})
    (run_id,) = scene.queue(1)
    worker = farm.start(scene.lab.root, "worker")
    until(lambda: scene.marks())
    worker.signal(signal.SIGTERM)
    worker.wait_for("takes nothing more")
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == -signal.SIGTERM
    assert time.monotonic() - began < 15  # the call takes 30
    assert scene.states([run_id]) == ["running"]


def test_a_run_that_kills_its_process_each_time_fails(scene: Scene, farm: Farm) -> None:
    scene.write({"work": '@call die {"text": "{topic}"}\n@answer: done {topic}'})
    (run_id,) = scene.queue(1)
    for _ in range(7):  # in the first one a model call was journaled
        assert farm.start(scene.lab.root, "worker").wait() == 9
    last = farm.start(scene.lab.root, "worker", "--once")
    assert last.wait() == 0
    row = scene.row(run_id)
    assert (row.state, row.takeovers) == ("failed", 0)
    assert row.reason == "its process died 6 times in a row before anything more was done"
    assert begun(scene.marks())["run 0"] == 7


def test_a_worker_outlives_a_database_that_is_gone_for_a_while(
    shared: Scene, farm: Farm, postgres_server: PostgresServer
) -> None:
    shared.write({"work": '@call send {"text": "{topic}", "seconds": 2.0}\n@answer: done {topic}'})
    ids = shared.queue(2)
    worker = farm.start(shared.lab.root, "worker", "--runs", "2", "--lease", "4")
    until(lambda: len(shared.marks()) == 2)
    postgres_server.stop()
    worker.wait_for("the database does not answer, trying again")
    postgres_server.start()
    worker.wait_for("the database answers again", 90)
    until(lambda: shared.states(ids) == ["succeeded"] * 2, 120)
    assert sorted(begun(shared.marks()).values()) == [1, 1]
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_outlives_a_database_that_is_locked_for_a_while(scene: Scene, farm: Farm) -> None:
    scene.write({"work": '@call send {"text": "{topic}", "seconds": 1.0}\n@answer: done {topic}'})
    (run_id,) = scene.queue(1)
    worker = farm.start(scene.lab.root, "worker")
    until(lambda: scene.marks())
    with contextlib.closing(sqlite3.connect(scene.lab.root / ".muster" / "muster.db", timeout=30)) as somebody:
        somebody.execute("BEGIN EXCLUSIVE")
        until(lambda: len(scene.marks()) == 2)
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert scene.states([run_id]) == ["succeeded"]
    assert sorted(begun(scene.marks()).values()) == [1]


def test_a_run_that_can_not_be_executed_as_it_is_fails_with_the_reason(scene: Scene, farm: Farm) -> None:
    scene.write({"work": "@answer: done {topic}"})
    (run_id,) = scene.queue(1)
    file = scene.lab.root / "tools" / "marks.py"
    file.write_text(file.read_text() + "\nCHANGED = True\n")
    worker: Process = farm.start(scene.lab.root, "worker", "--once")
    assert worker.wait() == 0
    row = scene.row(run_id)
    assert row.state == "failed"
    assert row.reason.startswith("code of the run was changed since it started: tools/marks.py")
