"""The inbox: questions that wait for a person, answered while nobody attends to the run, or from another terminal."""

import threading
from typing import Any

import pytest

from crews.planned import Plan
from runs.people.inbox import Inbox, queue_answered
from runs.people.questions import Answer, Question, Reply, approval, rejection
from runs.stored.database import open_database
from runs.stored.store import RunStore
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.boss import boss, plan, subtask
from tests.runs.crash_points import chosen, part
from tests.runs.scene import said_to_model, write_project
from tests.runs.test_managing import FAILING, ONE, write_crew
from tests.runs.test_people import write_person
from tests.scripted_server import ScriptedServer

ME = "ada@desk"
UNCLEAR: dict[str, Any] = {
    "asked": "Get it done",
    "done": [],
    "questions": [{"question": "For whom?", "why": "the tone differs", "assumption": "for experts"}],
}
FORM = {"name": "str", "age": {"type": "int", "minimum": 0}}


def inbox_of(lab: Lab) -> Inbox:
    """Open the inbox as another process would."""
    return Inbox(open_database(lab.settings()))


def the_question(lab: Lab, run_id: str) -> Any:
    (row,) = inbox_of(lab).open(run_id)
    return row


def answer(lab: Lab, run_id: str, said: str | Reply) -> None:
    """Answer the only open question of a run, with its runner closed."""
    lab.close()
    assert inbox_of(lab).answer(the_question(lab, run_id).question_id, said, ME)


def answers(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    return [step.record for step in lab.steps(run_id) if step.kind == "answer"]


def write_review(lab: Lab) -> None:
    """Write a task whose output a person accepts, and one after it."""
    reviewed = {"description": "@answer: one\n@after-refusal: better", "human_input": True}
    write_project(lab, {"first": reviewed, "second": "@answer: two"})


# -- a run with nobody there


def test_what_waits_for_a_person_stands_in_the_inbox_with_all_that_is_needed(lab: Lab) -> None:
    write_person(lab)
    outcome = lab.run()
    assert outcome.status == "waiting"
    lab.close()
    row = the_question(lab, outcome.run_id)
    assert (row.run_id, row.step, row.state, row.answer) == (outcome.run_id, "decide/human/answer#1", "open", None)
    assert (row.question.task, row.question.kind, row.question.prompt) == ("decide", "task", "your answer")
    assert row.question.text.startswith("Say yes or no.\n\nExpected: One word.")
    assert row.question.text.endswith("a draft")
    assert f"`muster approvals show {row.question_id}`" in outcome.fix
    assert len(row.question_id) == 8


def test_an_answer_given_while_no_process_runs_is_taken_and_nobody_is_asked_again(
    lab: Lab, server: ScriptedServer
) -> None:
    write_person(lab)
    run_id = lab.run().run_id
    answer(lab, run_id, " yes\n")
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", "used")
    assert "yes" in said_to_model(server.requests[-1])
    (record,) = answers(lab, run_id)
    row = inbox_of(lab).all(run_id)[0]
    assert row.answer == Answer(" yes\n", ME, record["at"])
    assert (record["said"], record["by"], record["at"] > row.asked_at) == ("yes", ME, True)
    assert (server.stats()["attempts"], server.stats()["paid_twice"]) == (2, 0)


def test_a_person_at_the_terminal_is_not_asked_what_was_answered_in_the_inbox(lab: Lab) -> None:
    write_person(lab)
    run_id = lab.run().run_id
    answer(lab, run_id, "yes")
    asked: list[Any] = []
    assert lab.resume(run_id, ask=lambda question: asked.append(question) or "no").output == "used"
    assert (asked, part(lab, run_id, "decide")["output"]) == ([], "yes")


def test_an_answer_from_another_process_is_taken(lab: Lab, farm: Farm) -> None:
    write_person(lab)
    run_id = lab.run().run_id
    script = (
        "import os, sys; from pathlib import Path; from project.settings import load_settings;"
        "from runs.stored.database import open_database; from runs.people.inbox import Inbox;"
        "inbox = Inbox(open_database(load_settings(Path(sys.argv[1]), os.environ)));"
        "print(inbox.answer(inbox.open(sys.argv[2])[0].question_id, 'yes', 'bob@elsewhere'))"
    )
    done = farm.execute(script, str(lab.root), run_id)
    assert (done.wait(), done.text()) == (0, "True\n")
    assert lab.resume(run_id).output == "used"
    assert [record["by"] for record in answers(lab, run_id)] == ["bob@elsewhere"]


def test_a_run_that_is_resumed_without_an_answer_waits_on_with_the_same_question(lab: Lab) -> None:
    write_person(lab)
    run_id = lab.run().run_id
    before = the_question(lab, run_id)
    lab.restart()
    assert lab.resume(run_id).status == "waiting"
    assert the_question(lab, run_id) == before


def test_what_cannot_be_taken_is_asked_again_as_a_new_question(lab: Lab) -> None:
    write_person(lab, output=FORM)
    run_id = lab.run().run_id
    answer(lab, run_id, "name: Ada\nage: -1")
    assert lab.resume(run_id).status == "waiting"
    row = the_question(lab, run_id)
    assert row.step == "decide/human/answer#2"
    assert row.question.prompt.startswith("not taken: ")
    answer(lab, run_id, "name: Ada\nage: 36")
    assert lab.resume(run_id).output == "used"


def test_who_rejects_a_task_lets_it_fail_and_a_resume_asks_again(lab: Lab) -> None:
    write_person(lab)
    run_id = lab.run().run_id
    answer(lab, run_id, rejection("task", (), "not my job"))
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.reason) == ("failed", "decide: a person will not do it: not my job")
    assert f"`muster runs resume {run_id}`" in outcome.fix
    assert lab.resume(run_id).status == "waiting"
    answer(lab, run_id, "yes")
    assert lab.resume(run_id).output == "used"
    assert [record.get("rejected", False) for record in answers(lab, run_id)] == [True, False]


