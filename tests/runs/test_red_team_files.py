"""Ways of words that somebody has looked for, past the account of what was read: through files, and in questions."""

import json
from pathlib import Path
from typing import Any

import pytest

from runs.governed.carried import Carried, Ground
from tests.lab import Lab
from tests.runs.gate_scene import call, the_question
from tests.runs.scene import READ_AND_TELL, write_project
from tests.runs.test_fork import fork
from tests.scripted_server import ScriptedServer
from tools.tool import Tool

KEY = "MUSTER_JOURNAL_KEY=a-key-for-tests-0123456789abcdef\n"
FILES = '''
import os
import time
from pathlib import Path

from muster import ToolContext, tool


@tool(effect="read", returns="trusted")
def mark() -> str:
    """Let those go on who wait."""
    Path(os.environ["MARK"]).touch()
    return "marked"


@tool(effect="read", returns="trusted")
def wait() -> str:
    """Wait for the mark."""
    end = time.monotonic() + 50
    while not os.path.exists(os.environ["MARK"]):
        if time.monotonic() > end:
            raise TimeoutError("nobody has set the mark")
        time.sleep(0.01)
    return "marked"


@tool(effect="read", returns="trusted")
def read_note(path: str, context: ToolContext) -> str:
    """Read a file of the run."""
    return (context.output_folder / path).read_text()


@tool(effect="read", returns="trusted")
def read_any(path: str) -> str:
    """Read any file."""
    return Path(path).read_text()


@tool(effect="read", returns="trusted")
def look_up(number: int) -> str:
    """Look up a number."""
    return f"number {number}"


@tool(effect="write", returns="trusted")
def put(path: str, text: str) -> str:
    """Write a file, from the working folder."""
    Path(path).write_text(text)
    return "put"


@tool(effect="send", repeat="safe", returns="trusted")
def send_file(path: str, context: ToolContext) -> str:
    """Send a file."""
    return (context.output_folder / path).read_text()


@tool(effect="read")
def search(query: str, most: int = 5) -> str:
    """Search the web."""
    return "found"


@tool(effect="read")
def read_local(path: str) -> str:
    """Read a file of anybody's."""
    return Path(path).read_text()


@tool(effect="read", private=True)
def find_mail(query: str) -> str:
    """Search one's own mails."""
    return "no mail"
'''
POLICY = "rules: [{decide: allow, tools: [tell, send_file, put]}]\n"
READ = "@call page {}\n@call file {}"
TELL = '@call tell {"text": "all"}\n@answer: told'
NOTE = call("write_file", path="notes.txt", text="what was read")
LOOK = {"description": f"{READ}\n{NOTE}\n@call mark {{}}\n@answer: written", "agent": "reader"}
WAIT = "@call wait {}"
DOER_TOOLS: list[Any] = ["wait", "tell", "read_note", "read_any", "look_up", "send_file", "put"]


