"""Review by another agent and refining by the writer itself: findings go back, rounds are bounded, the best is kept."""

import json
import re
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons, rewind_to
from tests.runs.scene import said_to_model, step_names, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall
from tests.server_script import scripted_reply

AGENTS = {
    "worker": {"role": "Worker", "goal": "Do the work", "backstory": "You work."},
    "boss": {"role": "Boss", "goal": "Judge", "backstory": "You judge."},
}
UP = "@answer: one (0.2)\n@after-refusal: two (0.4)\n@after-refusal: three (0.9)"


def script(messages: list[Any], tools: list[Any]) -> Reply:
    """Give a text the score that stands in it, and approve it from 0.7 on; plan and write as directed."""
    asked = str(next(message["content"] for message in messages if message["role"] == "user"))
    if '"approved"' in asked:
        if tools and all(message["role"] != "tool" for message in messages):
            return Reply(calls=(ToolCall("note", '{"text": "looked up"}'),))
        return Reply(json.dumps(verdict(asked.partition("=== text to review")[2])))
    if "Do not do the task yet" in asked:
        return Reply("1. Think. 2. Write.")
    body = {"messages": messages, "tools": [{"type": "function", "function": tool} for tool in tools]}
    return scripted_reply(body)


def verdict(text: str) -> dict[str, Any]:
    found = re.search(r"\((\d\.\d)\)", text)
    score = float(found[1]) if found else 0.0
    issue = {"criterion": "quality", "problem": f"only {score}", "where": "all of it", "fix": "make it better"}
    return {"approved": score >= 0.7, "score": score, "issues": [] if score >= 0.7 else [issue]}


SCRIPT = script


def write_review(lab: Lab, description: str, review: dict[str, Any] | None = None, **keys: Any) -> None:
    wanted = {"review": {"by": "boss"} | (review or {})} if "refine" not in keys else {}
    write_project(lab, {"work": {"description": description, **wanted, **keys}}, agents=AGENTS)


def test_an_approved_text_is_taken_at_once(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, "@answer: good (0.9)")
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "good (0.9)")
    assert step_names(lab, outcome.run_id) == ["work/worker/model#1", "work/boss.review1/model#1", "work/review#1"]
    found = part(lab, outcome.run_id, "work")
    assert found["review"] == {"by": "boss", "approved": True, "score": 0.9, "issues": [], "judged": True}
    assert found["confidence"] == {"value": 0.9, "measured": True, "from": ["approved by reviewer with 0.9"]}


def test_the_findings_go_back_to_the_writer_until_it_is_good(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP, {"criteria": ["It has a score"]})
    outcome = lab.run()
    assert outcome.output == "three (0.9)"
    told = said_to_model(model.requests[4])
    assert "The reviewer did not approve your work:\n1. only 0.4 (at: all of it). To mend it: make it better" in told
    assert "- It has a score" in said_to_model(model.requests[1])
    assert model.stats()["attempts"] == 6


def test_each_round_says_why(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP)
    told = reasons(lab, lab.run().run_id, "review")
    assert [(entry["chosen"], entry["why"], entry["by"]) for entry in told] == [
        ("sent back", "only 0.2", "boss"),
        ("sent back", "only 0.4", "boss"),
        ("approved", "approved with score 0.9", "boss"),
    ]
    assert {tuple(entry["among"]) for entry in told} == {("approved", "sent back")}


def test_a_reviewer_never_sees_who_wrote_or_what_was_said_before(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP)
    lab.run()
    last = json.dumps(model.requests[5].messages)
    assert "three (0.9)" in last
    assert "Worker" not in last
    assert "one (0.2)" not in last.partition("text to review")[2]


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_writer_revises_no_oftener_than_the_rounds_and_then_the_task_fails(
    lab: Lab, model: ScriptedServer, rounds: int
) -> None:
    answers = "@answer: a (0.1)\n@after-refusal: b (0.2)\n@after-refusal: c (0.3)\n@after-refusal: d (0.9)"
    write_review(lab, answers, {"max_rounds": rounds})
    outcome = lab.run()
    assert outcome.status == "failed"
    shown = {1: "1 round is used up: only 0.2", 2: "2 rounds are used up: only 0.3"}[rounds]
    assert outcome.reason.replace("1 rounds are", "1 round is") == f"work: boss does not approve, and {shown}"
    assert model.stats()["attempts"] == 2 * (rounds + 1)


