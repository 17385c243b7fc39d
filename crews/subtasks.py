"""The work plan of a hierarchical crew: what a subtask is, who may do it, and the plan that needs no model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crews.answers import LONGEST_TEXT
from crews.brief import Brief, DoneRule
from project.spec import FieldSpec, Spec
from tasks.wording import content_stems, make_stemmer, normalise

OFFLINE_NOTE = "Fixed plan of the offline manager: made from the words of the goal and the team, without a model."
AGAIN = "again"
"""The folder of a crew's second plan: its subtasks are at `again.NAME`, so that ids of the first may come again."""
_MOST_SUBTASKS = 12
_STAGES: Mapping[str, re.Pattern[str]] = {
    stage: re.compile(rf"\b(?:{words})", re.IGNORECASE)
    for stage, words in {
        "research": "research|analy|librar|investigat|search|scout|gather|collect|recherch",
        "write": "writ|author|journalist|copy|report|draft|redakt|editor",
        "review": "review|critic|check|proof|audit|quality|qa\\b|verif",
        "finish": "execut|finish|publish|final",
    }.items()
}
_READING_TOOL = re.compile(r"search|read|fetch|list|find|query|browse|scrape", re.IGNORECASE)


class Subtask(Spec):
    """One piece of work in a manager's plan."""

    id: str
    """Its name within the plan."""
    description: str
    """What is to be done; its agent sees this and the outputs of `depends_on`."""
    expected_output: str
    """What a good result looks like."""
    agent: str
    """Who does it: a member of the team."""
    reason: str
    """Why this member."""
    depends_on: list[str] = []
    """Subtasks whose outputs it reads; it starts when they are done."""
    able: list[str] = []
    """Other members who could do it."""
    tools: list[str] | None = None
    """The tools it may use, among its agent's. Unset: all of them."""
    output: dict[str, FieldSpec] | None = None
    """The fields of its output, where it is an object."""
    done: list[DoneRule] = []
    """What must be true of its output."""
    covers: list[str] = []
    """Done-rules of the brief that it is to meet, by id."""
    task: str | None = None
    """The task of tasks.yaml that it carries out."""


class WorkPlan(Spec):
    """What a manager wants done, by whom, in which order."""

    subtasks: list[Subtask]
    """In an order of reading; `depends_on` says the order of work."""
    result: list[str] = []
    """Subtasks whose outputs make up the result. Empty: those that nothing depends on."""
    note: str = ""
    """The manager's remark for people."""


@dataclass(frozen=True)
class Member:
    """Somebody who can be given a subtask."""

    name: str
    """The name that a plan uses."""
    role: str
    """What it is."""
    goal: str
    """What it works for."""
    tools: tuple[str, ...] = ()
    """Names of its tools."""
    kind: Literal["agent", "crew", "human"] = "agent"
    """A whole crew, or a person, takes a subtask as an agent does, but is given no tools."""


@dataclass(frozen=True)
class GivenTask:
    """A task of tasks.yaml that the plan must hold."""

    name: str
    """Its key in tasks.yaml."""
    description: str
    """What is to be done."""
    expected_output: str
    """What a good result looks like."""
    agent: str | None
    """Who must do it. None: the manager chooses."""
    needs: tuple[str, ...] = ()
    """Given tasks whose outputs it reads."""
    tools: tuple[str, ...] | None = None
    """The tools it may use, in place of its agent's. None: its agent's."""
    has_contract: bool = False
    """Whether tasks.yaml fixes the fields of its output."""


@dataclass(frozen=True)
class Limits:
    """What a plan may take."""

    max_subtasks: int
    """Most subtasks of the plan, finished ones not counted."""
    model_calls_left: int | None = None
    """Model calls that the run's budget still allows. None: no ceiling."""
    tool_calls_left: int | None = None
    """Tool calls that it still allows. None: no ceiling."""