@pytest.fixture
def world(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A project whose tools read what is untrusted and private, write files, read them, and tell."""
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    (lab.root / ".env").write_text(KEY, encoding="utf-8")
    lab.write(tools__world_py=READ_AND_TELL, tools__files_py=FILES, policy=POLICY)
    return lab


def agent(*tools: Any, **more: Any) -> dict[str, Any]:
    return {"role": "Agent", "goal": "Work", "backstory": "You work.", "tools": list(tools), **more}


AGENTS = {"reader": agent("page", "file", "write_file", "put", "mark"), "doer": agent(*DOER_TOOLS)}


def write(lab: Lab, tasks: dict[str, Any], *, agents: dict[str, Any] | None = None, **more: Any) -> None:
    """Write a crew whose tasks stand side by side: none of them reads the output of another."""
    usual: dict[str, Any] = {"agent": "doer", "context": []}
    told: dict[str, Any] = {
        name: usual | (task if isinstance(task, dict) else {"description": task}) for name, task in tasks.items()
    }
    all_agents = AGENTS | (agents or {})
    crews = more.pop("crews", {"default": {"agents": list(all_agents), "tasks": list(tasks)}})
    write_project(lab, told, agents=all_agents, crews=crews, **more)


def asks_about(lab: Lab, tool: str, outcome: Any = None) -> Any:
    """Run the crew, and return the terms of the one question, which is about untrusted content in a call of `tool`."""
    outcome = outcome or lab.run()
    assert outcome.status == "waiting", outcome
    terms = the_question(lab, outcome.run_id).question.terms
    assert terms is not None
    assert (terms.rule, terms.call["tool"]) == ("untrusted content", tool)
    assert terms.untrusted
    assert terms.private
    return terms


# -- files within a run


def test_who_reads_a_file_of_the_run_has_read_what_was_read_by_who_wrote_it(world: Lab) -> None:
    write(world, {"look": LOOK, "act": f"{WAIT}\n{call('read_note', path='notes.txt')}\n{TELL}"})
    terms = asks_about(world, "tell")
    assert terms.private == ("act/doer/read_note#2",)
    step = next(step for step in world.steps(terms.call["run"]) if step.name == "look/reader/write_file#3")
    assert step.record["carries"] == {"untrusted": ["look/reader/page#1"], "private": ["look/reader/file#2"]}


def test_a_call_that_sends_a_file_of_the_run_is_decided_by_what_the_file_holds(world: Lab) -> None:
    write(world, {"look": LOOK, "act": f"{WAIT}\n{call('send_file', path='notes.txt')}\n@echo"})
    assert asks_about(world, "send_file").private == ("look/reader/file#2",)


def test_a_tool_that_can_know_nothing_of_the_file_reads_nothing_of_it(world: Lab) -> None:
    write(world, {"look": LOOK, "act": f"{WAIT}\n{call('look_up', number=3)}\n{TELL}"})
    assert world.run().output == "told"


def test_a_file_that_was_written_before_anything_was_read_carries_nothing(world: Lab) -> None:
    clean = {"description": f"{NOTE}\n@call mark {{}}\n{READ}\n@answer: written", "agent": "reader"}
    write(world, {"look": clean, "act": f"{WAIT}\n{call('read_note', path='notes.txt')}\n{TELL}"})
    assert world.run().output == "told"


def test_documents_in_which_a_task_has_put_its_output_bring_it(world: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", str(world.root / "docs" / "report.md"))
    (world.root / "docs").mkdir()
    (world.root / "docs" / "other.md").write_text("nothing of it\n", encoding="utf-8")
    look = LOOK | {"description": f"{READ}\n@echo", "output_file": "docs/report.md"}
    readers = {"doer": agent("tell", "wait", {"read_document": {"folder": "docs"}})}
    write(world, {"look": look, "act": f"{WAIT}\n{call('read_document', path='report.md')}\n{TELL}"}, agents=readers)
    asks_about(world, "tell")
    write(world, {"look": look, "act": f"{WAIT}\n{call('read_document', path='other.md')}\n{TELL}"}, agents=readers)
    assert world.run().output == "told"


def test_a_file_outside_of_the_run_s_folder_carries_it_under_each_of_its_names(world: Lab, tmp_path: Path) -> None:
    place = tmp_path / "out.txt"
    (tmp_path / "link.txt").symlink_to(place)
    look = LOOK | {
        "description": f"{READ}\n{call('put', path=str(place), text='what was read')}\n@call mark {{}}\n@answer: put"
    }
    write(world, {"look": look, "act": f"{WAIT}\n{call('read_any', path=str(tmp_path / 'link.txt'))}\n{TELL}"})
    asks_about(world, "tell")


def test_who_goes_on_with_a_run_knows_what_its_files_carry(world: Lab, server: ScriptedServer) -> None:
    act = f"Now act.\n{WAIT}\n{call('read_note', path='notes.txt')}\n{TELL}"
    write(world, {"look": LOOK, "act": act})
    server.configure(faults=[{"fault": "400", "match": "Now act", "turn": 2}])
    outcome = world.run()
    assert outcome.status == "failed"
    server.configure(faults=[])
    world.restart()
    asks_about(world, "tell", world.resume(outcome.run_id))


def test_a_fork_takes_the_account_along(world: Lab) -> None:
    write(world, {"look": LOOK, "act": f"{WAIT}\n{call('read_note', path='notes.txt')}\n{TELL}"})
    forked = fork(world, world.run().run_id, "act")
    assert forked.kept == ["look"]
    asks_about(world, "tell", world.resume(forked.run_id))


def test_a_fork_trusts_no_file_that_is_left_of_what_it_has_not_taken_over(world: Lab) -> None:
    write(world, {"act": f"{call('read_note', path='notes.txt')}\n{call('send_file', path='notes.txt')}\n@echo"})
    forked = fork(world, world.run().run_id, "act")
    files = Path(world.runner.folder(forked.run_id), "files")
    files.mkdir(exist_ok=True)
    (files / "notes.txt").write_text("left over", encoding="utf-8")
    assert asks_about(world, "send_file", world.resume(forked.run_id)).private == (
        "act/doer/read_note#1",
        "files/notes.txt",
    )


# -- questions that carry words out


def reads_then(lab: Lab, line: str, tool: str, policy: str = POLICY, **more: Any) -> Any:
    lab.write(policy=policy)
    agents = {"doer": agent("page", "file", tool)}
    write(lab, {"act": f"{READ}\n{line}\n@answer: done"}, agents=agents, **more)
    return lab.run(inputs=more.get("inputs"))


def test_words_of_the_agent_s_own_go_to_a_search_only_with_a_person(world: Lab) -> None:
    outcome = reads_then(world, call("search", query="the merger is on 3 May"), "search")
    asks_about(world, "search", outcome)
    assert "sends its words out of this machine" in the_question(world, outcome.run_id).question.text


@pytest.mark.parametrize(
    ("line", "tool", "policy"),
    [
        (call("search", query="   ", most=7), "search", POLICY),
        (call("find_mail", query="rent"), "find_mail", POLICY),
        (call("search", query="the merger"), "search", f"{POLICY}tools: {{search: {{domains: []}}}}\n"),
        (call("search", query="the merger"), "search", f"{POLICY}tools: {{search: {{returns: trusted}}}}\n"),
    ],
    ids=["no words", "private", "connects to nothing", "trusted"],
)
def test_a_question_that_carries_no_words_to_others_asks_nobody(world: Lab, line: str, tool: str, policy: str) -> None:
    assert reads_then(world, line, tool, policy).output == "done"


def test_a_file_that_is_there_is_no_words_but_one_that_is_not_is(world: Lab, tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("x", encoding="utf-8")
    assert reads_then(world, call("read_local", path=str(tmp_path / "there.txt")), "read_local").output == "done"
    asks_about(world, "read_local", reads_then(world, call("read_local", path="/the/merger/is/on"), "read_local"))


def test_words_that_the_user_gave_may_be_searched_for(world: Lab) -> None:
    crews: dict[str, Any] = {"default": {"agents": ["doer"], "tasks": ["act"], "inputs": {"topic": {}}}}
    line = call("search", query="{topic}").replace("{topic}", "the merger") + "\nAbout {topic}"
    outcome = reads_then(world, line, "search", crews=crews, inputs={"topic": "the merger"})
    assert outcome.status == "succeeded", outcome


# -- where tools of one's own write


def test_a_relative_path_of_a_tool_that_knows_no_run_lies_in_the_working_folder(
    world: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    world.write(policy="{}\n")
    write(world, {"act": f"{call('put', path='notes.txt', text='x')}\n@answer: put"})
    outcome = world.run()
    assert outcome.status == "waiting", outcome
    terms = the_question(world, outcome.run_id).question.terms
    assert terms is not None
    assert terms.rule == "path outside the run's folder"
    assert not (tmp_path / "notes.txt").exists()
    world.write(policy="rules: [{decide: allow, tools: [put], paths: ['" + f"{tmp_path}/*.txt']}}]\n")
    assert world.run().output == "put"
    assert (tmp_path / "notes.txt").read_text() == "x"


def test_a_rule_that_denies_a_path_from_the_run_s_folder_holds_for_such_a_tool(world: Lab) -> None:
    world.write(policy="rules: [{decide: deny, tools: [read_any], paths: ['vault/**']}]\n")
    write(world, {"act": f"{call('read_any', path='vault/keys')}\n@echo"})
    assert "read_any was not called: the policy denies it (rule 1)" in world.run().output


def test_the_account_of_a_run_s_files_is_plain_json(world: Lab) -> None:
    write(world, {"look": LOOK})
    record = next(step.record for step in world.steps(world.run().run_id) if "files" in step.record)
    assert json.loads(json.dumps(record["carries"])) == record["carries"]


def test_a_file_that_is_about_to_be_written_is_known_by_its_name(tmp_path: Path) -> None:
    def call(_arguments: dict[str, Any], _context: Any) -> str:
        return ""

    tool = Tool("post", "Post.", {}, "send", "once", "trusted", False, 1.0, lambda _: [], call, knows_run=False)
    files, link = tmp_path / "run" / "files", tmp_path / "link"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real")
    files.mkdir(parents=True)
    carried, ground = Carried(), Ground(files, tmp_path, str(tmp_path))
    written = {"outside": [str(tmp_path / "real" / "new" / "a.txt")], "carries": {"private": ["x"]}}
    carried.note(written)
    named = ("real/new/a.txt", "link/new/a.txt", str(link / "new"), "./real/new/../new/a.txt", "a.txt", "other/b.txt")
    found = [bool(carried.read_by(tool, {"text": text}, ground, dict).private) for text in named]
    assert found == [True, True, True, True, False, False]
