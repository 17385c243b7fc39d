"""Faults of benchmarks/gate_faults.py: the policy, rights of others, paths, names, order, budgets, the store."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Generator
from typing import Any

from benchmarks.gate_faults import Stage, expect, fault
from benchmarks.gate_scenes import SEND
from project.errors import AppError
from project.spec import BudgetSpec
from project.spec_policy import PolicySpec
from tests.runs.gate_scene import NAMES, TOOLS, call, the_question
from tests.runs.scene import WORKER, database, until, write_project

ALLOW: dict[str, Any] = {"defaults": {"send": "allow", "spend": "allow", "execute": "allow"}}


# -- the policy


@fault()
def rule_raises(stage: Stage) -> None:
    stage.write(SEND)
    plan = stage.lab.plan()
    broken = PolicySpec.model_validate(
        {"rules": [{"decide": "allow", "tools": ["send"], "arguments": {"to": {"pattern": "("}}}], **ALLOW}
    )
    run_id = stage.lab.start(plan.model_copy(update={"policy": broken}))
    outcome = stage.lab.runner.wait(run_id)
    expect(outcome.status in ("succeeded", "failed"), str(outcome))


@fault()
def policy_changed_in_the_stored_plan(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    with database(stage.lab) as stored:
        (text,) = stored.execute("select plan from muster_runs where run_id = ?", (run_id,)).fetchone()
        plan = json.loads(text)
        plan["policy"]["defaults"]["send"] = "allow"
        stored.execute("update muster_runs set plan = ? where run_id = ?", (json.dumps(plan), run_id))
    stored.close()
    try:
        stage.goes_on(run_id)
    except (AppError, ValueError):
        return
    expect(False, "a changed plan is not executed")


@fault()
def policy_loosened_after_the_start(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.lab.allow_all()
    stage.waits_on(run_id)


@fault()
def policy_deleted_after_the_start(stage: Stage) -> None:
    run_id = stage.waits(SEND, policy={"rules": [{"decide": "ask", "tools": ["send"]}]})
    (stage.lab.root / "config" / "policy.yaml").unlink()
    stage.waits_on(run_id)


@fault()
def policy_is_no_yaml(stage: Stage) -> None:
    stage.write(SEND)
    stage.lab.write(policy="rules: [{decide: allow\n")
    expect(stage.muster("run", "default").wait() == 3, "the configuration is invalid")


@fault()
def autonomous_agent_under_a_rule_that_asks(stage: Stage) -> None:
    stage.write(SEND, policy={"rules": [{"decide": "ask", "tools": ["send"]}]})
    write_project(stage.lab, {"work": f"{SEND}\n@echo"}, {"tools": NAMES, "autonomy": "autonomous"})
    expect(stage.lab.run().status == "waiting", "it waits")


@fault()
def supervised_agent(stage: Stage) -> None:
    stage.write(SEND, policy=ALLOW)
    write_project(stage.lab, {"work": f"{SEND}\n@echo"}, {"tools": NAMES, "autonomy": "supervised"})
    expect(stage.lab.run().status == "waiting", "it waits")


# -- on behalf of others


def _crew(stage: Stage, description: str, **worker: Any) -> Any:
    """Run a task of `worker`, who may not send, beside `other`, who may."""
    rules = [{"decide": "deny", "agents": ["worker"], "tools": ["send"]}, {"decide": "allow", "agents": ["other"]}]
    stage.lab.write(tools__gate_py=TOOLS, policy=json.dumps({"rules": rules}))
    other = {"role": "Other", "goal": "Send", "backstory": "You send.", "tools": ["send"]}
    crews = {"default": {"agents": ["worker", "other"], "tasks": ["work"]}}
    write_project(stage.lab, {"work": description}, agents={"worker": WORKER | worker, "other": other}, crews=crews)
    outcome = stage.lab.run()
    expect(outcome.status != "waiting", "it is denied, and nobody asked")
    return outcome


@fault()
def delegated_call(stage: Stage) -> None:
    _crew(stage, call("ask_coworker", coworker="other", request=f"{SEND}\n@echo") + "\n@echo", allow_delegation=True)
    expect(any("denies" in str(step.record) for step in stage.lab.steps(_last(stage))), "the chain denies it")


@fault()
def handed_over_call(stage: Stage) -> None:
    handing = call("hand_over", to="other", reason="may send", done="nothing", open=SEND)
    outcome = _crew(stage, f"{handing}\n{SEND}\n@echo", handoffs=["other"])
    expect(bool(outcome.run_id), "it ends")


def _last(stage: Stage) -> str:
    return stage.lab.runner.store.list(1)[0].run_id


# -- paths


def _stores(stage: Stage, path: str, run_id: str = "") -> None:
    outcome = stage.run(call("store", path=path, text="x"), run_id=run_id)
    expect(outcome.status == "waiting", f"a person is asked about {path}: {outcome}")


@fault()
def path_leads_out(stage: Stage) -> None:
    for path in ("../../x", "a/../../x", "a/b/../../../x", "./../x"):
        _stores(stage, path)


@fault()
def path_is_absolute(stage: Stage) -> None:
    _stores(stage, "/tmp/x")


@fault()
def path_is_an_address_of_a_file(stage: Stage) -> None:
    _stores(stage, "file:///etc/cron.d/x")


@fault()
def path_of_the_home_folder(stage: Stage) -> None:
    _stores(stage, "~/.profile")


@fault()
def path_through_a_link(stage: Stage) -> None:
    files = stage.lab.root / ".muster" / "runs" / "linked" / "files"
    files.mkdir(parents=True)
    (files / "out").symlink_to("/tmp")
    _stores(stage, "out/x", run_id="linked")


# -- names and arguments


def _refused(stage: Stage, line: str, policy: dict[str, Any] | None = None) -> None:
    """See that a call is refused although all is allowed."""
    outcome = stage.run(line, policy=ALLOW if policy is None else policy)
    expect(outcome.status == "succeeded", f"the agent goes on: {outcome}")


@fault()
def name_looks_alike(stage: Stage) -> None:
    _refused(stage, "@unknown-tool s\u0435nd")


@fault()
def name_in_full_width(stage: Stage) -> None:
    _refused(stage, "@unknown-tool \uff53\uff45\uff4e\uff44")


@fault()
def name_in_capitals(stage: Stage) -> None:
    _refused(stage, "@unknown-tool SEND")


@fault()
def name_with_a_hidden_sign(stage: Stage) -> None:
    _refused(stage, "@unknown-tool send\u200b")


@fault()
def rule_names_a_look_alike(stage: Stage) -> None:
    stage.write(SEND)
    rules = [{"decide": "allow", "tools": ["s\u0435nd"]}]
    plan = stage.lab.plan().model_copy(update={"policy": PolicySpec.model_validate({"rules": rules})})
    expect(stage.lab.runner.wait(stage.lab.start(plan)).status == "waiting", "the rule does not fit")


@fault()
def argument_of_the_wrong_type(stage: Stage) -> None:
    _refused(stage, call("pay", to="carl", usd="a lot"))


@fault()
def argument_too_many(stage: Stage) -> None:
    _refused(stage, call("send", to="carl", text="x", bcc="mallory"))


@fault()
def argument_missing(stage: Stage) -> None:
    _refused(stage, call("send", to="carl"))


@fault()
def argument_value_looks_alike(stage: Stage) -> None:
    rules = [{"decide": "allow", "tools": ["send"], "arguments": {"to": ["carl"]}}]
    stage.waits(call("send", to="c\u0430rl", text="x"), policy={"rules": rules})


@fault()
def argument_fits_a_part_of_the_pattern_only(stage: Stage) -> None:
    rules = [{"decide": "allow", "tools": ["send"], "arguments": {"to": {"pattern": "carl|dora"}}}]
    stage.waits(call("send", to="carl\nmallory", text="x"), policy={"rules": rules})


# -- order and budget


@fault(allowed=1)
def more_calls_than_allowed_side_by_side(stage: Stage) -> None:
    policy = ALLOW | {"order": [{"tool": "send", "at_most": 1}]}
    stage.lab.write(tools__gate_py=TOOLS, policy=json.dumps(policy))
    task: dict[str, Any] = {"description": f"{SEND}\n@echo", "async_execution": True, "context": []}
    tasks: dict[str, Any] = {f"part{number}": task for number in range(4)}
    write_project(stage.lab, tasks | {"end": "@answer: done"}, {"tools": NAMES})
    expect(stage.lab.run().status == "succeeded", "the agents go on")


@fault()
def called_before_what_must_come_first(stage: Stage) -> None:
    _refused(stage, SEND, ALLOW | {"order": [{"tool": "send", "after": ["fetch"]}]})


@fault()
def called_after_what_forbids_it(stage: Stage) -> None:
    stage.write(call("fetch", page="a"), SEND, policy=ALLOW | {"order": [{"tool": "send", "never_with": ["fetch"]}]})
    expect(stage.lab.run().status == "succeeded", "the agent goes on")


@fault()
def budget_is_used_up_before_the_approval(stage: Stage) -> None:
    stage.write(call("fetch", page="a"), SEND)
    outcome = stage.lab.run(budget=BudgetSpec(max_tool_calls=1))
    expect(outcome.status == "stopped", f"it stops at the ceiling: {outcome}")
    expect(not stage.inbox.open(outcome.run_id), "nobody is asked about what can't be paid")


@fault()
def budget_is_lowered_after_the_approval(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    expect(stage.goes_on(run_id, budget=BudgetSpec(max_tool_calls=0)).status == "stopped", "it stops at the ceiling")


# -- the store


@contextlib.contextmanager
def _locked(stage: Stage) -> Generator[None]:
    """Hold the database's lock in another process."""
    code = (
        "import sqlite3, sys; base = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "base.execute('begin exclusive'); print('locked', flush=True); sys.stdout.flush();"
        "import time; time.sleep(600)"
    )
    holder = stage.farm.execute(code, str(stage.lab.root / ".muster" / "muster.db"))
    holder.wait_for("locked")
    try:
        yield
    finally:
        holder.signal(signal.SIGKILL)
        holder.wait()


