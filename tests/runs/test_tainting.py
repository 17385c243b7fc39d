"""What a lane has read before its calls: through outputs, handoffs, coworkers, entries, attempts, crews and managers."""

import json
from typing import Any

import pytest

from models.marks import NOTICE, is_set_apart, strip_marks
from policy.decide import Taint
from project.spec import AgentSpec
from project.spec_policy import PolicySpec
from runs.calls.lanes import Lane
from runs.governed.tainting import Basis, Reading, basis_of, read_basis
from runs.people.inbox import Inbox
from runs.stored.database import open_database
from tests.lab import Lab
from tests.runs.boss import boss, plan, subtask
from tests.runs.crash_points import part
from tests.runs.scene import READ_AND_TELL, said_to_model, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

KEY = "MUSTER_JOURNAL_KEY=a-key-for-tests-0123456789abcdef\n"
READ = "@call page {}\n@call file {}\n@echo"
TELL = '@call tell {"text": "all"}\n@answer: told'
LOOK = {"description": READ, "agent": "reader"}
HAND = {"to": "worker", "reason": "better placed", "done": "read it all"}
ASK = {"coworker": "reader", "request": READ}
ONE_CREW = {"agents": ["worker", "reader", "public"]}
POLICY = "rules: [{decide: allow, tools: [tell]}]\n"


def agent(*tools: str, **more: Any) -> dict[str, Any]:
    return {"role": "Agent", "goal": "Work", "backstory": "You work.", "tools": list(tools), **more}


AGENTS = {"worker": agent("tell"), "reader": agent("page", "file"), "public": agent("tell", clearance="public")}


@pytest.fixture
def world(lab: Lab) -> Lab:
    """A project with tools that read a page and a private file, and one that tells, which a rule allows."""
    (lab.root / ".env").write_text(KEY, encoding="utf-8")
    lab.write(tools__world_py=READ_AND_TELL, policy=POLICY)
    return lab


def write(lab: Lab, tasks: dict[str, Any], *, agents: dict[str, Any] | None = None, **more: Any) -> None:
    crews = more.pop("crews", {"default": ONE_CREW | {"tasks": list(tasks)}})
    write_project(lab, tasks, agents=AGENTS | (agents or {}), crews=crews, **more)


def the_terms(lab: Lab, run_id: str) -> Any:
    """Return what the only open question of a run says of the call that it is about."""
    (row,) = Inbox(open_database(lab.settings())).open(run_id)
    assert row.question.terms is not None
    return row.question.terms


def tainted(lab: Lab, crew: str = "default") -> Any:
    """Run a crew; its call of `tell` must wait for a person because of what was read. Return what is told of it."""
    outcome = lab.run(crew)
    assert outcome.status == "waiting", outcome.reason
    terms = the_terms(lab, outcome.run_id)
    assert (terms.rule, terms.call["tool"]) == ("untrusted content", "tell")
    assert any("page" in name for name in terms.untrusted)
    assert any("file" in name for name in terms.private)
    return terms


# -- the flows


def test_what_a_lane_has_read_itself_counts(world: Lab) -> None:
    write(world, {"act": READ.replace("@echo", TELL)}, agents={"worker": agent("page", "file", "tell")})
    terms = tainted(world)
    assert terms.untrusted == ("act/worker/page#1",)
    assert terms.private == ("act/worker/file#2",)


def test_untrusted_content_without_private_content_asks_nobody(world: Lab) -> None:
    write(world, {"act": f"@call page {{}}\n{TELL}"}, agents={"worker": agent("page", "tell")})
    assert world.run().output == "told"


def test_the_outputs_of_the_tasks_before_bring_it_however_far_they_are(world: Lab) -> None:
    write(world, {"look": LOOK, "pass": {"description": "@answer: passed on", "context": ["look"]}, "act": TELL})
    assert tainted(world).untrusted == ("look/reader/page#1",)


def test_a_task_that_builds_on_nothing_has_read_nothing_of_what_runs_beside_it(world: Lab) -> None:
    write(world, {"look": LOOK, "act": {"description": TELL, "context": []}})
    outcome = world.run()
    assert outcome.status == "succeeded"
    assert "taint" not in part(world, outcome.run_id, "act")


def test_the_state_of_the_crew_brings_it(world: Lab, server: ScriptedServer) -> None:
    written = {"description": '@call page {}\n@call file {}\n@answer: {"facts": "the page says so"}', "agent": "reader"}
    crews = {"default": ONE_CREW | {"tasks": ["look", "act"], "state": {"facts": {"type": "str"}}}}
    reads = {"description": TELL, "reads": ["facts"], "context": []}
    look = written | {"output": {"facts": "str"}, "writes": ["facts"]}
    write(world, {"look": look, "act": reads}, crews=crews)
    tainted(world)
    shown = said_to_model(server.requests[-1]).partition("State of the crew:\n")[2]
    assert is_set_apart(shown)


