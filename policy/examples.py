"""Calls written down: the examples under `tests:` of policy.yaml, and what the rules decide about them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from policy.decide import Call, Principal, Taint, Verdict
from policy.outward import words_sent
from policy.places import places_in
from policy.rulebook import Rulebook
from project.hours import read_instant
from project.spec_policy import Effect, ExampleSpec

USUAL_TIME = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
"""When a call is made that does not say: a Wednesday at noon."""


@dataclass(frozen=True)
class Tried:
    """What came of one example."""

    example: ExampleSpec
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """Say whether the rules decide as expected, by the rule that is expected."""
        named = not self.example.rule or self.example.rule == self.verdict.rule
        return named and self.example.expect == self.verdict.decide


Autonomy = Literal["supervised", "autonomous"] | None


@dataclass(frozen=True)
class Setting:
    """What an example does not say of its call."""

    effect: Effect
    """What the tool does, where the example names no effect."""
    autonomy: Autonomy = None
    """That of the agent."""
    folder: Path = Path("files")
    """Stands for the run's own folder; the disk is looked at for links."""
    base: str | None = None
    """From where the tool takes relative paths. None: from the run's own folder."""
    afar: bool = False
    """Whether it asks something outside of this machine although it only reads."""
    clearance: Literal["public", "private"] = "private"
    """What the agent may read."""
    private: bool = False
    """Whether what the tool returns is not for everybody."""


def example_call(example: ExampleSpec, setting: Setting) -> Call:
    """Return the call that an example describes.

    Raises: ValueError for a time that cannot be read.
    """
    agent, chain = example.agent, tuple(example.delegated_by)
    effect, folder, base = example.effect or setting.effect, setting.folder, setting.base
    return Call(
        "tool",
        run="example",
        task="example",
        agent=agent,
        name=example.tool,
        arguments=example.arguments,
        effect=effect,
        principal=Principal("example", example.crew, "example", agent, chain),
        taint=Taint(("tainted: true",) if example.tainted else (), ("private: true",) if example.private else ()),
        places=places_in(example.arguments, folder, base),
        other_places=places_in(example.arguments, folder) if base is not None else {},
        outward=words_sent(example.arguments, folder, base) if setting.afar and effect == "read" else {},
        confidence=example.confidence,
        autonomy=setting.autonomy,
        clearance=setting.clearance,
        private=setting.private,
        at=read_instant(example.at) if example.at else USUAL_TIME,
    )


def try_example(rules: Rulebook, example: ExampleSpec, setting: Setting) -> Tried:
    """Say what the rules decide about an example. Raises: ValueError."""
    return Tried(example, rules.verdict(example_call(example, setting)))
