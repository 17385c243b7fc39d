"""Review of an output by an agent: structured findings go back to the writer, bounded, until nothing improves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crews.planned import Member
from crews.verdict import Verdict, feedback, read_verdict, verdict_request
from runs.calls.toolbox import tools_for
from runs.executing.state import Parked
from runs.work.consulting import consult, is_offline
from runs.work.unit import Unit


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
    """The verdict on the text that was returned last, as journaled."""
    _round: int = 0
    _sent_back: int = 0
    _best: tuple[float, str, dict[str, Any]] | None = None
    _texts: list[str] = field(default_factory=list[str])

    def __call__(self, text: str) -> Reviewed:
        """Review a text. Raises: Parked when the rounds are used up and nothing is to be kept."""
        self._round += 1
        if is_offline(self.unit.run, self.member):
            self.latest = self._record(Verdict(approved=True, score=1.0, issues=[]), judged=False)
            return Reviewed(text)
        verdict = self._ask(text)
        self.latest = self._record(verdict, judged=True)
        if verdict.approved:
            return Reviewed(text)
        self._sent_back += 1
        stalled = self._stalled(verdict, text)
        if self._best is None or verdict.score > self._best[0]:
            self._best = (verdict.score, text, self.latest)
        self._texts.append(text)
        if self._sent_back <= self.max_rounds and not stalled:
            return Reviewed(text, feedback(verdict))
        rounds = "1 round is" if self.max_rounds == 1 else f"{self.max_rounds} rounds are"
        why = "nothing improves any more" if stalled else f"{rounds} used up"
        if self.keep:
            _, best, self.latest = self._best
            return Reviewed(best, partial=[f"not approved by {self.member.name}, {why}: {self.latest['why']}"])
        said = f"{self.member.name} does not approve, and {why}: {self.latest['why']}"
        if self.unit.gives_up(said):
            resume = f"`muster runs resume {self.unit.run.run_id}` lets the writer try again"
            fix = f"{resume}; for a new run raise `max_rounds`, or keep the best with `if_not_approved: keep`"
            raise Parked("failed", said, fix, "guardrail")
        self._sent_back = 0
        self._texts.clear()
        return Reviewed(text, feedback(verdict))

    def _ask(self, text: str) -> Verdict:
        run, path = self.unit.run, self.unit.path
        name = f"{path}/{self.member.name}.{self.purpose}{self._round}"
        tools = tools_for(run, self.member.agent.tools) if self.purpose == "review" else {}
        reading = self.unit.reading
        request = verdict_request(self._what(), reading.apart(text, f"output of {path}"), self.criteria)
        soft = self.unit.soft
        return consult(run, self.member, name, path, request, read_verdict, reading, tools=tools, soft=soft)

    def _record(self, verdict: Verdict, *, judged: bool) -> dict[str, Any]:
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
            round=self._round,
            approved=verdict.approved,
            score=verdict.score if judged else None,
            issues=issues,
            judged=judged,
        )

    def _stalled(self, verdict: Verdict, text: str) -> bool:
        best = self._best[0] if self._best is not None else -1.0
        return text in self._texts or (self._sent_back > 2 and verdict.score <= best)

    def _what(self) -> str:
        task = self.unit.planned.task
        return f"{task.description}\n\nExpected: {task.expected_output}"


def _few(texts: Sequence[str]) -> str:
    return "; ".join(texts[:5]) or "no reason was given"
