"""`muster runs pause` and `cancel`, whatever the run is doing."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from main import execute
from runs.people.inbox import Inbox
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.queue_scene import begun, read_marks, write_scene
from tests.runs.scene import until
from tests.scripted_server import ScriptedServer


@pytest.fixture(params=["sqlite", "postgresql"])
def here(
    request: pytest.FixtureRequest, tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    if request.param == "postgresql":
        monkeypatch.setenv("MUSTER_DATABASE_URL", request.getfixturevalue("postgres"))
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    made = Lab(tmp_path / "project")
    work = '@call look {"text": "{topic} 1", "seconds": 1}\n@call look {"text": "{topic} 2", "seconds": 60}\n@answer: x'
    write_scene(made, {"work": work}, None, server.base_url)
    yield made
    made.close()


def muster(lab: Lab, *arguments: str) -> int:
    return execute(["--project", str(lab.root), *arguments])


def put(lab: Lab, state: str) -> str:
    """Store a run in this state, which no process has."""
    run_id = lab.runner.enqueue(lab.plan(inputs={"topic": "rain"}))
    lab.runner.store.change(run_id, {"state": state})
    return run_id


def test_a_run_under_way_elsewhere_is_paused_between_calls_and_goes_on(
    here: Lab, farm: Farm, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = farm.start(here.root, "run", "default", "-i", "topic=rain", "--id", "one")
    until(lambda: begun(read_marks(tmp_path / "effects"))["rain 1"])
    assert muster(here, "runs", "pause", "one") == 0
    assert capfd.readouterr().err == "run one paused\n"
    assert process.wait() == 130
    assert begun(read_marks(tmp_path / "effects"))["rain 2"] == 0
    again = farm.start(here.root, "runs", "resume", "one")
    until(lambda: begun(read_marks(tmp_path / "effects"))["rain 2"])
    assert begun(read_marks(tmp_path / "effects"))["rain 1"] == 1
    again.signal(signal.SIGKILL)


def test_a_call_of_a_minute_does_not_hold_up_a_cancel(here: Lab, farm: Farm, tmp_path: Path) -> None:
    process = farm.start(here.root, "run", "default", "-i", "topic=rain", "--id", "one")
    until(lambda: begun(read_marks(tmp_path / "effects"))["rain 2"])
    began = time.monotonic()
    assert muster(here, "runs", "cancel", "one") == 0
    assert here.runner.find("one").state == "cancelled"
    assert process.wait() == 1
    assert time.monotonic() - began < 30  # the call takes a minute
    resumed = farm.start(here.root, "runs", "resume", "one")
    assert resumed.wait() == 1
    assert "run one was cancelled" in resumed.text()


@pytest.mark.parametrize("state", ["queued", "waiting", "interrupted"])
def test_a_run_that_no_process_has_is_paused_and_cancelled(here: Lab, state: str) -> None:
    run_id = put(here, state)
    assert muster(here, "runs", "pause", run_id) == 0
    assert here.runner.find(run_id).state == "paused"
    assert muster(here, "runs", "cancel", run_id) == 0
    assert (here.runner.find(run_id).state, here.runner.find(run_id).reason) == (
        "cancelled",
        "cancelled by an operator",
    )


@pytest.mark.parametrize("state", ["failed", "stopped", "paused", "succeeded", "cancelled"])
def test_what_does_not_go_on_by_itself_is_not_paused(here: Lab, state: str, capfd: pytest.CaptureFixture[str]) -> None:
    run_id = put(here, state)
    assert muster(here, "runs", "pause", run_id) == 1
    assert f"run {run_id} is {state}: there is nothing to pause" in capfd.readouterr().err


@pytest.mark.parametrize(("state", "code"), [("failed", 0), ("stopped", 0), ("succeeded", 1), ("cancelled", 1)])
def test_what_is_not_over_is_cancelled(here: Lab, state: str, code: int) -> None:
    run_id = put(here, state)
    assert muster(here, "runs", "cancel", run_id) == code
    assert here.runner.find(run_id).state == ("cancelled" if code == 0 else state)


def test_a_run_that_a_dead_process_left_is_cancelled(here: Lab, farm: Farm, tmp_path: Path) -> None:
    (run_id,) = [here.runner.enqueue(here.plan(inputs={"topic": "rain"}))]
    worker = farm.start(here.root, "worker", "--lease", "2")
    until(lambda: read_marks(tmp_path / "effects"))
    worker.signal(signal.SIGKILL)
    until(lambda: not here.runner.owners.holder(run_id))
    assert muster(here, "runs", "cancel", run_id) == 0
    assert here.runner.find(run_id).state == "cancelled"
    assert farm.start(here.root, "worker", "--once").wait() == 0
    assert here.runner.find(run_id).state == "cancelled"


def test_the_open_questions_of_a_cancelled_run_are_void(here: Lab, farm: Farm) -> None:
    here.write(
        tasks="""
            work:
              description: "@answer: {topic}"
              expected_output: A line.
              agent: worker
              human_input: true
        """
    )
    run_id = here.runner.enqueue(here.plan(inputs={"topic": "rain"}))
    assert farm.start(here.root, "worker", "--once").wait() == 0
    inbox = Inbox(here.runner.database)
    assert len(inbox.open(run_id)) == 1
    assert muster(here, "runs", "cancel", run_id) == 0
    assert [row.state for row in inbox.all(run_id)] == ["void"]