def test_two_people_answer_one_run_in_any_order(lab: Lab) -> None:
    tasks: dict[str, Any] = {
        name: {"description": f"Say {name}.", "agent": "human", "context": []} for name in ("a", "b")
    }
    write_project(lab, tasks)
    run_id = lab.run().run_id
    lab.close()
    inbox = inbox_of(lab)
    rows = {row.question.task: row.question_id for row in inbox.open(run_id)}
    assert inbox.answer(rows["b"], "B", ME)
    assert lab.resume(run_id).status == "waiting"
    assert the_question(lab, run_id).question.task == "a"
    answer(lab, run_id, "A")
    assert lab.resume(run_id).status == "succeeded"
    assert [task["output"] for task in lab.summary(run_id)["tasks"]] == ["A", "B"]


def test_an_answer_that_comes_before_the_run_is_set_aside_queues_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    write_person(lab)
    put = lab.runner.inbox.put

    def put_and_see_it_answered(run_id: str, step: str, question: Question) -> str:
        question_id = put(run_id, step, question)
        inbox = inbox_of(lab)
        assert inbox.answer(question_id, "yes", ME)
        assert not queue_answered(lab.runner.store, run_id, 1.0)  # it does not wait yet
        return question_id

    monkeypatch.setattr(lab.runner.inbox, "put", put_and_see_it_answered)
    outcome = lab.run()
    assert (outcome.status, lab.runner.find(outcome.run_id).state) == ("waiting", "queued")
    assert lab.resume(outcome.run_id).output == "used"


# -- reviews, plans, escalations


def test_an_output_is_accepted_from_the_inbox(lab: Lab, server: ScriptedServer) -> None:
    write_review(lab)
    outcome = lab.run()
    assert outcome.reason == "first: a person is asked about the output of first"
    row = the_question(lab, outcome.run_id)
    assert (row.question.kind, row.question.text, row.question.task) == ("review", "one", "first")
    answer(lab, outcome.run_id, approval("review", (), None))
    assert lab.resume(outcome.run_id).output == "two"
    assert server.stats()["attempts"] == 2


def test_a_rejected_output_goes_back_to_the_agent_with_the_reason(lab: Lab, server: ScriptedServer) -> None:
    write_review(lab)
    run_id = lab.run().run_id
    answer(lab, run_id, rejection("review", (), "be better"))
    assert lab.resume(run_id).status == "waiting"
    wanted = "A person has read your answer and wants this changed:\nbe better\n\nGive the complete answer again."
    assert said_to_model(server.requests[-1]).endswith(wanted)
    assert the_question(lab, run_id).question.text == "better"
    answer(lab, run_id, "")
    assert lab.resume(run_id).status == "succeeded"
    assert part(lab, run_id, "first")["output"] == "better"
    assert (server.stats()["attempts"], server.stats()["paid_twice"]) == (3, 0)


