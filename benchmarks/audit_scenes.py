"""Runs of every kind to audit, and every way we could think of to change what they left behind."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from project.spec import BudgetSpec
from runs.audit.tombstones import Gravedigger
from runs.people.inbox import Inbox
from runs.repair.fork import fork_run
from runs.repair.given_output import set_output
from runs.repair.retention import delete_runs
from runs.stored import journal
from runs.stored.store import RunStore
from runs.stored.tables import RUNS
from tests.lab import Lab
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.scene import WORKER, tool_file
from tests.scripted_server import ScriptedServer

KEY = "a key of the audit, for trials"
_POLICY = """
defaults: {send: allow, spend: allow, execute: allow}
budgets: {month: {max_model_calls: 100000}}
"""
_CREWS: Mapping[str, Any] = {
    "row": {"agents": ["worker"], "tasks": ["noted", "gather", "write"]},
    "beside": {"agents": ["worker"], "tasks": ["list", "each"]},
    "asked": {"agents": ["worker"], "tasks": ["reviewed", "after"]},
    "stuck": {"agents": ["worker"], "tasks": ["failing", "after_it"]},
    "team": {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"], "tasks": []},
}
_TASKS: Mapping[str, Any] = {
    "noted": {"description": '@call note {"text": "a"}\n@call note {"text": "b"}\n@echo', "tools": ["note"]},
    "gather": {"description": "@long 60"},
    "write": {"description": "@answer: a text", "context": ["gather", "noted"]},
    "list": {"description": '@answer: {"names": ["x", "y", "z"]}', "output": {"names": "list[str]"}},
    "each": {
        "description": "@answer: about {item}",
        "for_each": {"items": "outputs.list.names"},
        "context": ["list"],
    },
    "reviewed": {"description": "@answer: one", "human_input": True},
    "after": {"description": "@answer: two", "context": ["reviewed"]},
    "failing": {"description": "@answer: never"},
    "after_it": {"description": "@answer: after it", "context": ["failing"]},
}
_TEAM = plan(subtask("one"), subtask("two", agent="helper", depends_on=["one"]), result=["one", "two"])


def write_scenes(lab: Lab, server: ScriptedServer) -> None:
    """Write the project of the runs that are audited."""
    usual = {"expected_output": "A line.", "agent": "worker"}
    tasks = {name: usual | task for name, task in _TASKS.items()}
    crews = {name: {key: value for key, value in crew.items() if value} for name, crew in _CREWS.items()}
    files = {"agents": AGENTS | {"worker": WORKER | {"tools": ["note"]}}, "tasks": tasks, "crews": crews}
    lab.write(**{name: json.dumps(value) for name, value in files.items()})
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    lab.models(server.base_url)
    lab.write(policy=_POLICY)


def script() -> Any:
    """Return what the server of these runs says."""
    return boss([_TEAM])


def make_runs(lab: Lab, server: ScriptedServer) -> None:
    """Do one run of each kind, and leave the runner closed: `row`, `large`, `beside`, `team`, `waiting`, `answered`,
    `resumed`, `forked`, `mended`; `gone-1` to `gone-3` are deleted."""
    write_scenes(lab, server)
    for run_id, crew in (("gone-1", "row"), ("gone-2", "row"), ("gone-3", "row"), ("row", "row"), ("beside", "beside")):
        assert lab.run(crew, run_id=run_id).status == "succeeded"
    _make_large(lab)
    assert lab.run("team", run_id="team").status == "succeeded"
    assert lab.run("asked", run_id="answered").status == "waiting"
    inbox = Inbox(lab.runner.database)
    (question,) = inbox.open("answered")
    inbox.answer(question.question_id, "", "ada@desk")
    assert lab.resume("answered").status == "succeeded"
    assert lab.run("asked", run_id="waiting").status == "waiting"
    assert lab.run("row", run_id="resumed", budget=BudgetSpec(max_model_calls=2)).status == "stopped"
    assert lab.resume("resumed", budget=BudgetSpec(max_model_calls=50)).status == "succeeded"
    _mend(lab, server)
    fork(lab, "row", "write", "forked")
    assert lab.resume("forked").status == "succeeded"
    for run_id in ("gone-1", "gone-2", "gone-3"):
        delete(lab, run_id)
    lab.close()


def _make_large(lab: Lab) -> None:
    limits = journal._RECORD_LIMIT, journal._PART_LIMIT  # pyright: ignore[reportPrivateUsage]
    journal._RECORD_LIMIT, journal._PART_LIMIT = 300, 100  # pyright: ignore[reportPrivateUsage]
    try:
        assert lab.run("row", run_id="large").status == "succeeded"
    finally:
        journal._RECORD_LIMIT, journal._PART_LIMIT = limits  # pyright: ignore[reportPrivateUsage]


def _mend(lab: Lab, server: ScriptedServer) -> None:
    server.configure(faults=[{"fault": "400", "match": "never"}])
    assert lab.run("stuck", run_id="mended").status == "failed"
    server.configure(faults=[])
    give(lab, "mended", "failing")
    assert lab.resume("mended").status == "succeeded"


def give(lab: Lab, run_id: str, task: str) -> None:
    """Give the output of a task that failed, as `muster runs set` does."""
    runner = lab.runner
    folder = runner.folder(run_id).parent
    row = runner.find(run_id)
    set_output(runner.database, folder, row, task, "by hand", reason="no model", by="bo@desk", audit=runner.audit)


def fork(lab: Lab, run_id: str, task: str, new_id: str) -> None:
    """Fork a run, as `muster runs fork` does."""
    runner = lab.runner
    row = runner.find(run_id)
    folder = runner.folder(run_id).parent
    fork_run(runner.database, folder, row, row.read_plan(), task, new_id, by="cy@desk", now=row.updated_at + 1)


def delete(lab: Lab, run_id: str) -> None:
    """Delete a run, as `muster runs delete` does."""
    from runs.audit.heads import audit_keys

    runner = lab.runner
    digger = Gravedigger("dee@desk", audit_keys(lab.settings()))
    folder = runner.folder(run_id).parent
    delete_runs(runner.database, RunStore(runner.database), folder, [run_id], gravedigger=digger)


# -- tampering


@dataclass
class Target:
    """A database that is tampered with, and the folder of its runs."""

    connection: sa.Connection
    folder: Path

    def run(self, statement: str, **values: Any) -> int:
        """Execute SQL; `{d}` before a table of DBOS's. Returns how many rows it changed, which must be some."""
        schema = "" if self.connection.dialect.name == "sqlite" else "dbos."
        changed = self.connection.execute(sa.text(statement.replace("{d}", schema)), values).rowcount
        assert changed, f"nothing was changed: {statement}"
        return changed

    def edit(self, table: str, column: str, where: str, change: Callable[[Any], Any]) -> None:
        """Change the JSON in one column of the first row that fits."""
        schema = "" if self.connection.dialect.name == "sqlite" or table.startswith("muster_") else "dbos."
        key = {"operation_outputs": "workflow_uuid, function_id"}.get(table, "1")
        found = self.connection.execute(
            sa.text(f"select {column} from {schema}{table} where {where} order by {key}")
        ).scalar()
        assert found is not None, f"nothing to edit in {table} where {where}"
        text = json.dumps(change(json.loads(found)), separators=(",", ":"))
        assert text != found, f"nothing changed in {table} where {where}"
        self.run(f"update {schema}{table} set {column} = :new where {where} and {column} = :old", new=text, old=found)


