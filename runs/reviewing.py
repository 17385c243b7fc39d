"""Review of an output by an agent: structured findings go back to the writer, bounded, until nothing improves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crews.planned import Member
from crews.verdict import Verdict, feedback, read_verdict, verdict_request
from runs.consulting import consult, is_offline
from runs.state import Parked
from runs.toolbox import tools_for
from runs.unit import Unit


@dataclass(frozen=True)
class Reviewed:
    """What a review comes to: the text to keep, or what the writer is told; never both with a meaning."""

    text: str
    feedback: str = ""
    partial: list[str] = field(default_factory=list[str])


@dataclass
class Reviewer:
    """Reviews the answers of one task, one round each. `purpose` is review, or refine when it is the writer itself."""

    unit: Unit
    member: Member
    criteria: Sequence[str]
    max_rounds: int
    keep: bool
    """Whether the best version is kept when the rounds are used up, instead of failing."""
    purpose: str = "review"
    latest: dict[str, Any] | None = None
    """The last verdict, as journaled."""
    _round: int = 0
    _fresh_rounds: int = 0
    _best: tuple[float, str, list[str]] = (-1.0, "", [])
    _texts: list[str] = field(default_factory=list[str])

    def __call__(self, text: str) -> Reviewed:
        """Review a text. Raises: Parked when the rounds are used up and nothing is to be kept."""
        self._round += 1
        if is_offline(self.unit.run, self.member):
            self.latest = self._record(Verdict(approved=True, score=1.0, issues=[]), judged=False)
            return Reviewed(text)
        soft = self.unit.soft
        name = f"{self.unit.path}/{self.member.name}.{self.purpose}{self._round}"
        tools = tools_for(self.unit.run, self.member.agent.tools) if self.purpose == "review" else {}
        request = verdict_request(self._what(), text, self.criteria)
        run, path = self.unit.run, self.unit.path
        verdict = consult(run, self.member, name, path, request, read_verdict, tools=tools, soft=soft)
        fresh = self._note(verdict) or soft
        if verdict.approved:
            return Reviewed(text)
        issues = [f"{issue.problem}" for issue in verdict.issues]
        stalled = self._stalled(verdict, text)
        if verdict.score > self._best[0]:
            self._best = (verdict.score, text, issues)
        self._texts.append(text)
        if self.keep and (self._round > self.max_rounds or stalled):
            why = "nothing improved any more" if stalled else f"{self.max_rounds} rounds are used up"
            return Reviewed(
                self._best[1], partial=[f"not approved by {self.member.name}: {why}: {_few(self._best[2])}"]
            )
        if fresh and not self.keep and (self._fresh_rounds > self.max_rounds or stalled):
            why = "nothing improves any more" if stalled else f"{self.max_rounds} rounds are used up"
            raise Parked("failed", f"{self.member.name} does not approve, and {why}: {_few(issues)}")
        return Reviewed(text, feedback(verdict))

    def _note(self, verdict: Verdict) -> bool:
        """Journal the verdict; return whether it was given in this execution."""
        fresh = False

        def made_now() -> None:
            nonlocal fresh
            fresh = True

        self.latest = self._record(verdict, judged=True, made_now=made_now)
        self._fresh_rounds += fresh or self.unit.soft
        return fresh

    def _record(self, verdict: Verdict, *, judged: bool, made_now: Any = None) -> dict[str, Any]:
        issues = [issue.model_dump(mode="json") for issue in verdict.issues]
        if not judged:
            why = "the offline model cannot judge a text; only rules were checked"
        elif verdict.approved:
            why = f"approved with score {verdict.score:g}"
        else:
            why = _few([issue.problem for issue in verdict.issues])
        return self.unit.decisions.record(
            self.purpose,
            "approved" if verdict.approved else "sent back",
            why,
            among=["approved", "sent back"],
            by=self.member.name if judged else "offline",
            made_now=made_now,
            round=self._round,
            approved=verdict.approved,
            score=verdict.score if judged else None,
            issues=issues,
            judged=judged,
        )

    def _stalled(self, verdict: Verdict, text: str) -> bool:
        return text in self._texts or (self._round > 2 and verdict.score <= self._best[0])

    def _what(self) -> str:
        task = self.unit.planned.task
        return f"{task.description}\n\nExpected: {task.expected_output}"


def _few(texts: Sequence[str]) -> str:
    return "; ".join(texts[:5]) or "no reason was given"
