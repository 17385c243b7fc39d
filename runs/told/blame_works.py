"""The texts that were made in a run: who made each, of what, and who checked it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from crews.planned import CrewPlan, Plan
from crews.subtasks import AGAIN
from runs.stored.journal import unpack
from runs.told.report import JournalSource, Step, read_steps

Results = Mapping[str, Mapping[str, Any]]
"""What each workflow of a run came to, by its path; "" is the run."""

_REVIEWING = ("review", "refine", "judge", "aggregate", "done")
"""The folder of the subtasks that a manager planned anew; no workflow stands at it."""
_RIVAL = re.compile(r"[ac]\d+(?:r\d+)?")


@dataclass(frozen=True)
class Work:
    """A text that somebody made in a run: the output of a task or of a part of it, a colleague's answer, the result."""

    task: str
    agent: str
    model: str
    text: str
    by_person: bool
    reads: tuple[str, ...]
    """Keys of the works that it was made from."""
    reviews: tuple[dict[str, Any], ...] = ()
    """Who checked, reviewed, chose or approved it."""


def read_results(source: JournalSource, run_id: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the workflows of a run that are done came to, by path; the run's own is ""."""
    family = source.family(run_id)
    results = {
        record.id[len(run_id) + 1 :]: unpack(cast(dict[str, Any], record.output), folder)
        for record in family
        if record.status == "SUCCESS"
    }
    for path, result in list(results.items()):
        for name, part in cast(dict[str, Any], result.get("tasks", {})).items():
            below = f"{path}.{name}".lstrip(".")
            if f"{path}.{AGAIN}.{name}".lstrip(".") in results:
                continue
            if below not in results or "output" not in results[below]:  # a person did what nobody could
                results[below] = part
    if any(record.status != "SUCCESS" for record in family):
        results |= _written(read_steps(source, run_id, folder), results)
    return results


def _written(steps: Sequence[Step], results: Results) -> dict[str, dict[str, Any]]:
    """Return what tasks wrote into their files before a crash that left them without a result."""
    found: dict[str, dict[str, Any]] = {}
    for file in steps:
        if file.kind != "file" or file.task in results:
            continue
        parts = [part for path, part in results.items() if path.startswith(f"{file.task}.") and part.get("output")]
        said = [step.record for step in steps if step.kind == "model" and step.task == file.task]
        answers = [{"output": one["answer"]["text"], "model": one["model"]} for one in said if "answer" in one]
        texts = [*parts, *(answer for answer in answers if answer["output"])]
        fitting = [one for one in texts if len(one["output"]) == file.record["characters"]]
        if texts:
            verdicts = [step.record["checks"] for step in steps if step.kind == "verdict" and step.task == file.task]
            usual: dict[str, Any] = {"agent": file.name.split("/")[-2], "checks": verdicts[-1] if verdicts else []}
            found[file.task] = usual | dict((fitting or texts)[-1]) | {"file": file.record["path"]}
    return found


def works_of(plan: Plan, steps: Sequence[Step], results: Results) -> dict[str, Work]:
    """Return every text made in a run, by path; those of colleagues asked and of agents that handed over by lane."""
    by_task: dict[str, list[Step]] = {}
    for step in steps:
        by_task.setdefault(step.task, []).append(step)
    crews, needs = _shape(plan, results, by_task)
    works: dict[str, Work] = {}
    for path, result in results.items():
        if not result.get("output"):
            continue
        own = by_task.get(path, [])
        around = tuple(needs[path])
        asides = {lane: Work(path, *who, False, around) for lane, who in _asides(plan, own)}
        crew = crews.get(path)
        manager = crew.manager_member if crew is not None and crew.process == "hierarchical" else None
        agent = manager.name if manager else str(result.get("agent") or (crew.crew if crew else ""))
        model = plan.models[manager.model].model if manager else str(result.get("model", ""))
        reads = (*around, *_inside(path, result, results), *asides)
        person = bool(result.get("by_person")) or agent == "human"
        works |= asides
        works[path] = Work(path, agent, model, str(result["output"]), person, reads, _reviews(path, result, own))
    return works


def _shape(
    plan: Plan, results: Results, by_task: Mapping[str, Sequence[Step]]
) -> tuple[dict[str, CrewPlan], dict[str, list[str]]]:
    """Return which crew works below each path, and what was there before what is made at it."""
    crews: dict[str, CrewPlan] = {"": plan}
    needs: dict[str, list[str]] = {"": []}
    parts = [path.split(".") for path in results if path]
    for path in sorted({".".join(names[:depth]) for names in parts for depth in range(1, len(names) + 1)}):
        above, name = _above(path, results), path.rpartition(".")[2]
        crew = crews.get(above)
        agent, own = str(results.get(path, {}).get("agent", "")), list[str]()
        if crew is not None and crew.stages:
            stages = [stage.crew for stage in crew.stages]
            agent, own = name, stages[: stages.index(name)]
        elif crew is not None:
            plans = [step.record["plan"] for step in by_task.get(above, ()) if step.record.get("plan")]
            waits = {task.name: (task.agent_name, task.waits_for) for task in crew.tasks}
            waits |= {one["id"]: (one["agent"], one["depends_on"]) for made in plans for one in made["subtasks"]}
            agent, own = agent or waits.get(name, ("", []))[0], waits.get(name, ("", []))[1]
        there = (f"{above}.{folder}{need}".lstrip(".") for need in own for folder in ("", f"{AGAIN}."))
        needs[path] = [*needs[above], *(need for need in there if need in results)]
        if agent in plan.crews:
            crews[path] = plan.crews[agent]
    return crews, needs


def _above(path: str, results: Results) -> str:
    """Return the path of the crew or task that a part belongs to."""
    above = path.rpartition(".")[0]
    outer, _, name = above.rpartition(".")
    return outer if name == AGAIN and above not in results else above


def _inside(path: str, result: Mapping[str, Any], results: Results) -> list[str]:
    """Name the parts of which a text was made: entries, tasks of the crew that did it, the candidate taken."""
    below = {other: part for other, part in results.items() if other and _above(other, results) == path}
    rivals = {other for other, part in below.items() if part.get("piece") and _RIVAL.fullmatch(other[len(path) + 1 :])}
    return [other for other, part in below.items() if other not in rivals or part.get("output") == result["output"]]


def _asides(plan: Plan, steps: Sequence[Step]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield (lane, (agent, model, text)) of what colleagues answered, and what was handed over, in a task."""
    for step in steps:
        lane, record = step.name.rpartition("/")[0], step.record
        if step.kind == "model" and ">" in lane and record.get("answer", {}).get("text"):
            yield lane, (record["agent"], record["model"], record["answer"]["text"])
        elif packet := record.get("packet"):
            member = plan.members.get(packet["from"])
            model = plan.models[member.model].model if member is not None and member.model in plan.models else ""
            yield step.name, (packet["from"], model, packet["done"])


def chain_to(works: Mapping[str, Work], key: str) -> list[str]:
    """Return the works that one was made from, the earliest first, itself last."""
    order: dict[str, None] = {}
    seen: set[str] = set()

    def visit(one: str) -> None:
        if one in works and one not in seen:
            seen.add(one)
            for other in works[one].reads:
                visit(other)
            order[one] = None

    visit(key)
    return list(order)


def _reviews(path: str, result: Mapping[str, Any], steps: Sequence[Step]) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    verdict = next((step for step in reversed(steps) if step.kind == "verdict"), None)
    by_rule = {check["check"] for check in verdict.record["checks"]} if verdict is not None else set[str]()
    for check in result.get("checks", []):
        outcome = "not judged" if check.get("not_judged") else "passed" if check["passed"] else "not passed"
        by = "rule" if check["check"] in by_rule else "model"
        step = verdict.name if verdict is not None and by == "rule" else None
        found.append(
            review_by(path, by, "check", outcome, step, check=check["check"], gate=check.get("gate", "revise"))
        )
    latest = {str(step.record["decision"]): step for step in steps if step.kind == "decision"}
    found += [_decided(path, latest[name]) for name in _REVIEWING if name in latest]
    for step in steps:
        if step.kind == "answer" and "/judge" in step.name and step.record["said"] is not None:
            said = str(step.record["said"])
            found.append(review_by(path, "person", "answer", f"asked for: {said}" if said else "approved", step.name))
    return tuple(found)


def review_by(path: str, by: str, what: str, outcome: str, step: str | None, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"check": None, "gate": None, "score": None}
    return {"by": by, "task": path, "what": what, "outcome": outcome, "step": step} | usual | more


def _decided(path: str, step: Step) -> dict[str, Any]:
    record = step.record
    name, outcome = str(record["decision"]), str(record["chosen"])
    if name in ("review", "refine"):
        outcome = ("approved" if record["approved"] else "not approved") if record["judged"] else "not judged"
    elif name == "judge":
        outcome = f"chose {outcome} of {', '.join(record['among'])}"
    return review_by(path, record["by"], name, outcome, step.name, score=record.get("score"))
