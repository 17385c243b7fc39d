"""What people change of runs from outside is signed, what they accept is told ever after, and totals stay under the audit."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from runs.audit.chain import read_snapshots
from runs.audit.compare import Finding
from runs.audit.heads import audit_keys, stored_heads
from runs.audit.tombstones import read_tombstones
from runs.audit.verify import Verified, Verifier
from runs.people.origin import started_by
from runs.stored.database import open_database
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import tool_file, write_project
from tests.scripted_server import ScriptedServer

KEY = "a key of sixteen bytes or more"
MONTH = {"budgets": {"month": {"max_model_calls": 1000}}}
REVIEWED = {"work": {"description": "@answer: one", "human_input": True}}
NO_HEAD = "its last execution has no head: the head was removed, or it was executed without MUSTER_AUDIT_KEY"


@pytest.fixture
def signed(lab: Lab, server: ScriptedServer) -> Lab:
    """A project with a key in its .env, of which the one task waits for a person."""
    write_project(lab, REVIEWED)
    lab.models(server.base_url)
    (lab.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    return lab


def verified(lab: Lab) -> Verified:
    settings = lab.settings()
    return Verifier(open_database(settings), settings.state_folder / "runs", audit_keys(settings)).verify()


def told(lab: Lab) -> list[str]:
    return [f"{'' if one.problem else 'note: '}{one.what}" for one in verified(lab).findings]


def change(lab: Lab, statement: str) -> None:
    with open_database(lab.settings()).begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount > 0


def notes(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    return [head.note() for head in stored_heads(open_database(lab.settings()), run_id)]


def waiting(lab: Lab, run_id: str = "one") -> None:
    assert lab.run(run_id=run_id).status == "waiting"
    lab.close()


def test_a_cancelled_run_is_signed_with_who_cancelled_it(signed: Lab, muster: Muster) -> None:
    waiting(signed)
    assert muster("runs", "cancel", "one").code == 0
    assert notes(signed, "one") == [{}, {"edit": "cancel", "by": started_by()}]
    assert told(signed) == [f"note: cancelled by {started_by()}"]
    change(signed, "update muster_runs set reason = 'by somebody' where run_id = 'one'")
    assert [one.what for one in verified(signed).problems] == ["reason of the run was changed"]


def test_a_paused_run_is_signed_and_goes_on(signed: Lab, muster: Muster) -> None:
    waiting(signed)
    assert muster("runs", "pause", "one").code == 0
    assert notes(signed, "one")[1] == {"edit": "pause", "by": started_by()}
    change(signed, "update muster_questions set text = 'another' where run_id = 'one'")
    (problem,) = verified(signed).problems
    assert problem.what.endswith("what was asked was changed")


def test_an_answer_is_signed_before_the_run_goes_on(signed: Lab, muster: Muster) -> None:
    waiting(signed)
    (question,) = json.loads(muster("approvals", "list", "--json").out)
    assert muster("approvals", "approve", question["question_id"]).code == 0
    assert verified(signed).problems == []
    change(signed, "update muster_questions set answered_by = 'somebody' where run_id = 'one'")
    assert [one.what for one in verified(signed).problems] == [
        f"question {question['question_id']} (work/judge/answer#1): the answer was changed"
    ]


def test_a_run_executed_without_the_key_can_be_accepted_and_is_told_ever_after(signed: Lab, muster: Muster) -> None:
    waiting(signed)
    (signed.root / ".env").unlink()
    waiting(signed, "unsigned")
    refused = muster("audit", "accept", "unsigned", "--reason", "the key was not set")
    assert (refused.code, "MUSTER_AUDIT_KEY is not set" in refused.err) == (3, True)
    (signed.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    assert told(signed) == [NO_HEAD]
    accepted = muster("audit", "accept", "unsigned", "--reason", "the key was not set")
    assert accepted.out.splitlines()[1] == f"unsigned  –     –     {NO_HEAD}"
    note = f"{started_by()} accepted that {NO_HEAD}: the key was not set"
    assert told(signed) == [f"note: {note}"]
    assert note in muster("audit", "report", "unsigned").out
    again = muster("audit", "accept", "unsigned", "--reason", "again")
    assert (again.code, "nothing is found of run unsigned that could be accepted" in again.err) == (1, True)


def test_what_is_changed_after_it_was_accepted_is_found(signed: Lab, muster: Muster) -> None:
    waiting(signed)
    step = "where workflow_uuid = 'one.work' and function_name like '%model#1'"
    change(signed, f"update operation_outputs set completed_at_epoch_ms = 1 {step}")
    (before,) = verified(signed).problems
    assert muster("audit", "heads", "-o", "after.jsonl").code == 0
    assert muster("audit", "accept", "one", "--reason", "the clock was mended").code == 0
    assert verified(signed).problems == []
    assert muster("audit", "verify", "after.jsonl").code == 0
    change(signed, f"update operation_outputs set completed_at_epoch_ms = 2 {step}")
    assert verified(signed).problems == [Finding("one", "work", before.step, before.what)]


def test_a_total_that_is_less_than_what_was_spent_is_found(lab: Lab, server: ScriptedServer, muster: Muster) -> None:
    write_project(lab, {"work": "@answer: one"})
    lab.models(server.base_url)
    lab.write(policy=json.dumps(MONTH))
    (lab.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    for run_id in ("one", "two"):
        assert lab.run(run_id=run_id).status == "succeeded"
    lab.close()
    assert muster("runs", "delete", "two").code == 0
    database = open_database(lab.settings())
    (stone,) = read_tombstones(database)
    ((name, share),) = json.loads(stone.share).items()
    assert (name.startswith(f"project {lab.root.name} "), share["model_calls"]) == (True, 1)
    assert told(lab) == []
    change(lab, "update muster_totals set model_calls = 1")
    (problem,) = verified(lab).problems
    assert problem.what.startswith(f"the total `{name}` holds 1 model calls, 0 tool calls, ")
    assert ", and runs have spent 2 model calls, 0 tool calls, " in problem.what
    change(lab, "update muster_totals set model_calls = 2")
    change(lab, "update muster_tombstones set share = ''")
    assert [one.what for one in verified(lab).problems] == ["the tombstone was changed: its signature does not fit"]


def test_a_lost_reservation_that_is_removed_is_found(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": "@answer: one"})
    lab.models(server.base_url, max_attempts=1)
    lab.write(policy=json.dumps(MONTH))
    (lab.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    server.configure(faults=[{"fault": "drop", "match": "one"}])
    assert lab.run(run_id="one").status == "failed"
    lab.close()
    (snapshot,) = read_snapshots(open_database(lab.settings()), ["one"])
    ((lost, row),) = snapshot.reservations.items()
    assert (row["state"], told(lab)) == ("lost", [])
    change(lab, "update muster_reservations set tokens = 0")
    assert f"the reservation {lost} was changed" in told(lab)
    change(lab, "delete from muster_reservations")
    assert f"the reservation {lost} was removed" in told(lab)


# -- private content on the screen


@pytest.fixture
def private(lab: Lab, server: ScriptedServer) -> Path:
    """A run that has read a private document and waits for a person to see what came of it."""
    (lab.root / ".env").parent.mkdir(exist_ok=True)
    (lab.root / ".env").write_text("MUSTER_JOURNAL_KEY='the first key of the journal'\n")
    lab.write(tools__note_py=tool_file('return "a private matter"', 'effect="read", private=True'))
    task = {"description": '@call note {"text": "a"}\n@echo', "human_input": True, "output_file": "out.md"}
    write_project(lab, {"work": task}, {"tools": ["note"]})
    lab.models(server.base_url)
    assert lab.run(run_id="one").status == "waiting"
    lab.close()
    return lab.root


def test_private_content_does_not_go_through_a_pipe(private: Path, muster: Muster) -> None:
    (question,) = json.loads(muster("approvals", "list", "--json").out)
    show = ("approvals", "show", question["question_id"])
    for command in (show, (*show, "--json"), ("approvals", "list")):
        assert "a private matter" not in muster(*command).out
    assert muster(*show).err == "private content is left out: it is shown at a terminal, and with --private\n"
    asked = muster(*show, "--private")
    assert ("a private matter" in asked.out, asked.err) == (True, "this holds private content\n")
    assert muster("approvals", "approve", question["question_id"]).code == 0
    assert muster("runs", "resume", "one").code == 0
    blamed = muster("blame", "work", "--run", "one")
    assert ("a private matter" in blamed.out, "[private: " in blamed.out) == (False, True)
    assert "a private matter" in muster("blame", "work", "--run", "one", "--private").out


def test_an_output_file_of_private_content_is_named(private: Path, muster: Muster) -> None:
    note = (
        "task work: output_file 'out.md' is written in plain text, and may hold what `note` returns, which is private"
    )
    assert f"note: {note}\n" in muster("check").err
    assert f"  {note}\n" in muster("plan", "default").out
