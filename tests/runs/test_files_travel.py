"""Files go with a run: one machine starts it, another one, with a disk and a checkout of its own, finishes it."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from project.errors import AppError, UsageError
from project.spec import BudgetSpec
from runs import journal
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.scene import model_spec, until, write_project
from tests.scripted_server import ScriptedServer

STOP, GO = BudgetSpec(max_tool_calls=3), BudgetSpec(max_tool_calls=50, max_model_calls=50)
LATE = BudgetSpec(max_tool_calls=5)
"""Stops when all is done but the last task."""
TOOLS = '''
import threading

from muster import ToolContext, tool


@tool(effect="write", repeat="safe")
def note(name: str, text: str, context: ToolContext) -> str:
    """Add a line to a file of the run."""
    context.output_folder.mkdir(parents=True, exist_ok=True)
    path = context.output_folder / name
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}{text}\\n")
    return f"{path.name} has {len(path.read_text())} characters"


@tool(effect="read")
def open_file(path: str, context: ToolContext) -> str:
    """Read any file by its path, from the project where it is relative."""
    return f"{path}: {(context.project / path).read_text().strip()}"


@tool(effect="write", repeat="once")
def lose(context: ToolContext, file: str = "") -> str:
    """Do something that happens once; meanwhile the shared folder goes away."""
    tmp = context.project.parent.parent
    with open(tmp / "done.txt", "a") as done:
        done.write("done\\n")
    if file:
        context.output_folder.mkdir(parents=True, exist_ok=True)
        (context.output_folder / file).write_text("made once")
    (tmp / "shared").rename(tmp / "away")
    return "it is done"


@tool(effect="read", timeout_seconds=120)
def wait_here(context: ToolContext) -> str:
    """Wait for ever on a machine that is told to."""
    if (context.project.parent / "block").exists():
        (context.project.parent / "blocked").touch()
        threading.Event().wait()
    return "went on"
'''
GATHER = """About {documents}.
@call note {"name": "list.txt", "text": "one"}
@call note {"name": "list.txt", "text": "two"}
@call read_document {"path": "sun.md"}
@call open_file {"path": "{documents}/deep/moon.md"}
@call note {"name": "list.txt", "text": "three"}
@echo"""


class Machines:
    """Two machines: folders of their own, one database, one shared place. Only one is on at a time."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.a, self.b = Lab(folder / "a" / "project"), Lab(folder / "b" / "deeper" / "project")
        self.documents = folder / "a" / "documents"
        (self.documents / "deep").mkdir(parents=True)
        (self.documents / "sun.md").write_text("# The sun\n\nThe sun rises.\n")
        (self.documents / "deep" / "moon.md").write_text("The moon sets.\n")
        self.model = model

    def write(self, tasks: dict[str, Any], tools: list[Any], **inputs: Any) -> None:
        for lab in (self.a, self.b):
            wanted = {"documents": {"type": "folder"}, **inputs}
            crews = {"default": {"tasks": list(tasks), "inputs": wanted}}
            write_project(lab, tasks, {"tools": tools}, crews=crews)
            (lab.root / "tools").mkdir(exist_ok=True)
            (lab.root / "tools" / "own.py").write_text(TOOLS)
            model_spec(lab, self.model, context_window=4_000_000)

    def start(self, run_id: str, budget: BudgetSpec = STOP, **inputs: str) -> Any:
        given = {"documents": str(self.documents), **inputs}
        return self.a.run(inputs=given, run_id=run_id, budget=budget)

    def lose_a(self) -> None:
        """Machine A is gone, with its disk."""
        self.a.close()
        shutil.rmtree(self.folder / "a")

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.fixture
def machines(
    tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Machines]:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MUSTER_FILES", str(tmp_path / "shared"))
    made = Machines(tmp_path, server.base_url)
    yield made
    made.close()


def gather(machines: Machines) -> None:
    """Write a crew that reads a folder it is given, writes a file in pieces, and delivers one that is read later."""
    machines.write(
        {
            "gather": {"description": GATHER, "output_file": "out/list.md"},
            "big": "Tell a long story",
            "close": {"description": '@call open_file {"path": "out/list.md"}\n@echo', "context": ["gather"]},
        },
        ["note", "open_file", {"read_document": {"folder": "{documents}"}}],
    )