def able_members(subtask: Subtask, team: Sequence[Member], manager: str = "", reviewer: str = "") -> list[str]:
    """Name who could do the subtask, best first; used to hand it to somebody else and to spread the load.

    First its agent; then those that the plan calls able, in the plan's order; then every other agent with all tools
    that the subtask needs, best fitting words first. A subtask without `tools` needs what its agent has, except of
    those that the plan calls able: they come last then. Never the manager; the reviewer, a crew and a person only where
    the plan names them.
    """
    members = {member.name: member for member in team if member.name != manager}
    own = members.get(subtask.agent)
    needed = set(own.tools if own and subtask.tools is None else subtask.tools or ())
    named = [name for name in subtask.able if name in members and name != subtask.agent]
    equipped = [name for name in named if needed.issubset(members[name].tools)]
    open_members = [
        member
        for member in members.values()
        if member.kind == "agent" and member.name not in (subtask.agent, reviewer, *named)
    ]
    others = [member for member in open_members if needed.issubset(member.tools)]
    fitting = [member.name for member, _ in _by_fit(f"{subtask.description} {subtask.expected_output}", others)]
    rest = [name for name in named if name not in equipped and subtask.tools is None]
    return [*([subtask.agent] if own else []), *equipped, *fitting, *rest]


def offline_plan(
    brief: Brief,
    team: Sequence[Member],
    given: Sequence[GivenTask],
    *,
    manager: str = "",
    most: int = _MOST_SUBTASKS,
) -> WorkPlan:
    """Plan without a model: the given tasks in their order, or else research, write, review, finish.

    Of these four, there are those for which the team has somebody, and at most `most`; a team of one gets one subtask.
    The brief's done-rules go to the subtask that makes the result, those in words to the one whose words fit best.

    Raises: ValueError for a team with nobody but the manager.
    """
    members = [member for member in team if member.name != manager]
    if not members:
        raise ValueError("the team has nobody but its manager")
    subtasks = _carried_out(members, given) if given else _staged(brief, members, most)
    last = subtasks[-1].id
    covers = _spread(brief, subtasks, last)
    covering = [one.model_copy(update={"covers": covers.get(one.id, [])}) for one in subtasks]
    return WorkPlan(subtasks=covering, result=[last], note=OFFLINE_NOTE)


def find_result(plan: WorkPlan) -> list[str]:
    """Name the subtasks whose outputs make up the result."""
    read = {name for subtask in plan.subtasks for name in subtask.depends_on}
    return plan.result or [subtask.id for subtask in plan.subtasks if subtask.id not in read]


def _carried_out(members: Sequence[Member], given: Sequence[GivenTask]) -> list[Subtask]:
    subtasks: list[Subtask] = []
    names = {task.name for task in given}
    for task in given:
        agent, reason = task.agent, "tasks.yaml names it for this task"
        if agent is None:
            agents = [member for member in members if member.kind == "agent"] or members
            best, words = _by_fit(f"{task.description} {task.expected_output}", agents)[0]
            agent = best.name
            shared = ", ".join(words[:5])
            reason = f"its role, goal and tools share these words with the task: {shared}" if words else _FIRST
        subtasks.append(
            Subtask(
                id=task.name,
                description=task.description[:LONGEST_TEXT],
                expected_output=task.expected_output[:LONGEST_TEXT],
                agent=agent,
                reason=reason,
                depends_on=[name for name in task.needs if name in names],
                task=task.name,
            )
        )
    return subtasks


_FIRST = "no words of the task point to anybody, and this one comes first in the team"


def _staged(brief: Brief, members: Sequence[Member], most: int) -> list[Subtask]:
    chosen = _staff(brief, members)
    for dropped in (("review", "finish"), ("research",)):
        if len(chosen) > most:
            chosen = {stage: staffed for stage, staffed in chosen.items() if stage not in dropped}
    subtasks: list[Subtask] = []
    asked = brief.asked[:_LONGEST_ASKED].rstrip(". ")
    for stage, (member, reason) in chosen.items():
        description, expected = _TEXTS[stage]
        if stage == "write" and not subtasks:
            description = _WRITE_WITH_TOOLS if member.tools else _WRITE_ALONE
        subtasks.append(
            Subtask(
                id=stage,
                description=description.format(asked=asked),
                expected_output=expected,
                agent=member.name,
                reason=reason,
                depends_on=[earlier.id for earlier in subtasks],
            )
        )
    return subtasks