def test_one_round_is_told_in_the_singular(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, "@answer: a (0.1)\n@after-refusal: b (0.2)", {"max_rounds": 1})
    assert lab.run().reason == "work: boss does not approve, and 1 round is used up: only 0.2"


def test_a_review_that_fails_says_what_can_be_done(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, "@answer: a (0.1)\n@after-refusal: b (0.2)", {"max_rounds": 1})
    outcome = lab.run()
    assert f"`muster runs resume {outcome.run_id}`" in outcome.fix


def test_a_failed_review_goes_on_when_it_is_resumed_and_pays_nothing_twice(lab: Lab, model: ScriptedServer) -> None:
    answers = "@answer: a (0.1)\n@after-refusal: b (0.2)\n@after-refusal: c (0.9)"
    write_review(lab, answers, {"max_rounds": 1})
    run_id = lab.run().run_id
    lab.restart()
    assert lab.resume(run_id).output == "c (0.9)"
    stats = model.stats()
    assert (stats["attempts"], stats["paid_twice"]) == (6, 0)


def test_a_writer_that_says_the_same_again_ends_the_review(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, "@answer: same (0.3)", {"max_rounds": 9})
    outcome = lab.run()
    assert outcome.reason == "work: boss does not approve, and nothing improves any more: only 0.3"
    assert model.stats()["attempts"] == 4


def test_scores_that_rise_no_more_end_the_review(lab: Lab, model: ScriptedServer) -> None:
    answers = "@answer: a (0.4)\n@after-refusal: b (0.3)\n@after-refusal: c (0.2)\n@after-refusal: d (0.9)"
    write_review(lab, answers, {"max_rounds": 9})
    assert lab.run().reason == "work: boss does not approve, and nothing improves any more: only 0.2"
    assert model.stats()["attempts"] == 6


def test_the_best_version_is_kept_where_that_is_wanted_and_the_result_is_partial(
    lab: Lab, model: ScriptedServer
) -> None:
    answers = "@answer: a (0.2)\n@after-refusal: b (0.4)\n@after-refusal: c (0.3)"
    write_review(lab, answers, {"if_not_approved": "keep"})
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "b (0.4)")
    found = part(lab, outcome.run_id, "work")
    assert found["partial"] == ["not approved by boss, nothing improves any more: only 0.4"]
    assert lab.summary(outcome.run_id)["partial"] == [f"work: {found['partial'][0]}"]


def test_the_review_of_the_kept_version_is_told(lab: Lab, model: ScriptedServer) -> None:
    answers = "@answer: a (0.2)\n@after-refusal: b (0.4)\n@after-refusal: c (0.3)"
    write_review(lab, answers, {"if_not_approved": "keep"})
    found = part(lab, lab.run().run_id, "work")
    assert (found["review"]["score"], found["confidence"]["value"]) == (0.4, 0.2)


def test_a_verdict_that_contradicts_itself_goes_back_and_is_given_again(lab: Lab) -> None:
    def contradict(messages: list[Any], _tools: list[Any]) -> Reply:
        asked = str(messages[1]["content"])
        if '"approved"' not in asked:
            return Reply("text")
        return Reply(json.dumps({"approved": True, "score": 0.2 if len(messages) == 2 else 0.8, "issues": []}))

    write_review(lab, "Write")
    with ScriptedServer(contradict) as model:
        lab.models(model.base_url)
        run_id = lab.run().run_id
        assert part(lab, run_id, "work")["review"]["score"] == 0.8
        assert "work/boss.review1/model#2" in step_names(lab, run_id)


def test_a_reviewer_who_gives_no_verdict_fails_the_task_after_four_tries_and_is_asked_again(lab: Lab) -> None:
    def mute(messages: list[Any], _tools: list[Any]) -> Reply:
        asked = str(messages[1]["content"])
        good = len(messages) > 9
        return Reply(json.dumps(verdict("(0.9)")) if good and '"approved"' in asked else "no idea")

    write_review(lab, "Write")
    with ScriptedServer(mute) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.status == "failed"
        assert outcome.reason.startswith("work: boss gave no answer that can be used: ")
        assert outcome.fix.endswith("shows every answer; try another model")
        assert model.stats()["attempts"] == 5
        lab.restart()
        assert lab.resume(outcome.run_id).output == "no idea"
        assert (model.stats()["attempts"], model.stats()["paid_twice"]) == (6, 0)


