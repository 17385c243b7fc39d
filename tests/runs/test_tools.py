"""Tools in a run: what a model may get wrong about them, what they may do wrong, and what is never done twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.farm import Farm
from tests.lab import Lab
from tests.runs.scene import crash_after, effects, said_to_model, step_names, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

NOTING = 'with open(os.environ["NOTED"], "a") as file:\n    file.write(text + "\\n")\nreturn f"noted {text}"'


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the tool `note` appends; the tool is there, and the worker has it."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    lab.write(tools__note_py=tool_file(NOTING))
    return path


def write_work(lab: Lab, description: str, **worker: Any) -> None:
    write_project(lab, {"work": description}, {"tools": ["note"], **worker})


def tool_records(lab: Lab, run_id: str) -> list[Any]:
    return [step.record for step in lab.steps(run_id) if step.kind == "tool"]


def test_a_tool_is_called_and_its_result_read(lab: Lab, noted: Path) -> None:
    write_work(lab, '@call note {"text": "a"}\n@echo')
    outcome = lab.run()
    assert (outcome.output, effects(noted)) == ("noted a", ["a"])
    (record,) = tool_records(lab, outcome.run_id)
    assert {key: record[key] for key in ("tool", "arguments", "result", "effect", "repeat")} == {
        "tool": "note",
        "arguments": {"text": "a"},
        "result": "noted a",
        "effect": "write",
        "repeat": "safe",
    }


def test_the_calls_of_one_reply_run_in_their_order(lab: Lab, noted: Path) -> None:
    write_work(lab, '@parallel\n@call note {"text": "a"}\n@call note {"text": "b"}\n@call note {"text": "c"}\n@echo')
    outcome = lab.run()
    assert outcome.output == "noted a\nnoted b\nnoted c"
    assert effects(noted) == ["a", "b", "c"]
    assert lab.summary(outcome.run_id)["usage"]["model_calls"] == 2


def test_malformed_arguments_go_back_to_the_model_and_run_nothing(lab: Lab, noted: Path) -> None:
    write_work(lab, '@malformed note {"text": "a"}\n@answer: done')
    outcome = lab.run()
    assert (outcome.output, effects(noted)) == ("done", ["a"])
    refused = tool_records(lab, outcome.run_id)[0]["refused"]
    assert refused.startswith("note was not called, its arguments are wrong:\n- the arguments are not valid JSON (")
    assert refused.endswith("nothing was run. Call again with a JSON object\nCall it again with right ones.")


def test_a_list_as_arguments_goes_back_to_the_model(lab: Lab, noted: Path) -> None:
    write_work(lab, '@list-arguments note {"text": "a"}\n@answer: done')
    outcome = lab.run()
    assert (outcome.output, effects(noted)) == ("done", ["a"])
    assert (
        "the arguments must be a JSON object, got list; nothing was run"
        in tool_records(lab, outcome.run_id)[0]["refused"]
    )


@pytest.mark.parametrize("arguments", ['{"text": 5}', '{"texts": "a"}', "{}", '{"text": null}'])
def test_arguments_that_do_not_fit_go_back_with_what_is_wrong(lab: Lab, noted: Path, arguments: str) -> None:
    if arguments == "{}":
        arguments = '{"other": 1}'
    write_work(lab, f"@call note {arguments}\n@echo")
    outcome = lab.run()
    assert outcome.output.startswith("note was not called, its arguments are wrong:\n- ")
    assert effects(noted) == []


def test_an_unknown_tool_is_answered_with_those_there_are(lab: Lab, noted: Path) -> None:
    write_work(lab, "@unknown-tool notes\n@echo")
    outcome = lab.run()
    assert outcome.output == "There is no tool `notes`. Did you mean `note`? The tools are: note."
    assert step_names(lab, outcome.run_id)[1] == "work/worker/unknown_tool#1"


def test_a_model_that_calls_tools_that_are_not_offered_any_more_fails_clearly(lab: Lab, noted: Path) -> None:
    def call_on(_messages: list[Any], _tools: list[Any]) -> Reply:
        return Reply(calls=(ToolCall("note", '{"text": "a"}'),))

    write_work(lab, "Note it", max_iter=4)
    with ScriptedServer(call_on) as stubborn:
        lab.models(stubborn.base_url)
        outcome = lab.run()
    assert (outcome.status, outcome.reason, outcome.fix) == (
        "failed",
        "work: the model went on calling tools instead of answering",
        "raise the agent's `max_iter`",
    )
    assert len(effects(noted)) == 3


def test_at_max_iter_the_model_is_asked_for_its_best_answer(lab: Lab, noted: Path, server: ScriptedServer) -> None:
    write_work(lab, '@keep-calling note {"text": "a"}\n@answer: my best', max_iter=3)
    assert lab.run().output == "my best"
    assert len(effects(noted)) == 2
    assert "You have used all your steps." in said_to_model(server.requests[-1])


def test_an_exception_of_a_tool_becomes_text_for_the_model(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file('raise ValueError(f"the disk\\nis full: {text}")'))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    outcome = lab.run()
    assert outcome.output == "Error: note failed: the disk is full: a"
    assert tool_records(lab, outcome.run_id)[0]["error"] == {"kind": "ValueError", "message": "the disk is full: a"}


def test_a_tool_that_takes_too_long_is_given_up(lab: Lab, noted: Path) -> None:
    body = "threading.Event().wait(3)\nreturn 'late'"
    lab.write(tools__note_py=tool_file(body, 'effect="read", timeout_seconds=0.2'))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    outcome = lab.run()
    assert outcome.output == "Error: note: no result within 0.2 s"
    assert tool_records(lab, outcome.run_id)[0]["error"]["kind"] == "timeout"


def test_what_a_tool_returns_need_not_be_clean_text(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file('return "nul \\x00, half \\ud800, end"'))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    assert lab.run().output == "nul \ufffd, half ?, end"


def test_a_setting_in_yaml_is_neither_seen_nor_set_by_the_model(lab: Lab, noted: Path, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"{text} in {place}"', signature="text: str, place: str"))
    write_project(lab, {"work": '@call note {"text": "a"}\n@echo'}, {"tools": [{"note": {"place": "{where}"}}]})
    assert lab.run(inputs={"where": "the hall"}).output == "a in the hall"
    properties = server.requests[0].body["tools"][0]["function"]["parameters"]["properties"]
    assert list(properties) == ["text"]


def test_a_tool_is_told_the_run_it_serves(lab: Lab, noted: Path) -> None:
    body = 'return f"{context.inputs} {context.project.name} {context.output_folder.name}"'
    lab.write(tools__note_py=tool_file(body, signature="text: str, context: ToolContext"))
    write_work(lab, '@call note {"text": "{topic}"}\n@echo')
    assert lab.run(inputs={"topic": "solar"}).output == f"{{'topic': 'solar'}} {lab.root.name} files"


def test_the_key_of_a_call_is_the_same_when_it_is_made_again(lab: Lab, noted: Path) -> None:
    body = NOTING.replace("text +", "context.idempotency_key +")
    keyed = tool_file(body, 'effect="send", repeat="keyed"', "text: str, context: ToolContext")
    lab.write(tools__note_py=keyed)
    write_work(lab, '@call note {"text": "a"}\n@call note {"text": "b"}\n@answer: done')
    run_id = lab.run().run_id
    crash_after(lab, run_id, "work", 3)  # the second call had begun, and was not journaled
    assert lab.resume(run_id).output == "done"
    first, second, again = effects(noted)
    assert first != second
    assert again == second
    assert len(second) == 24


def test_two_runs_have_different_keys(lab: Lab, noted: Path) -> None:
    body = NOTING.replace("text +", "context.idempotency_key +")
    keyed = tool_file(body, 'effect="send", repeat="keyed"', "text: str, context: ToolContext")
    lab.write(tools__note_py=keyed)
    write_work(lab, '@call note {"text": "a"}\n@answer: done')
    lab.run()
    lab.run()
    assert len(set(effects(noted))) == 2


ONCE = 'effect="send", repeat="once", if_unknown="tell"'
DYING = """
import json, os, signal, sys
from pathlib import Path
from tests.lab import Lab
os.environ["MAIN"] = str(os.getpid())
lab = Lab(Path(sys.argv[1]))
lab.run(run_id=sys.argv[2] if len(sys.argv) > 2 else "dies")
"""
KILLING = """
with open(os.environ["NOTED"], "a") as file:
    file.write("sent\\n")
