"""The table of questions in both databases, and what approving and rejecting mean."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from project.errors import AppError, UsageError
from project.settings import load_settings
from runs.people.inbox import Inbox
from runs.people.questions import Question, Reply, approval, find_choice, manner_of, rejection
from runs.stored.database import Patience, open_database, open_sqlite
from runs.stored.tables import QUESTIONS, make_tables
from tests.postgres import PostgresServer

ME = "ada@desk"
TASK = Question("work", "your answer", "Say it.")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    if request.param == "sqlite":
        made = open_sqlite(tmp_path / "muster.db")
    else:
        made = open_database(load_settings(tmp_path, {"MUSTER_DATABASE_URL": request.getfixturevalue("postgres")}))
    make_tables(made)
    yield made
    made.dispose()


@pytest.fixture
def inbox(database: sa.Engine) -> Inbox:
    return Inbox(database)


def test_a_question_of_a_step_is_put_in_once(inbox: Inbox) -> None:
    first = inbox.put("run", "work/human/answer#1", TASK)
    assert inbox.put("run", "work/human/answer#1", TASK) == first
    assert inbox.put("run", "work/human/answer#2", TASK) != first
    assert len(inbox.all("run")) == 2


def test_only_the_first_of_many_answers_at_once_is_taken(inbox: Inbox) -> None:
    question_id = inbox.put("run", "step", TASK)
    barrier = threading.Barrier(8)
    taken: list[bool] = []

    def reply(number: int) -> None:
        barrier.wait()
        taken.append(inbox.answer(question_id, f"answer {number}", f"person{number}@desk"))

    people = [threading.Thread(target=reply, args=(number,)) for number in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(taken) == [False] * 7 + [True]
    stands = inbox.answer_for("run", "step")
    assert stands is not None
    assert stands.said.removeprefix("answer ") == stands.by.removeprefix("person").removesuffix("@desk")


def test_an_answer_must_be_one_of_the_choices(inbox: Inbox) -> None:
    question_id = inbox.put("run", "step", Question("work", "Go on?", "", choices=("yes", "no")))
    with pytest.raises(AppError, match="'perhaps' is none of the choices"):
        inbox.answer(question_id, "perhaps", ME)
    assert inbox.answer(question_id, "yes", ME)


def test_a_cancelled_run_asks_nothing_and_one_that_asks_again_has_its_question_open(inbox: Inbox) -> None:
    question_id = inbox.put("run", "step", TASK)
    answered = inbox.put("run", "before", TASK)
    inbox.answer(answered, "done", ME)
    inbox.void("run")
    assert {row.question_id: row.state for row in inbox.all()} == {question_id: "void", answered: "answered"}
    assert not inbox.answer(question_id, "late", ME)
    assert inbox.put("run", "step", TASK) == question_id
    assert inbox.answer(question_id, "in time", ME)


def test_a_deleted_run_leaves_no_answer_to_another_of_its_name(inbox: Inbox) -> None:
    inbox.answer(inbox.put("run", "step", TASK), "old", ME)
    inbox.forget("run")
    assert (inbox.answer_for("run", "step"), inbox.all()) == (None, [])


def test_two_questions_never_share_an_id(inbox: Inbox, database: sa.Engine) -> None:
    question_id = inbox.put("run", "step", TASK)
    with database.begin() as connection:
        connection.execute(sa.update(QUESTIONS).values(run_id="another"))
    longer = inbox.put("run", "step", TASK)
    assert longer.startswith(question_id)
    assert len(longer) == 12
    assert inbox.find(question_id).run_id == "another"
    assert inbox.answer(longer, "mine", ME)
    assert inbox.answer_for("another", "step") is None


@pytest.mark.parametrize("wanted", ["nothing", "", "%", "_"])
def test_a_wrong_id_is_told_with_those_that_wait(inbox: Inbox, wanted: str) -> None:
    inbox.put("run", "step", TASK)
    with pytest.raises(AppError) as caught:
        inbox.find(wanted)
    assert str(caught.value) == f"there is no question {wanted!r}"
    assert caught.value.fixes() == ["those that wait: none"]  # there is no such run


def test_a_question_is_found_by_the_beginning_of_its_id(inbox: Inbox) -> None:
    ids = [inbox.put("run", f"step#{number}", TASK) for number in range(17)]
    alone = next(one for one in ids if sum(other[:3] == one[:3] for other in ids) == 1)
    assert inbox.find(alone[:3].upper()).question_id == alone
    shared = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    with pytest.raises(AppError, match=f"several questions start with '{shared}'"):
        inbox.find(shared)


def test_what_no_database_can_hold_is_stored_all_the_same(inbox: Inbox) -> None:
    question = Question("work", "a\x00b", "c\ud800d", editable="e\x00f\ud800")
    inbox.answer(inbox.put("run", "step", question), "g\x00h\ud800", ME)
    (row,) = inbox.all()
    assert (row.question.prompt, row.question.text) == ("a\ufffdb", "c?d")


def test_a_database_that_is_gone_for_a_while_has_no_news_and_then_takes_the_answer(
    postgres_server: PostgresServer, postgres: str, tmp_path: Path
) -> None:
    database = open_database(load_settings(tmp_path, {"MUSTER_DATABASE_URL": postgres}))
    make_tables(database)
    told: list[str] = []
    inbox = Inbox(database, Patience(told.append))
    question_id = inbox.put("run", "step", TASK)
    postgres_server.stop()
    assert inbox.news("run", "step") is None
    person = threading.Thread(target=inbox.note, args=(question_id, "done", ME))
    person.start()
    postgres_server.start()
    person.join(60)
    found = inbox.answer_for("run", "step")
    assert found is not None
    assert (found.said, len(told)) == ("done", 2)
    database.dispose()


# -- what approving and rejecting mean


@pytest.mark.parametrize(
    ("kind", "choices", "said", "reply"),
    [
        ("review", (), None, Reply("")),
        ("plan", (), None, Reply("")),
        ("plan", (), "subtasks: []", Reply("subtasks: []")),
        ("intake", (), None, Reply("")),
        ("intake", (), "for all", Reply("for all")),
        ("task", (), "done", Reply("done")),
        ("escalation", (), "done", Reply("done")),
        ("escalation", ("retry", "stop"), "re", Reply("retry")),
        ("unknown_outcome", ("yes", "no"), None, Reply("yes")),
        ("a later kind", (), "text", Reply("text")),
    ],
)
def test_approving_says_what_the_asker_reads(
    kind: str, choices: tuple[str, ...], said: str | None, reply: Reply
) -> None:
    assert approval(kind, choices, said) == reply


@pytest.mark.parametrize(
    ("kind", "choices", "said", "what", "fix"),
    [
        ("task", (), None, "this question needs an answer", "--answer or --file: the output of the task"),
        ("task", (), "  ", "the answer is empty", None),
        ("review", (), "x", "an output is accepted as it is", "`muster approvals reject` says what should change"),
        (
            "plan",
            (),
            "fine",
            "the answer is no plan: it has no `subtasks:`",
            "--file takes the edited plan; `muster approvals reject` says what should change",
        ),
        ("escalation", ("retry", "stop"), None, "this question needs an answer", "--answer with one of: retry, stop"),
        ("escalation", ("retry", "stop"), "x", "'x' is none of the choices", "one of: retry, stop"),
    ],
)
def test_an_approval_that_means_nothing_is_refused(
    kind: str, choices: tuple[str, ...], said: str | None, what: str, fix: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        approval(kind, choices, said)
    assert (str(caught.value), caught.value.fixes()) == (what, [fix] if fix else [])


def test_rejecting_says_what_the_asker_reads() -> None:
    for kind in ("task", "review", "plan", "escalation"):
        assert rejection(kind, (), "why") == Reply("why", rejected=True, reason="why")
    assert rejection("unknown_outcome", ("Yes", "No"), "why") == Reply("No", rejected=True, reason="why")


@pytest.mark.parametrize(
    ("kind", "choices", "reason", "what"),
    [
        ("intake", (), "why", "this question cannot be rejected"),
        ("escalation", ("retry", "stop"), "why", "this question is answered by a choice"),
        ("review", (), " ", "the reason is empty"),
    ],
)
def test_a_rejection_that_means_nothing_is_refused(kind: str, choices: tuple[str, ...], reason: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        rejection(kind, choices, reason)


def test_a_choice_is_found_by_its_name_or_beginning() -> None:
    choices = ("it happened", "it did not", "it did")
    assert find_choice("it did", choices) == "it did"
    assert find_choice("it h", choices) == "it happened"
    assert [find_choice(said, choices) for said in ("it", "", "no")] == [None, None, None]
    assert manner_of("escalation", choices).answer == "one of the choices"