def told(lab: Lab, run_id: str) -> list[Any]:
    """Return what the journal says of a run, prompts and all, without seconds and keys."""
    left_out = ("seconds", "key")
    return sorted(
        (step.name, json.dumps({key: value for key, value in step.record.items() if key not in left_out}))
        for step in lab.steps(run_id)
        if step.kind != "join"
    )


def kept(lab: Lab, run_id: str) -> dict[str, str]:
    folder = Path(lab.runner.folder(run_id), "files")
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["folder", "memory", "file"])
def any_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    place = {
        "folder": str(tmp_path / "shared"),
        "memory": f"memory://muster-{tmp_path.name}",
        "file": f"file://{tmp_path}/shared/below",
    }[request.param]
    monkeypatch.setenv("MUSTER_FILES", place)
    return place


def shared(machines: Machines) -> list[str]:
    """Return what stands in the shared folder."""
    folder = machines.folder / "shared"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put parts of records into files that are not large enough for that otherwise."""
    monkeypatch.setattr(journal, "_RECORD_LIMIT", 20_000)
    monkeypatch.setattr(journal, "_PART_LIMIT", 2_000)


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
    from runs.worker import Worker

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


# -- a shared place that fails


@pytest.mark.usefixtures("small_records")
@pytest.mark.parametrize("file", ["sent.txt", ""], ids=["of a tool", "of a model"])
def test_what_was_done_is_not_done_again_when_the_shared_place_fails(
    machines: Machines, server: ScriptedServer, file: str
) -> None:
    server.configure(answer_words=5_000)
    call = f'@call lose {{"file": "{file}"}}\n@answer: sent'
    big = {"description": "Tell a long story", "context": ["work"]}
    machines.write({"work": call, "big": big}, ["lose"])
    outcome = machines.start("lost", GO)
    place = machines.folder / "shared"
    where = "work" if file else "big"
    assert (outcome.status, outcome.reason, outcome.fix) == (
        "interrupted",
        f"{where}: the shared folder {place} is not there",
        "mount it, or make it",
    )
    asked = server.stats()["attempts"]
    with pytest.raises(AppError, match="is not there"):
        machines.a.resume("lost")
    (machines.folder / "away").rename(place)
    machines.a.restart()
    outcome = machines.a.resume("lost")
    assert (outcome.status, outcome.reason) == ("succeeded", "")
    assert (machines.folder / "done.txt").read_text() == "done\n"
    assert server.stats()["attempts"] - asked == (2 if file else 0)
    assert machines.a.summary("lost")["usage"]["tool_calls"] == 1
    assert len(outcome.output) > 20_000


def test_a_place_in_which_nothing_can_be_put_is_told_before_a_run_starts(machines: Machines) -> None:
    gather(machines)
    (machines.folder / "shared" / "barred").write_text("a file where the run's folder would be")
    with pytest.raises(AppError) as caught:
        machines.start("barred")
    assert str(caught.value).endswith(
        "can't be put into the shared folder " + str(machines.folder / "shared") + ": File exists"
    )
    assert caught.value.fixes() == ["see that MUSTER_FILES leads to a place that is there, has room and may be written"]
    assert machines.a.runner.store.find("barred") is None


def test_inputs_that_are_too_large_are_refused_before_anything_is_stored(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_FILES_MAX_MB", "2")
    gather(machines)
    (machines.documents / "large.md").write_bytes(b"x" * 3_000_000)
    with pytest.raises(AppError) as caught:
        machines.start("large")
    assert str(caught.value) == "the inputs documents hold 3 MB; at most 2 MB go with a run"
    assert caught.value.fixes() == ["raise MUSTER_FILES_MAX_MB, or give a smaller folder"]
    assert shared(machines) == []
    assert machines.a.runner.store.find("large") is None


def test_a_taken_id_does_not_touch_the_inputs_of_its_run(machines: Machines) -> None:
    gather(machines)
    machines.start("mine")
    before = shared(machines)
    (machines.documents / "new.md").write_text("New.\n")
    with pytest.raises(UsageError):
        machines.start("mine")
    assert shared(machines) == before


# -- what lies on a disk already


def test_a_file_left_by_a_call_that_did_not_end_is_kept_aside(machines: Machines) -> None:
    gather(machines)
    machines.start("half")
    files = Path(machines.a.runner.folder("half"), "files")
    (files / "list.txt").write_text("one\ntwo\nthr")
    machines.a.runner.resume("half", budget=GO)
    ended = machines.a.runner.wait("half")
    assert ended.status == "succeeded"
    aside = files.parent / "replaced" / "list.txt"
    assert list(ended.warnings) == [
        f"files/list.txt is again as the last finished call left it; what was there is in {aside}"
    ]
    assert aside.read_text() == "one\ntwo\nthr"
    assert kept(machines.a, "half") == {"list.txt": "one\ntwo\nthree\n"}


def test_files_from_before_another_machine_went_on_are_brought_up_to_date(machines: Machines) -> None:
    gather(machines)
    machines.start("there")
    machines.a.close()
    machines.b.resume("there", budget=LATE)
    machines.b.close()
    assert machines.a.resume("there", budget=GO).status == "succeeded"
    assert kept(machines.a, "there") == {"list.txt": "one\ntwo\nthree\n"}
    assert not Path(machines.a.runner.folder("there"), "replaced").exists()


def test_a_delivered_file_that_a_person_edited_is_left_alone_where_it_was_delivered(machines: Machines) -> None:
    gather(machines)
    machines.start("edited", LATE)
    (machines.a.root / "out" / "list.md").write_text("edited\n")
    assert machines.a.resume("edited", budget=GO).output == "out/list.md: edited"


def test_a_damaged_file_in_the_shared_place_is_told(machines: Machines) -> None:
    gather(machines)
    machines.start("damaged")
    machines.lose_a()
    for path in (machines.folder / "shared" / "damaged" / "content").iterdir():
        path.write_text("something else")
    with pytest.raises(AppError, match="a file in the shared place was changed: "):
        machines.b.resume("damaged", budget=GO)


# -- unset, removed, copied


def test_without_a_shared_place_nothing_is_done(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSTER_FILES")
    gather(machines)
    machines.start("alone")
    assert type(machines.a.runner.folder("alone")) is type(Path())
    assert shared(machines) == []
    assert {path.name for path in machines.a.runner.folder("alone").iterdir()} <= {
        "lock",
        "files",
        "outputs",
        "payloads",
    }
    machines.a.close()
    monkeypatch.setenv("MUSTER_FILES", str(machines.folder / "shared"))
    machines.a.resume("alone", budget=LATE)  # what lies here goes with the run from now on
    machines.lose_a()
    assert machines.b.resume("alone", budget=GO).status == "succeeded"


@pytest.mark.usefixtures("any_place")
def test_removed_files_are_gone_and_those_of_other_runs_are_not(machines: Machines) -> None:
    from runs.files import remove_files, runs_folder

    gather(machines)
    machines.start("one")
    machines.start("one-more")
    settings = machines.a.settings()
    place = getattr(runs_folder(settings), "place")  # noqa: B009
    assert place.keys("one")
    remove_files(settings, "one")
    assert place.keys("one") == []
    assert place.keys("one-more")
    remove_files(settings, "one")


@pytest.mark.usefixtures("any_place")
def test_copied_files_are_those_of_the_run_but_for_its_outputs(machines: Machines) -> None:
    from runs.files import copy_files, runs_folder

    gather(machines)
    machines.start("one", LATE)
    folder: Any = runs_folder(machines.a.settings())
    copy_files(folder / "one", folder / "two")
    old = [key.partition("/")[2] for key in folder.place.keys("one") if "/outputs/" not in key]
    assert [key.partition("/")[2] for key in folder.place.keys("two")] == old
    assert old


def test_paths_of_a_run_lead_to_this_machine_and_are_told_as_they_were() -> None:
    from runs.input_files import RunPaths

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
