"""What blocks is ended in time, with all that it started; a tool's process ends with Muster's, however that ends."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster import ToolContext
from project.spec import ToolUse
from runs.calls import tool_hosts
from runs.calls.tool_hosts import FunctionFailed, ToolHosts, call_tool
from runs.executing.state import Parked
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.scene import step_names, until, write_project
from tests.tools.files import folder_of
from tools.registry import load_tools
from tools.tool import Tool

HEAD = "import os, subprocess, sys, time\nfrom muster import ToolContext, tool\n"
BLOCKING = """
subprocess.Popen(["sleep", "61"])
subprocess.Popen(["sleep", "62"], start_new_session=True)
with open(os.environ["MARKS"], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(60)
return "late"
"""


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    tool_hosts.close()


def made(tmp_path: Path, body: str, declaration: str = 'effect="read"', signature: str = "", before: str = "") -> Tool:
    """Return the tool `act` of a project of its own."""
    indented = "\n".join(f"    {line}" for line in body.strip().splitlines())
    text = f'{HEAD}{before}\n@tool({declaration})\ndef act({signature}) -> str:\n    """Act."""\n{indented}\n'
    folder_of(tmp_path, {"tools/mine.py": text})
    return load_tools(tmp_path, [ToolUse(name="act")])["act"]


def act(tool: Tool, folder: Path, seconds: float = 10, **arguments: Any) -> str:
    return call_tool("a-run", tool, arguments, ToolContext(folder, folder / "files", {"topic": "sun"}, "key1"), seconds)


def failure(tool: Tool, folder: Path, seconds: float = 10) -> FunctionFailed:
    with pytest.raises(FunctionFailed) as caught:
        act(tool, folder, seconds)
    return caught.value


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def below(process: int) -> set[int]:
    """Return the processes that descend from one."""
    found: set[int] = set()
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found |= {child} | below(child)
    return found


def test_a_blocking_tool_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    tool = made(tmp_path, BLOCKING)
    before = below(os.getpid())
    began = time.monotonic()
    thread_error: list[FunctionFailed] = []
    caller = threading.Thread(target=lambda: thread_error.append(failure(tool, tmp_path, 2)))
    caller.start()
    host = int(until(lambda: (tmp_path / "marks").exists() and (tmp_path / "marks").read_text()))
    started = until(lambda: len(below(host)) == 2 and below(host))
    caller.join()
    assert time.monotonic() - began < 30  # the tool would take a minute
    assert (thread_error[0].kind, str(thread_error[0])) == ("timeout", "no result within 2 s")
    until(lambda: not any(map(is_alive, {host, *started})))
    tool_hosts.close()
    until(lambda: below(os.getpid()) <= before)


def test_a_tool_that_is_ended_may_clean_up(tmp_path: Path) -> None:
    body = 'try:\n    time.sleep(60)\nfinally:\n    open("cleaned", "w").close()'
    tool = made(tmp_path, f"os.chdir({str(tmp_path)!r})\n{body}")
    assert failure(tool, tmp_path, 0.2).kind == "timeout"
    assert (tmp_path / "cleaned").exists()


def test_a_tool_that_goes_on_after_any_error_is_killed(tmp_path: Path) -> None:
    tool = made(tmp_path, "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass")
    began = time.monotonic()
    assert failure(tool, tmp_path, 0.2).kind == "timeout"
    assert time.monotonic() - began < 30


def test_an_async_tool_is_ended_as_well(tmp_path: Path) -> None:
    text = f'{HEAD}import asyncio\n\n\n@tool(effect="read")\nasync def act() -> str:\n    """Act."""\n    await asyncio.sleep(60)\n'
    folder_of(tmp_path, {"tools/mine.py": text})
    tool = load_tools(tmp_path, [ToolUse(name="act")])["act"]
    assert failure(tool, tmp_path, 0.2).kind == "timeout"


def test_the_time_of_loading_a_file_is_not_the_calls(tmp_path: Path) -> None:
    tool = made(tmp_path, 'return "done"', before="time.sleep(0.5)")
    assert act(tool, tmp_path, 0.3) == "done"


def test_a_process_is_used_again_and_sees_the_surroundings_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "return f\"{os.getpid()} {os.environ.get('SEEN')} {os.getcwd()} {context.inputs} {context.headers}\""
    tool = made(tmp_path, body, signature="context: ToolContext")
    first = act(tool, tmp_path).split()
    monkeypatch.setenv("SEEN", "now")
    monkeypatch.chdir(tmp_path)
    second = act(tool, tmp_path).split(maxsplit=3)
    assert first[0] == second[0]
    assert int(first[0]) != os.getpid()
    assert first[1] == "None"
    assert second[1:] == ["now", str(tmp_path), "{'topic': 'sun'} {'Idempotency-Key': 'key1'}"]


def test_what_a_tool_changes_in_its_environment_does_not_stay(tmp_path: Path) -> None:
    tool = made(tmp_path, 'seen = os.environ.get("LEFT", "nothing")\nos.environ["LEFT"] = "something"\nreturn seen')
    assert (act(tool, tmp_path), act(tool, tmp_path)) == ("nothing", "nothing")


def test_what_a_tool_prints_is_no_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tool_hosts.close()
    body = (
        'print("noise", flush=True)\nos.write(1, b"more noise")\nsubprocess.run(["echo", "and more"])\nreturn "result"'
    )
    assert act(made(tmp_path, body), tmp_path) == "result"
    out, err = capfd.readouterr()
    assert out == ""
    assert "noise\nmore noiseand more\n" in err


def test_a_process_that_ends_in_a_call_is_an_error_and_the_next_call_works(tmp_path: Path) -> None:
    body = 'if text == "die":\n    os.kill(os.getpid(), 9)\nif text == "exit":\n    os._exit(3)\nreturn text'
    tool = made(tmp_path, body, signature="text: str")
    with pytest.raises(FunctionFailed, match="its process ended by signal 9"):
        act(tool, tmp_path, text="die")
    with pytest.raises(FunctionFailed, match="its process ended with exit code 3"):
        act(tool, tmp_path, text="exit")
    assert act(tool, tmp_path, text="fine") == "fine"


def test_a_tool_that_wants_to_end_the_process_only_fails(tmp_path: Path) -> None:
    error = failure(made(tmp_path, 'sys.exit("enough")'), tmp_path)
    assert (error.kind, str(error)) == ("SystemExit", "enough")


def test_a_file_that_is_edited_while_it_is_used_is_used_as_it_was(tmp_path: Path) -> None:
    folder_of(tmp_path, {"tools/beside.py": 'WORD = "old"\n'})
    tool = made(tmp_path, "return beside.WORD", before="import beside\n")
    folder_of(tmp_path, {"tools/beside.py": 'WORD = "new"\n', "tools/mine.py": "broken("})
    assert act(tool, tmp_path) == "old"


def test_calls_side_by_side_have_a_process_each(tmp_path: Path) -> None:
    body = 'open(f"{place}/{os.getpid()}", "w").close()\nwhile len(os.listdir(place)) < 3:\n    time.sleep(0.01)\nreturn "all"'
    tool = made(tmp_path, body, signature="place: str")
    place = tmp_path / "place"
    place.mkdir()
    said: list[str] = []
    callers = [threading.Thread(target=lambda: said.append(act(tool, tmp_path, place=str(place)))) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert said == ["all"] * 3


def test_the_calls_of_a_run_that_is_set_aside_are_ended_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    tool = made(tmp_path, BLOCKING)
    came: list[BaseException] = []

    def call() -> None:
        try:
            act(tool, tmp_path, 60)
        except BaseException as error:
            came.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    until((tmp_path / "marks").exists)
    tool_hosts.abandon("another-run")
    assert came == []
    tool_hosts.abandon("a-run")
    caller.join(10)
    assert isinstance(came[0], Parked)


def test_closing_ends_the_calls_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    tool = made(tmp_path, BLOCKING)
    hosts = ToolHosts()
    assert tool.home is not None
    home = tool.home
    told: dict[str, Any] = {
        "project": str(tmp_path),
        "output_folder": str(tmp_path),
        "inputs": {},
        "idempotency_key": "",
        "secrets": {},
        "domains": None,
        "private_addresses": False,
    }
    came: list[BaseException] = []

    def call() -> None:
        try:
            hosts.call("a-run", tmp_path, tmp_path, home, "call", 60, arguments={}, settings={}, context=told)
        except BaseException as error:
            came.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    host = int(until(lambda: (tmp_path / "marks").exists() and (tmp_path / "marks").read_text()))
    started = until(lambda: len(below(host)) == 2 and below(host))
    hosts.close()
    caller.join(10)
    assert isinstance(came[0], Parked)
    until(lambda: not any(map(is_alive, {host, *started})))


DYING = """
import os, sys
from pathlib import Path
from tests.runs.test_deadlines import act, load_tools, ToolUse
act(load_tools(Path(sys.argv[1]), [ToolUse(name="act")])["act"], Path(sys.argv[1]), 60)
"""


def test_kill_9_of_muster_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, farm: Farm) -> None:
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    made(tmp_path, BLOCKING)
    process = farm.execute(DYING, str(tmp_path))
    host = int(until(lambda: (tmp_path / "marks").exists() and (tmp_path / "marks").read_text()))
    until(lambda: len(below(host)) == 2)
    family = below(process.pid)
    assert len(family) == 4  # the keeper, the host, and the two that the tool started
    process.signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(is_alive, family)))


def test_a_tool_may_stay_in_musters_own_process(tmp_path: Path) -> None:
    tool = made(tmp_path, "return str(os.getpid())", 'effect="read", process=False')
    assert act(tool, tmp_path) == str(os.getpid())
    blocking = made(tmp_path, "time.sleep(3)\nreturn 'late'", 'effect="read", process=False')
    assert failure(blocking, tmp_path, 0.2).kind == "timeout"


# -- in a run


def test_a_blocking_tool_leaves_the_run_going(lab: Lab) -> None:
    body = (
        f'{HEAD}\n\n@tool(effect="send", timeout_seconds=0.3)\ndef act() -> str:\n    """Act."""\n    time.sleep(60)\n'
    )
    folder_of(lab.root, {"tools/mine.py": body})
    write_project(lab, {"work": "@call act {}\n@echo"}, {"tools": ["act"]})
    outcome = lab.run()
    assert outcome.output == (
        "Error: act: no result within 0.3 s. It was ended in the middle: do not assume that it happened or that it did "
        "not."
    )


def test_the_tasks_time_binds_a_tool_that_has_more(lab: Lab) -> None:
    body = (
        f'{HEAD}\n\n@tool(effect="read", timeout_seconds=60)\ndef act() -> str:\n    """Act."""\n    time.sleep(60)\n'
    )
    folder_of(lab.root, {"tools/mine.py": body})
    task = {"description": "@call act {}\n@answer: done", "timeout_seconds": 1}
    write_project(lab, {"work": task}, {"tools": ["act"]})
    began = time.monotonic()
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "time is up" in outcome.reason
    assert time.monotonic() - began < 30
    assert step_names(lab, outcome.run_id)[-1] == "work/worker/act#1"


def test_a_guardrail_that_blocks_refuses(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_hosts, "GUARDRAIL_SECONDS", 0.3)
    text = "import time\nfrom muster import guardrail\n\n\n@guardrail\ndef slow(text: str) -> str:\n    time.sleep(60)\n    return ''\n"
    folder_of(lab.root, {"guardrails/mine.py": text})
    task = {"description": "@answer: a", "guardrails": [{"function": "slow"}], "guardrail_max_retries": 0}
    write_project(lab, {"work": task})
    plan = lab.plan()
    run_id = lab.start(plan)
    run = lab.runner._executions[run_id].run  # pyright: ignore[reportPrivateUsage]
    assert tool_hosts.call_guardrail(run, "slow", "a") == ["the guardrail slow failed: no result within 0.3 s"]
    lab.runner.interrupt(run_id, "enough")
