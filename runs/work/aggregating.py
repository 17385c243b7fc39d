"""One result of many outputs: conflicts found and settled or reported, rivals ordered, one text held to the brief."""

from collections.abc import Mapping, Sequence
from typing import Any

from crews.aggregate import concatenate, prefer, rank
from crews.answers import ONLY_JSON, Answered, block
from crews.brief import Brief, brief_text
from crews.planned import Member, PlannedTask
from project.spec import ManagerSpec
from runs.calls.toolbox import sources_of
from runs.governed.tainting import apart_if, taint_in
from runs.work.consulting import consult, is_offline
from runs.work.crewing import NOT_KNOWN, CrewRun, crew_result, has_output
from runs.work.unit import gather_evidence
from runs.work.walking import Done
from tasks.conflicts import find_conflicts
from tasks.guardrails import check_rule
from tasks.strict_json import find_object

_MOST_REVISIONS = 2
_FURTHER = (
    '{"conflicts": [{"subject": "...", "between": ["a", "b"], "difference": "...", "settled": "a" or null, '
    '"why": "..."}]}'
)

Planned = Mapping[str, PlannedTask]


def aggregate(
    crew: CrewRun, manager: Member, spec: ManagerSpec, brief: Brief, done: Done, planned: Planned
) -> dict[str, Any]:
    """Make the crew's result as `spec.aggregate` says; every decision is journaled. Raises: Parked."""
    parts = {name: result for name, result in done.items() if result["in_result"] and has_output(result)}
    everything = {name: result for name, result in done.items() if has_output(result)}
    conflicts = _conflicts(crew, manager, everything, planned, looks=len(everything) > 1)
    missing = [f"{name}: {note}" for name, result in done.items() for note in result.get("partial", [])]
    if not parts:
        parts = everything
    if not parts:
        text, how, why = "", "nothing", "no subtask has an output"
    elif len(parts) == 1:
        name, result = next(iter(parts.items()))
        text, how, why = str(result["output"]), name, "the plan has one subtask for the result"
    else:
        text, how, why = _join(crew, manager, spec, brief, parts, planned, conflicts)
    crew.decisions.record(
        "aggregate",
        how,
        why,
        among=list(parts),
        evidence=[f"{name}: {_standing(result)}" for name, result in parts.items()],
        by="offline" if is_offline(crew.run, manager) else manager.name if len(parts) > 1 else "rule",
    )
    unmet = _unmet(crew, brief, text, list(done)) if text else ["there is no result"]
    crew.decisions.record(
        "done", "met" if not unmet else "not met", "; ".join(unmet) or "every rule of the brief holds", by="rule"
    )
    open_conflicts = [conflict for conflict in conflicts if conflict["settled"] is None]
    last = next(iter(parts), next(iter(done)))
    taken = [how] if how in parts else list(parts)
    json_output = how in ("concatenate", *parts) and all(planned[name].contract is not None for name in taken)
    if open_conflicts and not json_output:
        text = f"{text}\n\n{_open_section(open_conflicts)}"
    shown = {name: {**done[name], "output": done[name].get("output", "")} for name in done}
    return crew_result(shown, last, json_output=json_output, order=list(done)) | {
        "output": text,
        "partial": [*missing, *(f"not met: {reason}" for reason in unmet)],
        "conflicts": conflicts,
        "brief": brief.model_dump(mode="json"),
        "confidence": _least(parts),
    }


def _join(
    crew: CrewRun,
    manager: Member,
    spec: ManagerSpec,
    brief: Brief,
    parts: Done,
    planned: Planned,
    conflicts: Sequence[Mapping[str, Any]],
) -> tuple[str, str, str]:
    """Return the joined text, how it was made, and why so."""
    texts = {name: str(result["output"]) for name, result in parts.items()}
    titles = {name: name.replace("_", " ").capitalize() for name in parts}
    if spec.aggregate == "rank":
        ordered = rank([{**result, "name": name} for name, result in parts.items()])
        best, why = ordered[0]
        others = "; ".join(f"{name}: {reason}" for name, reason in ordered[1:])
        return texts[best], best, f"{why}; others: {others}"
    if spec.aggregate == "concatenate" or is_offline(crew.run, manager):
        why = "crews.yaml asks for it" if spec.aggregate == "concatenate" else "the offline model writes no text"
        return concatenate(texts, titles), "concatenate", why
    request = _request(spec.aggregate, brief, parts, conflicts)
    tries = 0

    def read(answer: str) -> tuple[str | None, list[str]]:
        nonlocal tries
        tries += 1
        problems = _unmet(crew, brief, answer, list(planned))
        return (answer, []) if not problems or tries > _MOST_REVISIONS else (None, problems)

    lane = f"{crew.prefix}{manager.name}.aggregate"
    about, tries_left = crew.path("manager"), _MOST_REVISIONS + 2
    text = consult(crew.run, manager, lane, about, request, read, crew.reading, tries=tries_left, expected="The text.")
    return text, spec.aggregate, f"crews.yaml asks to {spec.aggregate}; made of {', '.join(parts)}"