def test_a_plan_is_rejected_and_accepted_from_the_inbox(lab: Lab) -> None:
    def script(messages: Any, tools: Any) -> Any:
        wanted = "A person has seen your plan" in str(messages)
        return boss([plan(subtask("one", "@answer: second")) if wanted else ONE])(messages, tools)

    with ScriptedServer(script) as model:
        write_crew(lab, model, manager={"review_plan": True})
        run_id = lab.run("team").run_id
        assert the_question(lab, run_id).question.kind == "plan"
        answer(lab, run_id, rejection("plan", (), "its subtasks: do the second thing"))
        assert lab.resume(run_id).status == "waiting"
        answer(lab, run_id, approval("plan", (), None))
        assert lab.resume(run_id).output == "second"
    assert chosen(lab, run_id, "plan review", "manager") == ["changes wanted", "accepted"]


def test_an_edited_plan_is_given_through_the_inbox(lab: Lab) -> None:
    with ScriptedServer(boss([ONE])) as model:
        write_crew(lab, model, manager={"review_plan": True})
        run_id = lab.run("team").run_id
        edited = the_question(lab, run_id).question.editable.replace("@answer: result of one", "@answer: edited")
        answer(lab, run_id, approval("plan", (), edited))
        assert lab.resume(run_id).status == "waiting"
        answer(lab, run_id, "")
        assert lab.resume(run_id).output == "edited"


def test_a_question_that_may_stay_unanswered_leaves_nothing_in_the_inbox(lab: Lab) -> None:
    with ScriptedServer(boss([ONE], brief=UNCLEAR)) as model:
        write_crew(lab, model)
        run_id = lab.run("team").run_id
    assert inbox_of(lab).all(run_id) == []


def test_a_question_that_may_stay_unanswered_waits_only_while_somebody_was_there(lab: Lab) -> None:
    def leave(_question: Question) -> str:
        raise KeyboardInterrupt

    with ScriptedServer(boss([ONE], brief=UNCLEAR)) as model:
        write_crew(lab, model)
        run_id = lab.start(lab.plan("team"), attended=True)
        with pytest.raises(KeyboardInterrupt):
            lab.runner.wait(run_id, ask=leave)
        assert lab.runner.interrupt(run_id, "Ctrl-C").status == "interrupted"
        assert the_question(lab, run_id).question.kind == "intake"
        assert lab.resume(run_id).status == "succeeded"
    assert [row.state for row in inbox_of(lab).all(run_id)] == ["void"]
    assert chosen(lab, run_id, "question")[-1] == "for experts"


def test_who_rejects_an_escalation_lets_the_run_go_on_without_it(lab: Lab) -> None:
    def turn_down(question: Question) -> str:
        inbox = inbox_of(lab)
        inbox.answer(inbox.open()[-1].question_id, rejection(question.kind, (), "no time"), ME)
        return "too late"

    work = plan(FAILING, subtask("good"), result=["one", "good"])
    again = plan({**FAILING, "id": "anew"}, result=["anew", "good"])
    with ScriptedServer(boss([work], again=again)) as model:
        write_crew(lab, model)
        run_id = lab.start(lab.plan("team"), attended=True)
        outcome = lab.runner.wait(run_id, ask=turn_down)
    assert (outcome.status, outcome.output) == ("succeeded", "result of good")
    assert outcome.partial[0].startswith("anew: not done: ")
    assert outcome.partial[0].endswith("; a person would not do it: no time")


# -- a person at the terminal


def test_what_is_said_at_the_terminal_is_noted_in_the_inbox(lab: Lab) -> None:
    write_person(lab)
    run_id = lab.run(ask=lambda question: "yes").run_id
    (row,) = inbox_of(lab).all(run_id)
    (record,) = answers(lab, run_id)
    assert row.state == "answered"
    assert row.answer == Answer("yes", record["by"], record["at"])
    assert "@" in record["by"]
    assert inbox_of(lab).open(run_id) == []


