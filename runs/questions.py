"""What a person may be asked while a run is executed, and how each kind of question is answered from a command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from project.errors import UsageError


@dataclass(frozen=True)
class Answer:
    """What a person said: `by` is user@host, `at` seconds since 1970, UTC."""

    said: str
    by: str
    at: float
    rejected: bool = False
    """Whether it turns down what was asked; `reason` then says why."""
    reason: str = ""


@dataclass(frozen=True)
class Question:
    """What a person is asked: `text` is the output in question, `prompt` the question in one line."""

    task: str
    prompt: str
    text: str
    editable: str = ""
    """What the person may edit and give as the answer; "" where the answer is free."""
    kind: str = "task"
    """task: a person does it; review: accepts an output; plan, intake: of a manager; escalation, unknown_outcome."""
    choices: tuple[str, ...] = ()
    """The answer is one of them; none: it is free."""
    answered: Callable[[], Answer | None] = field(default=lambda: None, compare=False, repr=False)
    """Gives the answer as soon as another terminal has given one."""
    dropped: Callable[[], bool] = field(default=lambda: False, compare=False, repr=False)
    """Says whether the run was told to stop meanwhile, so that nobody needs to answer now."""

    @property
    def waits(self) -> str:
        """Why a run waits that has nobody to ask this."""
        review = self.kind == "review"
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


def tell_answer(record: Mapping[str, Any]) -> str:
    """Tell a journaled answer in one line: accepted, rejected with the reason, or what was said."""
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


def _yes_or_no(choices: Sequence[str]) -> bool:
    return sorted(choice.lower() for choice in choices) == ["no", "yes"]
