"""Secrets in runs: given to one tool alone, and in nothing that is written, printed, or read by an agent."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.canaries import found_in, run_canaries, run_private
from benchmarks.canary_scenes import EchoServer
from project.errors import AppError
from runs.governed.redaction import without_private
from runs.told.report import Step
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import said_to_model, write_project
from tests.scripted_server import Reply, ScriptedServer

SECRET = "k3y-of-the-mail-service"
OTHER = "an0ther-value-altogether"
TELL = '''
import os

from muster import ToolContext, guardrail, tool


def _seen(*names: str) -> str:
    own = {"/proc/self/environ": ""}
    with open("/proc/self/environ") as file:
        at_start = file.read()
    return " ".join(f"{name}={len(os.environ.get(name, ''))},{int(name in at_start)}" for name in names)


def happened(text: str) -> str | None:
    return None


def unpost(text: str, context: ToolContext) -> str:
    return f"unposted {_seen('POST_TOKEN', 'OTHER_TOKEN')} {len(context.secrets)}"


@tool(effect="send", repeat="safe", undo=unpost)
def post(text: str, context: ToolContext) -> str:
    """Post a text."""
    token = context.secrets.get("POST_TOKEN", "")
    return f"{_seen('POST_TOKEN', 'OTHER_TOKEN', 'PLAIN', 'MODEL_KEY')} {len(token)} {sorted(context.secrets)} {context!r}"


@tool(effect="read")
def look(text: str) -> str:
    """Look."""
    return _seen("POST_TOKEN", "OTHER_TOKEN", "PLAIN", "MODEL_KEY")


@tool(effect="read")
def echo(how: str) -> str:
    """Say the secret that this tool was given."""
    import base64
    value = os.environ["POST_TOKEN"]
    if how == "fail":
        raise OSError("x" * 1980 + value)
    return base64.b64encode(f"user:{value}".encode()).decode() if how == "base64" else f"it is {value}"
'''
POLICY = {
    "defaults": {"send": "allow"},
    "tools": {"post": {"secrets": ["POST_TOKEN", "LOGIN"]}, "echo": {"secrets": ["POST_TOKEN"]}},
}


@pytest.fixture
def given(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A project whose tool `post` is given secrets, one of .env and one of the environment."""
    monkeypatch.setenv("OTHER_TOKEN", OTHER)
    monkeypatch.setenv("PLAIN", "plain to see")
    monkeypatch.setenv("LOGIN", "someone")
    (lab.root / ".env").write_text(f"POST_TOKEN={SECRET}\n")
    lab.write(tools__tell_py=TELL, policy=json.dumps(POLICY))
    lab.restart()
    yield lab
    lab.restart()


def results(lab: Lab, run_id: str) -> list[str]:
    return [step.record["result"] for step in lab.steps(run_id) if step.kind == "tool"]


def work(lab: Lab, *lines: str, tools: tuple[str, ...] = ("post", "look", "echo"), **more: Any) -> None:
    write_project(lab, {"work": {"description": "\n".join(lines), **more}}, {"tools": list(tools)})


def test_a_secret_reaches_the_tool_that_is_named_and_no_other(given: Lab) -> None:
    work(given, '@call post {"text": "a"}', '@call look {"text": "a"}', "@answer: done")
    posted, looked = results(given, given.run().run_id)
    assert looked == "POST_TOKEN=0,0 OTHER_TOKEN=0,0 PLAIN=12,1 MODEL_KEY=0,0"
    assert posted.startswith(
        "POST_TOKEN=23,0 OTHER_TOKEN=0,0 PLAIN=12,1 MODEL_KEY=0,0 23 ['LOGIN', 'POST_TOKEN'] ToolContext("
    )
    assert "secrets" not in posted.partition("ToolContext(")[2]


def test_an_undo_is_given_the_secrets_of_its_tool(given: Lab, muster: Muster) -> None:
    work(given, '@call post {"text": "a"}', "@answer: done")
    run_id = given.run().run_id
    given.close()
    printed = muster("runs", "rollback", run_id)
    assert printed.code == 0, printed
    with sqlite3.connect(given.root / ".muster" / "muster.db") as journal:
        (told,) = [
            json.loads(output)["why"]
            for (output,) in journal.execute("select output from operation_outputs where function_name like '%/undo'")
        ]
    assert told == "unposted POST_TOKEN=23,0 OTHER_TOKEN=0,0 2"


def test_a_secret_that_is_not_set_stops_the_run_before_anything_is_stored(given: Lab) -> None:
    (given.root / ".env").unlink()
    given.restart()
    work(given, "@answer: done")
    with pytest.raises(AppError) as raised:
        given.run(run_id="unset")
    assert str(raised.value) == "the tool `post` is given the secret `POST_TOKEN`, which is not set"
    assert raised.value.exit_code == 3
    assert given.runner.store.find("unset") is None


