"""Plans that a model or a person may hand in and that must be sent back, each with what the reasons must say."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crews.brief import Brief, DoneRule
from crews.subtasks import GivenTask, Limits, Member, Subtask

TEAM = (
    Member("researcher", "Fact finder", "Find what the documents say", ("search_documents", "read_document")),
    Member("writer", "Author", "Write clear texts"),
    Member("reviewer", "Critic", "Find what is wrong", ("read_document",)),
    Member("legal", "Legal crew", "Check contracts", kind="crew"),
    Member("human", "The user", "Answers questions", kind="human"),
)
BOSS = Member("boss", "Manager", "Lead the crew", ("think",))
BRIEF = Brief(
    asked="A brief about tea",
    done=[
        DoneRule(id="d1", text="at most 300 words", rule="words", value={"max": 300}),
        DoneRule(id="d2", text="It names a price"),
    ],
)
GIVEN = (
    GivenTask("collect", "Collect facts about tea", "A list", "researcher"),
    GivenTask("draft", "Write the brief", "A text", None, needs=("collect",), has_contract=True),
)
LIMITS = Limits(max_subtasks=4, model_calls_left=20)
FINISHED = Subtask(
    id="find",
    description="Find prices",
    expected_output="A list",
    agent="researcher",
    reason="It searches",
    covers=["d2"],
)

Plan = dict[str, Any]


def good_plan() -> Plan:
    """Return a plan of two subtasks with nothing wrong, for nobody's given tasks."""
    return {
        "subtasks": [
            {
                "id": "find",
                "description": "Find what the documents say about tea",
                "expected_output": "A list of statements",
                "agent": "researcher",
                "reason": "It can search the documents",
                "tools": ["search_documents"],
                "covers": ["d2"],
            },
            {
                "id": "write",
                "description": "Write the brief",
                "expected_output": "A text",
                "agent": "writer",
                "reason": "It writes clear texts",
                "depends_on": ["find"],
                "done": [{"rule": "words", "value": {"max": 300}}],
                "covers": ["d1"],
            },
        ],
        "result": ["write"],
        "note": "",
    }


def given_plan() -> Plan:
    """Return a plan that carries out `GIVEN` with nothing wrong."""
    plan = good_plan()
    for subtask, task in zip(plan["subtasks"], ("collect", "draft"), strict=True):
        subtask["task"] = task
    return plan


@dataclass(frozen=True)
class Malformed:
    """One bad plan and words that its reasons must hold, all in one reason."""

    name: str
    text: str
    words: tuple[str, ...]
    given: tuple[GivenTask, ...] = ()
    limits: Limits = LIMITS
    done_ids: tuple[str, ...] = ()
    finished: tuple[Subtask, ...] = ()


def _with(change: Callable[[Plan, Plan, Plan], object], plan: Plan | None = None) -> str:
    """Write the good plan as JSON after `change` was made to it; it is handed the plan and its two subtasks."""
    changed = good_plan() if plan is None else plan
    change(changed, changed["subtasks"][0], changed["subtasks"][1])
    return json.dumps(changed)


def _set(index: int, **fields: Any) -> str:
    return _with(lambda plan, *_: plan["subtasks"][index].update(fields))


def _set_given(index: int, **fields: Any) -> str:
    return _with(lambda plan, *_: plan["subtasks"][index].update(fields), given_plan())


def _many(count: int, **changes: Any) -> str:
    entry = good_plan()["subtasks"][0] | {"covers": ["d1", "d2"]} | changes
    return json.dumps({"subtasks": [entry | {"id": f"s{i}"} for i in range(count)]})