def test_an_answer_from_elsewhere_ends_the_wait_at_the_terminal_and_stands(lab: Lab) -> None:
    write_person(lab)

    def wait_for_others(question: Question) -> str:
        assert question.answered() is None
        inbox = inbox_of(lab)
        other = threading.Thread(target=inbox.answer, args=(inbox.open()[-1].question_id, "yes", ME))
        other.start()
        other.join()
        assert question.answered() is not None
        return "no"

    run_id = lab.run(ask=wait_for_others).run_id
    assert part(lab, run_id, "decide")["output"] == "yes"
    assert [record["by"] for record in answers(lab, run_id)] == [ME]


def test_a_question_that_was_on_the_terminal_when_the_process_ended_is_answered_later(lab: Lab) -> None:
    write_person(lab)

    def leave(_question: Question) -> str:
        raise KeyboardInterrupt

    run_id = lab.start(lab.plan(), attended=True)
    with pytest.raises(KeyboardInterrupt):
        lab.runner.wait(run_id, ask=leave)
    lab.close()  # nothing is noted of how it ended, as when the process is killed
    answer(lab, run_id, "yes")
    assert not queue_answered(RunStore(open_database(lab.settings())), run_id, 1.0)
    assert lab.resume(run_id).output == "used"


# -- choices: what asks with them stands in a step like any other


def asked_with_choices(lab: Lab, *said: str) -> tuple[Any, list[str]]:
    """Ask a person in a step outside any workflow, where nothing is journaled; return the answer and the prompts."""
    from runs.executing.state import RunState
    from runs.people.asking import ask_person

    write_person(lab)
    made: Plan = lab.plan()
    prompts: list[str] = []
    replies = iter(said)

    def ask(question: Question) -> str:
        prompts.append(question.prompt)
        return next(replies)

    run = RunState("choosing", made, made.budget, lab.root, {}, "2026-01-01", same_versions=True, asker=ask)
    assert lab.runner is not None
    question = Question("work", "Did it happen?", "", kind="unknown_outcome", choices=("it happened", "it did not"))
    return ask_person(run, "work/outcome#1", question, needed=True), prompts


def test_an_answer_that_is_none_of_the_choices_is_asked_again(lab: Lab) -> None:
    asked, prompts = asked_with_choices(lab, "perhaps", "it", "It  Did")
    assert asked.said == "it did not"
    assert prompts == [
        "Did it happen?",
        "not taken: 'perhaps' is none of the choices; Did it happen?",
        "not taken: 'it' is none of the choices; Did it happen?",
    ]


def test_who_never_makes_a_choice_leaves_the_run_waiting(lab: Lab) -> None:
    from runs.executing.state import Parked

    with pytest.raises(Parked) as caught:
        asked_with_choices(lab, *["perhaps"] * 20)
    assert caught.value.kind == "waiting"
    assert caught.value.fix == "answer with one of: it happened, it did not"


def test_a_run_that_is_told_to_stop_while_it_asks_takes_nothing_for_an_answer(lab: Lab) -> None:
    from runs.executing.state import Parked, RunState
    from runs.people.asking import ask_person

    write_person(lab)
    made: Plan = lab.plan()
    run = RunState("stopping", made, made.budget, lab.root, {}, "2026-01-01", same_versions=True)

    def leave(_question: Question) -> str:
        run.stopping = "paused by an operator"
        return ""

    run.asker = leave
    assert lab.runner is not None
    with pytest.raises(Parked) as caught:
        ask_person(run, "work/judge/answer#1", Question("work", "Accept?", "", kind="review"), needed=True)
    assert (caught.value.kind, caught.value.reason) == ("interrupted", "paused by an operator")


def test_a_manager_that_waits_for_people_leaves_its_questions_in_the_inbox(lab: Lab) -> None:
    script = boss([plan(FAILING)], brief=UNCLEAR, again=plan({**FAILING, "id": "anew"}))
    with ScriptedServer(script) as model:
        write_crew(lab, model, manager={"wait_for_person": True})
        run_id = lab.run("team").run_id
        assert the_question(lab, run_id).question.kind == "intake"
        answer(lab, run_id, "for children")
        assert lab.resume(run_id).status == "waiting"
        assert the_question(lab, run_id).question.kind == "escalation"
        answer(lab, run_id, "written by a person")
        assert lab.resume(run_id).status == "succeeded"
    assert chosen(lab, run_id, "question") == ["for children"]
    assert chosen(lab, run_id, "escalate") == ["a person did it"]
