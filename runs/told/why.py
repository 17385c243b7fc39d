"""Why a run went as it did: every choice in its journal, with what it was chosen among, the reason and the evidence."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from crews.planned import CrewPlan, Plan
from runs.governed.redaction import without_private
from runs.people.questions import tell_answer
from runs.stored.store import RunRow
from runs.told.report import JournalSource, Step, current_state, instant, part_name, read_steps

_MOST_EVIDENCE = 20


def reasons_of(source: JournalSource, row: RunRow, folder: Path, task: str = "") -> list[dict[str, Any]]:
    """Return the decisions of a run in time, only those about `task` where it is given. Field names are API.

    Each has `at`, `task`, `decision`, `chosen`, `among`, `why`, `evidence`, `by`, `step`. What YAML decided has no
    `at` and no `step`: it stands in the plan that the run carries. The last one says why a run did not end.
    """
    plan = row.read_plan()
    found = [*_planned(plan)]
    for step in without_private(read_steps(source, row.run_id, folder)):
        entry = _told(step)
        if entry is not None:
            found.append({"at": instant(step.started_at), "task": _about(step), **entry, "step": step.name})
    state = current_state(row, folder)
    if state not in ("succeeded", "running"):
        decision = "ceiling" if state == "stopped" else state
        why = row.reason or "its process ended without saying so"
        found.append(_entry("", decision, "the run was set aside", why, by="rule") | {"at": instant(row.updated_at)})
    wanted = [entry for entry in found if not task or task in (entry["task"], entry["task"].rpartition(".")[2])]
    return [{"at": None, "step": None, **entry} for entry in wanted]


def _about(step: Step) -> str:
    about = str(step.record.get("about") or "")
    above = step.task.rpartition(".")[0] if step.record.get("decision") else ""
    if step.kind == "decision" and about and about not in ("run", step.task) and not step.task.endswith(f".{about}"):
        return f"{step.task}.{about}" if step.task and not above else about
    return part_name(step.task)


def _entry(task: str, decision: str, chosen: str, why: str, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"among": [], "evidence": [], "by": "yaml"}
    return {"task": task, "decision": decision, "chosen": chosen, "why": why, **(usual | more)}


def _planned(plan: Plan) -> Iterator[dict[str, Any]]:
    """Tell what was decided before the run: who does what, and which model answers."""
    for name, reason in plan.model_reasons.items():
        yield _entry("", "model", plan.models[name].model, f"{name}: {reason}", by="rule")
    yield from _routes(plan, plan, "")


def _routes(plan: Plan, scope: CrewPlan, prefix: str) -> Iterator[dict[str, Any]]:
    for stage in scope.stages:
        yield _entry(f"{prefix}{stage.crew}", "route", f"crew {stage.crew}", "crews.yaml names it as a stage")
        yield from _routes(plan, plan.crews[stage.crew], f"{prefix}{stage.crew}.")
    for planned in scope.tasks if scope.process == "sequential" else []:
        yield _entry(f"{prefix}{planned.name}", "route", planned.agent_name, "tasks.yaml names it for this task")


def _told(step: Step) -> dict[str, Any] | None:
    """Tell a step as a decision; None for one that decides nothing."""
    record = step.record
    match step.kind:
        case "decision":
            keys = ("decision", "chosen", "among", "why", "evidence", "by")
            return {key: record[key] for key in keys} | {"chosen": _shown(record["chosen"])}
        case "verdict" if record["checks"] and not (record["passed"] and record.get("demands")):
            return _gate(record)
        case "model" if record.get("next") not in (None, "", record.get("asked")):
            why = f"{record['asked']}: {record['error']['message']}"
            return _retold("fallback", f"model {record['next']}", why, among=["ask again", "another model", "give up"])
        case "backoff" if "agent" in record:
            what = f"call {record['tool']} again" if "tool" in record else "try again"
            return _retold("wait", f"{what} after {record['seconds']:g} s", str(record["reason"]))
        case "backoff":
            why = str(record["reason"])
            return _retold("retry", f"ask again after {record['seconds']:g} s", why, among=["ask again", "give up"])
        case "tool" if "refused" in record:
            return _retold(
                "refuse", f"{record['tool']} was not called", str(record["refused"]), among=["call", "refuse"]
            )
        case "answer" if "call" in record:
            who = [f"answered by {record['by']} at {instant(record['at'])}"]
            return _retold("approve", tell_answer(record), str(record["prompt"]), by="person", evidence=who)
        case "answer" if "manager/" in step.name:  # the decision after it says what came of it
            return None
        case "answer":
            return _answered(record)
        case _:
            return None


def _retold(decision: str, chosen: str, why: str, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"among": [], "evidence": [], "by": "rule"}
    return {"decision": decision, "chosen": chosen, "why": why, **(usual | more)}


def _answered(record: Mapping[str, Any]) -> dict[str, Any]:
    said, prompt = record["said"], str(record["prompt"])
    if said is None:
        return _retold("question", "nobody could be asked", prompt)
    chosen = f"rejected: {record['reason']}" if record.get("rejected") else said or "accepted"
    who = [f"answered by {record['by']} at {instant(record['at'])}"] if "by" in record else []
    return _retold("question", str(chosen)[:200], prompt, by="person", evidence=who)


def _gate(record: Mapping[str, Any]) -> dict[str, Any]:
    checks: list[Mapping[str, Any]] = record["checks"]
    warned = [check for check in checks if check.get("warned")]
    if record["passed"]:
        chosen = "accepted with warnings" if warned else "accepted"
        why = "; ".join(reason for check in warned for reason in check["reasons"]) or "every check passed"
    else:
        chosen = "failed" if record.get("fatal") else "sent back"
        why = "; ".join([*record.get("fatal", []), *record["reasons"]])
    told = [f"{check['check']}: {'passed' if check['passed'] else 'not passed'}" for check in checks]
    return _retold("gate", chosen, why, among=["accepted", "sent back", "failed"], evidence=told[:_MOST_EVIDENCE])


def _shown(chosen: Any) -> str:
    return ", ".join(map(str, cast(list[Any], chosen))) if isinstance(chosen, list) else str(chosen)