@pytest.mark.parametrize("how", ["plain", "base64", "fail"])
def test_an_agent_never_reads_a_secret_that_a_tool_returns(given: Lab, server: ScriptedServer, how: str) -> None:
    work(given, f'@call echo {{"how": "{how}"}}', "@echo")
    outcome = given.run()
    assert outcome.status == "succeeded"
    assert "[redacted]" in outcome.output
    (result,) = results(given, outcome.run_id)
    assert result == outcome.output
    said = "\n".join(json.dumps(request.messages) for request in server.requests)
    assert found_in([said.encode(), outcome.output.encode()], [SECRET]) == []
    assert "k3y" not in said  # no half of one, either


def test_an_input_that_is_a_secret_is_neither_stored_nor_sent(given: Lab, server: ScriptedServer) -> None:
    write_project(
        given, {"work": "@answer: got {word}"}, crews={"default": {"tasks": ["work"], "inputs": {"word": None}}}
    )
    outcome = given.run(inputs={"word": f"{SECRET} and {OTHER}"}, run_id="with-secret")
    assert outcome.output == "got [redacted] and [redacted]"
    assert given.runner.find("with-secret").read_plan().inputs == {"word": "[redacted] and [redacted]"}
    assert SECRET not in "\n".join(said_to_model(request) for request in server.requests)


def test_what_a_model_says_is_cleaned_before_it_is_acted_upon(given: Lab) -> None:
    def leak(messages: list[Any], _tools: list[Any]) -> Reply:
        return Reply(f"the value is {SECRET}, and password=hunter22 too")

    work(given, "Say it", tools=())
    with ScriptedServer(leak) as leaky:
        given.models(leaky.base_url)
        outcome = given.run()
    assert outcome.output == "the value is [redacted], and password=[redacted] too"


def test_a_provider_that_echoes_the_key_tells_nobody(given: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "0penai-key-" + "x" * 280 + "-its-end")
    given.restart()
    work(given, "Say it", tools=())
    with EchoServer(400) as server:
        given.models(server.base_url, max_attempts=1)
        outcome = given.run()
    assert outcome.reason == "work: the model 'default' did not answer: 400: refused: Authorization: Bearer [redacted] "


def test_a_replay_finds_what_was_journaled(given: Lab, muster: Muster) -> None:
    work(given, '@call echo {"how": "plain"}', "@echo")
    run_id = given.run().run_id
    given.close()
    printed = muster("runs", "replay", run_id, "--json")
    assert json.loads(printed.out)["identical"], printed


def test_private_content_is_shown_by_its_length_alone() -> None:
    def step(name: str, task: str, at: float, **record: Any) -> Step:
        return Step(name, task, record["kind"], at, 0.0, record)

    answer = {"text": "Bob is ill", "calls": [{"id": "1", "name": "note", "arguments": '{"text": "Bob"}'}]}
    steps = [
        step("a/w/model#1", "a", 1, kind="model", answer={"text": "look", "calls": []}, new=[]),
        step("b/w/model#1", "b", 1, kind="model", answer={"text": "beside", "calls": []}, new=[]),
        step("a/w/patient#1", "a", 2, kind="tool", tool="patient", arguments={"of": "Bob"}, result="ill", private=True),
        step("a/w/model#2", "a", 3, kind="model", model="m", answer=answer, usage={"input_tokens": 5}, new=[]),
        step("b/w/model#2", "b", 3, kind="model", answer={"text": "still beside", "calls": []}, new=[]),
        step(
            "c/w/model#1",
            "c",
            4,
            kind="model",
            answer={"text": "Bob", "calls": []},
            new=[{"role": "user", "content": "x"}],
        ),
    ]
    shown = without_private(steps)
    assert [one.name for one in shown] == [one.name for one in steps]
    assert (shown[0], shown[1], shown[4]) == (steps[0], steps[1], steps[4])
    assert shown[2].record == {
        "kind": "tool",
        "tool": "patient",
        "arguments": {"of": "[private: 3 characters]"},
        "result": "[private: 3 characters]",
        "private": True,
    }
    told = shown[3].record
    assert told["answer"] == {
        "text": "[private: 10 characters]",
        "calls": [{"id": "[private: 1 characters]", "name": "note", "arguments": "[private: 15 characters]"}],
    }
    assert (told["usage"], told["model"]) == ({"input_tokens": 5}, "m")
    assert shown[5].record["new"] == [{"role": "user", "content": "[private: 1 characters]"}]


def test_no_canary_is_found_in_anything_that_is_written(tmp_path: Path) -> None:
    came = run_canaries(tmp_path / "project", secrets=40, briefly=True)
    assert came.found == []
    assert came.planted >= 40
    assert came.redactions > 100
    codes = {name: 4 if name == "waits" else 1 if name.startswith("refused") else 0 for name in came.runs}
    assert came.runs == codes


def test_no_private_word_is_found_where_the_journal_is_encrypted(tmp_path: Path) -> None:
    came = run_private(tmp_path / "project", words=20, briefly=True)
    assert came.found == []
    assert came.redactions > 20
    assert came.runs == {"told": 0, "large": 0, "waits": 4, "crashes (killed, resumed)": 0}
