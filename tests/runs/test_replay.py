"""A run executed again from its journal: the same bytes without a model, a tool, a file or a socket; or what differs."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from project.errors import AppError
from tests.lab import Lab
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.scene import database, effects, tool_file, write_project
from tests.scripted_server import ScriptedServer


def replay(lab: Lab, *run_ids: str) -> list[Any]:
    """Replay runs in this process; the runner is closed first, as only one engine may be launched."""
    lab.close()
    # Here, where the runner has told CrewAI to be quiet: its telemetry would be a socket.
    from runs.repair.replay import Replayer
    from runs.stored.database import open_database
    from runs.stored.journal_rows import JournalRows
    from runs.stored.store import RunStore

    source = open_database(lab.settings())
    journal, store = JournalRows(source), RunStore(source)
    with Replayer() as replayer:
        found: list[Any] = []
        for run_id in run_ids:
            row = store.find(run_id)
            assert row is not None
            found.append(replayer.replay(journal, row, lab.root / ".muster" / "runs" / run_id))
    source.dispose()
    return found


def differences(found: Sequence[Any]) -> list[str]:
    return [one.difference for one in found]


def test_runs_of_every_shape_replay_to_the_same_bytes(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file(f"open({str(lab.root / 'noted')!r}, 'a').write(text)\nreturn 'ok'"))
    tasks: dict[str, Any] = {
        "list": {"description": '@answer: {"names": ["x", "y"]}', "output": {"names": "list[str]"}},
        "left": {"description": "@answer: left of {topic}", "output_file": "left.md"},
        "right": {"description": '@call note {"text": "x"}\n@answer: right', "tools": ["note"]},
        "each": {"description": "@answer: about {item}", "for_each": "outputs.list.names", "context": ["list"]},
        "last": {"description": "@answer: {topic}", "retry": {"attempts": 2}, "context": ["left", "right", "each"]},
    }
    lines = {"words": {"max": 3}}
    write_project(
        lab,
        tasks | {"short": {"description": "@answer: a b c d\n@after-refusal: a b", "guardrails": [lines]}},
        crews={
            "default": {"agents": ["worker"], "tasks": list(tasks)},
            "gated": {"agents": ["worker"], "tasks": ["short"]},
        },
    )
    whole = lab.run(inputs={"topic": "rain"})
    gated = lab.run("gated")
    server.configure(faults=[{"fault": "500", "match": "a b c d", "attempts": [1]}])
    retried = lab.run("gated")
    assert [whole.status, gated.status, retried.status] == ["succeeded"] * 3
    (lab.root / "left.md").unlink()
    assert effects(lab.root / "noted") == ["x"]
    server.reset()
    found = replay(lab, whole.run_id, gated.run_id, retried.run_id)
    assert differences(found) == ["", "", ""]
    assert all(one.identical and one.hash == one.replayed_hash and not one.sockets for one in found)
    assert found[0].steps > 10
    assert server.stats()["attempts"] == 0
    assert not (lab.root / "left.md").exists()
    assert effects(lab.root / "noted") == ["x"]


def test_a_managed_crew_replays_with_its_plan(lab: Lab) -> None:
    work = plan(subtask("one"), subtask("two"), subtask("three", depends_on=["one", "two"]), result=["three"])
    with ScriptedServer(boss([work])) as model:
        crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"]}
        unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
        files = {"agents": AGENTS, "tasks": unused, "crews": {"team": crew}}
        lab.write(**{name: json.dumps(value) for name, value in files.items()})
        lab.models(model.base_url)
        outcome = lab.run("team")
    assert outcome.status == "succeeded"
    assert differences(replay(lab, outcome.run_id)) == [""]


def test_a_run_that_failed_replays_to_where_it_failed(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {"first": "@answer: done", "second": {"description": "@answer: never", "context": ["first"]}},
        crews={"default": {"agents": ["worker"], "tasks": ["first", "second"]}},
    )
    server.configure(faults=[{"fault": "400", "match": "never"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    (found,) = replay(lab, outcome.run_id)
    assert (found.difference, found.identical, found.steps) == ("", True, 2)


def changed(lab: Lab, statement: str, *values: str) -> None:
    lab.close()
    with database(lab) as journal:
        assert journal.execute(statement, values).rowcount == 1
    journal.close()


@pytest.fixture
def finished(lab: Lab) -> str:
    write_project(lab, {"work": "@answer: done"}, crews={"default": {"agents": ["worker"], "tasks": ["work"]}})
    outcome = lab.run()
    assert outcome.status == "succeeded"
    return outcome.run_id


def test_a_step_that_is_not_in_the_journal_is_named(lab: Lab, finished: str, server: ScriptedServer) -> None:
    server.reset()
    changed(lab, "delete from operation_outputs where workflow_uuid = ?", f"{finished}.work")
    (found,) = replay(lab, finished)
    assert not found.identical
    assert found.difference == "step work/worker/model#1 is not in the journal"
    assert server.stats()["attempts"] == 0


def test_a_changed_record_is_the_first_difference(lab: Lab, finished: str) -> None:
    changed(
        lab,
        "update operation_outputs set output = replace(output, 'done', 'gone') where workflow_uuid = ?",
        f"{finished}.work",
    )
    (found,) = replay(lab, finished)
    assert not found.identical
    assert found.hash != found.replayed_hash
    assert found.difference.startswith("run: result is ")


REACH = '''
import socket
from pathlib import Path

from muster import guardrail


@guardrail
def reach(text: str) -> str:
    """Reach out, unless a file says not to."""
    if not (Path(__file__).parent.parent / "quiet").exists():
        socket.create_connection(("127.0.0.1", 9), 0.1)
    return ""
'''


def test_a_guardrail_on_the_output_of_a_crew_is_not_called_again(lab: Lab, server: ScriptedServer) -> None:
    lab.write(guardrails__reach_py=REACH)
    (lab.root / "quiet").touch()
    write_project(
        lab,
        {"inner": "@answer: in {task}", "outer": {"description": "do", "agent": "team", "guardrails": ["reach"]}},
        crews={"team": {"agents": ["worker"], "tasks": ["inner"]}, "whole": {"tasks": ["outer"]}},
    )
    outcome = lab.run("whole")
    assert outcome.status == "succeeded", outcome.reason
    assert differences(replay(lab, outcome.run_id)) == [""]
    (lab.root / "quiet").unlink()
    (found,) = replay(lab, outcome.run_id)
    assert (found.sockets, found.difference) == (0, "")


def test_changed_code_is_said(lab: Lab, finished: str) -> None:
    lab.write(tools__more_py="x = 1\n")
    with pytest.raises(AppError, match=r"changed since it started: tools/more.py"):
        replay(lab, finished)


def test_the_journal_is_only_read(lab: Lab, finished: str) -> None:
    lab.close()
    path = lab.root / ".muster" / "muster.db"

    def content() -> list[str]:
        with sqlite3.connect(path) as journal:
            return list(journal.iterdump())

    before = content()
    assert replay(lab, finished)[0].identical
    assert content() == before


def test_nothing_is_left_behind(lab: Lab, finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert replay(lab, finished)[0].identical
    assert list(tmp_path.glob("muster-replay-*")) == []


def test_the_benchmark_of_all_shapes_finds_them_identical(lab: Lab) -> None:
    from benchmarks.replay import measure

    lab.close()
    found = measure(6)
    assert differences(found) == [""] * 6
    assert {one.sockets for one in found} == {0}
