"""Time travel and repair from the command line: what is printed, what is left, and with which exit code."""

import json

from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

TASKS = {
    "gather": "@answer: notes on {topic}",
    "write": {"description": "@answer: a {style} text", "context": ["gather"]},
}
CREWS = {"default": {"agents": ["worker"], "tasks": list(TASKS)}}
RUN = ("run", "default", "-i", "topic=rain", "-i", "style=short", "--id")


def project(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TASKS, crews=CREWS)
    lab.models(server.base_url)


def test_a_run_is_forked_replayed_compared_and_deleted(lab: Lab, muster: Muster, server: ScriptedServer) -> None:
    project(lab, server)
    assert muster(*RUN, "one").code == 0
    server.reset()

    forked = muster("runs", "fork", "one", "--from", "write", "--set", "style=long", "--id", "two")
    assert (forked.code, forked.out) == (0, "a long text\n")
    assert "forked from one at write: 1 steps were taken over (gather)" in forked.err
    assert server.stats()["attempts"] == 1
    origin = json.loads(muster("runs", "diff", "one", "two", "--json").out)["b"]["origin"]
    assert (origin["fork_of"], origin["from"]) == ("one", "write")

    refused = muster("runs", "fork", "one", "--from", "write", "--set", "topic=snow")
    assert refused.code == 1
    assert refused.err == (
        "the change reaches work that was done before write: gather (description)\n\n"
        "hint: fork from gather or earlier, or start a new run\n"
    )

    replayed = muster("runs", "replay", "two")
    assert replayed.code == 0
    assert replayed.out.startswith("identical: 2 steps, hash ")
    told = json.loads(muster("runs", "replay", "two", "--json").out)
    assert (told["identical"], told["sockets"], told["hash"]) == (True, 0, replayed.out.split()[-1])

    compared = muster("runs", "diff", "one", "two")
    assert compared.code == 0
    assert "inputs: style: short | long\nplan: write: description\n" in compared.out
    assert "write: answer differs at write/worker/model#1\n  a  a short text\n  b  a long text\n" in compared.out
    assert compared.out.endswith("1 tasks are equal, 1 differ\nthe results are not the same\n")

    dry = muster("runs", "delete", "one", "--dry-run")
    assert (dry.code, dry.out) == (0, "RUN\none\n")
    assert "1 run would be deleted" in dry.err
    assert muster("runs", "delete", "one").code == 0
    assert muster("runs", "show", "one").code == 1
    assert json.loads(muster("runs", "prune", "--older-than", "0s", "--json").out)["run_ids"] == ["two"]
    assert muster("runs", "list").out == ""


def test_a_stuck_task_is_given_its_output(lab: Lab, muster: Muster, server: ScriptedServer) -> None:
    project(lab, server)
    server.configure(faults=[{"fault": "400", "match": "notes on"}])
    assert muster(*RUN, "one").code == 1
    server.configure(faults=[])
    (lab.root / "mine.md").write_text("My own notes.\n")
    done = muster("runs", "set", "one", "gather", "--output", "mine.md", "--reason", "no model")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "gather of run one has the output you gave (13 characters)",
        "hint: `muster runs resume one` goes on with it",
    ]
    assert "gather: set → My own notes.\n  why       no model\n" in muster("runs", "why", "one").out
    assert muster("runs", "resume", "one").out == "a short text\n"
    assert muster("runs", "set", "one", "write", "--output", "none.md").code == 2
    assert "is succeeded" in muster("runs", "set", "one", "write", "--output", "mine.md").err


def test_what_is_missing_or_wrong_on_the_command_line_is_said(lab: Lab, muster: Muster, server: ScriptedServer) -> None:
    project(lab, server)
    assert muster("runs", "replay", "none").code == 1
    assert muster("runs", "prune").code == 2
    assert json.loads(muster("runs", "prune", "--older-than", "1d", "--json").out)["run_ids"] == []
    assert muster(*RUN, "one").code == 0
    wrong = muster("runs", "prune", "--older-than", "soon")
    assert (wrong.code, wrong.err.splitlines()[0]) == (2, "--older-than takes a number and a unit, got 'soon'")
    assert muster("runs", "fork", "one", "--from", "wrote").code == 1
    assert muster("runs", "fork", "one", "--from", "write", "--set", "style").code == 2
    lab.write(tools__more_py="x = 1\n")
    changed = muster("runs", "fork", "one", "--from", "write")
    assert changed.err.splitlines()[0] == "its code was changed since run one was started"
    assert muster("runs", "fork", "one", "--from", "write", "--project-now").out == "a short text\n"
