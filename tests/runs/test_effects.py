"""What a crash in the middle of a call means: asked of a probe, of a person, told to the agent; nothing happens twice."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from runs.calls.calling import call_key
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.crash_points import chosen, copy_run, rewind, rewind_to, step_rows
from tests.runs.scene import effects, step_names, tool_file, write_project
from tests.runs.test_tools import DYING

CALL = "work/worker/note#1"
NOTING = """
with open(os.environ["NOTED"], "a") as file:
    file.write(text + "\\n")
return f"noted {text}"
"""
PROBE = '''

def was_noted(text: str, idempotency_key: str) -> str | None:
    """Say what noting returned, where it happened."""
    with open(os.environ["PROBED"], "a") as file:
        file.write(idempotency_key + "\\n")
    if os.environ["HAPPENED"] == "broken":
        raise OSError("the service is down")
    return f"found {text}" if os.environ["HAPPENED"] == "yes" else None
'''


def tool_with_probe(declaration: str = 'effect="send", repeat="once", probe=was_noted') -> str:
    before, mark, after = tool_file(NOTING, declaration).partition("\n\n@tool")
    return f"{before}\n{PROBE}\n{mark.lstrip()}{after}"


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which `note` appends."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    monkeypatch.setenv("PROBED", str(lab.root / "probed.txt"))
    return path


def crashed(lab: Lab, noted: Path, step: str = f"{CALL}/intent") -> str:
    """Return a run whose process died right after this step: its one call was announced, and nobody knows of it."""
    write_project(lab, {"work": '@call note {"text": "a"}\n@echo'}, {"tools": ["note"]})
    run_id = lab.run().run_id
    lab.close()
    noted.unlink()
    rewind_to(lab, run_id, step)
    return run_id


def records(lab: Lab, run_id: str, kind: str) -> list[Any]:
    return [step.record for step in lab.steps(run_id) if step.kind == kind]


def answer(said: str) -> Callable[[Any], str]:
    def give(_question: Any) -> str:
        return said

    return give


def test_a_probe_that_finds_the_call_gives_its_result(lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write(tools__note_py=tool_with_probe())
    monkeypatch.setenv("HAPPENED", "yes")
    run_id = crashed(lab, noted)
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output, effects(noted)) == ("succeeded", "found a", [])
    assert step_names(lab, run_id)[1:5] == [f"{CALL}/intent", CALL, f"{CALL}/probe", f"{CALL}.2"]
    (record,) = records(lab, run_id, "tool")
    assert (record["result"], record["settled_by"]) == ("found a", "probe")
    assert effects(lab.root / "probed.txt") == [call_key(run_id, "work/worker", 1)]
    assert chosen(lab, run_id, "unknown outcome") == ["ask the probe"]
    assert chosen(lab, run_id, "probe") == ["it happened"]
    assert lab.summary(run_id)["usage"]["tool_calls"] == 1


def test_a_probe_that_finds_nothing_lets_the_call_be_made_once(
    lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write(tools__note_py=tool_with_probe())
    monkeypatch.setenv("HAPPENED", "no")
    run_id = crashed(lab, noted)
    assert lab.resume(run_id).output == "noted a"
    assert effects(noted) == ["a"]
    names = step_names(lab, run_id)[1:6]
    assert names == [f"{CALL}/intent", CALL, f"{CALL}/probe", f"{CALL}/intent.2", f"{CALL}.2"]


def test_a_crash_in_the_call_made_again_is_probed_again(lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write(tools__note_py=tool_with_probe())
    monkeypatch.setenv("HAPPENED", "no")
    run_id = crashed(lab, noted)
    lab.resume(run_id)
    lab.close()
    rewind_to(lab, run_id, f"{CALL}/intent.2")
    monkeypatch.setenv("HAPPENED", "yes")
    assert lab.resume(run_id).output == "found a"
    assert step_names(lab, run_id)[4:8] == [f"{CALL}/intent.2", f"{CALL}.2", f"{CALL}/probe.2", f"{CALL}.3"]
    assert effects(noted) == ["a"]


def test_a_probe_that_fails_leaves_it_to_a_person(lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write(tools__note_py=tool_with_probe())
    monkeypatch.setenv("HAPPENED", "broken")
    run_id = crashed(lab, noted)
    asked: list[Any] = []

    def ask(question: Any) -> str:
        asked.append(question)
        return "it did not"

    assert lab.resume(run_id, ask=ask).output == "noted a"
    assert "and its probe failed: the service is down. It is not made again without your word." in asked[0].text


def test_a_probe_that_takes_too_long_is_ended_and_a_person_asked(
    lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tool_with_probe('effect="send", repeat="once", probe=was_noted, timeout_seconds=0.2')
    lab.write(
        tools__note_py=slow.replace(
            '    if os.environ["HAPPENED"] == "broken":', "    while True:\n        pass\n    if True:"
        )
    )
    run_id = crashed(lab, noted)
    assert lab.resume(run_id, ask=answer("it happened")).status == "succeeded"
    (probe,) = (record for record in records(lab, run_id, "decision") if record["decision"] == "probe")
    assert probe["error"] == {"kind": "timeout", "message": "no result within 0.2 s"}


def test_without_a_probe_the_run_waits_for_a_person(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, 'effect="send", repeat="once"'))
    run_id = crashed(lab, noted)
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.reason) == ("waiting", "work: a person is asked: Did this call of `note` happen?")
    assert effects(noted) == []


def test_a_person_who_says_that_it_happened_settles_it(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, 'effect="send", repeat="once"'))
    run_id = crashed(lab, noted)
    outcome = lab.resume(run_id, ask=answer("it happened"))
    assert outcome.output == (
        "The process died while this call ran, and a person has confirmed that it happened. It was not made again; "
        "what it returned is not known."
    )
    assert effects(noted) == []
    assert step_names(lab, run_id)[1:5] == [f"{CALL}/intent", CALL, f"{CALL}/asked", f"{CALL}.2"]


def test_a_person_who_says_that_it_did_not_lets_it_be_made(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, 'effect="send", repeat="once"'))
    run_id = crashed(lab, noted)
    assert lab.resume(run_id, ask=answer("it did not")).output == "noted a"
    assert effects(noted) == ["a"]


def test_a_person_who_stops_it_is_asked_again_when_the_run_is_resumed(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, 'effect="send", repeat="once"'))
    run_id = crashed(lab, noted)
    outcome = lab.resume(run_id, ask=answer("stop"))
    assert (outcome.status, outcome.reason) == (
        "failed",
        "work: a person stopped it: a crash left open whether a call of `note` happened",
    )
    assert lab.resume(run_id, ask=answer("it happened")).status == "succeeded"
    assert effects(noted) == []


def test_the_steps_that_settled_a_call_are_replayed_as_they_were(
    lab: Lab, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write(tools__note_py=tool_with_probe())
    monkeypatch.setenv("HAPPENED", "no")
    run_id = crashed(lab, noted)
    lab.resume(run_id)
    lab.close()
    names = [row[2] for row in step_rows(lab, run_id)]
    points = [at for at, name in enumerate(names) if name.startswith(CALL) and name != f"{CALL}/intent.2"]
    copies = {at: copy_run(lab, run_id, f"{run_id}-{at}") for at in points}
    for at, copy in copies.items():
        rewind(lab, copy, at + 1)
    noted.unlink()
    for at, copy in copies.items():
        lab.runner.resume(copy)
        outcome = lab.runner.wait(copy)
        assert (outcome.status, outcome.output) == ("succeeded", "noted a"), names[at]
    # after the intent, the lost call and the probe's answer it is made; after the made call it is not
    assert effects(noted) == ["a", "a", "a"]


def test_a_piece_of_a_list_asks_as_well(lab: Lab, noted: Path) -> None:
    lab.write(tools__note_py=tool_file(NOTING, 'effect="send", repeat="once"'))
    listing = {"description": '@answer: {"names": ["a"]}', "output": {"names": "list[str]"}}
    task = {
        "description": '@call note {"text": "{item}"}\n@echo',
        "for_each": "outputs.list.names",
        "context": ["list"],
    }
    write_project(lab, {"list": listing, "work": task}, {"tools": ["note"]})
    run_id = lab.run().run_id
    lab.close()
    noted.unlink()
    rewind_to(lab, run_id, next(name for _, _, name, _, _ in step_rows(lab, run_id) if name.endswith("/intent")))
    assert lab.resume(run_id).status == "waiting"
    assert lab.resume(run_id, ask=answer("it happened")).status == "succeeded"
    assert effects(noted) == []


# -- a key that is stable over crashes


class _Counting(ThreadingHTTPServer):
    """Counts what is posted by its key, as a service does that knows `Idempotency-Key`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[str] = []
        self.effects: dict[str, str] = {}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        service = cast(_Counting, self.server)
        key = str(self.headers["Idempotency-Key"])
        service.posts.append(key)
        service.effects.setdefault(key, f"note {len(service.effects) + 1}")
        body = service.effects[key].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[_Counting]:
    with _Counting() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


POSTING = """
import httpx
posted = httpx.post(os.environ["SERVICE"], headers=context.headers, json={"text": text}, timeout=10)
if os.environ.get("MAIN"):
    os.kill(int(os.environ["MAIN"]), 9)
    threading.Event().wait(60)
return posted.text
"""


def test_a_keyed_call_that_is_made_again_after_kill_9_has_one_effect(
    lab: Lab, service: _Counting, monkeypatch: pytest.MonkeyPatch, farm: Farm
) -> None:
    monkeypatch.setenv("SERVICE", f"http://127.0.0.1:{service.server_port}/notes")
    keyed = tool_file(POSTING, 'effect="send", repeat="keyed"', "text: str, context: ToolContext")
    lab.write(tools__note_py=keyed)
    write_project(lab, {"work": '@call note {"text": "a"}\n@echo'}, {"tools": ["note"]})
    lab.close()
    died = farm.execute(DYING, str(lab.root))
    assert died.wait() == -9, died.text()
    outcome = lab.resume("dies")
    assert (outcome.status, outcome.output) == ("succeeded", "note 1")
    assert (len(service.posts), len(set(service.posts)), len(service.effects)) == (2, 1, 1)
