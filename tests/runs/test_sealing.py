"""The journal under a key: nothing of it is plain, all that works on it works, and without the key it says so."""

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from dbos import DBOSPortableJSONSerializer

from project.errors import AppError
from runs.stored import sealing
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import crash_after, write_project

KEY = "first-key-of-this-journal-0001"
NEW = "second-key-of-this-journal-002"
WORD = "quillwort"
READ = '''
from muster import tool


@tool(effect="read", private=True)
def records(of: str) -> str:
    """Read records."""
    return f"{of} has a quillwort" * (50_000 if of == "large" else 1)
'''


@pytest.fixture(autouse=True)
def _no_key_is_left() -> Iterator[None]:
    yield
    sealing.use({})


@pytest.fixture
def sealed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A project with a private tool, under a key."""
    monkeypatch.setenv("MUSTER_JOURNAL_KEY", KEY)
    lab.restart()
    lab.write(tools__records_py=READ)
    return lab


def work(lab: Lab, description: str = '@call records {"of": "Bob"}\n@echo', **more: Any) -> None:
    write_project(lab, {"work": {"description": description, **more}}, {"tools": ["records"]})


def rekey(lab: Lab, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    lab.close()
    if key:
        monkeypatch.setenv("MUSTER_JOURNAL_KEY", key)
    else:
        monkeypatch.delenv("MUSTER_JOURNAL_KEY")


def stored(lab: Lab) -> bytes:
    """Return every byte of the state folder, but for the lock files."""
    return b"\n".join(path.read_bytes() for path in sorted((lab.root / ".muster").rglob("*")) if path.is_file())


def test_a_text_is_sealed_alike_and_opened_by_any_of_the_keys() -> None:
    plain = 'a text, {"of": "JSON"}, \ud800 half'
    sealing.use({})
    assert sealing.seal_text(plain) is plain
    sealing.use({"MUSTER_JOURNAL_KEY": KEY})
    old = sealing.seal_text(plain)
    assert sealing.is_sealed(old)
    assert sealing.seal_text(plain) == old
    sealing.use({"MUSTER_JOURNAL_KEY": f"{NEW}, {KEY}"})
    new = sealing.seal_text(plain)
    assert (sealing.open_text(old), sealing.open_text(new), sealing.open_text(plain)) == (plain, plain, plain)
    assert new != old
    assert sealing.stored_forms(plain) == [plain, new, old]


def test_what_no_key_opens_says_so_and_what_was_changed_too() -> None:
    sealing.use({"MUSTER_JOURNAL_KEY": KEY})
    text = sealing.seal_text("a text")
    for environment, what in (({}, "is not set"), ({"MUSTER_JOURNAL_KEY": NEW}, "is not the one that opens it")):
        sealing.use(environment)
        with pytest.raises(AppError) as raised:
            sealing.open_text(text)
        assert str(raised.value) == f"this part of the journal is encrypted, and MUSTER_JOURNAL_KEY {what}"
        assert sealing.show_text(text) == "[encrypted]"
    sealing.use({"MUSTER_JOURNAL_KEY": KEY})
    for changed in (text[:-6] + "AAAA==", text[:-3], text.replace(":1:", ":1:x") + "%"):
        with pytest.raises(AppError):
            sealing.open_text(changed)


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(AppError, match="fewer than 24 characters") as raised:
        sealing.use({"MUSTER_JOURNAL_KEY": "short"})
    assert raised.value.exit_code == 3


def test_dbos_stores_and_reads_through_what_the_engine_puts_in(sealed: Lab) -> None:
    work(sealed)
    sealed.run()
    text = DBOSPortableJSONSerializer().serialize({"a": [1, "ß"]})
    assert sealing.is_sealed(text)
    assert DBOSPortableJSONSerializer().deserialize(text) == {"a": [1, "ß"]}
    assert DBOSPortableJSONSerializer().deserialize('{"a":1}') == {"a": 1}
    sealing.use({})
    assert DBOSPortableJSONSerializer().serialize({"a": [1, "ß"]}) == '{"a":[1,"ß"]}'


def test_a_private_tool_needs_a_key_before_anything_is_stored(lab: Lab) -> None:
    lab.restart()
    lab.write(tools__records_py=READ)
    work(lab)
    with pytest.raises(AppError) as raised:
        lab.run(run_id="private")
    assert (
        str(raised.value)
        == "the results of the tool `records` are private, and the journal would hold them in plain text"
    )
    assert raised.value.fixes() == [
        "put MUSTER_JOURNAL_KEY=... into .env, which encrypts it; `muster audit new-key` prints one"
    ]
    assert raised.value.exit_code == 3
    assert lab.runner.store.find("private") is None


@pytest.mark.parametrize("of", ["Bob", "large"])
def test_nothing_of_a_run_stands_in_plain_text(sealed: Lab, of: str) -> None:
    work(sealed, f'@call records {{"of": "{of}"}}\n@echo')
    outcome = sealed.run()
    assert WORD in outcome.output
    (read,) = [step.record for step in sealed.steps(outcome.run_id) if step.kind == "tool"]
    assert (read["private"], read["result"].count(WORD)) == (True, 50_000 if of == "large" else 1)
    sealed.close()
    whole = stored(sealed)
    assert WORD.encode() not in whole
    assert b"muster-sealed:1:" in whole
    assert b"Do the work" not in whole  # the plan, too


def test_a_run_that_was_killed_goes_on_and_replays(sealed: Lab, muster: Muster) -> None:
    work(sealed)
    outcome = sealed.run()
    crash_after(sealed, outcome.run_id, "work", 2)
    assert sealed.resume(outcome.run_id).output == outcome.output
    sealed.close()
    replayed = json.loads(muster("runs", "replay", outcome.run_id, "--json").out)
    assert (replayed["identical"], replayed["difference"]) == (True, "")


def test_a_run_goes_on_under_another_key_and_can_be_forked_and_compared(
    sealed: Lab, muster: Muster, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(sealed)
    run_id = sealed.run(run_id="old").run_id
    crash_after(sealed, run_id, "work", 2)
    rekey(sealed, monkeypatch, f"{NEW},{KEY}")
    assert sealed.resume(run_id).status == "succeeded"
    sealed.close()
    forked = muster("runs", "fork", run_id, "--from", "work", "--id", "new", "--json")
    assert forked.code == 0, forked
    assert f"Bob has a {WORD}" in muster("runs", "show", "new").out
    assert muster("runs", "diff", run_id, "new").code in (0, 1)
    assert muster("runs", "trace", "new").code == 0
    assert WORD not in muster("runs", "trace", "new", "--json").out
    assert muster("blame", "work", "--run", run_id).code == 0
    printed = muster("runs", "delete", run_id)
    assert printed.code == 0, printed


@pytest.mark.parametrize("key", ["", NEW])
def test_without_the_key_a_run_is_listed_and_all_else_says_why_not(
    sealed: Lab, muster: Muster, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    work(sealed)
    run_id = sealed.run().run_id
    crash_after(sealed, run_id, "work", 2)
    rekey(sealed, monkeypatch, key)
    listed = muster("runs", "list", "--json")
    assert (listed.code, run_id in listed.out) == (0, True)
    for command in (("show",), ("trace",), ("why",), ("resume",), ("replay",), ("costs",)):
        printed = muster("runs", *command, run_id)
        assert printed.code == 1, (command, printed)
        assert printed.err.startswith("this part of the journal is encrypted, and MUSTER_JOURNAL_KEY is not"), printed
        assert "Traceback" not in printed.err


def test_a_question_that_no_key_opens_keeps_no_other_from_being_seen(
    sealed: Lab, muster: Muster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(sealed, {"ask": {"description": "Which colour?", "expected_output": "One.", "agent": "human"}})
    locked = sealed.run().run_id
    rekey(sealed, monkeypatch, NEW)
    readable = sealed.run().run_id
    listed = muster("approvals", "list", "--json")
    assert listed.code == 0, listed
    prompts = {row["run_id"]: row["prompt"] for row in json.loads(listed.out)}
    assert prompts[locked] == "[encrypted]"
    assert prompts[readable] == "your answer"


def test_what_was_written_before_there_was_a_key_is_read(
    lab: Lab, muster: Muster, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.restart()
    write_project(lab, {"work": "@answer: plain as day"})
    run_id = lab.run().run_id
    rekey(lab, monkeypatch, KEY)
    assert "plain as day" in muster("runs", "show", run_id).out
    crash_after(lab, run_id, "work", 0)
    assert lab.resume(run_id).output == "plain as day"


def test_a_question_and_its_answer_are_sealed(sealed: Lab) -> None:
    work(sealed, '@call records {"of": "Bob"}\n@echo', human_input=True)
    run_id = sealed.run().run_id
    (row,) = sealed.runner.inbox.open(run_id)
    assert WORD in row.question.text
    sealed.runner.inbox.answer(row.question_id, f"no {WORD}", "me@here")
    sealed.close()
    with sqlite3.connect(sealed.root / ".muster" / "muster.db") as database:
        (found,) = database.execute(
            "select prompt, text, more, answer from muster_questions where run_id = ?", (run_id,)
        )
    assert all(sealing.is_sealed(text) for text in found)