def test_a_reviewer_who_gives_no_verdict_is_told_in_plain_words(lab: Lab) -> None:
    write_review(lab, "Write")
    with ScriptedServer(lambda messages, tools: Reply("no idea")) as model:
        lab.models(model.base_url)
        assert "work/boss" not in lab.run().reason


def test_the_offline_model_reviews_nothing_and_says_so(lab: Lab, model: ScriptedServer) -> None:
    boss = AGENTS["boss"] | {"llm": "offline"}
    write_project(lab, {"work": {"description": "@answer: a (0.1)", "review": "boss"}}, agents=AGENTS | {"boss": boss})
    outcome = lab.run()
    assert outcome.output == "a (0.1)"
    (told,) = reasons(lab, outcome.run_id, "review")
    assert (told["by"], told["why"]) == ("offline", "the offline model cannot judge a text; only rules were checked")
    found = part(lab, outcome.run_id, "work")
    assert (found["review"]["judged"], found["confidence"]["measured"]) == (False, False)


def test_only_what_passed_the_rules_is_reviewed(lab: Lab, model: ScriptedServer) -> None:
    write_review(
        lab,
        "@answer: far too many words here (0.9)\n@after-refusal: short (0.9)",
        guardrails=[{"words": {"max": 3}}],
    )
    outcome = lab.run()
    assert outcome.output == "short (0.9)"
    assert len(reasons(lab, outcome.run_id, "review")) == 1


def test_a_reviewer_may_look_things_up(lab: Lab, model: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"', 'effect="read"'))
    write_project(
        lab,
        {"work": {"description": "@answer: a (0.9)", "review": "boss"}},
        agents=AGENTS | {"boss": AGENTS["boss"] | {"tools": ["note"]}},
    )
    outcome = lab.run()
    assert "work/boss.review1/note#1" in step_names(lab, outcome.run_id)
    assert part(lab, outcome.run_id, "work")["usage"]["tool_calls"] == 1


def test_a_crash_in_a_review_pays_no_writing_and_no_reading_twice(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP, guardrails=[{"words": {"max": 9}}])
    assert_survives_crashes(lab, model, most=6)


def test_a_crash_gives_no_further_rounds(lab: Lab, model: ScriptedServer) -> None:
    answers = "@answer: a (0.1)\n@after-refusal: b (0.2)\n@after-refusal: c (0.3)\n@after-refusal: d (0.9)"
    write_review(lab, answers, {"max_rounds": 2})
    run_id = lab.run().run_id
    lab.close()
    assert rewind_to(lab, run_id, "work/review#2") == 4
    assert lab.resume(run_id).status == "failed"


# -- refine


def test_an_agent_plans_checks_itself_and_refines(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP, refine=True)
    outcome = lab.run()
    assert outcome.output == "three (0.9)"
    assert "Your plan for this task:\n1. Think. 2. Write.\nWork along it." in said_to_model(model.requests[1])
    assert step_names(lab, outcome.run_id)[:4] == [
        "work/worker.plan/model#1",
        "work/worker/model#1",
        "work/worker.refine1/model#1",
        "work/refine#1",
    ]
    assert [(entry["chosen"], entry["by"]) for entry in reasons(lab, outcome.run_id, "refine")] == [
        ("sent back", "worker"),
        ("sent back", "worker"),
        ("approved", "worker"),
    ]


def test_refining_is_bounded_and_keeps_the_best(lab: Lab, model: ScriptedServer) -> None:
    answers = "@answer: a (0.3)\n@after-refusal: b (0.5)\n@after-refusal: c (0.9)"
    write_review(lab, answers, refine={"max_rounds": 1, "criteria": ["It is short"]})
    outcome = lab.run()
    assert outcome.output == "b (0.5)"
    assert model.stats()["attempts"] == 1 + 4
    assert "- It is short" in said_to_model(model.requests[2])
    assert part(lab, outcome.run_id, "work")["partial"] != []


def test_a_crash_while_refining_keeps_the_plan(lab: Lab, model: ScriptedServer) -> None:
    write_review(lab, UP, refine=True)
    assert_survives_crashes(lab, model, most=5)
