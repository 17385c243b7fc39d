"""A manager before the work: brief, plan, a person's look at it. What was decided is journaled with its reason."""

from dataclasses import dataclass, field

from crews.brief import Brief, brief_request, brief_text, offline_brief, read_brief, settle
from crews.plan_reading import read_plan
from crews.plan_text import plan_request, plan_text, plan_yaml
from crews.planned import Member, PlannedTask
from crews.subtasks import GivenTask, Limits, Subtask, WorkPlan, offline_plan
from crews.subtasks import Member as Candidate
from project.spec import ManagerSpec
from runs.calls.toolbox import tools_for
from runs.executing.state import Parked
from runs.people.asking import ask_person
from runs.people.questions import Question
from runs.work.consulting import consult
from runs.work.crewing import CrewRun, has_output
from runs.work.walking import Done

_MOST_REVIEWS = 10


@dataclass
class Managed:
    """A hierarchical crew under way."""

    crew: CrewRun
    manager: Member
    spec: ManagerSpec
    offline: bool
    brief: Brief = field(default_factory=lambda: Brief(asked=""))
    subtasks: dict[str, Subtask] = field(default_factory=dict[str, Subtask])
    """Of the plan in force, by id."""
    planned: dict[str, PlannedTask] = field(default_factory=dict[str, PlannedTask])
    done: Done = field(default_factory=Done)
    result_ids: list[str] = field(default_factory=list[str])

    @property
    def team(self) -> list[Candidate]:
        """Those whom the manager may give work to, as its plan names them."""
        members = [self.crew.scope.members[name] for name in self.crew.scope.workers]
        return [
            Candidate(
                member.name,
                member.agent.role,
                member.agent.goal,
                tuple(use.name for use in member.agent.tools),
                member.kind,
            )
            for member in members
        ]

    @property
    def given(self) -> list[GivenTask]:
        return [
            GivenTask(
                task.name,
                task.task.description,
                task.task.expected_output,
                task.agent_name or None,
                tuple(task.waits_for),
                tuple(use.name for use in task.task.tools) if task.task.tools is not None else None,
                task.contract is not None,
            )
            for task in self.crew.scope.tasks
        ]

    def lane(self, purpose: str) -> str:
        return f"{self.crew.prefix}{self.manager.name}.{purpose}"


def intake(managed: Managed) -> Brief:
    crew = managed.crew
    scope = crew.scope
    goal = scope.goal or scope.description or (scope.tasks[-1].task.description if scope.tasks else scope.crew)
    given = [(task.name, task.task.description, task.task.expected_output) for task in scope.tasks]
    if managed.offline:
        brief, by = offline_brief(goal, scope.inputs, given), "offline"
    else:
        request = brief_request(goal, scope.description, scope.inputs, given)
        lane, tools = managed.lane("brief"), tools_for(crew.run, managed.manager.agent.tools)
        brief = consult(
            crew.run, managed.manager, lane, crew.path("manager"), request, read_brief, crew.reading, tools=tools
        )
        by = managed.manager.name
    answers: dict[str, str] = {}
    for number, open_question in enumerate(brief.questions, 1):
        prompt = f"{open_question.question} Enter takes: {open_question.assumption}"
        name = f"{crew.prefix}manager/answer#{number}"
        question = Question(
            crew.path("manager"), prompt, f"The manager asks, because: {open_question.why}", kind="intake"
        )
        said = ask_person(crew.run, name, question, needed=managed.spec.wait_for_person).said
        answers[open_question.question] = said or ""
        crew.decisions.record(
            "question",
            said or open_question.assumption,
            f"{open_question.question} {'answered' if said else 'assumed, nobody answered'}: {open_question.why}",
            by="person" if said else "rule",
        )
    brief = settle(brief, answers)
    crew.decisions.record(
        "brief", brief_text(brief), "what the goal asks for", by=by, brief=brief.model_dump(mode="json")
    )
    return brief


def _limits(managed: Managed) -> Limits:
    run, budget = managed.crew.run, managed.crew.run.budget
    spent = run.spending.committed()
    calls = None if budget.max_model_calls is None else max(0, budget.max_model_calls - spent.model_calls)
    tools = None if budget.max_tool_calls is None else max(0, budget.max_tool_calls - spent.tool_calls)
    return Limits(managed.spec.max_subtasks, calls, tools)


