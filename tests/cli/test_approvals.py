"""`muster approvals`: what waits for a person is listed, shown and answered, with no process of the run."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.questions_shown import fitted
from runs.people.approvals_told import approvals_of
from runs.people.inbox import Inbox, InboxRow
from runs.people.origin import person_here, started_by
from runs.people.questions import Question
from runs.stored.database import open_database
from tests.cli.conftest import Muster
from tests.farm import Farm
from tests.lab import APPLICATION, Lab
from tests.runs.gate_scene import age, asks, call, made, watch, write_gate
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

PERSON = {"decide": {"description": "Say yes or no.", "expected_output": "One word.", "agent": "human"}}
REVIEWED = {"work": {"description": "@answer: one\n@after-refusal: better", "human_input": True}}


def waiting(lab: Lab, run_id: str = "asks") -> str:
    """Start a run that waits for a person, end its process; return the id of the question."""
    assert lab.run(run_id=run_id).status == "waiting"
    lab.close()
    return question(lab, run_id).question_id


def question(lab: Lab, run_id: str = "asks") -> InboxRow:
    (row,) = Inbox(open_database(lab.settings())).open(run_id)
    return row


@pytest.fixture
def person(lab: Lab) -> Lab:
    write_project(lab, PERSON)
    return lab


@pytest.fixture
def review(lab: Lab, server: ScriptedServer) -> Lab:
    write_project(lab, REVIEWED)
    lab.models(server.base_url)
    return lab


def test_what_waits_is_listed_shown_and_answered_and_the_run_goes_on(muster: Muster, person: Lab) -> None:
    one = waiting(person)
    head, line = muster("approvals", "list").out.splitlines()
    assert head.split() == ["ID", "RUN", "TASK", "KIND", "AGE", "QUESTION"]
    assert line.split()[:4] == [one, "asks", "decide", "task"]
    assert line.endswith("  Say yes or no.")
    assert muster("approvals", "show", one[:5]).out == (
        f"question  {one} (task)\nrun       asks\ntask      decide\nstate     open\nasked     your answer\n\n"
        "Say yes or no.\n\nExpected: One word.\n\n"
        f"muster approvals approve {one} --answer TEXT, or --file FILE: the output of the task\n"
        f"muster approvals reject {one} --reason TEXT: the task fails, and the reason is told\n"
    )
    printed = muster("approvals", "approve", one, "--answer", "yes")
    assert (printed.code, printed.out) == (0, f"answered {one}: decide of run asks\n")
    assert printed.err == "run asks is queued: `muster serve` goes on with it, or `muster runs resume asks` now\n"
    assert json.loads(muster("runs", "list", "--json").out)[0]["status"] == "queued"
    assert muster("approvals", "list").err == "nothing waits for a person\n"
    resumed = muster("runs", "resume", "asks")
    assert (resumed.code, resumed.out) == (0, "yes\n")


def test_every_document_is_json_for_programs(muster: Muster, person: Lab) -> None:
    one = waiting(person)
    (listed,) = json.loads(muster("approvals", "list", "--run", "as", "--json").out)
    asked_at = listed.pop("asked_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", asked_at)
    unanswered = {"answer": None, "reason": None, "answered_by": None, "answered_at": None}
    assert listed == {
        "question_id": one,
        "run_id": "asks",
        "task": "decide",
        "kind": "task",
        "state": "open",
        "prompt": "your answer",
        "choices": [],
        **unanswered,
    }
    shown = json.loads(muster("approvals", "show", one, "--json").out)
    assert shown == {
        **listed,
        "asked_at": asked_at,
        "text": "Say yes or no.\n\nExpected: One word.",
        "editable": None,
        "means": {
            "approve": None,
            "answer": "the output of the task",
            "reject": "the task fails, and the reason is told",
        },
    }
    printed = muster("approvals", "reject", one, "--reason", "no time", "--json")
    answered = json.loads(printed.out)
    assert printed.err == ""
    answered_at = answered["answered_at"]
    assert answered_at >= asked_at
    told = {"state": "rejected", "answer": "no time", "reason": "no time", "answered_by": started_by()}
    times = {"asked_at": asked_at, "answered_at": answered_at}
    assert answered == {**listed, **told, **times, "run_status": "queued"}
    (line,) = json.loads(muster("approvals", "list", "--all", "--json").out)
    assert line["state"] == "rejected"


def test_a_second_answer_is_refused_with_who_answered_and_when(muster: Muster, person: Lab) -> None:
    one = waiting(person)
    assert muster("approvals", "approve", one, "--answer", "yes").code == 0
    for command in (("approve", one, "--answer", "no"), ("reject", one, "--reason", "no")):
        printed = muster("approvals", *command)
        assert (printed.code, printed.out) == (1, "")
        first, _, hint = printed.err.splitlines()
        who = re.escape(started_by())
        assert re.fullmatch(rf"question {one} was answered already, by {who} at \S+\+00:00", first)
        assert hint == f"hint: the first answer stands; `muster approvals show {one}` tells it"
    assert f"state     answered by {started_by()} at " in muster("approvals", "show", one).out
    assert muster("approvals", "list", "--all").out.splitlines()[1].endswith("  answered  Say yes or no.")


def test_a_rejected_output_goes_back_and_an_approved_one_is_taken(muster: Muster, review: Lab) -> None:
    one = waiting(review)
    assert muster("approvals", "reject", one, "--reason", "be better").code == 0
    assert muster("runs", "resume", "asks").code == 4
    review.close()
    again = question(review)
    assert again.question.text == "better"
    printed = muster("approvals", "approve", again.question_id, "-q")
    assert (printed.code, printed.err) == (0, "")
    assert muster("runs", "resume", "asks").out == "better\n"


def test_an_answer_may_be_a_file_or_come_through_a_pipe(
    muster: Muster, person: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = waiting(person), waiting(person, "piped")
    (person.root / "answer.txt").write_text("from a file\nof two lines\n")
    assert muster("approvals", "approve", one, "--file", "answer.txt").code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("through a pipe\n"))
    assert muster("approvals", "approve", other, "--file", "-").code == 0
    assert muster("runs", "resume", "asks").out == "from a file\nof two lines\n"
    assert muster("runs", "resume", "piped").out == "through a pipe\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("approve",), "this question needs an answer\n\nhint: --answer or --file: the output of the task\n"),
        (("approve", "--answer", "a", "--file", "b"), "--answer and --file are both given\n\nhint: give one of them\n"),
        (("approve", "--file", "none"), "--file none: can't be read: [Errno 2] No such file or directory: 'none'\n"),
        (("reject", "--reason", ""), "the reason is empty\n\nhint: --reason TEXT says why\n"),
    ],
)
def test_a_wrong_command_line_changes_nothing(muster: Muster, person: Lab, command: tuple[str, ...], said: str) -> None:
    one = waiting(person)
    printed = muster("approvals", command[0], one, *command[1:])
    assert (printed.code, printed.out, printed.err) == (2, "", said)
    assert question(person).state == "open"


def test_one_of_the_choices_is_the_answer(muster: Muster, person: Lab) -> None:
    waiting(person)
    inbox = Inbox(open_database(person.settings()))
    choices = ("it happened", "it did not", "stop")
    asked = Question("decide", "Did it happen?", "A call of `pay`", kind="unknown_outcome", choices=choices)
    one = inbox.put("asks", "decide/pay#1", asked)
    listed = "one of: it happened, it did not, stop"
    assert f"choices   {', '.join(choices)}\n" in muster("approvals", "show", one).out
    for command, said in (
        (("approve", one), f"this question needs an answer\n\nhint: --answer with {listed}\n"),
        (("approve", one, "--answer", "it"), f"'it' is none of the choices\n\nhint: {listed}\n"),
        (
            ("reject", one, "--reason", "no"),
            f"this question is answered by a choice\n\nhint: `muster approvals approve --answer` with {listed}\n",
        ),
    ):
        printed = muster("approvals", *command)
        assert (printed.code, printed.err) == (2, said)
    assert muster("approvals", "approve", one, "--answer", "it did").code == 0
    found = inbox.answer_for("asks", "decide/pay#1")
    assert found is not None
    assert found.said == "it did not"


def test_ids_that_are_wrong_are_told_with_those_that_wait(muster: Muster, person: Lab) -> None:
    printed = muster("approvals", "show", "nothing")
    assert (printed.code, printed.out) == (1, "")
    assert printed.err == "there is no question 'nothing'\n\nhint: no run was started in this project yet\n"
    assert muster("approvals", "list").err == "nothing waits for a person\n"
    assert muster("approvals", "list", "--json").out == "[]\n"
    assert not (person.root / ".muster").exists()
    one = waiting(person)
    printed = muster("approvals", "approve", "nothing", "--answer", "x")
    assert (printed.code, printed.err) == (1, f"there is no question 'nothing'\n\nhint: those that wait: {one}\n")
    printed = muster("approvals", "list", "--run", "other")
    assert (printed.code, printed.err) == (1, "there is no run 'other'\n\nhint: the latest: asks\n")


def test_questions_of_a_run_that_is_over_are_neither_listed_nor_answered(muster: Muster, person: Lab) -> None:
    from runs.stored.store import RunStore

    one = waiting(person)
    RunStore(open_database(person.settings())).change("asks", {"state": "cancelled"})
    assert json.loads(muster("approvals", "list", "--json").out) == []
    printed = muster("approvals", "approve", one, "--answer", "yes")
    assert (printed.code, printed.err) == (1, f"question {one} needs no answer any more: run asks is cancelled\n")


def test_a_run_that_was_stopped_is_not_queued_by_an_answer(muster: Muster, person: Lab) -> None:
    from runs.stored.store import RunStore

    one = waiting(person)
    RunStore(open_database(person.settings())).change("asks", {"state": "paused"})
    printed = muster("approvals", "approve", one, "--answer", "yes")
    assert printed.err == "run asks is paused; `muster runs resume asks` goes on with it\n"


LOOKS = """
import sys
from main import execute
for line in ("approvals list", "approvals show {one}", "approvals approve {one} --answer yes"):
    assert execute(line.split()) == 0, line
