"""When an answer to the question about a call counts: who may give it, until when, and for exactly which call."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy.approval import hash_of
from project.spec_policy import ApprovalSpec

_HOUR = 3600.0
_SKEW_SECONDS = 300.0
"""Clocks of two machines may differ by so much."""
_DIGITS = 12


@dataclass(frozen=True)
class Voice:
    """One person's approval: `by` is user@host, `at` seconds since 1970, UTC."""

    by: str
    at: float
    binding: str
    """Hash of what was approved."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"by": self.by, "at": self.at, "binding": self.binding}


@dataclass(frozen=True)
class Witness:
    """Who said that a call which a crash left open did not happen; as user@host, and in seconds since 1970, UTC."""

    by: str
    at: float


@dataclass(frozen=True)
class Terms:
    """What an answer must fulfil so that it counts."""

    call: Mapping[str, Any]
    """What is hashed: `bound_call`, and the step that asks as `question`: no answer fits two questions."""
    binding: str
    """The hash."""
    approval: ApprovalSpec
    rule: str = ""
    """Which rule asks."""
    untrusted: tuple[str, ...] = ()
    """Steps that brought untrusted content before the call."""
    private: tuple[str, ...] = ()
    """Steps that brought private content."""
    voices: tuple[Voice, ...] = ()
    """Who has approved it already, where two people must."""
    expires_at: float = 0.0
    """Seconds since 1970, UTC; set when the question is put."""

    @property
    def is_whole(self) -> bool:
        """Whether the call is still the one that was hashed."""
        return hash_of(self.call) == self.binding

    @property
    def needed(self) -> int:
        """How many people must approve."""
        return 2 if self.approval.four_eyes else 1

    def with_arguments(self, arguments: Mapping[str, Any]) -> str:
        """Return the hash of the call with other arguments."""
        return hash_of({**self.call, "arguments": dict(arguments)})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "call": dict(self.call),
            "binding": self.binding,
            "approval": self.approval.model_dump(mode="json"),
            "rule": self.rule,
            "untrusted": list(self.untrusted),
            "private": list(self.private),
            "voices": [voice.to_json() for voice in self.voices],
            "expires_at": self.expires_at,
        }


def read_terms(found: Mapping[str, Any]) -> Terms:
    """Read what `to_json` returned."""
    return Terms(
        call=found["call"],
        binding=found["binding"],
        approval=ApprovalSpec.model_validate(found["approval"]),
        rule=found["rule"],
        untrusted=tuple(found["untrusted"]),
        private=tuple(found["private"]),
        voices=read_voices(found["voices"]),
        expires_at=found["expires_at"],
    )


def read_voices(found: Sequence[Mapping[str, Any]]) -> tuple[Voice, ...]:
    """Read what `Voice.to_json` returned of each."""
    return tuple(Voice(str(voice["by"]), float(voice["at"]), str(voice["binding"])) for voice in found)


def may_answer(by: str, approval: ApprovalSpec) -> bool:
    """Say whether a person, as user@host, is among those who may answer."""
    return not approval.approvers or any(by == named or _user(by) == named for named in approval.approvers)


def same_person(one: str, other: str) -> bool:
    """Say whether two user@host are one person: a user of the same name on another machine is taken for the same."""
    return _user(one).casefold() == _user(other).casefold()


def _user(by: str) -> str:
    return by.partition("@")[0]


def who_may(approval: ApprovalSpec) -> str:
    """Tell who may answer, and how many must."""
    if not approval.approvers:
        return "any two people who can reach the inbox" if approval.four_eyes else "anyone who can reach the inbox"
    names = ", ".join(approval.approvers)
    return f"two different people of: {names}" if approval.four_eyes else names


def why_not_now(terms: Terms, by: str, now: float, seen: str, *, rejects: bool = False) -> str:
    """Say why an answer that `by` is about to give to the question they saw would not count; "" when it would.

    Who has approved may still reject, as long as the other one has not approved.
    """
    if seen != terms.binding:
        return f"it is about another call now ({terms.binding[:_DIGITS]}, not {seen[:_DIGITS]})"
    if now >= terms.expires_at:
        return "it has expired"
    if not may_answer(by, terms.approval):
        return f"{by} is not among those who may answer: {who_may(terms.approval)}"
    if not rejects and any(same_person(by, voice.by) for voice in terms.voices):
        return f"{by} has approved it already, and two different people must"
    return ""


def why_void(terms: Terms, voices: Sequence[Voice], seen: str, said: str, asked_at: float, *, rejected: bool) -> str:
    """Say why an answer that was stored does not count; "" when it does. Called inside a step only.

    `terms` are those that the run itself computes, but for `expires_at`, which is when the question was to be answered
    by; `voices` all who have approved, or the one who has rejected; `seen` is the hash of what they saw, and `said` of
    the call with the arguments that they gave.
    """
    now = time.time()
    if seen != terms.binding or any(voice.binding != said for voice in voices):
        return "the call is not the one that was shown"
    if not voices or len(voices) < (1 if rejected else terms.needed):
        return "two different people must approve it"
    for at, voice in enumerate(voices):
        if not may_answer(voice.by, terms.approval):
            return f"{voice.by} is not among those who may answer"
        if any(same_person(voice.by, other.by) for other in voices[:at]):
            return f"{voice.by} approved it twice, and two different people must"
        until = min(terms.expires_at, asked_at + terms.approval.expires_hours * _HOUR)
        if voice.at >= until or voice.at > now + _SKEW_SECONDS:
            return f"the answer of {voice.by} was not given in the time for it"
    return ""


def until(voices: Sequence[Voice], approval: ApprovalSpec) -> float:
    """Return when an approval that was not used stops to count, in seconds since 1970."""
    return min(voice.at for voice in voices) + approval.expires_hours * _HOUR


def expiry(approval: ApprovalSpec, asked_at: float) -> float:
    """Return when a question expires that is put at `asked_at`."""
    return asked_at + approval.expires_hours * _HOUR
