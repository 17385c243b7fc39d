"""What an approval is still worth after a crash, a wait or a change: nothing is made that nobody let be made so."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runs.calls import wanted
from runs.governed import approving
from runs.people.questions import Reply, approval
from tests.lab import Lab
from tests.runs.crash_points import rewind_to
from tests.runs.gate_scene import CALL, NAMES, TOOLS, asks, call, inbox_of, made, records, the_question, watch
from tests.runs.scene import write_project

ADA, BOB, EVE = "ada@desk", "bob@desk", "eve@desk"
SEND = call("send", to="carl", text="hello")
MADE = ["send carl hello"]
STORE = "work/worker/store#1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    watch(tmp_path)
    return tmp_path


def waits(lab: Lab, line: str, policy: dict[str, Any], tools: str = TOOLS) -> str:
    """Start a run that waits for the approval of a call; return its id."""
    lab.write(tools__gate_py=tools, policy=json.dumps(policy))
    write_project(lab, {"work": f"{line}\n@echo"}, {"tools": NAMES})
    outcome = lab.run()
    assert outcome.status == "waiting", outcome
    return outcome.run_id


def says(lab: Lab, run_id: str, by: str, said: str | None = None) -> None:
    """Answer the only open question of a run as somebody: approve, or say this."""
    row = the_question(lab, run_id)
    reply = approval("approval", (), None) if said is None else Reply(said)
    assert inbox_of(lab).answer(row.question_id, reply, by)


def left_open(lab: Lab, folder: Path, *by: str, **terms: Any) -> str:
    """Return a run whose approved call a crash left open; it asks what became of it."""
    run_id = waits(lab, SEND, asks(**terms), TOOLS.replace(', if_unknown="tell"', ""))
    for person in by or (ADA,):
        says(lab, run_id, person)
    assert lab.resume(run_id).status == "succeeded"
    watch(folder)
    rewind_to(lab, run_id, f"{CALL}/approved#1/intent")
    assert lab.resume(run_id).status == "waiting"
    assert the_question(lab, run_id).question.kind == "unknown_outcome"
    return run_id


# -- a call that a crash left open


def test_who_may_approve_a_call_says_whether_it_is_made_again(lab: Lab, folder: Path) -> None:
    run_id = left_open(lab, folder, approvers=["ada", "bob"])
    assert "made again only with the word of: ada, bob" in the_question(lab, run_id).question.text
    says(lab, run_id, BOB, "it did not")
    assert lab.resume(run_id).status == "succeeded"
    assert made(folder) == MADE
    (record,) = records(lab, run_id, "tool")
    assert (record["approved_by"], record["said_by"]) == ([ADA], BOB)


def test_anybody_else_who_says_so_lets_it_be_approved_anew(lab: Lab, folder: Path) -> None:
    run_id = left_open(lab, folder, approvers=["ada", "bob"])
    says(lab, run_id, EVE, "it did not")
    assert lab.resume(run_id).status == "waiting"
    assert made(folder) == []
    row = the_question(lab, run_id)
    assert (row.step, row.question.kind) == (f"{CALL}/approval#2", "approval")
    assert row.question.text.startswith(
        "asked anew: a crash left the call open; eve@desk says that it did not happen, and may not have it made again\n"
    )
    says(lab, run_id, BOB)
    assert lab.resume(run_id).status == "succeeded"
    assert made(folder) == MADE
    assert records(lab, run_id, "tool")[0]["approved_by"] == [BOB]


def test_under_four_eyes_nobody_has_it_made_again_alone(lab: Lab, folder: Path) -> None:
    run_id = left_open(lab, folder, ADA, BOB, four_eyes=True)
    says(lab, run_id, ADA, "it did not")
    assert lab.resume(run_id).status == "waiting"
    assert made(folder) == []
    row = the_question(lab, run_id)
    assert row.question.terms is not None
    assert [voice.by for voice in row.question.terms.voices] == [ADA]
    says(lab, run_id, BOB)
    assert lab.resume(run_id).status == "succeeded"
    assert made(folder) == MADE
    assert records(lab, run_id, "tool")[0]["approved_by"] == [ADA, BOB]


@pytest.mark.parametrize("by", [ADA, EVE])
def test_a_call_whose_approval_has_lapsed_meanwhile_is_approved_anew(
    lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    run_id = left_open(lab, folder, expires_hours=2)
    says(lab, run_id, by, "it did not")
    monkeypatch.setattr(approving, "time", SimpleNamespace(time=lambda: time.time() + 7200))
    assert lab.resume(run_id).status == "waiting"
    assert made(folder) == []
    text = the_question(lab, run_id).question.text
    assert text.startswith("asked anew: the approval was not used in time\n")


@pytest.mark.parametrize(("said", "status"), [("it happened", "succeeded"), ("stop", "failed")])
def test_anybody_may_say_that_it_happened_or_stop_it(lab: Lab, folder: Path, said: str, status: str) -> None:
    run_id = left_open(lab, folder, approvers=["ada"])
    says(lab, run_id, EVE, said)
    assert lab.resume(run_id).status == status
    assert made(folder) == []
    if said == "it happened":
        assert records(lab, run_id, "tool")[0]["said_by"] == EVE


def test_where_nobody_is_named_anybody_has_it_made_again(lab: Lab, folder: Path) -> None:
    run_id = left_open(lab, folder)
    says(lab, run_id, EVE, "it did not")
    assert lab.resume(run_id).status == "succeeded"
    assert made(folder) == MADE
    assert records(lab, run_id, "tool")[0]["said_by"] == EVE


# -- a call that is not the one any more that was shown


@pytest.fixture
def notes(folder: Path) -> Path:
    """A folder in which a note is to be stored."""
    (folder / "notes").mkdir()
    (folder / "elsewhere").mkdir()
    return folder / "notes"


def stored(lab: Lab, notes: Path) -> str:
    policy = {"rules": [{"name": "writing", "decide": "ask", "tools": ["store"]}]}
    return waits(lab, call("store", path=f"{notes}/a.md", text="x"), policy)


def lead_elsewhere(notes: Path) -> None:
    notes.rmdir()
    notes.symlink_to(notes.parent / "elsewhere")


def test_an_approval_is_not_one_of_what_a_link_leads_to_since(lab: Lab, folder: Path, notes: Path) -> None:
    run_id = stored(lab, notes)
    assert "  `path` lies outside the run's folder" in the_question(lab, run_id).question.text
    says(lab, run_id, ADA)
    assert lab.resume(run_id).status == "succeeded"
    watch(folder)
    rewind_to(lab, run_id, f"{STORE}/approval#1")
    lead_elsewhere(notes)
    assert lab.resume(run_id).status == "waiting"
    assert made(folder) == []
    row = the_question(lab, run_id)
    assert row.step == f"{STORE}/approval#2"
    assert row.question.text.startswith("asked anew: the call is not the one that was approved\n")
    assert f"careful: `path` leads to {folder}/elsewhere/a.md, outside the run's folder" in row.question.text
    says(lab, run_id, ADA)
    assert lab.resume(run_id).status == "succeeded"
    assert made(folder) == [f"store {notes}/a.md"]


def test_an_answer_given_before_a_link_was_changed_does_not_count(lab: Lab, folder: Path, notes: Path) -> None:
    run_id = stored(lab, notes)
    says(lab, run_id, ADA)
    lead_elsewhere(notes)
    assert lab.resume(run_id).status == "waiting"
    assert made(folder) == []
    assert "asked anew: the call is not the one that was shown" in the_question(lab, run_id).question.text


def test_who_changes_arguments_long_after_they_were_asked_is_judged_by_the_clock_of_then(
    lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"name": "nights", "decide": "deny", "tools": ["send"], "arguments": {"to": "dora"}, "hours": "22:00-06:00"}
    monkeypatch.setattr(wanted, "now", lambda: _at("21:00"))
    lab.write(tools__gate_py=TOOLS, policy=json.dumps({"rules": [rule]}))
    write_project(lab, {"work": f"{SEND}\n@echo"}, {"tools": NAMES})
    said = iter(['{"to": "dora", "text": "x"}', "n not now"])

    def ask(question: Any) -> str:
        monkeypatch.setattr(wanted, "now", lambda: _at("23:00"))
        return next(said)

    outcome = lab.run(ask=ask)
    assert (outcome.status, made(folder)) == ("succeeded", [])
    voids = [record["void"] for record in records(lab, outcome.run_id, "answer")]
    assert voids[0].startswith("the changed arguments are refused: the policy denies it (nights)")


def _at(time_of_day: str) -> Any:
    return datetime.fromisoformat(f"2026-11-18 {time_of_day}").replace(tzinfo=UTC)
