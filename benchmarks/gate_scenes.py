"""Faults of benchmarks/gate_faults.py: nobody there, answers and questions that were changed, time, people."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gate_faults import Stage, expect, fault
from project.errors import AppError
from runs.people.questions import Reply
from tests.runs.crash_points import rewind_to
from tests.runs.gate_scene import CALL, age, asks, call, change_row, read_row, the_question
from tests.runs.scene import database

SEND = call("send", to="carl", text="hello")
EVE, BOB = "eve@desk", "bob@desk"


# -- nobody there


@fault()
def no_terminal(stage: Stage) -> None:
    stage.waits(SEND)


@fault()
def no_terminal_in_a_process(stage: Stage) -> None:
    stage.write(SEND)
    process = stage.muster("run", "default", "--id", "pipe")
    expect(process.wait() == 4, f"exit code 4: {process.text()}")


@fault()
def no_terminal_of_a_worker(stage: Stage) -> None:
    stage.write(SEND)
    expect(stage.muster("run", "default", "--id", "queued", "--detach").wait() == 0, "it is queued")
    expect(stage.muster("worker", "--once").wait() == 0, "the worker ends")
    expect(the_question(stage.lab, "queued").state == "open", "it waits")


@fault()
def input_of_the_terminal_ends(stage: Stage) -> None:
    stage.write(SEND)

    def end(_question: Any) -> str:
        raise EOFError

    run_id = stage.lab.start(stage.lab.plan(), attended=True)
    try:
        stage.lab.runner.wait(run_id, ask=end)
    except EOFError:
        outcome = stage.lab.runner.interrupt(run_id, "interrupted by Ctrl-C")
        expect(outcome.status == "interrupted", f"it is interrupted: {outcome}")
        return
    expect(False, "the end of the input is seen")


@fault()
def interrupted_while_asked(stage: Stage) -> None:
    stage.write(SEND)

    def leave(_question: Any) -> str:
        raise KeyboardInterrupt

    run_id = stage.lab.start(stage.lab.plan(), attended=True)
    with contextlib.suppress(KeyboardInterrupt):
        stage.lab.runner.wait(run_id, ask=leave)
    expect(stage.lab.runner.interrupt(run_id, "interrupted by Ctrl-C").status == "interrupted", "it is interrupted")


# -- what is said at the terminal


@fault()
def terminal_says_nonsense(stage: Stage) -> None:
    outcome = stage.run(SEND, ask=lambda _question: "perhaps")
    expect(outcome.status == "waiting", str(outcome))


@fault()
def terminal_says_nothing(stage: Stage) -> None:
    expect(stage.run(SEND, ask=lambda _question: "").status == "waiting", "an empty line approves nothing")


@fault()
def terminal_says_half_an_object(stage: Stage) -> None:
    expect(stage.run(SEND, ask=lambda _question: '{"to": "carl", "text"').status == "waiting", "it waits")


@fault()
def terminal_says_yes_and_more(stage: Stage) -> None:
    expect(stage.run(SEND, ask=lambda _question: "yes, but not to carl").status == "waiting", "it waits")


@fault()
def terminal_rejects(stage: Stage) -> None:
    expect(stage.run(SEND, ask=lambda _question: "n never").status == "succeeded", "the agent goes on")


@fault()
def terminal_of_somebody_else(stage: Stage) -> None:
    outcome = stage.run(SEND, policy=asks(approvers=["nobody-here"]), ask=lambda _question: "y")
    expect(outcome.status == "waiting", str(outcome))


@fault()
def terminal_approves_one_of_two(stage: Stage) -> None:
    outcome = stage.run(SEND, policy=asks(four_eyes=True), ask=lambda _question: "y")
    expect(outcome.status == "waiting", str(outcome))


# -- answers that were tampered with


def _change(stage: Stage, change: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]], **approval: Any) -> None:
    """Approve a call, change the answer in the database, and see that the run waits on."""
    run_id = stage.waits(SEND, policy=asks(approvers=["ada"], **approval))
    row = read_row(stage.lab, stage.answer(run_id))
    answer = json.loads(row["answer"])
    change_row(stage.lab, row["question_id"], answer=json.dumps({**answer, **change(row, answer)}))
    stage.waits_on(run_id)


@fault()
def arguments_changed_in_the_answer(stage: Stage) -> None:
    _change(stage, lambda _row, _answer: {"said": '{"to": "mallory", "text": "all"}'})


@fault()
def hash_changed_in_the_answer(stage: Stage) -> None:
    _change(stage, lambda _row, answer: {"seen": "0" * 64, "voices": [{**answer["voices"][0], "binding": "0" * 64}]})


@fault()
def person_changed_in_the_answer(stage: Stage) -> None:
    _change(stage, lambda _row, answer: {"voices": [{**answer["voices"][0], "by": EVE}]})


@fault()
def answered_in_the_future(stage: Stage) -> None:
    _change(stage, lambda _row, answer: {"voices": [{**answer["voices"][0], "at": time.time() + 9_000}]})


@fault()
def answered_by_nobody(stage: Stage) -> None:
    _change(stage, lambda _row, _answer: {"voices": []})


@fault()
def one_voice_counted_twice(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(four_eyes=True))
    row = read_row(stage.lab, stage.answer(run_id))
    voice = json.loads(row["more"])["terms"]["voices"][0]
    seen = json.loads(row["more"])["terms"]["binding"]
    answer = {"said": "", "rejected": False, "reason": "", "seen": seen, "voices": [voice, voice]}
    change_row(stage.lab, row["question_id"], state="answered", answer=json.dumps(answer), answered_by="ada@desk")
    stage.waits_on(run_id)


@fault()
def answer_is_no_json(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    change_row(stage.lab, stage.answer(run_id), answer="approved!")
    expect(stage.goes_on(run_id).status in ("failed", "waiting"), "it does not go ahead")


@fault()
def answer_without_what_was_seen(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    question_id = the_question(stage.lab, run_id).question_id
    answer = json.dumps({"said": "", "rejected": False, "reason": ""})
    change_row(stage.lab, question_id, state="answered", answer=answer, answered_by="ada@desk", answered_at=time.time())
    stage.waits_on(run_id)


# -- questions that were tampered with


@fault()
def question_changed_in_the_database(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    row = read_row(stage.lab, the_question(stage.lab, run_id).question_id)
    more = json.loads(row["more"])
    more["terms"]["call"]["arguments"] = {"to": "ada", "text": "harmless"}
    change_row(stage.lab, row["question_id"], more=json.dumps(more))
    stage.refuses(row["question_id"])
    stage.waits_on(run_id)


@fault()
def what_is_shown_changed_in_the_database(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    row = read_row(stage.lab, the_question(stage.lab, run_id).question_id)
    more = json.loads(row["more"]) | {"editable": '{"to": "ada", "text": "harmless"}'}
    change_row(stage.lab, row["question_id"], more=json.dumps(more))
    stage.refuses(row["question_id"])
    stage.waits_on(run_id)


@fault()
def approvers_removed_from_the_question(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(approvers=["ada", "bob"], four_eyes=True))
    row = read_row(stage.lab, the_question(stage.lab, run_id).question_id)
    more = json.loads(row["more"])
    more["terms"]["approval"] |= {"approvers": [], "four_eyes": False}
    change_row(stage.lab, row["question_id"], more=json.dumps(more))
    stage.answer(run_id, by=EVE)
    stage.waits_on(run_id)


@fault()
def expiry_moved_in_the_question(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(expires_hours=1))
    question_id = the_question(stage.lab, run_id).question_id
    age(stage.lab, question_id, 3)
    more = json.loads(read_row(stage.lab, question_id)["more"])
    more["terms"]["expires_at"] = time.time() + 9_000
    change_row(stage.lab, question_id, more=json.dumps(more))
    stage.answer(run_id)
    stage.waits_on(run_id)


@fault()
def question_made_one_of_another_kind(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    question_id = the_question(stage.lab, run_id).question_id
    change_row(stage.lab, question_id, kind="task")
    expect(stage.inbox.answer(question_id, "yes", EVE), "it is answered as a task")
    stage.waits_on(run_id)


@fault()
def question_deleted(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    with database(stage.lab) as stored:
        stored.execute("delete from muster_questions")
    stored.close()
    stage.waits_on(run_id)


# -- time


@fault()
def approved_after_it_expired(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(expires_hours=1))
    question_id = the_question(stage.lab, run_id).question_id
    age(stage.lab, question_id, 2)
    stage.refuses(question_id)
    process = stage.muster("approvals", "approve", question_id)
    expect(process.wait() == 1 and "it has expired" in process.text(), process.text())
    stage.waits_on(run_id)


@fault()
def not_used_in_time(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(expires_hours=1))
    age(stage.lab, stage.answer(run_id), 1.9, answered_after=0.5)
    stage.waits_on(run_id)


@fault(allowed=1)
def killed_after_the_approval_which_then_lapsed(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(expires_hours=1))
    stage.answer(run_id)
    expect(stage.goes_on(run_id).status == "succeeded", "it is made")
    rewind_to(stage.lab, run_id, f"{CALL}/approval#1")  # as kill -9 right after the answer leaves it
    with database(stage.lab) as journal:
        step = f"{run_id}.work", f"{CALL}/approval#1"
        where = "where workflow_uuid = ? and function_name = ?"
        (text,) = journal.execute(f"select output from operation_outputs {where}", step).fetchone()
        record = json.loads(text)
        record["voices"][0]["at"] -= 7_200
        journal.execute(f"update operation_outputs set output = ? {where}", (json.dumps(record), *step))
    journal.close()
    stage.waits_on(run_id)


# -- an approval of another call


@fault(allowed=1)
def approval_copied_to_another_question(stage: Stage) -> None:
    run_id = stage.waits(SEND, SEND)
    first = read_row(stage.lab, stage.answer(run_id))
    stage.waits_on(run_id)
    second = the_question(stage.lab, run_id).question_id
    change_row(stage.lab, second, **{key: first[key] for key in ("state", "answer", "answered_by", "answered_at")})
    stage.waits_on(run_id)


@fault()
def approval_copied_from_another_run(stage: Stage) -> None:
    one, other = stage.waits(SEND), stage.waits(SEND)
    given = read_row(stage.lab, stage.answer(one))
    question_id = the_question(stage.lab, other).question_id
    change_row(stage.lab, question_id, **{key: given[key] for key in ("state", "answer", "answered_by", "answered_at")})
    stage.waits_on(other)


@fault()
def fork_of_a_waiting_run(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    process = stage.muster("runs", "fork", run_id, "--from", "work", "--id", "forked")
    expect(process.wait() == 4, process.text())
    stage.waits_on("forked")


@fault()
def fork_with_the_project_of_now(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    stage.write(SEND, policy=asks(approvers=["bob"]))
    process = stage.muster("runs", "fork", run_id, "--from", "work", "--project-now", "--id", "forked-now")
    expect(process.wait() == 4, process.text())
    stage.waits_on("forked-now")
    stage.refuses(the_question(stage.lab, "forked-now").question_id)


@fault()
def another_hash_was_expected(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    process = stage.muster(
        "approvals", "approve", the_question(stage.lab, run_id).question_id, "--expect-hash", "0" * 8
    )
    expect(process.wait() == 1, process.text())
    stage.waits_on(run_id)


# -- people


@fault()
def approved_by_a_person_not_named(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(approvers=["ada", "bob@home"]))
    for by in (EVE, BOB, "ada2@desk", "Ada@desk", "@ada"):
        stage.refuses(the_question(stage.lab, run_id).question_id, by)
    stage.waits_on(run_id)


@fault()
def environment_names_an_approver(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(approvers=["boss"]))
    question_id = the_question(stage.lab, run_id).question_id
    process = stage.muster("approvals", "approve", question_id, USER="boss", LOGNAME="boss", USERNAME="boss")
    expect(process.wait() == 1, process.text())
    stage.waits_on(run_id)


@fault()
def same_person_twice(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(four_eyes=True))
    question_id = stage.answer(run_id)
    for by in ("ada@desk", "ada@laptop", "ADA@desk"):
        stage.refuses(question_id, by)
    stage.waits_on(run_id)


@fault()
def rejected_after_one_of_two_approved(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(four_eyes=True))
    question_id = stage.answer(run_id)
    expect(stage.inbox.answer(question_id, Reply("no", rejected=True, reason="no"), BOB), "it is taken")
    expect(stage.goes_on(run_id).status == "succeeded", "the agent goes on")


@fault()
def rejected(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    question_id = the_question(stage.lab, run_id).question_id
    expect(stage.inbox.answer(question_id, Reply("no", rejected=True, reason="no"), BOB), "it is taken")
    stage.refuses(question_id)
    expect(stage.goes_on(run_id).status == "succeeded", "the agent goes on")


@fault()
def approved_after_it_was_cancelled(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    question_id = the_question(stage.lab, run_id).question_id
    expect(stage.muster("runs", "cancel", run_id).wait() == 0, "it is cancelled")
    expect(stage.muster("approvals", "approve", question_id).wait() == 1, "it needs no answer")
    try:
        stage.goes_on(run_id)
    except AppError:
        return
    expect(False, "a cancelled run does not go on")


# -- changed arguments


@fault()
def changed_to_what_the_policy_denies(stage: Stage) -> None:
    deny = {"decide": "deny", "tools": ["send"], "arguments": {"to": "mallory"}}
    run_id = stage.waits(SEND, policy={"rules": [deny]})
    stage.answer(run_id, '{"to": "mallory", "text": "x"}')
    stage.waits_on(run_id)


@fault()
def changed_to_wrong_arguments(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id, '{"to": ["carl"], "text": "x", "more": 1}')
    stage.waits_on(run_id)


@fault()
def changed_to_what_others_must_approve(stage: Stage) -> None:
    large = {"decide": "ask", "tools": ["pay"], "arguments": {"usd": {"min": 100}}, "approval": {"approvers": ["bob"]}}
    run_id = stage.waits(call("pay", to="carl", usd=5), policy={"rules": [large]})
    stage.answer(run_id, '{"to": "carl", "usd": 5000}')
    stage.waits_on(run_id)


@fault()
def changed_by_one_of_two(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy=asks(four_eyes=True))
    stage.answer(run_id, '{"to": "mallory", "text": "x"}')
    stage.waits_on(run_id)