MALFORMED: tuple[Malformed, ...] = (
    Malformed("prose", "First the researcher looks for facts, then the writer writes.", ("no JSON object", "subtasks")),
    Malformed("empty", "", ("give one object", "subtasks")),
    Malformed("list", json.dumps(good_plan()["subtasks"]), ("a list of 2, not a plan", "subtasks")),
    Malformed("fenced list", "```json\n[]\n```", ("a list of 0, not a plan",)),
    Malformed("truncated", json.dumps(good_plan())[:-40], ("not finished", "cut off", "shorter")),
    Malformed("two plans", json.dumps(good_plan()) * 2, ("more than one JSON object",)),
    Malformed("another object", '{"approved": true, "score": 1}', ("object without `subtasks`", "`approved`")),
    Malformed("subtasks as number", '{"subtasks": 3}', ("`subtasks` must be a list such as", "got 3")),
    Malformed("subtasks as texts", '{"subtasks": ["find", "write"]}', ("subtask 1 must be an object", '"find"')),
    Malformed("none", '{"subtasks": [], "plan": 1}', ("the plan has no subtasks",)),
    Malformed("five", _many(5), ("5 subtasks; at most 4 are allowed",)),
    Malformed("five hundred", _many(500), ("500 subtasks; at most 4 are allowed",)),
    Malformed("two of one id", _set(1, id="find", depends_on=[]), ("2 subtasks have the id `find`",)),
    Malformed("bad id", _set(0, id="find.facts"), ("`find.facts`", "not a name", "A-Z")),
    Malformed("id missing", _with(lambda _, one, __: one.pop("id")), ("subtask 1", "`id` is missing")),
    Malformed("number as id", _set(0, id=1), ("subtask 1", "`id` must be a text, got 1")),
    Malformed(
        "id of a finished one",
        _set(0),
        ("`find`", "a finished subtask has this id", "another id"),
        finished=(FINISHED,),
    ),
    Malformed("unknown agent", _set(1, agent="writter"), ("unknown agent `writter`", "did you mean `writer`?")),
    Malformed("role as agent", _set(1, agent="Author"), ("unknown agent `Author`", "did you mean `writer`?")),
    Malformed("manager as agent", _set(1, agent="boss"), ("the manager `boss` cannot do", "the team: researcher")),
    Malformed(
        "agent null", _set(1, agent=None), ("`write`", "`agent` is null", "researcher, writer, reviewer, legal, human")
    ),
    Malformed("empty description", _set(1, description=" \n"), ("`write`", "`description` is empty")),
    Malformed("long description", _set(1, description="tea " * 5001), ("`description` has 20003 characters", "20000")),
    Malformed("no expected output", _set(1, expected_output=""), ("`expected_output` is empty", "good result")),
    Malformed("no reason", _with(lambda _, one, __: one.pop("reason")), ("`find`", "`reason` is missing")),
    Malformed("name as reason", _set(1, reason="The writer agent."), ("only repeats the agent's name", "tools")),
    Malformed("unknown dependency", _set(1, depends_on=["finds"]), ("unknown subtask `finds`", "mean `find`?")),
    Malformed("waits for itself", _set(1, depends_on="write"), ("`write`", "names the subtask itself")),
    Malformed(
        "twins",
        _set(1, description="Find  what the documents say about TEA", expected_output="A list of statements"),
        ("subtasks `find` and `write` do the same",),
    ),
    Malformed("circle", _set(0, depends_on=["write"]), ("circle: find → write → find",)),
    Malformed("tool of another", _set(1, tools=["read_document"]), ("`writer` does not have the tool", "`reviewer`")),
    Malformed("unknown tool", _set(0, tools=["search_document"]), ("unknown tool", "mean `search_documents`?")),
    Malformed("contract of no type", _set(1, output={"title": "txt"}), ("`output.title` unknown type `txt`",)),
    Malformed("contract as list", _set(1, output=["title"]), ("`output` must be an object of fields", "a list")),
    Malformed(
        "choices of numbers",
        _set(1, output={"sizes": {"type": "object", "fields": {"size": [1, 2]}}}),
        ("`output.sizes.fields.size` a choice must be text",),
    ),
    Malformed(
        "object without fields", _set(1, output={"price": "object"}), ("`output.price` `object` needs its fields",)
    ),
    Malformed("unknown rule", _set(1, done=[{"rule": "word"}]), ("unknown rule `word`", "did you mean `words`?")),
    Malformed(
        "wrong setting", _set(1, done=[{"rule": "words", "value": "few"}]), ("rule `words` must be", '"value": {')
    ),
    Malformed("covers nothing known", _set(1, covers=["d1", "d9"]), ("unknown done-rule `d9`", "the brief has d1, d2")),
    Malformed("rule left over", _set(0, covers=[]), ("no subtask covers the brief's done-rule d2", "names a price")),
    Malformed("unknown result", _set(0, id="collect"), ("`depends_on` names the unknown subtask `find`",)),
    Malformed(
        "result of nobody",
        _with(lambda plan, *_: plan.update(result=["brief"])),
        ("`result`", "unknown subtask `brief`"),
    ),
    Malformed("able unknown", _set(0, able=["analyst"]), ("`able` names the unknown agent `analyst`", "the team")),
    Malformed("able without tools", _set(0, able=["reviewer"]), ("`able` names `reviewer`", "search_documents")),
    Malformed("able manager", _set(0, able=["boss"]), ("`able` names the manager `boss`",)),
    Malformed("unknown key", _set(1, dependson=["find"]), ("unknown key `dependson`", "did you mean `depends_on`?")),
    Malformed("unknown key of the plan", _with(lambda plan, *_: plan.update(steps=[])), ("unknown key `steps`",)),
    Malformed("list of numbers", _set(1, depends_on=[1]), ("`depends_on` must hold texts only, got 1",)),
    Malformed(
        "too few model calls",
        _set(0),
        ("at least 4 model calls", "3 are left", "at most 1 subtask"),
        limits=Limits(4, model_calls_left=3),
    ),
    Malformed("given left out", _set_given(1, task=None), ("no subtask carries out the task `draft`",), given=GIVEN),
    Malformed("given twice", _set_given(1, task="collect"), ("2 subtasks carry out the task `collect`",), given=GIVEN),
    Malformed("given to another", _set_given(0, agent="writer", tools=None), ("to `researcher`",), given=GIVEN),
    Malformed("given without need", _set_given(1, depends_on=[]), ("reads the task `collect`", '"find"'), given=GIVEN),
    Malformed("given with fields", _set_given(1, output={"a": "str"}), ("fixes the output", "`draft`"), given=GIVEN),
    Malformed("given unknown", _set_given(0, task="collects"), ("unknown task", "mean `collect`?"), given=GIVEN),
    Malformed("given by nobody", _set(0, task="collect"), ("unknown task `collect`", "leave `task` out")),
    Malformed("edited with a tab", "subtasks:\n\t- id: find\n", ("plan:2:1", "a tab cannot indent")),
    Malformed("edited to nothing", "subtasks:\nnote: none\n", ("the plan has no subtasks",)),
    Malformed("edited with a key twice", "subtasks:\n  - id: a\n    id: b\n", ("given twice",)),
    Malformed(
        "edited with a number", "subtasks:\n- {id: a, description: 7}\n", ("`description` must be a text, got 7",)
    ),
)