@fault()
def store_is_locked(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    with _locked(stage):
        process = stage.muster("runs", "resume", run_id)
        until(lambda: process.poll() is not None or "database" in process.text() or _waited(process.pid, 8))
        process.signal(signal.SIGKILL)
        process.wait()


def _waited(pid: int, seconds: float) -> bool:
    """Say whether a process is so old."""
    try:
        return time.time() - os.stat(f"/proc/{pid}").st_ctime > seconds
    except FileNotFoundError:
        return True


@fault()
def store_is_locked_while_it_is_approved(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    question_id = the_question(stage.lab, run_id).question_id
    with _locked(stage):
        process = stage.muster("approvals", "approve", question_id)
        until(lambda: process.poll() is not None or _waited(process.pid, 8))
        process.signal(signal.SIGKILL)
        process.wait()
    stage.waits_on(run_id)


_FULL = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
base = sys.argv[1] + "/.muster/muster.db"
size = os.path.getsize(base)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv = ["muster", "--project", sys.argv[1], "runs", "resume", sys.argv[2]]
import main
main.main()
"""


@fault()
def disk_is_full(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    process = stage.farm.execute(_FULL, str(stage.lab.root), run_id)
    until(lambda: process.poll() is not None or _waited(process.pid, 20))
    process.signal(signal.SIGKILL)
    process.wait()


@fault()
def journal_takes_no_more_steps(stage: Stage) -> None:
    run_id = stage.waits(SEND)
    stage.answer(run_id)
    path = stage.lab.root / ".muster" / "muster.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as journal:
        journal.execute(
            "create trigger full before insert on operation_outputs when new.function_name like '%intent'"
            " begin select raise(abort, 'the disk is full'); end"
        )
    try:
        outcome = stage.goes_on(run_id)
        expect(outcome.status != "succeeded", f"it does not go ahead: {outcome}")
    finally:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as journal:
            journal.execute("drop trigger full")


@fault()
def killed_while_it_waits(stage: Stage) -> None:
    stage.write(SEND)
    process = stage.muster("run", "default", "--id", "killed")
    until(lambda: _asked(stage, "killed"))
    process.signal(signal.SIGKILL)
    process.wait()
    stage.waits_on("killed")


def _asked(stage: Stage, run_id: str) -> bool:
    try:
        return bool(stage.inbox.open(run_id))
    except Exception:  # the tables are being made
        return False
