"""Several proposals and a judge who knows none of their makers: who wins, how often the judge is asked, and why."""

import json
import re
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import Reply, ScriptedServer
from tests.server_script import scripted_reply

WRITERS = {
    name: {"role": name.title(), "goal": "Write", "backstory": f"You write.\n@answer: text of {name} ({score})"}
    for name, score in (("anna", 0.3), ("bert", 0.9), ("cleo", 0.5))
}
AGENTS = WRITERS | {"boss": {"role": "Boss", "goal": "Judge", "backstory": "You judge."}}
TEXTS = re.compile(r"=== text ([A-H]) ===\n(.*?)\n=== end", re.DOTALL)


def rank_by_score(asked: str) -> Reply:
    scores = {letter: float(text.rpartition("(")[2].rstrip(")")) for letter, text in TEXTS.findall(asked)}
    return ranking(sorted(scores, key=lambda letter: (-scores[letter], letter)))


def rank_first_place(asked: str) -> Reply:
    """Prefer whatever stands first, as a judge with a bias does."""
    return ranking([letter for letter, _ in TEXTS.findall(asked)])


def ranking(letters: list[str]) -> Reply:
    return Reply(json.dumps({"ranking": letters, "reasons": {letter: f"because of {letter}" for letter in letters}}))


def judged_by(judge: Any) -> Any:
    """Return the script of a model that judges so, and writes as directed."""

    def script(messages: list[Any], tools: list[Any]) -> Reply:
        asked = str(next(message["content"] for message in messages if message["role"] == "user"))
        return judge(asked) if '"ranking"' in asked else scripted_reply({"messages": messages})

    return script


SCRIPT = judged_by(rank_by_score)


def write_candidates(lab: Lab, count: int = 3, agents: dict[str, Any] | None = None, **keys: Any) -> None:
    work: dict[str, Any] = {
        "description": "Write",
        "agent": "anna",
        "candidates": {"count": count, "agents": ["anna", "bert", "cleo"][:count]},
        "judge": "boss",
    }
    write_project(lab, {"work": work | keys}, agents=agents or AGENTS)


def judgings(model: ScriptedServer) -> list[str]:
    return [said_to_model(request) for request in model.requests if '"ranking"' in said_to_model(request)]


def test_the_best_proposal_wins_in_two_rankings_in_opposite_order(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab)
    outcome = lab.run()
    assert outcome.output == "text of bert (0.9)"
    asked = judgings(model)
    assert [[text for _, text in TEXTS.findall(one)] for one in asked] == [
        ["text of anna (0.3)", "text of bert (0.9)", "text of cleo (0.5)"],
        ["text of cleo (0.5)", "text of bert (0.9)", "text of anna (0.3)"],
    ]
    assert [name for name in step_names(lab, outcome.run_id) if "judge" in name] == [
        "work/boss.judge1/model#1",
        "work/boss.judge2/model#1",
        "work/judge#1",
    ]


def test_the_judge_is_told_no_names(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, judge={"by": "boss", "criteria": ["It is the best"]})
    lab.run()
    for asked in judgings(model):
        assert not re.search(r"anna'|Anna|Bert|Cleo|c1|c2", asked)
        assert "- It is the best" in asked


def test_who_was_chosen_is_told_with_the_reason_and_the_makers(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab)
    run_id = lab.run().run_id
    (told,) = reasons(lab, run_id, "judge")
    assert (told["task"], told["chosen"], told["among"], told["by"]) == ("work", "c2", ["c1", "c2", "c3"], "boss")
    assert told["why"] == "first in 2 of 2 blind rankings, each in another order: because of B"
    assert told["evidence"] == ["c1 by anna", "c2 by bert", "c3 by cleo"]
    assert part(lab, run_id, "work")["agent"] == "bert"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_judge_who_prefers_a_place_is_asked_once_more_than_there_are_candidates(lab: Lab, count: int) -> None:
    write_candidates(lab, count)
    with ScriptedServer(judged_by(rank_first_place)) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.status == "succeeded"
        assert 2 <= len(judgings(model)) <= count + 1
        (told,) = reasons(lab, outcome.run_id, "judge")
        assert re.match(rf"first in \d of {len(judgings(model))} blind rankings", told["why"])