def test_a_handoff_brings_it(world: Lab, server: ScriptedServer) -> None:
    description = f"@call page {{}}\n@call file {{}}\n@call hand_over {json.dumps(HAND)}\n{TELL}"
    readers = {"reader": agent("page", "file", handoffs=["worker"])}
    write(world, {"act": {"description": description, "agent": "reader"}}, agents=readers)
    assert tainted(world).call["chain"] == ["reader"]
    assert "was handed to you by reader" in said_to_model(server.requests[-1])
    assert is_set_apart(said_to_model(server.requests[-1]))


def test_a_coworker_s_answer_brings_it_and_is_set_apart(world: Lab, server: ScriptedServer) -> None:
    askers = {"worker": agent("tell", allow_delegation=True)}
    write(world, {"act": f"@call ask_coworker {json.dumps(ASK)}\n{TELL}"}, agents=askers)
    terms = tainted(world)
    assert "act/worker>reader#1/page#1" in terms.untrusted
    last = next(message for message in server.requests[-1].messages if message["role"] == "tool")
    assert is_set_apart(last["content"])


def test_entries_of_a_list_bring_it_and_are_set_apart(world: Lab, server: ScriptedServer) -> None:
    look = LOOK | {"description": '@call page {}\n@call file {}\n@answer: {"items": ["one"]}'}
    each = {"description": f"For {{item}}:\n{TELL}", "for_each": "outputs.look.items"}
    write(world, {"look": look | {"output": {"items": "list[str]"}}, "act": each})
    tainted(world)
    told = said_to_model(server.requests[-1])
    assert is_set_apart(told.partition("For ")[2].partition(":\n")[0])
    assert "For one:" in strip_marks(told)


def test_candidates_begin_with_it(world: Lab) -> None:
    act = {"description": TELL, "candidates": {"count": 2}, "judge": {"by": "reader"}}
    write(world, {"look": LOOK, "act": act})
    outcome = world.run()
    rows = Inbox(open_database(world.settings())).open(outcome.run_id)
    assert {row.question.terms.rule for row in rows if row.question.terms} == {"untrusted content"}


def test_an_earlier_attempt_brings_what_it_has_read(world: Lab, server: ScriptedServer) -> None:
    failing = {"guardrails": [{"matches": "^told$"}], "guardrail_max_retries": 0}
    act = {"description": f"@call page {{}}\n@call file {{}}\n{TELL.replace('@answer: told', '@echo')}"}
    retry = {"retry": {"attempts": 2, "agents": ["worker"], "on": ["guardrail"]}, "agent": "reader"}
    write(world, {"act": act | failing | retry})
    terms = tainted(world)
    assert terms.untrusted == ("act.a1/reader/page#1",)
    assert is_set_apart(said_to_model(server.requests[-1]).partition("not good enough:")[2])


def test_a_crew_that_does_a_task_brings_it(world: Lab) -> None:
    crews: dict[str, Any] = {
        "default": {"agents": ["inner", "worker"], "tasks": ["outer", "act"]},
        "inner": {"agents": ["reader"], "tasks": ["look"], "inputs": {"task": {}}},
    }
    look = LOOK | {"description": f"{READ}\nAbout {{task}}"}
    write(world, {"look": look, "outer": {"description": "Look", "agent": "inner"}, "act": TELL}, crews=crews)
    assert tainted(world).untrusted == ("outer.look/reader/page#1",)


def test_the_crews_before_in_a_pipeline_bring_it(world: Lab) -> None:
    crews: dict[str, Any] = {
        "first": {"agents": ["reader"], "tasks": ["look"]},
        "second": {"agents": ["worker"], "tasks": ["act"], "inputs": {"given": {}}},
        "default": {"crews": ["first", {"crew": "second", "inputs": {"given": "{first}"}}]},
    }
    write(world, {"look": LOOK, "act": f"{TELL}\nAbout {{given}}"}, crews=crews)
    assert tainted(world).untrusted == ("first.look/reader/page#1",)


def test_what_a_reviewer_has_read_comes_with_its_findings(world: Lab, model: ScriptedServer) -> None:
    reviewed = {"description": "Review this", "review": {"by": "reader", "criteria": ["@reviewed"]}}
    write(world, {"act": reviewed})
    assert tainted(world).private == ("act/reader.review1/file#2",)


def test_a_manager_s_workers_get_it_from_the_subtasks_before_and_act_for_the_manager(world: Lab) -> None:
    work = plan(subtask("look", READ, agent="reader"), subtask("act", TELL, agent="worker", depends_on=["look"]))
    crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "reader"]}
    unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
    with ScriptedServer(boss([work])) as server:
        write(world, unused, crews={"default": crew})
        world.models(server.base_url)
        terms = tainted(world)
    assert terms.untrusted == ("look.a1/reader/page#1",)
    assert terms.call["chain"] == ["manager"]


def test_who_resumes_a_run_meets_the_same_taint(world: Lab) -> None:
    write(world, {"look": LOOK, "act": TELL})
    run_id = world.run().run_id
    before = the_terms(world, run_id)
    world.restart()
    assert world.resume(run_id).status == "waiting"
    after = the_terms(world, run_id)
    assert (after.untrusted, after.private, after.binding) == (before.untrusted, before.private, before.binding)