def make_plan(managed: Managed, wishes: str = "", number: int = 1) -> WorkPlan:
    crew = managed.crew
    if managed.offline:
        plan = offline_plan(
            managed.brief, managed.team, managed.given, manager=managed.manager.name, most=managed.spec.max_subtasks
        )
        return _record_plan(managed, plan, plan.note, "offline")
    limits = limits_as_journaled(managed, number)
    request = plan_request(managed.brief, managed.team, managed.given, limits)
    if wishes:
        request += f"\n\nA person has seen your plan and wants this changed:\n{wishes}"

    def read(text: str) -> tuple[WorkPlan | None, list[str]]:
        return read_for(managed, text, limits)

    lane = managed.lane("plan" if number == 1 else f"plan{number}")
    tools = tools_for(crew.run, managed.manager.agent.tools)
    about = crew.path("manager")
    plan = consult(crew.run, managed.manager, lane, about, request, read, crew.reading, tools=tools)
    return _record_plan(managed, plan, plan.note or "the manager's plan for the brief", managed.manager.name)


def read_for(managed: Managed, text: str, limits: Limits) -> tuple[WorkPlan | None, list[str]]:
    plan, problems = read_plan(
        text,
        team=managed.team,
        given=managed.given,
        brief=managed.brief,
        limits=limits,
        done_ids=[name for name, result in managed.done.items() if has_output(result)],
        finished=[one for name, one in managed.subtasks.items() if has_output(managed.done.get(name, {}))],
        manager=managed.manager.name,
    )
    # Conditions of given tasks name each other, so a subtask that carries one out is called as it is.
    misnamed = [one for one in plan.subtasks if one.task is not None and one.id != one.task] if plan is not None else []
    if misnamed:
        return None, [f"subtask `{one.id}` carries out the task `{one.task}`: give it that id" for one in misnamed]
    return plan, problems


def limits_as_journaled(managed: Managed, number: int) -> Limits:
    """Return what the plan may take; journaled, since what is spent depends on the moment."""
    limits = _limits(managed)
    record = managed.crew.decisions.record(
        "limits",
        f"at most {limits.max_subtasks} subtasks",
        "the ceilings of the run and the crew's `max_subtasks`",
        model_calls_left=limits.model_calls_left,
        tool_calls_left=limits.tool_calls_left,
        number=number,
    )
    return Limits(managed.spec.max_subtasks, record["model_calls_left"], record["tool_calls_left"])


def _record_plan(managed: Managed, plan: WorkPlan, why: str, by: str) -> WorkPlan:
    """Journal the plan, and why each subtask goes to its agent."""
    managed.crew.decisions.record(
        "plan",
        [one.id for one in plan.subtasks],
        why,
        among=managed.crew.scope.workers,
        evidence=[f"{one.id} → {one.agent}: {one.reason}" for one in plan.subtasks],
        by=by,
        plan=plan.model_dump(mode="json"),
    )
    return plan


def review_plan(managed: Managed, plan: WorkPlan) -> WorkPlan:
    """Let a person see the plan, edit it, or say what should change."""
    crew = managed.crew
    for number in range(1, _MOST_REVIEWS + 1):
        prompt = "Run this plan? Enter runs it; or say what should change"
        question = Question(crew.path("manager"), prompt, plan_text(plan), editable=plan_yaml(plan), kind="plan")
        asked = ask_person(crew.run, f"{crew.prefix}manager/plan_answer#{number}", question, needed=True)
        said = asked.said or ""
        if not said:
            crew.decisions.record("plan review", "accepted", "a person has seen the plan", by="person")
            return plan
        crew.decisions.record("plan review", "changes wanted", said[:500], by="person")
        if "subtasks:" in said and not asked.rejected:
            edited, problems = read_for(managed, said, Limits(managed.spec.max_subtasks))
            if edited is not None:
                plan = _record_plan(managed, edited, "edited by a person", "person")
                continue
            said = f"{said}\n\nThis cannot be run as it stands: {'; '.join(problems)}"
        if managed.offline:
            raise Parked("failed", "the offline manager cannot change its plan", "edit the plan, or name a model")
        plan = make_plan(managed, said, number + 1)
    raise Parked("failed", f"the plan was changed {_MOST_REVIEWS} times without being accepted")