def test_a_judge_who_cannot_decide_leaves_it_to_what_was_measured(lab: Lab) -> None:
    write_candidates(lab, 2)
    with ScriptedServer(judged_by(rank_first_place)) as model:
        lab.models(model.base_url)
        run_id = lab.run().run_id
        assert len(judgings(model)) == 3
        (told,) = reasons(lab, run_id, "judge")
        assert told["chosen"] in ("c1", "c2")


def test_proposals_are_made_side_by_side(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, 3)
    model.configure(latency="80")
    assert lab.run().status == "succeeded"
    assert model.stats()["peak_in_flight"] == 3


def test_makers_take_turns_where_there_are_fewer_than_proposals(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, 3, candidates={"count": 3, "agents": ["anna", "bert"]})
    told = reasons(lab, lab.run().run_id, "judge")
    assert told[0]["evidence"] == ["c1 by anna", "c2 by bert", "c3 by anna"]


def test_the_agent_of_the_task_makes_all_where_none_are_named(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, candidates=2)
    outcome = lab.run()
    assert outcome.output == "text of anna (0.3)"
    assert part(lab, outcome.run_id, "work")["confidence"] == {
        "value": 1.0,
        "measured": True,
        "from": ["100 % of independent answers agree"],
    }


def test_alike_proposals_cost_no_judging(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, candidates=2)
    lab.run()
    assert judgings(model) == []


def test_a_proposal_that_fails_leaves_the_others(lab: Lab, model: ScriptedServer) -> None:
    agents = AGENTS | {"bert": AGENTS["bert"] | {"backstory": "You write.\n@answer: forbidden"}}
    write_candidates(lab, 3, agents, guardrails=[{"matches": "text"}], guardrail_max_retries=0)
    outcome = lab.run()
    assert outcome.output == "text of cleo (0.5)"
    (told,) = reasons(lab, outcome.run_id, "judge")
    assert (told["chosen"], told["among"]) == ("c3", ["c1", "c3"])


def test_a_lone_proposal_needs_no_judge(lab: Lab, model: ScriptedServer) -> None:
    agents = AGENTS | {
        name: AGENTS[name] | {"backstory": "You write.\n@answer: forbidden"} for name in ("anna", "bert")
    }
    write_candidates(lab, 3, agents, guardrails=[{"matches": "text"}], guardrail_max_retries=0)
    outcome = lab.run()
    assert outcome.output == "text of cleo (0.5)"
    assert judgings(model) == []
    (told,) = reasons(lab, outcome.run_id, "judge")
    assert (told["chosen"], told["among"], told["by"]) == ("c3", ["c3"], "rule")


def test_lost_proposals_are_told(lab: Lab, model: ScriptedServer) -> None:
    agents = AGENTS | {
        name: AGENTS[name] | {"backstory": "You write.\n@answer: forbidden"} for name in ("anna", "bert")
    }
    write_candidates(lab, 3, agents, guardrails=[{"matches": "text"}], guardrail_max_retries=0)
    run_id = lab.run().run_id
    told = json.dumps([part(lab, run_id, "work"), reasons(lab, run_id)])
    assert "the output was not accepted" in told.partition('"decision": "judge"')[2]


