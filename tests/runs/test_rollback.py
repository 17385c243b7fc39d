"""Taking back what a run did: latest first, each once, also when it is killed in the middle; and files half written."""

import json
from pathlib import Path
from typing import Any

import pytest

from runs.repair.rollback import Undone, find_undos, roll_back
from runs.stored.half_written import find_half_written
from tests.cli.conftest import Muster
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.crash_points import chosen, reasons
from tests.runs.scene import database, effects, write_project
from tests.tools.files import folder_of

TOOLS = '''
import os
import threading

from muster import ToolContext, tool


def _append(line: str) -> None:
    with open(os.environ["NOTED"], "a") as file:
        file.write(line + "\\n")


def unpost(text: str, room: str, result: str, idempotency_key: str) -> str:
    if text == os.environ.get("STUCK"):
        raise OSError("the service is down")
    _append(f"unpost {text} in {room}, was {result}, key {len(idempotency_key)}")
    if text == os.environ.get("KILL_AT"):
        os.kill(int(os.environ["MAIN"]), 9)
        threading.Event().wait(60)
    return f"took {text} back"


@tool(effect="send", repeat="safe", undo=unpost)
def post(text: str, room: str = "hall") -> str:
    """Post a text."""
    _append(f"post {text}")
    return f"posted {text}"


@tool(effect="send", repeat="safe")
def shout(text: str) -> str:
    """Shout a text."""
    _append(f"shout {text}")
    return "shouted"


@tool(effect="read")
def look(text: str) -> str:
    """Look."""
    return "seen"
'''


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the tools note what they do."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    folder_of(lab.root, {"tools/mine.py": TOOLS})
    return path


def finished(lab: Lab, **tasks: str) -> str:
    """Run tasks one after the other; return the run."""
    write_project(lab, tasks, {"tools": ["post", "shout", "look", "write_file"]})
    outcome = lab.run()
    assert outcome.status == "succeeded"
    return outcome.run_id


def take_back(lab: Lab, run_id: str, to: str = "", *, go_on: bool = False) -> Undone:
    row, folder = lab.runner.find(run_id), lab.runner.folder(run_id)
    undos = find_undos(lab.runner.source(), row, folder, lab.root, to)
    return roll_back(lab.runner.source(), row, folder, lab.root, undos, "tester@here", go_on=go_on)


def test_calls_are_taken_back_the_latest_first_and_only_once(lab: Lab, noted: Path) -> None:
    run_id = finished(
        lab, work='@call post {"text": "a"}\n@call look {"text": "x"}\n@call post {"text": "b"}\n@answer: ok'
    )
    came = take_back(lab, run_id)
    assert came.undone == {"work/worker/post#3": "took b back", "work/worker/post#1": "took a back"}
    assert effects(noted)[2:] == [
        "unpost b in hall, was posted b, key 24",
        "unpost a in hall, was posted a, key 24",
    ]
    assert take_back(lab, run_id).undone == {}
    assert chosen(lab, run_id, "undo") == ["undone", "undone"]
    assert reasons(lab, run_id, "undo")[0]["by"] == "tester@here"


def test_a_setting_of_yaml_is_what_it_was(lab: Lab, noted: Path) -> None:
    write_project(lab, {"work": '@call post {"text": "a"}\n@answer: ok'}, {"tools": [{"post": {"room": "attic"}}]})
    run_id = lab.run().run_id
    take_back(lab, run_id)
    assert effects(noted)[-1] == "unpost a in attic, was posted a, key 24"


def test_only_what_came_after_a_task_is_taken_back(lab: Lab, noted: Path) -> None:
    run_id = finished(
        lab, first='@call post {"text": "a"}\n@answer: ok', second='@call post {"text": "b"}\n@answer: ok'
    )
    assert take_back(lab, run_id, to="first").undone == {"second/worker/post#1": "took b back"}
    assert take_back(lab, run_id, to="second").undone == {}
    assert list(take_back(lab, run_id).undone) == ["first/worker/post#1"]


