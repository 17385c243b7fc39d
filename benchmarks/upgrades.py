"""Runs parked by an older Muster, CrewAI and DBOS are finished by this one, after their YAML was edited, too.

    git worktree add /tmp/old COMMIT                       # the older Muster
    /tmp/old-env/bin/python                                # an environment with its requirements, older CrewAI and DBOS
    python benchmarks/upgrades.py --old-python /tmp/old-env/bin/python --old-checkout /tmp/old

The older one starts 20 runs: reviews and tasks that wait for a person, runs stopped at a ceiling, runs that failed
because the server was down, and sequential, parallel and for_each runs whose process is killed under way. Then every
agent's backstory and every task is edited, a prompt of CrewAI is changed, and this Muster resumes all of them. Counted:
runs that end with the bytes of an undisturbed run of the older version, and journaled model calls made again.
"""

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AGENT = {"role": "Worker", "goal": "Do the work", "backstory": "You work."}
SHAPES: dict[str, dict[str, Any]] = {
    "line": {"first": "@answer: one", "second": "@answer: two", "third": "@long 40"},
    "lanes": {
        "left": {"description": "@answer: left", "context": []},
        "right": {"description": "@answer: right", "context": []},
        "both": {"description": "@answer: both", "context": ["left", "right"]},
    },
    "each": {
        "list": {"description": '@answer: {"items": ["a", "b", "c"]}', "output": {"items": "list[str]"}},
        "single": {"description": "@answer: did {item}", "for_each": "outputs.list.items"},
        "end": "@answer: all done",
    },
    "reviewed": {"draft": {"description": "@answer: the draft", "human_input": True}, "close": "@answer: closed"},
    "person": {"ask": {"description": "Say a colour", "agent": "human"}, "use": "@answer: used"},
}
KINDS = {
    "waiting": ("reviewed", "person", "reviewed", "person", "reviewed"),
    "stopped": ("line", "lanes", "each"),
    "failed": ("line", "lanes", "each", "line"),
    "killed": ("line", "lanes", "each", "line", "lanes", "each", "line", "lanes"),
}


def main() -> int:
    options = _options()
    sys.path.insert(0, str(Path(options.checkout).resolve() if options.checkout else ROOT))
    if options.park:
        _park(Path(options.park), options.server)
        return 0
    from benchmarks.server import Server

    with Server() as server, tempfile.TemporaryDirectory(prefix="muster-upgrades-") as folder:
        root = Path(folder, "project")
        _old(options, root, server)
        calls_before = server.get("/_stats")["attempts"]
        _edit(root)
        return _resume_all(root, server, calls_before)


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old-python", default=sys.executable)
    parser.add_argument("--old-checkout", default=str(ROOT))
    parser.add_argument("--park", default="")
    parser.add_argument("--server", default="")
    parser.add_argument("--checkout", default="")
    return parser.parse_args()


# -- in the older environment


def _project(lab: Any, server: str) -> None:
    from tests.runs.scene import write_project

    tasks = {f"{crew}_{name}": _named(crew, task) for crew, all_of in SHAPES.items() for name, task in all_of.items()}
    crews = {crew: {"tasks": [f"{crew}_{name}" for name in all_of]} for crew, all_of in SHAPES.items()}
    write_project(lab, tasks, crews=crews)
    lab.models(server, max_attempts=1)


def _named(crew: str, task: Any) -> Any:
    if isinstance(task, str):
        return task
    named: dict[str, Any] = dict(task)
    if "context" in named:
        named["context"] = [f"{crew}_{name}" for name in named["context"]]
    if "for_each" in named:
        named["for_each"] = named["for_each"].replace("outputs.", f"outputs.{crew}_")
    return named