heavy = [name for name in ("crewai", "dbos", "openai", "litellm") if name in sys.modules]
assert not heavy, heavy
"""


def test_answering_imports_neither_crewai_nor_dbos(person: Lab) -> None:
    one = waiting(person)
    env = {**os.environ, "PYTHONPATH": str(APPLICATION)}
    command = [sys.executable, "-c", LOOKS.format(one=one)]
    done = subprocess.run(command, cwd=person.root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Terminal:
    """The command line at a terminal of its own; `read_until` returns what it shows, `type` answers."""

    def __init__(self, farm: Farm, lab: Lab, *arguments: str) -> None:
        self._end, self._inner = pty.openpty()
        terminal = os.ttyname(self._inner)
        self.process = farm.start(lab.root, *arguments, out="apart", terminal=terminal, TERM="dumb")
        self.shown = ""

    def read_until(self, text: str, seconds: float = 180) -> None:
        until = time.monotonic() + seconds
        while text not in self.shown:
            left = until - time.monotonic()
            assert left > 0, self.shown
            assert select.select([self._end], [], [], left)[0], self.shown
            self.shown += os.read(self._end, 65536).decode()

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def finish(self) -> tuple[int, str]:
        code = self.process.wait(120)
        os.close(self._inner)
        os.close(self._end)
        return code, self.process.out


def test_an_answer_from_another_terminal_is_taken_over_at_once(muster: Muster, lab: Lab, farm: Farm) -> None:
    ask: dict[str, Any] = {"agent": "human", "expected_output": "One word.", "context": []}
    write_project(lab, {"first": {"description": "Say one.", **ask}, "second": {"description": "Say two.", **ask}})
    crews = json.dumps({"default": {"tasks": ["first", "second"]}})
    lab.write(crews=crews)
    terminal = Terminal(farm, lab, "run", "default", "--id", "asks")
    terminal.read_until("your answer: ")
    asked = {row.question.task: row for row in Inbox(open_database(lab.settings())).open("asks")}
    here = "first" if "Say one." in terminal.shown else "second"
    terminal.type("half a li")  # which must not become part of the next answer
    printed = muster("approvals", "approve", asked[here].question_id, "--answer", "from elsewhere")
    assert printed.err == "run asks is under way, and takes the answer when it asks\n"
    terminal.read_until(f"{here}: answered by {started_by()}: from elsewhere")
    terminal.shown = terminal.shown.partition("from elsewhere")[2]  # what is asked next may stand there already
    terminal.read_until("your answer: ")
    terminal.type("typed here\n")
    code, out = terminal.finish()
    assert code == 0
    outputs = {task["name"]: task["output"] for task in lab.summary("asks")["tasks"]}
    other = "second" if here == "first" else "first"
    assert outputs == {here: "from elsewhere", other: "typed here"}
    assert out == f"{outputs['second']}\n"
    lab.close()
    states = {line["task"]: line["state"] for line in json.loads(muster("approvals", "list", "--all", "--json").out)}
    assert states == {"first": "answered", "second": "answered"}


def test_a_question_outlives_the_process_that_asked_it(
    muster: Muster, review: Lab, server: ScriptedServer, farm: Farm
) -> None:
    terminal = Terminal(farm, review, "run", "default", "--id", "asks")
    terminal.read_until("or say what should change: ")
    terminal.process.signal(signal.SIGKILL)
    terminal.finish()
    one = question(review).question_id
    printed = muster("approvals", "approve", one)
    assert printed.err == "run asks is interrupted; `muster runs resume asks` goes on with it\n"
    resumed = muster("runs", "resume", "asks")
    assert (resumed.code, resumed.out) == (0, "one\n")
    assert server.stats()["attempts"] == 1


# -- approvals of calls

SEND = call("send", to="carl", text="hello")
ME = person_here()


@pytest.fixture
def gate(lab: Lab, server: ScriptedServer, tmp_path: Path) -> Lab:
    """A project whose only call needs a person."""
    watch(tmp_path)
    write_gate(lab, SEND, policy=asks(expires_hours=5))
    lab.models(server.base_url)
    return lab


def test_a_call_that_waits_is_listed_and_shown_with_all_that_counts(muster: Muster, gate: Lab) -> None:
    one = waiting(gate)
    head, line = muster("approvals", "list").out.splitlines()
    assert re.split(r"  +", head) == [
        *("ID", "RUN", "TASK", "KIND", "TOOL", "AGENT", "RULE", "EXPIRES", "HAS READ", "AGE", "QUESTION")
    ]
    cells = re.split(r"  +", line)
    assert cells[:7] == [one, "asks", "work", "approval", "send", "worker", "default for send"]
    assert cells[7].startswith("in 4 h 5") or cells[7] == "in 5 h 00 min"
    terms = question(gate).question.terms
    assert terms is not None
    shown = muster("approvals", "show", one).out
    assert f"\nhash      {terms.binding}\n" in shown
    assert "\nanswers   anyone who can reach the inbox\n" in shown
    assert 'to edit\n\n{\n  "to": "carl",\n  "text": "hello"\n}\n' in shown
    assert shown.endswith(
        f"muster approvals approve {one}: the call is made\n"
        f"muster approvals approve {one} --answer TEXT, or --file FILE, or --edit: its arguments, edited, as JSON or YAML\n"
        f"muster approvals reject {one} --reason TEXT: the agent is told the reason\n"
    )
    document = json.loads(muster("approvals", "show", one, "--json").out)
    about = document["call"]
    expires_at = about.pop("expires_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", expires_at)
    assert about == {
        "tool": "send",
        "effect": "send",
        "agent": "worker",
        "chain": [],
        "step": "work/worker/send#1",
        "arguments": {"to": "carl", "text": "hello"},
        "rule": "default for send",
        "binding": terms.binding,
        "unchanged": True,
        "approvers": [],
        "four_eyes": False,
        "voices": [],
        "untrusted": [],
        "private": [],
    }


def test_an_approved_call_is_made_and_told_with_who_approved_it(muster: Muster, gate: Lab, tmp_path: Path) -> None:
    one = waiting(gate)
    terms = question(gate).question.terms
    assert terms is not None
    wrong = muster("approvals", "approve", one, "--expect-hash", "0123456789")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.startswith(f"question {one} is not about the call 0123456789: its hash is {terms.binding}\n")
    printed = muster("approvals", "approve", one, "--expect-hash", terms.binding[:10])
    assert (printed.code, printed.out) == (0, f"approved {one}: work of run asks\n")
    assert printed.err == "run asks is queued: `muster serve` goes on with it, or `muster runs resume asks` now\n"
    assert muster("runs", "resume", "asks").out == "sent to carl\n"
    assert made(tmp_path) == ["send carl hello"]
    shown = muster("runs", "show", "asks").out
    assert re.search(rf"\napproval send: approved by {re.escape(ME)} at \S+ \(default for send\)\n", shown)
    traced = muster("runs", "trace", "asks").out
    assert f"{ME} approved it as it was (default for send)" in traced
    assert "→ a person must approve it: " in traced
    (said,) = json.loads(muster("runs", "show", "asks", "--json").out)["approvals"]
    assert (said["tool"], said["state"], said["by"], said["binding"]) == ("send", "approved", [ME], terms.binding)
    assert f"{ME} approved it as it was" in muster("runs", "why", "asks").out


def test_arguments_are_edited_in_a_file_and_must_be_a_mapping(muster: Muster, gate: Lab, tmp_path: Path) -> None:
    one = waiting(gate)
    for text, said in (("- a\n", "the arguments are no mapping"), ("{", "the arguments can't be read: ")):
        (gate.root / "args.yaml").write_text(text)
        printed = muster("approvals", "approve", one, "--file", "args.yaml")
        assert (printed.code, printed.out) == (2, "")
        assert printed.err.startswith(said)
    (gate.root / "args.yaml").write_text("to: dora\ntext: |\n  two\n  lines\n")
    assert muster("approvals", "approve", one, "--file", "args.yaml").code == 0
    assert muster("runs", "resume", "asks").code == 0
    assert made(tmp_path) == ["send dora two", "lines", ""]
    assert ", with other arguments (default for send)" in muster("runs", "show", "asks").out


def test_several_questions_are_answered_at_once(muster: Muster, gate: Lab, tmp_path: Path) -> None:
    one, other = waiting(gate), waiting(gate, "again")
    printed = muster("approvals", "reject", one, other, one, "--reason", "not today", "--json")
    assert [(told["question_id"], told["state"]) for told in json.loads(printed.out)] == [
        (one, "rejected"),
        (other, "rejected"),
    ]
    printed = muster("approvals", "approve", one, other, "--answer", "{}")
    assert (printed.code, printed.err) == (
        2,
        "several questions can't have one answer or hash\n\nhint: answer them one by one\n",
    )
    assert muster("runs", "resume", "asks").code == 0
    assert made(tmp_path) == []


def test_an_expired_question_is_refused_with_what_to_do(muster: Muster, gate: Lab) -> None:
    one = waiting(gate)
    age(gate, one, 6)
    for command in (("approve", one), ("reject", one, "--reason", "no")):
        printed = muster("approvals", *command)
        assert (printed.code, printed.out) == (1, "")
        assert printed.err == (
            f"question {one} can't be answered so: it has expired\n\nhint: `muster runs resume asks` asks anew\n"
        )
    assert "  expired  " in muster("approvals", "list").out
    assert muster("runs", "resume", "asks").code == 4
    assert muster("approvals", "approve", one).code == 0


def test_who_is_not_named_is_refused_and_one_of_two_is_told(muster: Muster, gate: Lab) -> None:
    gate.write(policy=json.dumps(asks(approvers=["somebody-else"])))
    one = waiting(gate)
    printed = muster("approvals", "approve", one)
    assert printed.err == (
        f"question {one} can't be answered so: {ME} is not among those who may answer: somebody-else\n\n"
        "hint: who may answer: somebody-else\n"
    )
    gate.write(policy=json.dumps(asks(four_eyes=True)))
    two = waiting(gate, "again")
    printed = muster("approvals", "approve", two)
    assert (printed.code, printed.out) == (0, f"approved by one {two}: work of run again\n")
    assert printed.err == ("the run waits for a second person: any two people who can reach the inbox\n")
    assert f"\napproved  by {ME}: 1 of 2\n" in muster("approvals", "show", two).out
    assert "has approved it already" in muster("approvals", "approve", two).err


def test_a_variable_of_the_environment_makes_nobody_an_approver(
    muster: Muster, gate: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.write(policy=json.dumps(asks(approvers=["boss"])))
    one = waiting(gate)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "boss")
    assert muster("approvals", "approve", one).code == 1


def test_at_a_terminal_the_call_is_shown_and_only_a_clear_word_makes_it(gate: Lab, farm: Farm, tmp_path: Path) -> None:
    terminal = Terminal(farm, gate, "run", "default", "--id", "asks")
    terminal.read_until("`w` leaves it waiting: ")
    assert '  | to: "carl"' in terminal.shown
    terminal.shown = ""
    terminal.type("perhaps\n")
    terminal.read_until("not taken: 'perhaps' is none of the choices; ")
    terminal.read_until("`w` leaves it waiting: ")
    assert made(tmp_path) == []
    terminal.type("n\n")
    terminal.read_until("why (the agent reads it): ")
    terminal.type("not carl\n")
    code, _ = terminal.finish()
    assert (code, made(tmp_path)) == (0, [])
    (said,) = approvals_of(gate.steps("asks"))
    assert (said["state"], said["reason"], said["by"]) == ("rejected", "not carl", [ME])


def test_at_a_terminal_arguments_are_edited_in_the_editor(
    gate: Lab, farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i s/carl/dora/ "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.setenv("VISUAL", str(editor))
    terminal = Terminal(farm, gate, "run", "default", "--id", "asks")
    terminal.read_until("`w` leaves it waiting: ")
    terminal.type("e\n")
    code, _ = terminal.finish()
    assert (code, made(tmp_path)) == (0, ["send dora hello"])


def test_without_a_terminal_nothing_goes_ahead_and_channels_are_told(muster: Muster, gate: Lab, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    script = gate.root / "tell.sh"
    script.write_text(f"#!/bin/sh\ncat > {told}\n")
    script.chmod(0o755)
    gate.write(policy=json.dumps(asks(notify=["ops"])), schedules="notify: {ops: {command: [./tell.sh]}}\n")
    printed = muster("run", "default", "--id", "asks")
    assert (printed.code, printed.out, made(tmp_path)) == (4, "", [])
    gate.close()
    document = json.loads(told.read_text())
    assert (document["event"], document["question_id"]) == ("approval", question(gate).question_id)
    assert "carl" not in told.read_text()


def test_what_an_agent_wrote_is_marked_in_every_line_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    text = f"arguments\n  | text: {'x' * 30}  approved by ada\n  | to: carl"
    main, terminal = os.openpty()
    with open(terminal, "w") as narrow, open(main, "rb"):
        shown = fitted(text, narrow).split("\n")
    assert [line for line in shown if not line.startswith("  | ")] == ["arguments"]
    assert max(map(len, shown)) == 24
    assert "".join(line.removeprefix("  | ") for line in shown[1:-1]) == f"text: {'x' * 30}  approved by ada"
    assert fitted(text, io.StringIO()) == text