def test_an_undo_that_fails_stops_it_there_and_is_tried_again(
    lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = "\n".join(f'@call post {{"text": "{name}"}}' for name in "abc")
    run_id = finished(lab, work=f"{calls}\n@answer: ok")
    monkeypatch.setenv("STUCK", "b")
    came = take_back(lab, run_id)
    assert list(came.undone) == ["work/worker/post#3"]
    assert came.failed == {"work/worker/post#2": "its undo failed: the service is down"}
    assert list(take_back(lab, run_id, go_on=True).undone) == ["work/worker/post#1"]
    monkeypatch.delenv("STUCK")
    assert list(take_back(lab, run_id).undone) == ["work/worker/post#2"]


def test_a_written_file_is_removed_or_gets_its_old_content_back(lab: Lab, noted: Path) -> None:
    write = '@call write_file {{"path": "a.txt", "text": "{}"}}'
    run_id = finished(lab, work=f"{write.format('one')}\n@answer: ok", more=f"{write.format('two')}\n@answer: ok")
    file = lab.runner.folder(run_id) / "files" / "a.txt"
    assert file.read_text() == "two"
    take_back(lab, run_id, to="work")
    assert file.read_text() == "one"
    take_back(lab, run_id)
    assert not file.exists()


def test_a_file_that_somebody_changed_is_left_alone(lab: Lab, noted: Path) -> None:
    run_id = finished(lab, work='@call write_file {"path": "a.txt", "text": "one"}\n@answer: ok')
    file = lab.runner.folder(run_id) / "files" / "a.txt"
    file.write_text("mine")
    came = take_back(lab, run_id)
    assert came.failed == {"work/worker/write_file#1": "its undo failed: 'a.txt' was changed since it was written"}
    assert file.read_text() == "mine"


def test_the_command_names_what_can_not_be_taken_back_and_wants_force(lab: Lab, noted: Path, muster: Muster) -> None:
    run_id = finished(lab, work='@call post {"text": "a"}\n@call shout {"text": "b"}\n@answer: ok')
    lab.close()
    listed = muster("runs", "rollback", run_id, "--dry-run")
    assert (listed.code, listed.out.splitlines()) == (
        0,
        [
            "STEP                 TOOL   TAKEN BACK",
            "work/worker/shout#2  shout  `shout` has no undo",
            "work/worker/post#1   post   yes",
        ],
    )
    refused = muster("runs", "rollback", run_id)
    assert refused.code == 1
    assert refused.err.endswith(
        "1 of 2 calls can't be taken back\n\nhint: --force goes on past them; --dry-run names them\n"
    )
    assert lab.runner.find(run_id).state == "succeeded"
    lab.close()
    done = muster("runs", "rollback", run_id, "--force", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [(call["step"], call["came"]) for call in told["calls"]] == [
        ("work/worker/shout#2", "left"),
        ("work/worker/post#1", "undone"),
    ]
    row = lab.runner.find(run_id)
    assert row.state == "cancelled"
    assert row.reason.startswith("rolled back by ")


def test_kill_9_in_the_middle_repeats_none_that_ended(lab: Lab, noted: Path, muster: Muster, farm: Farm) -> None:
    calls = "\n".join(f'@call post {{"text": "{name}"}}' for name in "abc")
    run_id = finished(lab, work=f"{calls}\n@answer: ok")
    lab.close()
    program = "import os, main; os.environ['MAIN'] = str(os.getpid()); main.main()"
    killed = farm.execute(program, "--project", str(lab.root), "runs", "rollback", run_id, KILL_AT="b")
    assert killed.wait() == -9, killed.text()
    assert lab.runner.find(run_id).reason.startswith("being rolled back by ")
    lab.close()
    again = muster("runs", "rollback", run_id)
    assert again.code == 0, again.err
    undone = [line.split()[1] for line in effects(noted) if line.startswith("unpost")]
    assert undone == ["c", "b", "b", "a"]  # the one that was under way is made again
    assert "rolled back" in again.err


def test_a_task_that_is_not_there_is_named(lab: Lab, noted: Path, muster: Muster) -> None:
    run_id = finished(lab, work="@answer: ok")
    lab.close()
    wrong = muster("runs", "rollback", run_id, "--to", "nothing")
    assert (wrong.code, wrong.err) == (
        1,
        f"run {run_id} has done no task 'nothing'\n\nhint: one of: work\n",
    )


# -- files half written


def state_of(lab: Lab, run_id: str) -> Any:
    """Return the state of a run in this process, as a resume makes it."""
    with database(lab) as journal:
        journal.execute("update muster_runs set state = 'failed' where run_id = ?", (run_id,))
    journal.close()
    row = lab.runner.find(run_id)
    assembly = lab.runner._assembly  # pyright: ignore[reportPrivateUsage]
    return assembly.new(run_id, row.read_plan(), row.created_at)


def test_files_that_no_finished_call_wrote_are_reported_and_left(lab: Lab, noted: Path) -> None:
    run_id = finished(lab, work='@call write_file {"path": "whole.txt", "text": "one"}\n@answer: ok')
    folder = lab.runner.folder(run_id)
    (folder / "files" / "half.csv").write_text("a,b\n1,")
    (folder / "files" / ".muster-abc.tmp").write_text("h")
    (folder / "payloads").mkdir(exist_ok=True)
    (folder / "payloads" / ".0123abc.x1y2z3_4").write_text("h")
    assert find_half_written(state_of(lab, run_id)) == [
        "removed files/.muster-abc.tmp: half of a file that Muster was writing",
        "removed payloads/.0123abc.x1y2z3_4: half of a file that Muster was writing",
        "files/half.csv (6 bytes) may be half written: no finished call wrote it",
    ]
    assert sorted(path.name for path in (folder / "files").iterdir()) == ["half.csv", "whole.txt"]
    assert chosen(lab, run_id, "half-written files") == ["reported"]


def test_a_file_that_is_longer_than_a_call_left_it_is_reported(lab: Lab, noted: Path) -> None:
    run_id = finished(lab, work='@call write_file {"path": "a.txt", "text": "one"}\n@answer: ok')
    (lab.runner.folder(run_id) / "files" / "a.txt").write_text("one and a ha")
    assert find_half_written(state_of(lab, run_id)) == [
        "files/a.txt (12 bytes) may be half written: changed since a finished call wrote it"
    ]


def test_a_run_whose_files_are_whole_reports_nothing(lab: Lab, noted: Path) -> None:
    run_id = finished(lab, work='@call write_file {"path": "b/a.txt", "text": "one"}\n@answer: ok')
    assert find_half_written(state_of(lab, run_id)) == []
    (record,) = [step.record for step in lab.steps(run_id) if step.kind == "tool"]
    assert [(file["path"], file["bytes"]) for file in record["files"]] == [("b/a.txt", 3)]