def _park(root: Path, server: str) -> None:
    """Leave 20 runs behind, and for each shape one that ended undisturbed; the process kills itself."""
    from project.spec import BudgetSpec
    from tests.lab import Lab

    _without_plain_sql()
    lab = Lab(root)
    _project(lab, server)
    for crew in SHAPES:
        outcome = lab.run(
            crew, run_id=f"whole-{crew}", ask=lambda question: "red" if "answer" in question.prompt else ""
        )
        assert outcome.status == "succeeded", outcome
    for number, crew in enumerate(KINDS["waiting"]):
        assert lab.run(crew, run_id=f"waiting-{number}-{crew}").status == "waiting"
    for number, crew in enumerate(KINDS["stopped"]):
        outcome = lab.run(crew, run_id=f"stopped-{number}-{crew}", budget=BudgetSpec(max_model_calls=1))
        assert outcome.status == "stopped", outcome
    _configure(server, rates={"500": 1.0})
    for number, crew in enumerate(KINDS["failed"]):
        assert lab.run(crew, run_id=f"failed-{number}-{crew}").status == "failed"
    _configure(server, rates={}, latency="400")
    for number, crew in enumerate(KINDS["killed"]):
        lab.start(lab.plan(crew), f"killed-{number}-{crew}")
        threading.Event().wait(0.15)
    threading.Event().wait(0.3)
    print("parked", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _without_plain_sql() -> None:
    """Let an older DBOS write its steps itself: the older Muster's own statements are made for one version of it."""
    from runs import quiet
    from runs.stored import engine

    quiet.prepare(Path(tempfile.gettempdir()) / "muster-upgrades")
    patched: Any = engine
    patched.use_plain_sql = lambda: None


def _person(question: Any) -> str:
    return "red" if "answer" in question.prompt else ""


def _configure(server: str, **settings: Any) -> None:
    import urllib.request

    url = server.replace("/v1", "/_config")
    request = urllib.request.Request(url, json.dumps(settings).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


# -- in this environment


def _old(options: Any, root: Path, server: Any) -> None:
    command = [options.old_python, str(Path(__file__).resolve()), "--park", str(root), "--server", server.base_url]
    done = subprocess.run(
        [*command, "--checkout", options.old_checkout], cwd=options.old_checkout, capture_output=True, text=True
    )
    if "parked" not in done.stdout:
        raise SystemExit(f"the older version could not park its runs:\n{done.stdout}{done.stderr}")
    server.configure(rates={}, latency="0")


def _edit(root: Path) -> None:
    """Change every agent and every task: a run under way keeps what it was started with."""
    for name in ("agents", "tasks"):
        path = root / "config" / f"{name}.yaml"
        text = path.read_text().replace("You work.", "You work otherwise.").replace("@answer: ", "@answer: edited ")
        path.write_text(text)


def _resume_all(root: Path, server: Any, calls_before: int) -> int:
    from project.spec import BudgetSpec
    from tests.lab import Lab

    lab = Lab(root)
    _change_a_prompt(lab)
    rows = lab.runner.store.list(100)
    wholes = {row.crew: lab.summary(row.run_id)["output"] for row in rows if row.run_id.startswith("whole-")}
    parked = sorted(row.run_id for row in rows if not row.run_id.startswith("whole-"))
    ended: Counter[str] = Counter()
    again = 0
    for run_id in parked:
        journaled = _model_steps(lab, run_id)
        before = server.get("/_stats")["attempts"]
        ended[_resume(lab, run_id, wholes[re.sub(r"^\w+-\d+-", "", run_id)], BudgetSpec(max_model_calls=100))] += 1
        made = server.get("/_stats")["attempts"] - before
        again += made - (_model_steps(lab, run_id) - journaled)
    lab.close()
    versions = json.loads(rows[0].versions)
    calls = server.get("/_stats")["attempts"]
    print(f"parked by {versions}")
    print(f"{len(parked)} runs: {dict(ended)}; {calls_before} model calls before, {calls - calls_before} after")
    print(f"journaled model calls made again: {again}")
    return 0 if ended["same output"] == len(parked) == 20 and not again else 1


def _model_steps(lab: Any, run_id: str) -> int:
    return sum(step.kind == "model" for step in lab.steps(run_id))


def _change_a_prompt(lab: Any) -> None:
    assert lab.runner is not None  # CrewAI is imported when the runner is made
    prompts: Any = importlib.import_module("crewai.utilities.i18n").I18N
    said = prompts.slice

    def changed(self: Any, name: str) -> str:
        return f"{said(self, name)} Do it well."

    prompts.slice = changed


def _resume(lab: Any, run_id: str, whole: str, budget: Any) -> str:
    try:
        outcome = lab.resume(run_id, budget=budget, ask=_person)
    except Exception as error:
        print(f"{run_id}: {type(error).__name__}: {error}")
        return "refused"
    if outcome.status != "succeeded" or outcome.output != whole:
        print(f"{run_id}: {outcome}")
        return outcome.status if outcome.status != "succeeded" else "another output"
    return "same output"


if __name__ == "__main__":
    raise SystemExit(main())