Tamper = Callable[[Target], None]


@dataclass(frozen=True)
class Tampering:
    """One way to change what was. `elsewhere`: only heads that are kept elsewhere show it."""

    name: str
    do: Tamper
    elsewhere: bool = False


def _step(column: str, where: str, change: Callable[[Any], Any]) -> Tamper:
    return lambda target: target.edit("operation_outputs", column, where, change)


def _record(where: str, **parts: Any) -> Tamper:
    return _step("output", where, lambda record: record | parts)


def _sql(*statements: str) -> Tamper:
    def do(target: Target) -> None:
        for statement in statements:
            target.run(statement)

    return do


_MODEL = "workflow_uuid = 'row.gather' and function_name like '%/model#1'"
_TOOL = "workflow_uuid = 'row.noted' and function_name like '%/note#1'"
_NOTED = "workflow_uuid = 'row.noted'"
_OF_DBOS = ("operation_outputs", "workflow_output", "workflow_input", "workflow_status")


def _drop_lane(lane: str) -> Tamper:
    return _sql(*(f"delete from {{d}}{table} where workflow_uuid = '{lane}'" for table in _OF_DBOS))


def _drop_run(target: Target, run_id: str) -> None:
    for table in _OF_DBOS:
        target.run(f"delete from {{d}}{table} where workflow_uuid = '{run_id}' or workflow_uuid like '{run_id}.%'")
    target.run(f"delete from muster_runs where run_id = '{run_id}'")
    shutil.rmtree(target.folder / run_id, ignore_errors=True)