# The words are those by which the offline model knows what to do: collect, digest, check, revise.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "research": (
        "Collect what the sources say about this: {asked}. Copy statements, each with its citation.",
        "A list of statements, one a line, each ending with its citation; then what was not found.",
    ),
    "write": (
        "Write what is asked for: {asked}. Use the outputs you were handed and add nothing to them.",
        "The whole text and nothing else, with its citations.",
    ),
    "review": (
        "Check the text against what was asked for: {asked}. Name each fault and what would mend it.",
        "A list of findings, each with the sentence it is about; or what was checked, if there are none.",
    ),
    "finish": (
        "Finish the draft of this: {asked}. Apply the findings to the draft and change nothing else.",
        "The finished text and nothing else, with its citations.",
    ),
}
_WRITE_WITH_TOOLS = "Write what is asked for: {asked}. Search first, and use only what your tools give you."
_WRITE_ALONE = "Write what is asked for: {asked}."
_LONGEST_ASKED = LONGEST_TEXT - 1000


def _staff(brief: Brief, members: Sequence[Member]) -> dict[str, tuple[Member, str]]:
    """Find somebody for each stage, in its order; the writer is always there, and nobody reviews their own text."""
    agents = [member for member in members if member.kind == "agent"] or list(members)
    if len(agents) == 1:
        return {"write": (agents[0], "it is the only one in the team")}
    plain = [member for member in agents if not any(_says(member, stage) for stage in _STAGES)]
    researcher = _stage_member("research", agents) or _reading_member(plain)
    free = [member for member in agents if researcher is None or member is not researcher[0]]
    reviewer = _stage_member("review", free)
    writers = [member for member in free if reviewer is None or member is not reviewer[0]]
    writer = _stage_member("write", writers)
    if writer is None:
        best, words = _by_fit(brief.asked, writers or free)[0]
        writer = best, f"its words fit what is asked: {', '.join(words[:5])}" if words else _FIRST
    if researcher is None and _reading_member([writer[0]]) is None:
        researcher = _reading_member([member for member in agents if member is not writer[0]])
    chosen: dict[str, tuple[Member, str]] = {"research": researcher} if researcher else {}
    chosen["write"] = writer
    if reviewer and reviewer[0] is not writer[0]:
        busy = [member for member, _ in (*chosen.values(), reviewer)]
        finisher = _stage_member("finish", [member for member in agents if member not in busy])
        chosen |= {"review": reviewer, "finish": finisher or (writer[0], "it wrote the draft")}
    return chosen


def _stage_member(stage: str, members: Sequence[Member]) -> tuple[Member, str] | None:
    reason = f"its name or role says what this takes: {stage}"
    return next(((member, reason) for member in members if _says(member, stage)), None)


def _says(member: Member, stage: str) -> bool:
    return _STAGES[stage].search(f"{member.name.replace('_', ' ')} {member.role}") is not None


def _reading_member(members: Sequence[Member]) -> tuple[Member, str] | None:
    tools = ((member, tool) for member in members for tool in member.tools if _READING_TOOL.search(tool))
    return next(((member, f"it has the tool {tool}") for member, tool in tools), None)


def _spread(brief: Brief, subtasks: Sequence[Subtask], last: str) -> dict[str, list[str]]:
    """Give each done-rule of the brief to a subtask: a checkable one to the last, one in words where they fit best."""
    covers: dict[str, list[str]] = {}
    stems = _Stems()
    for rule in brief.done:
        own = stems.of(rule.text)
        shared = {one.id: len(own & stems.of(one.expected_output)) for one in subtasks} if rule.rule is None else {}
        best = max(shared, key=lambda name: (shared[name], name == last)) if shared else last
        covers.setdefault(best if shared.get(best) else last, []).append(rule.id)
    return covers


class _Stems:
    """The stems of texts; it keeps the stemmer, which remembers its words."""

    def __init__(self) -> None:
        self._stem = make_stemmer()

    def of(self, *texts: str) -> frozenset[str]:
        """Return the stems of the words that carry meaning."""
        return content_stems(normalise(" ".join(texts).replace("_", " ")), self._stem)


def shares_nothing_new(text: str, known: Iterable[str]) -> bool:
    """Say whether `text` has no word of meaning that is not in `known`."""
    stems = _Stems()
    return not stems.of(text) - stems.of(*known)


def _by_fit(text: str, members: Sequence[Member]) -> list[tuple[Member, list[str]]]:
    """Sort members by how many words of the text are in their role, goal and tools; alike ones stay in order."""
    stems = _Stems()
    wanted = stems.of(text)
    fits = [
        (member, sorted(wanted & stems.of(member.name, member.role, member.goal, *member.tools))) for member in members
    ]
    return sorted(fits, key=lambda fit: -len(fit[1]))
