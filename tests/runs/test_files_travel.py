"""Files go with a run: one machine starts it, another one, with a disk and a checkout of its own, finishes it."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from project.errors import AppError
from project.spec import BudgetSpec
from tests.farm import Farm
from tests.runs.machines import GO, LATE, STOP, TOOLS, Machines, gather, kept, shared, told
from tests.runs.scene import until
from tests.scripted_server import ScriptedServer


@pytest.mark.usefixtures("any_place", "small_records")
@pytest.mark.parametrize(("budget", "words"), [(STOP, 5_000), (LATE, 40)], ids=["early", "late"])
def test_another_machine_finishes_a_run_with_the_same_bytes(
    machines: Machines, server: ScriptedServer, budget: BudgetSpec, words: int
) -> None:
    server.configure(answer_words=words)
    gather(machines)
    whole = machines.start("whole", GO)
    assert whole.status == "succeeded"
    expected = told(machines.a, "whole"), kept(machines.a, "whole"), (machines.a.root / "out" / "list.md").read_bytes()
    shutil.rmtree(machines.a.root / "out")
    assert machines.start("parted", budget).status == "stopped"
    machines.lose_a()
    outcome = machines.b.resume("parted", budget=GO)
    assert (outcome.status, outcome.output) == ("succeeded", whole.output)
    assert outcome.output.startswith("out/list.md: list.txt has 4 characters")
    delivered = (machines.b.root / "out" / "list.md").read_bytes()
    assert (told(machines.b, "parted"), kept(machines.b, "parted"), delivered) == expected
    assert kept(machines.b, "parted") == {"list.txt": "one\ntwo\nthree\n"}


def test_a_machine_that_never_executed_a_run_shows_it(
    machines: Machines, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from main import execute

    server.configure(answer_words=250_000)
    gather(machines)
    machines.start("whole", GO)
    machines.lose_a()
    monkeypatch.chdir(machines.b.root)
    capfd.readouterr()
    assert execute(["runs", "show", "whole", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert len(summary["tasks"][1]["output"]) > 1_000_000
    assert summary["inputs"]["documents"] == str(machines.documents)
    assert summary["tasks"][0]["file"] == "out/list.md"
    assert execute(["runs", "trace", "whole", "--json"]) == 0
    assert [step["step"] for step in json.loads(capfd.readouterr().out)].count("gather/worker/note#1") == 1
    assert execute(["runs", "why", "whole", "--json"]) == 0
    assert execute(["blame", "--run", "whole", "gather", "--json"]) == 0
    assert "whole/outputs/files/out/list.md" in shared(machines)
    assert "whole/outputs/gather.md" in shared(machines)


def test_a_run_whose_machine_is_killed_in_a_call_goes_on_elsewhere(machines: Machines, farm: Farm) -> None:
    work = (
        '@call note {"name": "a.txt", "text": "one"}\n@call wait_here\n@call open_file {"path": "{documents}/sun.md"}'
    )
    machines.write({"work": f"{work}\n@echo"}, ["note", "wait_here", "open_file"])
    (machines.a.root.parent / "block").touch()
    process = farm.start(machines.a.root, "run", "default", "--id", "killed", "-i", f"documents={machines.documents}")
    until((machines.a.root.parent / "blocked").exists)
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    machines.lose_a()
    outcome = machines.b.resume("killed")
    assert (outcome.status, outcome.output) == (
        "succeeded",
        f"a.txt has 4 characters\nwent on\n{machines.documents}/sun.md: # The sun\n\nThe sun rises.",
    )
    assert kept(machines.b, "killed") == {"a.txt": "one\n"}


def test_a_worker_elsewhere_executes_a_queued_run_on_postgresql(
    machines: Machines, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.executing.worker import Worker

    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres)
    work = '@call open_file {"path": "{documents}/sun.md"}\n@call read_document {"path": "deep/moon.md"}\n@echo'
    machines.write({"work": work}, ["open_file", {"read_document": {"folder": "{documents}"}}])
    machines.a.runner.enqueue(machines.a.plan(inputs={"documents": str(machines.documents)}), "queued")
    machines.lose_a()
    worker = Worker(machines.b.runner, machines.b.root, width=1, tell=lambda _line: None)
    worker.take()
    worker.drain(60)
    found = machines.b.summary("queued")
    assert (found["status"], found["reason"]) == ("succeeded", "")
    assert found["output"].startswith(f"{machines.documents}/sun.md: # The sun")
    assert "The moon sets." in found["output"]


def test_the_run_reads_its_inputs_as_they_were_when_it_was_started(machines: Machines) -> None:
    gather(machines)
    machines.start("early")
    (machines.documents / "deep" / "moon.md").write_text("Changed meanwhile.\n")
    assert machines.a.resume("early", budget=GO).status == "succeeded"
    results = [step.record["result"] for step in machines.a.steps("early") if step.kind == "tool"]
    assert f"{machines.documents}/deep/moon.md: The moon sets." in results


def test_a_single_file_travels_and_a_default_in_the_project_is_that_of_the_checkout(machines: Machines) -> None:
    work = '@call open_file {"path": "{one}"}\n@call open_file {"path": "{own}/text.md"}\n@echo'
    inputs = {"one": {"type": "file"}, "own": {"type": "folder", "default": "own"}}
    machines.write({"work": work}, ["open_file"], **inputs)
    for lab in (machines.a, machines.b):
        (lab.root / "own").mkdir()
        (lab.root / "own" / "text.md").write_text("of the checkout\n")
    one = machines.folder / "a" / "one.txt"
    one.write_text("only one\n")
    assert machines.start("single", BudgetSpec(max_model_calls=1), one=str(one)).status == "stopped"
    contents = [key for key in shared(machines) if "/content/" in key]
    assert len(contents) == 3  # the two documents, and `one`
    a_root = machines.a.root
    machines.lose_a()
    outcome = machines.b.resume("single", budget=GO)
    assert outcome.output == f"{one}: only one\n{a_root}/own/text.md: of the checkout"


def test_a_crew_of_a_pipeline_is_given_a_folder_that_is_elsewhere(machines: Machines) -> None:
    tasks = {
        "first": '@call note {"name": "a", "text": "b"}\n@echo',
        "second": '@call open_file {"path": "{folder}/sun.md"}\n@echo',
    }
    machines.write(tasks, ["note", "open_file"])
    crews = {
        "one": {"tasks": ["first"]},
        "two": {"tasks": ["second"], "inputs": {"folder": {"type": "folder"}}},
        "line": {
            "crews": ["one", {"crew": "two", "inputs": {"folder": "{documents}"}}],
            "inputs": {"documents": {"type": "folder"}},
        },
    }
    for lab in (machines.a, machines.b):
        lab.write(crews=json.dumps(crews))
    stop = BudgetSpec(max_model_calls=1)
    outcome = machines.a.run("line", {"documents": str(machines.documents)}, run_id="line", budget=stop)
    assert outcome.status == "stopped"
    machines.lose_a()
    outcome = machines.b.resume("line", budget=GO)
    assert (outcome.reason, outcome.status) == ("", "succeeded")
    assert outcome.output.startswith(f"{machines.documents}/sun.md: # The sun")


def test_another_checkout_of_the_code_is_refused_by_name(machines: Machines) -> None:
    gather(machines)
    machines.start("other")
    (machines.b.root / "tools" / "own.py").write_text(TOOLS + "\n# newer\n")
    machines.lose_a()
    with pytest.raises(AppError) as caught:
        machines.b.resume("other", budget=GO)
    assert str(caught.value) == "code of the run was changed since it started: tools/own.py"


def test_paths_of_a_run_lead_to_this_machine_and_are_told_as_they_were() -> None:
    from runs.stored.input_files import RunPaths

    folder = Path("/b/state/runs/one")
    moved = (("/a/app/docs", "/b/state/runs/one/inputs/docs"), ("/a/app", "/b/app"))
    paths = RunPaths(Path("/b/app"), "/a/app", folder, moved)
    known = {
        "/a/app/docs/x.md": "/b/state/runs/one/inputs/docs/x.md",
        "/a/app/tools": "/b/app/tools",
        "/a/application": "/a/application",
        "see /a/app": "see /a/app",
        "/a/app/.muster/runs/one/files/x": "/b/state/runs/one/files/x",
        "/c/.muster/runs/one/files/x": "/b/state/runs/one/files/x",
        "/c/.muster/runs/two/files/x": "/c/.muster/runs/two/files/x",
        "/c/runs/one/../../etc": "/c/runs/one/../../etc",
    }
    assert {path: paths.here(path) for path in known} == known
    assert paths.all_here({"a": ["/a/app/docs", 3]}) == {"a": ["/b/state/runs/one/inputs/docs", 3]}
    assert paths.told("no '/b/state/runs/one/inputs/docs/y.md' in /b/app, nor in /b/apple or /x/b/app") == (
        "no '/a/app/docs/y.md' in /a/app, nor in /b/apple or /x/b/app"
    )
    assert RunPaths().all_here({"a": "/a"}) == {"a": "/a"}