def _swap(column: str, one: str, other: str) -> Tamper:
    """Swap a column of two steps of one lane, by their numbers."""

    def do(target: Target) -> None:
        rows = {
            number: target.connection.execute(
                sa.text(f"select {column} from {_d(target)}operation_outputs where {_NOTED} and function_id = {number}")
            ).scalar()
            for number in (one, other)
        }
        for number, new in ((one, rows[other]), (other, rows[one])):
            target.run(
                f"update {{d}}operation_outputs set {column} = :new where {_NOTED} and function_id = {number}", new=new
            )

    return do


def _d(target: Target) -> str:
    return "" if target.connection.dialect.name == "sqlite" else "dbos."


def _copy_row(table: str, where: str, **values: Any) -> Tamper:
    """Put a copy of a row in, with these values."""

    def do(target: Target) -> None:
        name = f"{'' if table.startswith('muster_') else _d(target)}{table}"
        row = dict(target.connection.execute(sa.text(f"select * from {name} where {where}")).mappings().first() or {})
        assert row, f"no row to copy: {table} where {where}"
        row |= values
        keys = ", ".join(row)
        target.run(f"insert into {name} ({keys}) values ({', '.join(f':{key}' for key in row)})", **row)

    return do


def _both(*tampers: Tamper) -> Tamper:
    def do(target: Target) -> None:
        for tamper in tampers:
            tamper(target)

    return do


def _payload(change: Callable[[Path], object]) -> Tamper:
    def do(target: Target) -> None:
        change(next(iter(sorted((target.folder / "large" / "payloads").iterdir()))))

    return do


def _swap_ids(table: str, column: str, one: str, other: str) -> Tamper:
    return _sql(
        *(
            f"update {table} set {column} = '{new}' where {column} = '{old}'"
            for old, new in ((one, "~aside"), (other, one), ("~aside", other))
        )
    )


def _replan(target: Target) -> None:
    """Change the plan and the digest beside it, as somebody would who knows the table."""
    from runs.stored.store import digest_of

    text = target.connection.execute(sa.select(RUNS.c.plan).where(RUNS.c.run_id == "row")).scalar_one()
    new = text.replace("Do the work", "Do other work")
    assert new != text
    target.run("update muster_runs set plan = :p, digest = :d where run_id = 'row'", p=new, d=digest_of(new))


