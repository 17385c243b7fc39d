"""Patterns on hand-written answers: what takes a model's judgement is done, and the journal tells how."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.projects import PERSON, offered, scripted
from tests.lab import Lab
from tests.scripted_server import ScriptedServer

Example = tuple[Lab, ScriptedServer]


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Example]:
    with scripted(request.param, tmp_path / "project") as made:
        yield made


def finish(lab: Lab, crew: str, inputs: dict[str, str] | None = None, **more: Any) -> Any:
    outcome = lab.run(crew, inputs, **more)
    assert (outcome.status, outcome.reason) == ("succeeded", "")
    return outcome


def written(lab: Lab, name: str) -> str:
    return (lab.root / "output" / name).read_text(encoding="utf-8")


def decisions(lab: Lab, run_id: str, kind: str) -> list[Any]:
    """Return what was chosen, in order, for a kind of decision such as `review`."""
    records = [step.record for step in lab.steps(run_id) if step.kind == "decision"]
    return [record["chosen"] for record in records if record["decision"] == kind]


def model_steps(lab: Lab, run_id: str) -> list[str]:
    return [step.name for step in lab.steps(run_id) if step.kind == "model"]


@pytest.mark.parametrize("example", ["patterns/router"], indirect=True)
def test_a_router_follows_what_was_found(example: Example) -> None:
    lab, _ = example
    outcome = finish(lab, "answer", {"question": "What does a late return cost?"})
    assert decisions(lab, outcome.run_id, "branch") == ["skip", "run", "skip"]
    assert written(lab, "reply.md").startswith("A tool that comes back late costs two crowns a day. [lending.md:7]")
    # The first answer named a price that its place does not name, and was sent back.
    assert [name for name in model_steps(lab, outcome.run_id) if name.startswith("full_answer")] == [
        "full_answer/writer/model#1",
        "full_answer/writer/model#2",
    ]
    nothing = finish(lab, "answer", {"question": "Is there a chess club?"})
    assert decisions(lab, nothing.run_id, "branch") == ["skip", "skip", "run"]
    assert nothing.output == "The desk will help you with that."


@pytest.mark.parametrize("example", ["patterns/map"], indirect=True)
def test_a_map_keeps_the_order_of_its_list(example: Example) -> None:
    lab, server = example
    outcome = finish(lab, "report")
    task = next(task for task in lab.summary(outcome.run_id)["tasks"] if task["name"] == "look_closer")
    positions = [task["output"].index(word) for word in ("Rent took", "Insurance costs", "Repairing a drill")]
    assert positions == sorted(positions)
    assert server.stats()["paid_twice"] == 0
    assert written(lab, "report.md").count("[costs.md:") == 3


@pytest.mark.parametrize("example", ["patterns/review"], indirect=True)
def test_a_reviewers_findings_reach_the_writer_until_the_text_is_approved(example: Example) -> None:
    lab, _ = example
    outcome = finish(lab, "notice")
    assert decisions(lab, outcome.run_id, "review") == ["sent back", "approved"]
    assert "two crowns a day" in written(lab, "notice.md")
    assert lab.summary(outcome.run_id)["tasks"][0]["partial"] == []


@pytest.mark.parametrize("example", ["patterns/refine"], indirect=True)
def test_an_agent_plans_checks_and_refines_its_own_work(example: Example) -> None:
    lab, _ = example
    outcome = finish(lab, "welcome")
    assert decisions(lab, outcome.run_id, "refine") == ["sent back", "approved"]
    assert any("host.plan" in name for name in model_steps(lab, outcome.run_id))
    assert "30 crowns" in written(lab, "welcome.md")


@pytest.mark.parametrize("example", ["patterns/candidates"], indirect=True)
def test_a_judge_chooses_without_knowing_the_authors(example: Example) -> None:
    lab, server = example
    finish(lab, "debate")
    assert written(lab, "proposal.md").startswith("Repair them:")
    asked = [request for request in server.requests if "Rank them" in str(request.messages[1]["content"])]
    assert len(asked) == 2  # once in each order
    assert not any(name in str(request.messages) for request in asked for name in ("Treasurer", "saver", "keeper"))


@pytest.mark.parametrize("example", ["patterns/planner-executor"], indirect=True)
def test_every_stage_is_offered_its_own_tools_and_no_entry_is_lost(example: Example) -> None:
    lab, server = example
    finish(lab, "request")
    found = {
        stage: {tool for request in server.requests if stage in str(request.messages) for tool in offered(request)}
        for stage in ("one thing an item", "Begin at", "Write a report")
    }
    assert found == {
        "one thing an item": {"search_documents"},
        "Begin at": {"search_documents", "log_entry"},
        "Write a report": set(),
    }
    entries = [json.loads(line)["text"] for line in written(lab, "log.jsonl").splitlines()]
    assert sorted(entries) == [
        "Every electric tool is tested once a year.",
        "Most repairs are blades, cords and batteries.",
    ]


@pytest.mark.parametrize("example", ["patterns/retry"], indirect=True)
def test_the_second_agent_is_told_why_the_first_one_failed(example: Example) -> None:
    lab, server = example
    outcome = finish(lab, "answer")
    assert decisions(lab, outcome.run_id, "reassign") == ["archivist"]
    told = [str(request.messages) for request in server.requests if "You are Archivist" in str(request.messages)]
    assert all("desk: " in text and "not good enough" in text for text in told)
    assert "Confidence:" not in written(lab, "answer.md")


def agree(_question: object) -> str:
    return PERSON


@pytest.mark.parametrize("example", ["patterns/human"], indirect=True)
def test_what_a_person_decides_is_carried_out(example: Example) -> None:
    lab, _ = example
    outcome = finish(lab, "decision", ask=agree)
    assert decisions(lab, outcome.run_id, "branch") == ["run", "skip"]
    assert written(lab, "notice.md").startswith("# A storeroom with the school")


@pytest.mark.parametrize("example", ["patterns/pipeline"], indirect=True)
def test_the_second_crew_gets_fields_of_the_first_ones_result(example: Example) -> None:
    lab, server = example
    finish(lab, "article")
    told = str(server.requests[-1].messages[1]["content"])
    assert 'with the title "What the library costs"' in told
    assert "in at most 200 words" in told
    assert written(lab, "article.md").count("[costs.md:") == 2


@pytest.mark.parametrize("example", ["patterns/delegation"], indirect=True)
def test_a_colleague_is_asked_once_and_the_answer_is_used(example: Example) -> None:
    lab, server = example
    outcome = finish(lab, "answer")
    assert decisions(lab, outcome.run_id, "delegate") == ["treasurer"]
    assert "9,600 crowns" in written(lab, "answer.md")
    treasurer = [request for request in server.requests if "You are Treasurer" in str(request.messages)]
    assert {tool for request in treasurer for tool in offered(request)} == {"search_documents"}


@pytest.mark.parametrize("example", ["patterns/handoff"], indirect=True)
def test_what_was_found_is_handed_over_with_the_task(example: Example) -> None:
    lab, server = example
    outcome = finish(lab, "help")
    assert decisions(lab, outcome.run_id, "handoff") == ["workshop"]
    told = str(next(one for one in server.requests if "You are Workshop" in str(one.messages)).messages)
    assert "A damaged cord is a matter of safety" in told
    assert "Whether the saw may be used" in told
    assert "[lending.md:5 § Lending]" in told  # what the desk's search returned
    assert "electrician" in written(lab, "answer.md")


@pytest.mark.parametrize("example", ["patterns/state"], indirect=True)
def test_the_state_of_two_tasks_is_merged_in_their_order(example: Example) -> None:
    lab, server = example
    finish(lab, "advice")
    told = str(server.requests[-1].messages[1]["content"])
    assert '"sources": ["costs.md", "repairs.md"]' in told  # a union: costs.md was written twice
    assert told.index("Repairing a drill") < told.index("Parts for tools")


@pytest.mark.parametrize("example", ["patterns/hierarchical"], indirect=True)
def test_a_manager_gives_open_tasks_to_those_it_chose(example: Example) -> None:
    lab, _ = example
    outcome = finish(lab, "given_tasks")
    assert decisions(lab, outcome.run_id, "route") == ["researcher", "checker", "writer"]
    assert decisions(lab, outcome.run_id, "done") == ["met"]
    assert outcome.output.startswith("# The tool library")


@pytest.mark.parametrize("example", ["patterns/gates"], indirect=True)
def test_a_text_that_breaks_gates_is_sent_back_with_every_reason(example: Example) -> None:
    lab, server = example
    finish(lab, "notice")
    told = str(server.requests[-1].messages[-1]["content"])
    assert "do not shout: MUST" in told
    assert "customer" in told
    assert "the number 9 does not occur there" in told
    assert written(lab, "notice.md").startswith("A member may keep a tool for seven days.")


@pytest.mark.parametrize("example", ["patterns/gates"], indirect=True)
def test_a_gate_that_fails_ends_the_task_without_another_answer(example: Example) -> None:
    lab, server = example
    outcome = lab.run("notice", {"topic": "whom to write to"})
    assert outcome.status == "failed"
    assert "e-mail" in outcome.reason
    assert len(server.requests) == 2  # the search and one answer
    assert not (lab.root / "output").exists()


@pytest.mark.parametrize("example", ["patterns/gates"], indirect=True)
def test_a_gate_that_warns_lets_the_text_pass_and_lowers_its_confidence(example: Example) -> None:
    lab, server = example
    outcome = finish(lab, "notice", {"topic": "everything in one sentence"})
    assert len(server.requests) == 2
    assert written(lab, "notice.md").startswith("The desk checks every tool")
    confidence = lab.summary(outcome.run_id)["tasks"][0]["confidence"]
    assert confidence["value"] < 1
    assert "7 of 7 checks passed" not in confidence["from"]
