"""What a person may be asked while a run is executed, and how each kind of question is answered from a command line."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from project.errors import UsageError
from runs.governed.terms import Terms, Voice


@dataclass(frozen=True)
class Answer:
    """What a person said: `by` is user@host, `at` seconds since 1970, UTC."""

    said: str
    by: str
    at: float
    rejected: bool = False
    """Whether it turns down what was asked; `reason` then says why."""
    reason: str = ""
    seen: str = ""
    """Of an answer about a call: hash of the question that they saw."""
    voices: tuple[Voice, ...] = ()
    """All who have approved a call, or the one who has rejected it."""


@dataclass(frozen=True)
class Question:
    """What a person is asked: `text` is the output in question, `prompt` the question in one line."""

    task: str
    prompt: str
    text: str
    editable: str = ""
    """What the person may edit and give as the answer; "" where the answer is free."""
    kind: str = "task"
    """task: a person does it; review: accepts an output; approval: allows a call; plan, intake: of a manager;
    escalation, unknown_outcome."""
    choices: tuple[str, ...] = ()
    """The answer is one of them; none: it is free."""
    terms: Terms | None = None
    """When an answer about a call counts; None for all other questions."""
    answered: Callable[[], Answer | None] = field(default=lambda: None, compare=False, repr=False)
    """Gives the answer as soon as another terminal has given one."""
    dropped: Callable[[], bool] = field(default=lambda: False, compare=False, repr=False)
    """Says whether the run was told to stop meanwhile, so that nobody needs to answer now."""

    @property
    def is_whole(self) -> bool:
        """Whether what is shown of a call is still what was asked about."""
        if self.terms is None:
            return True
        try:
            return self.terms.is_whole and json.loads(self.editable) == self.terms.call["arguments"]
        except ValueError:
            return False

    @property
    def waits(self) -> str:
        """Why a run waits that has nobody to ask this."""
        review = self.kind == "review"
        if self.terms is not None:
            return f"a person must approve a call of `{self.terms.call['tool']}`"
        return f"a person is asked about the output of {self.task}" if review else f"a person is asked: {self.prompt}"


@dataclass(frozen=True)
class Reply:
    """An answer before it is known who gives it, as the one who asked reads it: in a review "" accepts."""

    said: str
    rejected: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Manner:
    """What approving and rejecting mean for a kind of question; "" where that cannot be done."""

    approve: str
    """What approving without an answer does."""
    answer: str
    """What the answer is that may, or must, be given."""
    reject: str
    """What rejecting does."""


_MANNERS = {
    "task": Manner("", "the output of the task", "the task fails, and the reason is told"),
    "review": Manner("the output is accepted", "", "the agent is told the reason and answers again"),
    "plan": Manner("the plan is carried out", "the whole plan, edited, as YAML", "the manager plans again, told why"),
    "intake": Manner("what the manager assumes is taken", "the answer", ""),
    "escalation": Manner("", "the output that nobody could make", "the run goes on without it"),
    "approval": Manner("the call is made", "its arguments, edited, as JSON or YAML", "the agent is told the reason"),
}
_CHOICE = Manner("", "one of the choices", "")
_YES_OR_NO = Manner("the answer is yes", "yes or no", "the answer is no")


def manner_of(kind: str, choices: Sequence[str]) -> Manner:
    """Say how a question is answered."""
    if choices:
        return _YES_OR_NO if _yes_or_no(choices) else _CHOICE
    return _MANNERS.get(kind, _MANNERS["task"])


def approval(kind: str, choices: Sequence[str], answer: str | None) -> Reply:
    """Return the reply of who approves, with or without an answer. Raises: UsageError where that cannot be meant."""
    manner = manner_of(kind, choices)
    if answer is None:
        if not manner.approve:
            listed = (
                f"--answer with one of: {', '.join(choices)}" if choices else f"--answer or --file: {manner.answer}"
            )
            raise UsageError("this question needs an answer", fix=listed)
        return Reply("yes" if choices else "")
    if not manner.answer:
        raise UsageError("an output is accepted as it is", fix="`muster approvals reject` says what should change")
    if choices:
        return Reply(check_choice(answer, choices))
    if not answer.strip():
        raise UsageError("the answer is empty")
    if kind == "plan" and "subtasks:" not in answer:
        what = "the answer is no plan: it has no `subtasks:`"
        raise UsageError(what, fix="--file takes the edited plan; `muster approvals reject` says what should change")
    if kind == "approval":
        return Reply(json.dumps(read_mapping(answer), ensure_ascii=True))
    return Reply(answer)


def rejection(kind: str, choices: Sequence[str], reason: str) -> Reply:
    """Return the reply of who rejects. Raises: UsageError where that cannot be meant, or without a reason."""
    if not manner_of(kind, choices).reject:
        what = "this question is answered by a choice" if choices else "this question cannot be rejected"
        listed = f" with one of: {', '.join(choices)}" if choices else ""
        raise UsageError(what, fix=f"`muster approvals approve --answer`{listed}")
    if not reason.strip():
        raise UsageError("the reason is empty", fix="--reason TEXT says why")
    said = next((choice for choice in choices if choice.lower() == "no"), reason)
    return Reply(said, rejected=True, reason=reason)


def read_mapping(text: str) -> dict[str, Any]:
    """Read arguments that a person has edited: a mapping, as JSON or YAML. Raises: UsageError."""
    fix = "a mapping of argument to value, as JSON or YAML"
    try:
        found: Any = _read_json_or_yaml(text)
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in cast(dict[Any, Any], found)):
            raise UsageError("the arguments are no mapping", fix=fix)
        json.dumps(found, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        what = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UsageError(f"the arguments can't be read: {what}", fix=fix) from error
    return cast(dict[str, Any], found)


def _read_json_or_yaml(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


def read_typed(said: str) -> Reply | Literal["wait"] | None:
    """Read what was typed at a terminal about a call; None where it means nothing.

    `y` approves, `n REASON` rejects, `w` leaves it waiting, and a JSON object approves the call with these arguments.
    Nothing else does: an empty line, a word cut off or half of an object approve nothing.
    """
    text = said.strip()
    first, _, rest = text.partition(" ")
    if text.startswith("{"):
        try:
            return approval("approval", (), text)
        except UsageError:
            return None
    if text.lower() in ("y", "yes"):
        return Reply("")
    if first.lower() in ("n", "no") and rest.strip():
        return Reply(rest.strip(), rejected=True, reason=rest.strip())
    return "wait" if text.lower() in ("w", "wait") else None


def tell_answer(record: Mapping[str, Any]) -> str:
    """Tell a journaled answer in one line: accepted, rejected with the reason, or what was said."""
    if "call" in record:
        return _tell_approval(record)
    if record["said"] is None:
        return f"nobody could be asked: {record['prompt']}"
    if record.get("rejected"):
        return f"a person rejected it: {record['reason']}"
    return f"a person said: {record['said']}" if record["said"] else "a person accepted it"


def check_choice(said: str, choices: Sequence[str]) -> str:
    """Return the choice that was meant. Raises: UsageError."""
    found = find_choice(said, choices)
    if found is None:
        raise UsageError(f"{said!r} is none of the choices", fix=f"one of: {', '.join(choices)}")
    return found


def find_choice(said: str, choices: Sequence[str]) -> str | None:
    """Return the choice of that name, or the only one that begins so; None when there is none."""
    wanted = " ".join(said.lower().split())
    same = [choice for choice in choices if choice.lower() == wanted]
    begun = same or [choice for choice in choices if wanted and choice.lower().startswith(wanted)]
    return begun[0] if len(begun) == 1 else None


def _tell_approval(record: Mapping[str, Any]) -> str:
    who = " and ".join(voice["by"] for voice in record["voices"]) or record["by"]
    if record["void"]:
        return f"the answer of {who} does not count: {record['void']}"
    if record.get("rejected"):
        return f"{who} rejected it: {record['reason']}"
    how = "with other arguments" if record["said"] else "as it was"
    return f"{who} approved it {how} ({record['call']['rule'] or 'no rule'})"


def _yes_or_no(choices: Sequence[str]) -> bool:
    return sorted(choice.lower() for choice in choices) == ["no", "yes"]