def _forge_head(target: Target) -> None:
    """Change a step, and put a head of the changed run in place of the newest one, without the key."""
    from runs.audit.chain import canonical, digest_of_head, read_snapshot
    from runs.stored.journal_rows import JournalRows

    engine = sa.create_engine(target.connection.engine.url, poolclass=sa.NullPool)
    rows = JournalRows(engine)
    _record(_TOOL, result="another")(target)
    found = read_snapshot(target.connection, rows, "row")
    assert found is not None
    head = found.to_head()
    values = {"head": canonical(head), "digest": digest_of_head(head)}
    target.run("update muster_heads set head = :head, digest = :digest where run_id = 'row'", **values)


def _forget_last_run(target: Target) -> None:
    """Remove the newest run with all that ever told of it."""
    _drop_run(target, "forked")
    target.run("delete from muster_heads where run_id = 'forked'")


TAMPERINGS: tuple[Tampering, ...] = (
    Tampering("a model's answer", _record(_MODEL, answer={"text": "another", "calls": []})),
    Tampering("what a tool returned", _record(_TOOL, result="another")),
    Tampering("arguments of a call", _record(_TOOL, arguments={"text": "z"})),
    Tampering("who made a call", _record(_TOOL, principal={"agent": "somebody"})),
    Tampering("what a call cost", _record(_MODEL, cost_usd="0.01")),
    Tampering("an approval put into a call", _record(_TOOL, approved_by=["ada@desk"])),
    Tampering("name of a step", _sql(f"update {{d}}operation_outputs set function_name = 'other' where {_MODEL}")),
    Tampering("when a step began", _sql(f"update {{d}}operation_outputs set started_at_epoch_ms = 1 where {_MODEL}")),
    Tampering("when a step ended", _sql(f"update {{d}}operation_outputs set completed_at_epoch_ms = 1 where {_MODEL}")),
    Tampering("an error put into a step", _sql(f"update {{d}}operation_outputs set error = 'x' where {_MODEL}")),
    Tampering(
        "another child",
        _sql("update {d}operation_outputs set child_workflow_id = 'x' where child_workflow_id = 'row.write'"),
    ),
    Tampering("a pickled value", _sql(f"update {{d}}operation_outputs set serialization = 'py_pickle' where {_MODEL}")),
    Tampering("a value that is no JSON", _sql(f"update {{d}}operation_outputs set output = '{{' where {_MODEL}")),
    Tampering("first step removed", _sql(f"delete from {{d}}operation_outputs where {_NOTED} and function_id = 1")),
    Tampering("middle step removed", _sql(f"delete from {{d}}operation_outputs where {_NOTED} and function_id = 3")),
    Tampering("tail of a lane cut off", _sql(f"delete from {{d}}operation_outputs where {_NOTED} and function_id > 3")),
    Tampering("all steps of a lane removed", _sql(f"delete from {{d}}operation_outputs where {_NOTED}")),
    Tampering(
        "a step removed, the rest numbered anew",
        _sql(
            f"delete from {{d}}operation_outputs where {_NOTED} and function_id = 2",
            *(
                f"update {{d}}operation_outputs set function_id = {n - 1} where {_NOTED} and function_id = {n}"
                for n in (3, 4, 5)
            ),
        ),
    ),
    Tampering("a step put at the end", _copy_row("operation_outputs", _TOOL, function_id=99)),
    Tampering("a step put before the first", _copy_row("operation_outputs", _TOOL, function_id=0)),
    Tampering("outputs of two steps swapped", _swap("output", "2", "4")),
    Tampering(
        "two steps reordered",
        _sql(
            *(
                f"update {{d}}operation_outputs set function_id = {new} where {_NOTED} and function_id = {old}"
                for old, new in ((2, 77), (4, 2), (77, 4))
            )
        ),
    ),
    Tampering(
        "a step moved to another lane",
        _sql(
            "update {d}operation_outputs set workflow_uuid = 'row.gather', function_id = 50 "
            f"where {_NOTED} and function_id = 5"
        ),
    ),
    Tampering(
        "two lanes swapped",
        _both(
            *(
                _swap_ids(f"{{d}}{table}", "workflow_uuid", "row.gather", "row.write")
                for table in ("operation_outputs",)
            )
        ),
    ),
    Tampering(
        "steps of two runs swapped", _swap_ids("{d}operation_outputs", "workflow_uuid", "row.noted", "large.noted")
    ),
    Tampering("a lane removed", _drop_lane("row.gather")),
    Tampering("an entry's lane removed", _drop_lane("beside.each.i2")),
    Tampering("a subtask's lane removed", _drop_lane("team.two")),
    Tampering(
        "only a lane's status removed", _sql("delete from {d}workflow_status where workflow_uuid = 'row.gather'")
    ),
    Tampering("a lane put in", _copy_row("workflow_status", "workflow_uuid = 'row.gather'", workflow_uuid="row.more")),
    Tampering(
        "state of a lane", _sql("update {d}workflow_status set status = 'ERROR' where workflow_uuid = 'row.gather'")
    ),
    Tampering(
        "who started a lane",
        _sql("update {d}workflow_status set parent_workflow_id = 'x' where workflow_uuid = 'row.gather'"),
    ),
    Tampering(
        "when a lane was started",
        _sql("update {d}workflow_status set created_at = 1 where workflow_uuid = 'row.gather'"),
    ),
    Tampering("kind of a lane", _sql("update {d}workflow_status set name = 'x' where workflow_uuid = 'row.gather'")),
    Tampering(
        "output of a task",
        lambda target: target.edit(
            "workflow_output", "output", "workflow_uuid = 'row.gather'", lambda found: found | {"output": "x"}
        ),
    ),
    Tampering(
        "result of a run",
        lambda target: target.edit(
            "workflow_output", "output", "workflow_uuid = 'row'", lambda found: found | {"output": "x"}
        ),
    ),
    Tampering("result of a run removed", _sql("delete from {d}workflow_output where workflow_uuid = 'row'")),
    Tampering(
        "what a task was given",
        lambda target: target.edit(
            "workflow_input", "inputs", "workflow_uuid = 'row.write'", lambda found: found | {"positionalArgs": [1]}
        ),
    ),
    Tampering(
        "a manager's decision",
        _step("output", "workflow_uuid = 'team' and function_name like '%plan%'", lambda record: record | {"why": "x"}),
    ),
    Tampering(
        "tail of a run that waits cut off",
        _sql("delete from {d}operation_outputs where workflow_uuid = 'waiting.reviewed' and function_id >= 1"),
    ),
    Tampering(
        "a step put into a run that waits",
        _copy_row("operation_outputs", _TOOL, workflow_uuid="waiting.reviewed", function_id=99),
    ),
    Tampering(
        "the plan", _sql("update muster_runs set plan = replace(plan, 'Do the work', 'Do other') where run_id = 'row'")
    ),
    Tampering("the plan and its digest", _replan),
    Tampering("the crew", _sql("update muster_runs set crew = 'team' where run_id = 'row'")),
    Tampering(
        "who started a run",
        lambda target: target.edit("muster_runs", "origin", "run_id = 'row'", lambda found: found | {"by": "x"}),
    ),
    Tampering(
        "versions",
        lambda target: target.edit("muster_runs", "versions", "run_id = 'row'", lambda found: found | {"muster": "9"}),
    ),
    Tampering("when a run was started", _sql("update muster_runs set created_at = 1 where run_id = 'row'")),
    Tampering(
        "a run that failed is said to have succeeded",
        _sql("update muster_runs set state = 'succeeded' where run_id = 'waiting'"),
    ),
    Tampering(
        "a run that succeeded is said to have failed",
        _sql("update muster_runs set state = 'failed' where run_id = 'row'"),
    ),
    Tampering("a finished run is said to run", _sql("update muster_runs set state = 'running' where run_id = 'row'")),
    Tampering(
        "what a run spent",
        lambda target: target.edit("muster_runs", "spent", "run_id = 'row'", lambda found: found | {"model_calls": 0}),
    ),
    Tampering(
        "what a run may spend",
        lambda target: target.edit("muster_runs", "budget", "run_id = 'row'", lambda found: found | {"max_usd": 9}),
    ),
    Tampering("how long a run worked", _sql("update muster_runs set worked_seconds = 0 where run_id = 'row'")),
    Tampering("who answered", _sql("update muster_questions set answered_by = 'x' where run_id = 'answered'")),
    Tampering(
        "what was answered",
        lambda target: target.edit(
            "muster_questions", "answer", "run_id = 'answered'", lambda found: found | {"rejected": True}
        ),
    ),
    Tampering("when it was answered", _sql("update muster_questions set answered_at = 1 where run_id = 'answered'")),
    Tampering("what was asked", _sql("update muster_questions set text = 'x' where run_id = 'answered'")),
    Tampering(
        "what is asked in a run that waits", _sql("update muster_questions set text = 'x' where run_id = 'waiting'")
    ),
    Tampering("a question removed", _sql("delete from muster_questions where run_id = 'answered'")),
    Tampering(
        "a question put in", _copy_row("muster_questions", "run_id = 'answered'", question_id="forged", step="forged")
    ),
    Tampering("a payload file changed", _payload(lambda path: path.write_text("{}"))),
    Tampering("a payload file removed", _payload(lambda path: path.unlink())),
    Tampering("a run's row removed", _sql("delete from muster_runs where run_id = 'row'")),
    Tampering("a run removed without a tombstone", lambda target: _drop_run(target, "row")),
    Tampering("the newest run removed without a tombstone", lambda target: _drop_run(target, "forked")),
    Tampering("a month's total lowered", _sql("update muster_totals set model_calls = model_calls - 1")),
    Tampering("a month's total removed", _sql("delete from muster_totals")),
    Tampering(
        "what a deleted run counts to a total", _sql("update muster_tombstones set share = '' where run_id = 'gone-2'")
    ),
    Tampering("first tombstone removed", _sql("delete from muster_tombstones where run_id = 'gone-1'")),
    Tampering("middle tombstone removed", _sql("delete from muster_tombstones where run_id = 'gone-2'")),
    Tampering("last tombstone removed", _sql("delete from muster_tombstones where run_id = 'gone-3'")),
    Tampering("all tombstones removed", _sql("delete from muster_tombstones")),
    Tampering("who deleted a run", _sql("update muster_tombstones set deleted_by = 'x' where run_id = 'gone-2'")),
    Tampering("when a run was deleted", _sql("update muster_tombstones set deleted_at = 1 where run_id = 'gone-2'")),
    Tampering("two tombstones swapped", _swap_ids("muster_tombstones", "run_id", "gone-1", "gone-2")),
    Tampering("a head removed", _sql("delete from muster_heads where run_id = 'row'")),
    Tampering("the first head removed", _sql("delete from muster_heads where id = (select min(id) from muster_heads)")),
    Tampering(
        "the newest head removed", _sql("delete from muster_heads where id = (select max(id) from muster_heads)")
    ),
    Tampering(
        "an older head of a resumed run removed",
        _sql("delete from muster_heads where id = (select min(id) from muster_heads where run_id = 'resumed')"),
    ),
    Tampering(
        "a head changed",
        _sql("update muster_heads set head = replace(head, 'succeeded', 'failed') where run_id = 'row'"),
    ),
    Tampering("when a head was made", _sql("update muster_heads set made_at = 1 where run_id = 'row'")),
    Tampering("a head emptied", _sql("update muster_heads set head = '' where run_id = 'row'")),
    Tampering("a head forged without the key", _forge_head),
    Tampering("the heads of two runs swapped", _swap_ids("muster_heads", "run_id", "row", "beside")),
    Tampering("all heads removed", _sql("delete from muster_heads"), elsewhere=True),
    Tampering("the newest run removed with all that told of it", _forget_last_run, elsewhere=True),
)