def _request(how: str, brief: Brief, parts: Done, conflicts: Sequence[Mapping[str, Any]]) -> str:
    task = {
        "synthesize": "Make one complete text of the outputs below: one voice, one structure, each fact once.",
        "summarize": "Sum up the outputs below in one short text.",
    }[how]
    rules = (
        "Use only what the outputs say, and keep their citations. Where outputs differ follow what is settled below; "
        "what is open there is named as open, not decided. Reply with the text alone."
    )
    told = [f"- {conflict['text']}: {conflict['why']}" for conflict in conflicts]
    outputs = [block(f"{name} ({_standing(result)})", _shown(name, result)) for name, result in parts.items()]
    found = ["Differences between the outputs:\n" + "\n".join(told)] if told else []
    return "\n\n".join([task, rules, block("brief", brief_text(brief)), *outputs, *found])


def _shown(name: str, result: Mapping[str, Any]) -> str:
    """Return an output as the manager is to read it."""
    return apart_if(taint_in(result), str(result["output"]), name)


def _standing(result: Mapping[str, Any]) -> str:
    confidence: Mapping[str, Any] = result.get("confidence") or {}
    review: Mapping[str, Any] = result.get("review") or {}
    parts = [f"by {result.get('agent', '')}"]
    if confidence.get("value") is not None:
        parts.append(
            f"confidence {confidence['value']:g} {'measured' if confidence.get('measured') else 'self-reported'}"
        )
    if review.get("judged"):
        parts.append(f"{'approved' if review['approved'] else 'not approved'} by {review['by']}")
    return ", ".join(parts)


def _least(parts: Done) -> dict[str, Any]:
    found: list[dict[str, Any]] = [result.get("confidence") or NOT_KNOWN for result in parts.values()]
    known = [one for one in found if one["value"] is not None]
    return min(known, key=lambda one: one["value"], default=NOT_KNOWN)


# -- conflicts


def _conflicts(crew: CrewRun, manager: Member, results: Done, planned: Planned, *, looks: bool) -> list[dict[str, Any]]:
    """Find where outputs contradict each other, mechanically and then by the manager; settle what evidence settles."""
    if not looks:
        return []
    texts = {name: str(result["output"]) for name, result in results.items()}
    found = find_conflicts(texts, {name: planned[name].contract for name in texts})
    ranked = [{**result, "name": name} for name, result in results.items()]
    conflicts: list[dict[str, Any]] = []
    for conflict in found:
        settled, why = prefer(conflict, ranked)
        conflicts.append({**conflict.to_json(), "text": conflict.text, "settled": settled, "why": why, "by": "rule"})
    if not is_offline(crew.run, manager):
        shown = {name: _shown(name, result) for name, result in results.items()}
        conflicts += _further(crew, manager, shown, [conflict["text"] for conflict in conflicts])
    for conflict in conflicts:
        crew.decisions.record(
            "conflict",
            conflict["settled"] or "left open",
            f"{conflict['text']}: {conflict['why']}",
            among=[said["source"] for said in conflict.get("said", [])],
            by=conflict["by"],
        )
    return conflicts


def _further(crew: CrewRun, manager: Member, texts: Mapping[str, str], known: Sequence[str]) -> list[dict[str, Any]]:
    """Ask the manager for conflicts that no rule finds."""
    told = "\n".join(f"- {text}" for text in known) or "- none"
    request = "\n\n".join(
        [
            "Do these outputs contradict each other on anything? Name only real contradictions on facts, not "
            "differences of wording or of scope. These are known already:\n" + told,
            *(block(name, text) for name, text in texts.items()),
            f"{ONLY_JSON} The form: {_FURTHER}. With no further contradiction the list is empty.",
        ]
    )

    def read(answer: str) -> tuple[list[dict[str, Any]] | None, list[str]]:
        return _read_further(answer, list(texts))

    lane = f"{crew.prefix}{manager.name}.conflicts"
    further = consult(crew.run, manager, lane, crew.path("manager"), request, read, crew.reading)
    return [{**conflict, "by": manager.name} for conflict in further]


def _read_further(answer: str, names: Sequence[str]) -> tuple[list[dict[str, Any]] | None, list[str]]:
    value, unread = find_object(answer)
    if value is None:
        return None, [f'{reason}; give {{"conflicts": [...]}}' for reason in unread]
    problems: list[str] = []
    read = Answered(value, "", problems)
    found: list[dict[str, Any]] = []
    for entry in read.objects("conflicts"):
        subject, difference = entry.text("subject"), entry.text("difference")
        between = [name for name in entry.texts("between") if name in names]
        settled = entry.text("settled", required=False)
        found.append(
            {
                "kind": "manager",
                "subject": subject,
                "text": f"{subject}: {difference}",
                "said": [{"source": name} for name in between],
                "settled": settled if settled in names else None,
                "why": entry.text("why", required=False) or "the manager names it",
            }
        )
    return (None, problems) if problems else (found, [])


def _open_section(conflicts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(["## Open conflicts", "", *(f"- {conflict['text']}" for conflict in conflicts)])


# -- the brief's rules


def _unmet(crew: CrewRun, brief: Brief, text: str, names: Sequence[str]) -> list[str]:
    """Hold the whole to the brief's rules; those in words only are a reviewer's."""
    reasons: list[str] = []
    paths = [crew.path(name) for name in names]
    for rule in brief.done:
        if rule.rule is None:
            continue
        evidence = gather_evidence(crew.run, crew.scope, paths) if rule.rule in ("supported", "claimed_calls") else []
        calls = {item.source for item in evidence}
        find = sources_of(crew.run, crew.scope)
        reasons += check_rule(rule.rule, rule.value, text, find, evidence=evidence, calls=calls)
    return reasons
