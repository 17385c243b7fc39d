"""The two durable workflows: a run walks its plan; a task is one child. Both are functions of their JSON arguments."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crewai.hooks import HookAborted, InterceptionPoint, on

from agents.build import GuardedLLM, build_agent
from agents.crewai_tools import load_crewai_tool
from agents.loop import AgentFailed
from crews.plan import PlannedTask
from models.answer import Answer, ToolCall, Usage, estimate_tokens
from models.make import is_guarded_call
from models.offline.respond import OfflineTask, respond
from project.errors import AppError
from project.spec import ToolUse
from runs import engine
from runs.journal import pack, unpack, write_atomically
from runs.judging import Judge
from runs.seams import AskModel, Guard, Lane
from runs.state import Diverged, Event, Parked, RunState, running
from tasks.build import build_task, join_context
from tasks.contracts import instructions, json_schema
from tools.documents import cited_text
from tools.registry import load_guardrails, load_tools
from tools.tool import Tool, openai_schema

_OFFLINE_WINDOW = 1_000_000
_POLL_SECONDS = 1.0


@on(InterceptionPoint.PRE_MODEL_CALL)
def _only_guarded(_context: Any) -> None:
    # The second line: a model call that CrewAI makes by itself would be neither journaled nor counted.
    if not is_guarded_call():
        raise HookAborted("a model call that did not come through Muster's guard", source="muster")


@engine.workflow("muster.run")
def run_workflow(run_id: str) -> dict[str, Any]:
    """Walk the plan of `run_id`: a task starts when what it reads is there. Returns the run's result."""
    run = running(run_id)
    try:
        return _walk(run)
    except Parked as stop:
        run.outcome = stop
        raise
    except Exception as error:
        run.outcome = _bug(run, "run", error)
        raise run.outcome from error
    except Diverged as error:
        run.outcome = Parked("failed", str(error))
        raise run.outcome from error
    finally:
        run.ended.set()