def test_a_run_from_before_there_were_policies_reads_and_tells_as_it_did(world: Lab, server: ScriptedServer) -> None:
    write(world, {"look": LOOK, "act": TELL})
    run_id = world.start(world.plan().model_copy(update={"policy": None}))
    assert world.runner.wait(run_id).output == "told"
    said = json.dumps([request.messages for request in server.requests])
    assert "<untrusted" not in said
    assert NOTICE not in said
    assert "taint" not in part(world, run_id, "look")


# -- clearance


def test_an_agent_with_a_public_clearance_is_not_given_what_builds_on_private_content(world: Lab) -> None:
    write(world, {"look": LOOK, "act": {"description": TELL, "agent": "public"}})
    outcome = world.run()
    assert outcome.status == "failed"
    assert "public has a public clearance, but act builds on private content of look/reader/file#2" in outcome.reason


def test_its_calls_of_private_tools_are_refused(world: Lab) -> None:
    write(
        world,
        {"act": {"description": "@call file {}\n@echo", "agent": "public"}},
        agents={"public": agent("file", clearance="public")},
    )
    outcome = world.run()
    assert outcome.output == (
        "file was not called: what it returns is private, and public may not read that. Do not try to reach the same "
        "in another way."
    )


@pytest.mark.parametrize("way", ["ask", "hand over"])
def test_nothing_private_is_passed_on_to_it(world: Lab, way: str) -> None:
    call = {
        "ask": f"@call ask_coworker {json.dumps({'coworker': 'public', 'request': 'x'})}",
        "hand over": f"@call hand_over {json.dumps(HAND | {'to': 'public'})}",
    }[way]
    readers = {"reader": agent("file", allow_delegation=True, handoffs=["public"])}
    write(world, {"act": {"description": f"@call file {{}}\n{call}\n@echo", "agent": "reader"}}, agents=readers)
    outcome = world.run()
    assert outcome.output.splitlines()[1] == (
        "public was not asked: it has a public clearance, and you have read private content. Do the work yourself, or "
        "ask somebody else."
    )


def test_it_may_not_ask_who_could_tell_it_private_content(world: Lab) -> None:
    askers = {"public": agent(allow_delegation=True, clearance="public")}
    description = f"@call ask_coworker {json.dumps(ASK)}\n@echo"
    write(world, {"act": {"description": description, "agent": "public"}}, agents=askers)
    assert world.run().output == (
        "reader was not asked: its tools return private content, and you have a public clearance."
    )


# -- what follows outputs


def test_the_least_confidence_counts_and_one_that_is_not_known_makes_it_unknown() -> None:
    sure, unsure, unknown = ({"output": "x", "confidence": {"value": value}} for value in (0.9, 0.4, None))
    assert basis_of([sure, unsure], weighed=True).confidence == 0.4
    assert basis_of([sure, unknown], weighed=True).confidence is None
    assert basis_of([sure], weighed=False).confidence is None
    assert basis_of([], weighed=True).confidence is None


def test_a_basis_is_the_same_after_it_was_stored() -> None:
    basis = Basis(Taint(("a",), ("b",)), 0.5, True)
    assert read_basis(json.loads(json.dumps(basis.to_json()))) == basis
    assert Basis().to_json() == {}
    assert read_basis(None) == Basis()


def test_a_low_confidence_before_a_call_asks(world: Lab) -> None:
    world.write(policy="rules: [{decide: ask, tools: [tell], confidence_below: 0.5}, {decide: allow, tools: [tell]}]\n")
    first = {"description": "@answer: maybe", "guardrails": [{"words": {"max": 9}}]}
    write(world, {"first": first, "act": TELL})
    assert world.run().output == "told"
    write(world, {"first": "@answer: maybe", "act": TELL})  # nothing was measured of it
    outcome = world.run()
    assert outcome.status == "waiting"
    assert the_terms(world, outcome.run_id).rule == "rule 1"


def test_parts_count_only_when_all_of_them_are_done() -> None:
    reading = Reading(PolicySpec())
    lane = reading.open(Lane("a/b", "a", "b"), AgentSpec(role="r", goal="g", backstory="b"))
    reading.take([{"taint": {"untrusted": ["p/q#1"]}}])
    assert lane.taint == Taint()
    reading.refresh(lane)
    assert lane.taint == Taint(("p/q#1",))


def SCRIPT(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Reply:
    """A reviewer that reads, and sends the text back; a writer that tells once it was reviewed."""
    asked = "\n".join(str(message.get("content")) for message in messages if message["role"] == "user")
    results = [str(message["content"]) for message in messages if message["role"] == "tool"]
    if "@reviewed" in asked and "text to review" in asked:
        if len(results) < 2:
            return Reply(calls=(ToolCall(("page", "file")[len(results)]),))
        issue = {"criterion": "c", "problem": results[0], "where": "all", "fix": "tell it"}
        return Reply(json.dumps({"approved": False, "score": 0.1, "issues": [issue]}))
    if "tell it" in asked and not results:
        return Reply(calls=(ToolCall("tell", '{"text": "all"}'),))
    return Reply("a text")
