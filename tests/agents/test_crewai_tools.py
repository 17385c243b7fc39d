"""Classes of crewai-tools by name: imported when one is named, never prompting, run through the guard like any tool."""

import json
import sys
from pathlib import Path

import pytest

from project.errors import AppError
from project.spec import ToolUse
from tests.lab import Lab
from tests.scripted_server import ScriptedServer

AGENTS = """
    reader:
      role: Reader
      goal: Read
      backstory: You read.
      tools:
        - FileReadTool: {base_dir: "{folder}"}
        - DirectoryReadTool: {directory: "{folder}"}
"""
TASKS = """
    read:
      description: |
        @call list_files_in_directory
        @call read_a_files_content {"file_path": "{folder}/note.txt"}
        @echo
      expected_output: What the tools said.
      agent: reader
"""


def test_two_of_them_do_their_work_in_a_run(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "note.txt").write_text("the note says hello")
    monkeypatch.chdir(folder)
    with ScriptedServer() as server:
        lab.write(agents=AGENTS, tasks=TASKS)
        lab.models(server.base_url)
        outcome = lab.run("default", {"folder": str(folder)})
    assert outcome.status == "succeeded"
    assert "note.txt" in outcome.output
    assert "the note says hello" in outcome.output
    tools = [step.record for step in lab.steps(outcome.run_id) if step.kind == "tool"]
    assert [(record["tool"], record["effect"]) for record in tools] == [
        ("list_files_in_directory", "read"),
        ("read_a_files_content", "read"),
    ]


def test_a_class_whose_package_is_missing_is_an_error_and_never_a_question(lab: Lab, tmp_path: Path) -> None:
    _ = lab.runner  # imports CrewAI as a run does
    from agents.crewai_tools import load_crewai_tool

    stdin = sys.stdin
    with pytest.raises(AppError) as caught:
        load_crewai_tool(ToolUse(name="LinkupSearchTool", settings={"api_key": "none"}), tmp_path)
    assert "LinkupSearchTool can't be" in str(caught.value)
    assert sys.stdin is stdin


def test_a_class_that_nobody_declared_counts_as_sending_once(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = lab.runner
    from agents import crewai_tools

    monkeypatch.delitem(crewai_tools.DECLARED, "WaitTool")
    tool = crewai_tools.load_crewai_tool(ToolUse(name="WaitTool"), tmp_path)
    assert (tool.effect, tool.repeat, tool.returns) == ("send", "once", "untrusted")
    assert tool.check({"no_such_argument": 1}) != []


OWN = """
from crewai.tools import BaseTool, tool


class Shouter(BaseTool):
    name: str = "Shout it"
    description: str = "Say a text in capitals."
    mark: str = "!"

    def _run(self, text: str) -> str:
        return text.upper() + self.mark


@tool("Turn round")
def turn(text: str) -> str:
    \"\"\"Write a text backwards.\"\"\"
    return text[::-1]
"""


def test_a_project_s_own_crewai_tools_work_as_they_are(lab: Lab) -> None:
    agents = """
        worker:
          role: Worker
          goal: Work
          backstory: You work.
          tools: [{Shouter: {mark: "?"}}, turn]
    """
    tasks = """
        work:
          description: |
            @call shout_it {"text": "hello"}
            @call turn_round {"text": "abc"}
            @echo
          expected_output: What the tools said.
          agent: worker
    """
    with ScriptedServer() as server:
        lab.allow_all()
        lab.write(agents=agents, tasks=tasks, tools__own_py=OWN)
        lab.models(server.base_url)
        outcome = lab.run()
    assert outcome.output.splitlines() == ["HELLO?", "cba"]
    records = [step.record for step in lab.steps(outcome.run_id) if step.kind == "tool"]
    assert {(record["effect"], record["repeat"]) for record in records} == {("send", "once")}


def test_every_declared_class_is_in_the_package_and_every_tool_of_it_is_declared() -> None:
    import crewai_tools
    from crewai.tools import BaseTool

    from agents.crewai_tools import DECLARED

    found = {
        name
        for name, value in vars(crewai_tools).items()
        if isinstance(value, type) and issubclass(value, BaseTool) and value is not BaseTool
    }
    assert sorted(set(DECLARED) - found) == []
    assert sorted(found - set(DECLARED)) == []


def test_what_leaves_the_machine_costs_or_runs_programs_is_never_declared_as_reading() -> None:
    from agents.crewai_tools import DECLARED

    outward = {name: declared for name, declared in DECLARED.items() if declared.effect in ("send", "spend", "execute")}
    assert {"NL2SQLTool", "ZapierActionTool", "DallETool", "E2BPythonTool", "S3WriterTool"} <= set(outward)
    assert [name for name, declared in outward.items() if declared.repeat != "once" and name != "S3WriterTool"] == []
    words = ("Search", "Scrape", "Read", "Extract")
    readers = [declared for name, declared in DECLARED.items() if any(word in name for word in words)]
    assert {declared.returns for declared in readers} == {"untrusted"}


def test_policy_yaml_declares_a_class_by_its_own_name(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    declared = {
        "FileReadTool": {"returns": "trusted"},
        "DirectoryReadTool": {"returns": "trusted", "effect": "execute"},
    }
    policy = {"tools": declared, "defaults": {"execute": "allow"}}
    with ScriptedServer() as server:
        lab.write(agents=AGENTS, tasks=TASKS, policy=json.dumps(policy))
        lab.models(server.base_url)
        outcome = lab.run(inputs={"folder": str(tmp_path)})
    found = {step.record["tool"]: step.record for step in lab.steps(outcome.run_id) if step.kind == "tool"}
    assert "untrusted" not in found["read_a_files_content"]
    assert found["list_files_in_directory"]["effect"] == "execute"


def test_rules_see_what_yaml_fixes_of_a_class_and_what_it_takes_by_itself(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    agents = f"""
        reader:
          role: Reader
          goal: Read
          backstory: You read.
          tools: [{{FileReadTool: {{file_path: "{tmp_path}/note.txt"}}}}]
    """
    tasks = """
        work: {description: "@call read_a_files_content {}\\n@echo", expected_output: Words, agent: reader}
    """
    for number, rule in enumerate(
        ({"paths": [f"{tmp_path}/**"]}, {"arguments": {"file_path": {"pattern": ".*note.*"}}})
    ):
        with ScriptedServer() as server:
            lab.write(agents=agents, tasks=tasks, policy=json.dumps({"rules": [{"decide": "deny", **rule}]}))
            lab.models(server.base_url)
            outcome = lab.run(run_id=f"r{number}")
        records = [step.record for step in lab.steps(outcome.run_id) if step.kind == "tool"]
        assert [record.get("rule") for record in records] == ["rule 1"]
        assert "refused" in records[0]