@engine.workflow("muster.task")
def task_workflow(run_id: str, task_name: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """Carry out one task. `outputs` holds what it reads: task name → output text. Returns the task's result."""
    run = running(run_id)
    try:
        result = pack(_perform(run, run.task(task_name), unpack(outputs, run.folder)), run.folder)
    except Parked as stop:
        run.note_parked(task_name, stop)
        raise
    except Diverged as error:
        stop = Parked("failed", str(error))
        run.note_parked(task_name, stop)
        raise stop from error
    except (AppError, AgentFailed) as error:
        fix = error.fix if isinstance(error, AgentFailed) else "; ".join(error.fixes())
        stop = Parked("failed", str(error), fix)
        run.note_parked(task_name, stop)
        raise stop from error
    except Exception as error:
        stop = _bug(run, task_name, error)
        run.note_parked(task_name, stop)
        raise stop from error
    run.note_result(task_name, result)
    return result


def _bug(run: RunState, where: str, error: Exception) -> Parked:
    """Keep the run, and the traceback, when Muster or a library fails in a way nobody foresaw."""
    path = run.folder / "error.txt"
    first = (str(error).splitlines() or [""])[0]
    what = f"unexpected {type(error).__name__}: {first}"
    try:
        write_atomically(path, f"{where}\n{traceback.format_exc()}".encode())
    except OSError as full:
        return Parked("failed", what, f"its traceback could not be kept: {full.strerror}")
    return Parked("failed", what, f"the traceback is in {path}")


# -- the run


def _walk(run: RunState) -> dict[str, Any]:
    done: dict[str, dict[str, Any]] = {}
    started: dict[str, Any] = {}
    joins = 0
    while len(done) < len(run.plan.tasks):
        for planned in run.plan.tasks:
            if planned.name not in started and all(name in done for name in planned.needs):
                outputs = {name: done[name]["output"] for name in planned.needs}
                started[planned.name] = engine.start_child(
                    task_workflow, f"{run.run_id}.{planned.name}", run.run_id, planned.name, pack(outputs, run.folder)
                )
                run.tell(Event("task_started", planned.name))
        waiting = [name for name in started if name not in done]
        if len(waiting) == 1:  # no choice, so nothing to journal
            finished = waiting
        else:
            joins += 1
            finished = engine.step(f"join#{joins}", lambda names=tuple(waiting): _await_any(run, names))["tasks"]
        for name in finished:
            done[name] = unpack(_result_of(run, name), run.folder)
            run.tell(Event("task_done", name))
    for child in started.values():  # a result is known a moment before it is written down
        engine.await_recorded(child)
    last = run.plan.tasks[-1].name
    return pack({"output": done[last]["output"], "tasks": {name: done[name] for name in done}}, run.folder)


def _await_any(run: RunState, names: Sequence[str]) -> dict[str, Any]:
    """Wait until a task of `names` is done; say which are. Raises: Parked when none can be done in this execution."""
    while True:
        with run.changed:
            finished = [name for name in names if name in run.results]
            if finished:
                return {"kind": "join", "tasks": finished}
            if all(name in run.parked for name in names):
                raise _worst([run.parked[name] for name in names], names)
            run.changed.wait(_POLL_SECONDS)
        for name in names:
            _look_up(run, name)


def _result_of(run: RunState, name: str) -> dict[str, Any]:
    if run.resumed:
        _look_up(run, name)
    _await_any(run, [name])
    return run.results[name]


def _look_up(run: RunState, name: str) -> None:
    """Take the result of a task that was finished before this process, or by another one."""
    if name not in run.results:
        found = engine.find(f"{run.run_id}.{name}")
        if found is not None and found.status == "SUCCESS":
            run.note_result(name, found.output)


def _worst(stops: Sequence[Parked], names: Sequence[str]) -> Parked:
    order = ("failed", "stopped", "waiting", "interrupted")
    stop = min(stops, key=lambda stop: order.index(stop.kind))
    name = names[list(stops).index(stop)]
    others = [
        f"{other_name}: {other.reason}" for other_name, other in zip(names, stops, strict=True) if other is not stop
    ]
    return Parked(stop.kind, "; also ".join([f"{name}: {stop.reason}", *others]), stop.fix)


# -- the task


def _perform(run: RunState, planned: PlannedTask, outputs: Mapping[str, str]) -> dict[str, Any]:
    """Do the task: agent, loop, judge, file. Everything that touches the world is a step."""
    tools = run.tools[planned.name]
    timeout = min(
        (limit for limit in (planned.task.timeout_seconds, planned.agent.max_execution_time) if limit), default=None
    )
    spec = run.plan.models[planned.model]
    offline = spec.model == "offline"
    ask_model = _offline_asker(planned, outputs, run) if offline else _provider_asker(run, planned.model)
    window = _OFFLINE_WINDOW if offline else run.models[planned.model].context_window
    lane = Lane(f"{planned.name}/{planned.agent_name}", planned.name, planned.agent_name)
    guard = Guard(run, lane, planned.model, ask_model, tools, timeout)
    judge_lane = Lane(f"{planned.name}/judge", planned.name, "judge")
    judge = Judge(
        run,
        planned,
        Guard(run, judge_lane, planned.model, ask_model, {}, timeout),
        run.guardrails,
        _sources(run),
        offline,
    )
    agent = build_agent(
        planned.agent,
        GuardedLLM(spec.model, guard.ask, window),
        act=guard.act,
        judge=judge,
        schemas=[openai_schema(tool) for tool in tools.values()],
        protocol=spec.tool_calling,
        max_output_tokens=spec.max_tokens or 1024,
        extra=_extra(run, planned),
    )
    task = build_task(planned.name, planned.task, agent)
    task.execute_sync(context=join_context(planned.needs, outputs) or None, tools=[])
    text = judge.accepted
    result: dict[str, Any] = {
        "output": text,
        "agent": planned.agent_name,
        "model": spec.model,
        "offline": offline,
        "checks": judge.checks,
    }
    if planned.task.output_file:
        path = planned.task.output_file
        guard.journal("file#1", lambda: _save(run, planned, path, text))
        result["file"] = path
    return result


def _extra(run: RunState, planned: PlannedTask) -> str:
    parts: list[str] = []
    if planned.contract is not None:
        parts.append(instructions(planned.contract))
    if planned.agent.inject_date:
        parts.append(f"Current Date: {date.fromisoformat(run.started_on).strftime(planned.agent.date_format)}")
    return "".join(f"\n\n{part}" for part in parts)


def load_code(run: RunState) -> None:
    """Load every tool and guardrail of the plan once, so that what is wrong with one is known before any cost.

    Raises: AppError.
    """
    for planned in run.plan.tasks:
        run.tools[planned.name] = _load_tools(run, planned.tools)
    run.guardrails = load_guardrails(Path(run.plan.project))


def _load_tools(run: RunState, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    ours = [use for use in uses if not use.name[:1].isupper()]
    tools = load_tools(Path(run.plan.project), ours)
    for use in uses:
        if use.name[:1].isupper():
            tool = load_crewai_tool(use, Path(run.plan.project))
            tools[tool.name] = tool
    return tools


def _sources(run: RunState) -> Callable[[str], str | None]:
    folders = dict.fromkeys(
        str(use.settings["folder"]) for task in run.plan.tasks for use in task.tools if use.settings.get("folder")
    )

    def find(citation: str) -> str | None:
        for folder in folders:
            text = cited_text(Path(run.plan.project, folder), citation)
            if text is not None:
                return text
        return None

    return find


def _provider_asker(run: RunState, name: str) -> AskModel:
    return run.models[name].ask


def _offline_asker(planned: PlannedTask, outputs: Mapping[str, str], run: RunState) -> AskModel:
    task = OfflineTask(
        description=planned.task.description,
        expected_output=planned.task.expected_output,
        agent_role=planned.agent.role,
        recipe=planned.task.offline,
        contract=json_schema(planned.contract) if planned.contract is not None else None,
        inputs=run.plan.inputs,
        context={name: outputs[name] for name in planned.needs},
    )

    def ask(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], _limit: float) -> Answer:
        reply = respond(messages, tools, task)
        calls = tuple(
            ToolCall(call.id, call.name, json.dumps(call.arguments, ensure_ascii=False)) for call in reply.calls
        )
        text = reply.text or ""
        prompt = sum(estimate_tokens(str(message.get("content") or "")) for message in messages)
        return Answer(text, calls, Usage(prompt, estimate_tokens(text), estimated=True))

    return ask


def _save(run: RunState, planned: PlannedTask, path: str, text: str) -> dict[str, Any]:
    target = _inside(Path(run.plan.project), path)
    if not planned.task.create_directory and not target.parent.is_dir():
        raise AppError(f"{planned.name}: the folder of output_file {path!r} is not there", fix="make it")
    try:
        write_atomically(target, f"{text}\n".encode(), mode=0o644)
    except OSError as error:
        raise AppError(f"{planned.name}: output_file {path!r} can't be written: {error.strerror}") from error
    return {"kind": "file", "task": planned.name, "path": path, "characters": len(text), "seconds": 0.0}


def _inside(project: Path, path: str) -> Path:
    root = project.resolve()
    target = (root / path).resolve()
    if not target.is_relative_to(root) or target == root or ".muster" in target.relative_to(root).parts:
        raise AppError(f"output_file {path!r} leads out of the project", fix="name a file inside the project folder")
    return target
