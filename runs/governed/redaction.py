"""What nobody may read: secrets are taken out of all that a run writes, private content out of all that is shown.

A process works for one project. Its environment, and what each run under way here adds to it, are kept in this module:
steps, files and messages are cleaned at places that know no more of a run than its id.
"""

import re
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from crews.planned import Plan
from project.errors import AppError
from project.secrets import Redactor, declared_secrets, host_environment, make_redactor
from project.spec_policy import PolicySpec

if TYPE_CHECKING:  # both stand on what is cleaned here
    from runs.people.questions import Question
    from runs.told.report import Step

_NOT_CLEANED = ("project", "code", "policy", "project_digest", "crew")
"""Parts of a plan in which no text of a user's stands, or which would not be what they are any more."""


@dataclass(frozen=True)
class Protection:
    """How the secrets of one run are kept."""

    redactor: Redactor
    """Takes them out of texts."""
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]], repr=False)
    """Variables and values that a tool is given, by the tool's name."""
    hidden: frozenset[str] = frozenset()
    """Variables that no host sees, unless they are given to its tool."""

    def environment(self, environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a host: without secrets, but with those that are `given`."""
        return host_environment(environ, self.hidden, given)


_lock = threading.Lock()
_environment: dict[str, str] = {}
_runs: dict[str, Protection] = {}
_rest: list[Protection] = []


def use(environment: Mapping[str, str]) -> None:
    """Keep the secrets of this environment out of all that this process writes."""
    with _lock:
        if dict(environment) != _environment or not _rest:
            _environment.clear()
            _environment.update(environment)
            _rest[:] = [Protection(make_redactor(_environment))]


def protect(run_id: str, plan: Plan) -> Protection:
    """Keep what a plan declares out of what its run writes, too, from now on. Raises: AppError for a wrong pattern."""
    made = protection_for(_environment, plan.policy, models_keys(plan))
    with _lock:
        _runs[run_id] = made
    return made


def protection_for(environment: Mapping[str, str], policy: PolicySpec | None, named: Collection[str]) -> Protection:
    """Return how secrets are kept: those of the environment, of the policy's tools, and of the variables `named`."""
    declared = declared_secrets(policy)
    return Protection(
        make_redactor(environment, policy, named),
        {tool: {name: environment[name] for name in names if name in environment} for tool, names in declared.items()},
        frozenset({*named, *(name for names in declared.values() for name in names)}),
    )


def models_keys(plan: Plan) -> set[str]:
    """Name the variables in which the keys of the plan's models stand, where models.yaml says so."""
    return {spec.api_key_env for spec in plan.models.values() if spec.api_key_env}


def forget(run_id: str) -> None:
    """Drop what `protect` has kept of a run that is not executed here any more."""
    with _lock:
        _runs.pop(run_id, None)


def protection_of(run_id: str) -> Protection:
    """Return how the secrets of a run are kept; of one that is not executed here, as the environment says."""
    with _lock:
        found = _runs.get(run_id) or (_rest[0] if _rest else None)
        if found is None:
            _rest[:] = [found := Protection(Redactor())]
        return found


def hidden_variables() -> frozenset[str]:
    """Name the variables that the runs under way here keep from hosts."""
    with _lock:
        return frozenset(name for found in _runs.values() for name in found.hidden)


def redactor_of(run_id: str) -> Redactor:
    """Return what takes secrets out of what a run writes."""
    return protection_of(run_id).redactor


def clean_plan(plan: Plan) -> Plan:
    """Return a plan without secrets: its inputs, and all texts that they were filled into.

    Raises: AppError (exit 3) where a secret is a part of a name, or a pattern of the policy is wrong.
    """
    redactor = protection_for(_environment, plan.policy, models_keys(plan)).redactor
    told = plan.model_dump(mode="json")
    cleaned = {key: part if key in _NOT_CLEANED else redactor.value(part) for key, part in told.items()}
    if all(cleaned[key] is told[key] for key in told):
        return plan
    try:
        return Plan.model_validate(cleaned)
    except ValueError as error:
        what = "a secret of the environment stands in a name of this project, so it can't be kept out of the journal"
        raise AppError(what, fix="choose another value for it, or rename what is called so", exit_code=3) from error


def clean_question(run_id: str, question: "Question") -> "Question":
    """Return a question without secrets."""
    hide = redactor_of(run_id).text
    told = {name: hide(getattr(question, name)) for name in ("prompt", "text", "editable")}
    return replace(question, **told) if any(told[name] != getattr(question, name) for name in told) else question


# -- private content

_SAFE = frozenset(
    re.findall(
        r"\w+",
        "kind task tasks crew agent model attempt tools tool same exact principal seconds usage cost_usd price asked "
        "next decision about by at effect repeat rule binding approved_by settled_by evidence",
    )
)
"""Parts of a record in which no content stands."""
_LEAVES = {"answer": ("calls",), "calls": ("name",), "new": ("role", "tool_calls"), "error": ("kind",)}
"""Parts of a record that are shown as they are within another part."""


def without_private(steps: "Sequence[Step]") -> "list[Step]":
    """Return steps as they may be shown and exported: of private content only its length.

    That is the result of a private tool, and all that follows it in its task, in the tasks around it, and in those that
    began later: a model may have read it by then, and may say it. A task beside it that knows nothing of it is shown.
    """
    first: dict[str, float] = {}
    for step in steps:
        first[step.task] = min(step.started_at, first.get(step.task, step.started_at))
    private = [step for step in steps if step.record.get("private")]
    return [replace(step, record=_masked(step.record)) if _follows(step, private, first) else step for step in steps]


def _follows(step: "Step", private: "Sequence[Step]", first: Mapping[str, float]) -> bool:
    if step.record.get("private"):
        return True
    for other in private:
        if step.started_at >= other.started_at and (
            _related(step.task, other.task) or first[step.task] >= other.started_at
        ):
            return True
    return False


def _related(one: str, other: str) -> bool:
    above = one == other or not one or not other
    return above or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _masked(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if key in _SAFE else mask(value, _LEAVES.get(key, ())) for key, value in record.items()}


def mask(value: Any, safe: Collection[str] = ()) -> Any:
    """Put lengths in the place of texts; shapes, numbers and the parts that are `safe` stay."""
    if isinstance(value, str):
        return f"[private: {len(value)} characters]" if value else value
    if isinstance(value, Mapping):
        entries = cast(Mapping[str, Any], value).items()
        return {key: _mask_entry(key, item, safe) for key, item in entries}
    if isinstance(value, list | tuple):
        return [mask(item, safe) for item in cast(Sequence[Any], value)]
    return value


def _mask_entry(key: str, item: Any, safe: Collection[str]) -> Any:
    if key not in safe:
        return mask(item)
    return mask(item, _LEAVES["calls"]) if key in ("calls", "tool_calls") else item