def test_where_all_proposals_fail_the_task_fails_and_a_resume_makes_them_again(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab)
    model.configure(faults=[{"fault": "400", "match": "Write"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: c1: the model 'default' did not answer: 400")
    assert outcome.fix == f"`muster runs resume {outcome.run_id}` tries the failed ones again"
    model.configure(faults=[])
    lab.restart()
    assert lab.resume(outcome.run_id).output == "text of bert (0.9)"
    stats = model.stats()
    assert (stats["ok"], stats["paid_twice"]) == (5, 0)


def test_a_judge_who_fails_is_asked_again_by_a_resume_and_no_proposal_is_made_again(
    lab: Lab, model: ScriptedServer
) -> None:
    write_candidates(lab)
    model.configure(faults=[{"fault": "400", "match": '"ranking"'}])
    outcome = lab.run()
    assert (outcome.status, model.stats()["ok"]) == ("failed", 3)
    model.configure(faults=[])
    lab.restart()
    assert lab.resume(outcome.run_id).output == "text of bert (0.9)"
    stats = model.stats()
    assert (stats["ok"], stats["paid_twice"], stats["attempts"]) == (5, 0, 6)


def test_a_judge_who_names_a_letter_twice_is_told_so_and_asked_again(lab: Lab) -> None:
    def script(messages: list[Any], _tools: list[Any]) -> Reply:
        if '"ranking"' not in str(messages[1]["content"]):
            return scripted_reply({"messages": messages})
        return rank_by_score(str(messages[1]["content"])) if len(messages) > 2 else ranking(["A", "A", "B"])

    write_candidates(lab)
    with ScriptedServer(script) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.output == "text of bert (0.9)"
        assert "work/boss.judge1/model#2" in step_names(lab, outcome.run_id)


def test_an_offline_judge_chooses_by_what_was_measured_and_says_so(lab: Lab, model: ScriptedServer) -> None:
    agents = AGENTS | {"boss": AGENTS["boss"] | {"llm": "offline"}}
    write_candidates(lab, 2, agents)
    outcome = lab.run()
    (told,) = reasons(lab, outcome.run_id, "judge")
    assert told["by"] == "offline"
    assert model.stats()["attempts"] == 2


def test_only_the_winner_writes_the_file(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, output_file="out.md")
    run_id = lab.run().run_id
    assert (lab.root / "out.md").read_text() == "text of bert (0.9)\n"
    assert [name for name in step_names(lab, run_id) if "file#" in name] == ["work/anna/file#1"]


def test_agreement_of_the_proposals_is_part_of_the_confidence(lab: Lab, model: ScriptedServer) -> None:
    values = {"anna": 3, "bert": 4, "cleo": 4}
    agents = AGENTS | {
        name: AGENTS[name] | {"backstory": f'You write.\n@answer: {{"count": {value}, "why": "x ({value / 10})"}}'}
        for name, value in values.items()
    }

    def judge(asked: str) -> Reply:
        counts = {letter: json.loads(text)["count"] for letter, text in TEXTS.findall(asked)}
        return ranking(sorted(counts, key=lambda letter: (-counts[letter], letter)))

    write_candidates(lab, 3, agents, output={"count": "int", "why": "str"})
    with ScriptedServer(judged_by(judge)) as server:
        lab.models(server.base_url)
        outcome = lab.run()
        assert json.loads(outcome.output)["count"] == 4
        confidence = part(lab, outcome.run_id, "work")["confidence"]
        assert (confidence["value"], confidence["measured"]) == (0.667, True)
        assert confidence["from"] == ["67 % of independent answers agree"]


def test_proposals_for_each_entry_are_judged_entry_by_entry(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, for_each="['x', 'y']")
    outcome = lab.run()
    assert outcome.output == "## x\n\ntext of bert (0.9)\n\n## y\n\ntext of bert (0.9)"
    assert "work.i2/judge#1" in step_names(lab, outcome.run_id)


def test_a_winner_that_is_not_sure_enough_is_sought_again(lab: Lab, model: ScriptedServer) -> None:
    said = {"anna": "rain in spring (0.3)", "bert": "coal from mines (0.9)", "cleo": "trade by sea (0.5)"}
    agents = AGENTS | {
        name: AGENTS[name] | {"backstory": f"You write.\n@answer: {text}"} for name, text in said.items()
    }
    write_candidates(lab, 3, agents, retry={"attempts": 2}, min_confidence=0.9)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: 2 attempts failed: ")
    assert [entry["chosen"] for entry in reasons(lab, outcome.run_id, "judge")] == ["c2", "c2"]


def test_a_crash_among_proposals_and_judgings_repeats_none(lab: Lab, model: ScriptedServer) -> None:
    write_candidates(lab, output_file="out.md")
    assert_survives_crashes(lab, model, most=7)