os.kill(int(os.environ["MAIN"]), 9)
threading.Event().wait(60)
return "x"
"""


def test_a_call_that_may_not_be_made_twice_is_not_made_again_after_a_crash_inside_it(
    lab: Lab, noted: Path, server: ScriptedServer, farm: Farm
) -> None:
    lab.write(tools__note_py=tool_file(KILLING, ONCE))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    lab.close()
    died = farm.execute(DYING, str(lab.root))
    assert died.wait() == -9, died.text()
    assert effects(noted) == ["sent"]
    outcome = lab.resume("dies")
    assert (outcome.status, effects(noted)) == ("succeeded", ["sent"])
    assert outcome.output == (
        "The outcome of this call is unknown: the process died while it ran. It was not made again, because doing it "
        "twice could do harm. Do not assume that it happened or that it did not."
    )
    (record,) = tool_records(lab, "dies")
    assert record["unknown_outcome"] is True
    assert server.stats()["paid_twice"] == 0


def test_a_call_that_may_not_be_made_twice_is_made_when_its_intent_was_not_yet_journaled(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, ONCE))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    run_id = lab.run().run_id
    assert step_names(lab, run_id)[1:3] == ["work/worker/note#1/intent", "work/worker/note#1"]
    crash_after(lab, run_id, "work", 1)
    assert lab.resume(run_id).output == "noted a"
    assert effects(noted) == ["a", "a"]


def test_a_journaled_call_is_not_made_again(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, ONCE))
    write_work(lab, '@call note {"text": "a"}\n@echo')
    run_id = lab.run().run_id
    crash_after(lab, run_id, "work", 3)
    assert lab.resume(run_id).output == "noted a"
    assert effects(noted) == ["a"]


def test_a_tool_of_the_task_stands_in_place_of_the_agents(lab: Lab, noted: Path, server: ScriptedServer) -> None:
    write_project(lab, {"work": {"description": "@answer: done", "tools": ["calculator"]}}, {"tools": ["note"]})
    lab.run()
    assert [tool["function"]["name"] for tool in server.requests[0].body["tools"]] == ["calculator"]


def test_a_tool_of_crewai_tools_is_used_by_name(lab: Lab, server: ScriptedServer) -> None:
    (lab.root / "notes.md").write_text("the sun rises in the east\n")
    call = json.dumps({"file_path": str(lab.root / "notes.md")})
    write_project(
        lab,
        {"work": f"@call read_a_files_content {call}\n@echo"},
        {"tools": [{"FileReadTool": {"base_dir": str(lab.root)}}]},
    )
    outcome = lab.run()
    assert "the sun rises in the east" in outcome.output


def test_of_many_tools_an_agent_is_offered_those_that_fit_and_finds_the_others(
    lab: Lab, server: ScriptedServer
) -> None:
    docs = {"folder": "docs"}
    many = ["calculator", *({name: docs} for name in ("list_documents", "read_document", "search_documents"))]
    description = 'Calculate the sum.\n@call find_tools {"wanted": "list documents"}\n@call list_documents {}\n@echo'
    write_project(lab, {"work": description}, {"tools": [*many, "write_file"], "max_tools": 2})
    (lab.root / "docs").mkdir()
    (lab.root / "docs" / "a.md").write_text("A text.\n")
    outcome = lab.run()
    names = [[tool["function"]["name"] for tool in request.body["tools"]] for request in server.requests]
    assert names[0] == ["calculator", "find_tools"]
    assert "list_documents" in names[1]
    assert "a.md" in outcome.output
    assert [record["tool"] for record in tool_records(lab, outcome.run_id)] == ["list_documents"]
