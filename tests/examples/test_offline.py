"""What examples do without a model: their READMEs say that these work offline."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.examples.projects import JOURNAL_KEY, copy_example
from tests.lab import Lab
from tools.documents import cited_text, normalise

_LINE = re.compile(r"^(?:- )?(?P<said>\S.*?) \[(?P<place>[\w./-]+:\d+)\]$", re.MULTILINE)


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = copy_example(request.param, tmp_path / "project")
    yield lab
    lab.close()


def statuses(lab: Lab, run_id: str) -> dict[str, str]:
    return {task["name"]: task["status"] for task in lab.summary(run_id)["tasks"]}


def written(lab: Lab, name: str) -> str:
    return (lab.root / "output" / name).read_text(encoding="utf-8")


def assert_cited(lab: Lab, text: str, least: int, documents: str = "documents") -> None:
    """Every cited line of a text is there, and says what the text says."""
    found = _LINE.findall(text)
    assert len(found) >= least, text
    for said, place in found:
        there = cited_text(lab.root / documents, place)
        assert there is not None, place
        assert normalise(said) in normalise(there), place


def run_to_its_end(lab: Lab, crew: str, inputs: Mapping[str, str] | None = None, **more: Any) -> Any:
    outcome = lab.run(crew, inputs, **more)
    assert (outcome.status, outcome.reason) == ("succeeded", "")
    return outcome


@pytest.mark.parametrize("example", ["patterns/router"], indirect=True)
@pytest.mark.parametrize(
    ("inputs", "taken"),
    [
        ({"question": "What does a membership cost?"}, "full_answer"),
        ({"question": "What does a membership cost?", "depth": "short"}, "short_answer"),
        ({"question": "Is there a chess club?"}, "ask_the_desk"),
    ],
)
def test_a_router_takes_the_branch_that_fits(example: Lab, inputs: dict[str, str], taken: str) -> None:
    outcome = run_to_its_end(example, "answer", inputs)
    branches = {"full_answer", "short_answer", "ask_the_desk"}
    found = statuses(example, outcome.run_id)
    assert {name for name in branches if found[name] == "done"} == {taken}
    assert {name for name in branches if found[name] == "skipped"} == branches - {taken}
    if taken != "ask_the_desk":
        assert "A membership costs 30 crowns a year. [lending.md:18]" in written(example, "reply.md")
        assert_cited(example, written(example, "reply.md"), 1)


@pytest.mark.parametrize("example", ["patterns/map"], indirect=True)
def test_a_map_works_on_every_entry_and_joins_them_in_order(example: Lab) -> None:
    outcome = run_to_its_end(example, "report")
    paths = {step.task for step in example.steps(outcome.run_id)}
    assert {"look_closer.i1", "look_closer.i2", "look_closer.i3"} <= paths
    assert_cited(example, written(example, "report.md"), 5)


@pytest.mark.parametrize("example", ["patterns/planner-executor"], indirect=True)
def test_an_executor_carries_out_every_item_of_the_plan(example: Lab) -> None:
    outcome = run_to_its_end(example, "request")
    plan = next(step for step in example.summary(outcome.run_id)["tasks"] if step["name"] == "plan")
    items = plan["output"].count('"source"')
    assert 2 <= items <= 4
    paths = {step.task for step in example.steps(outcome.run_id)}
    assert {path for path in paths if path.startswith("carry_out.")} == {f"carry_out.i{n}" for n in range(1, items + 1)}
    assert_cited(example, written(example, "report.md"), 5)


@pytest.mark.parametrize("example", ["patterns/retry"], indirect=True)
def test_another_agent_takes_over_what_the_first_one_cannot_do(example: Lab) -> None:
    outcome = run_to_its_end(example, "answer")
    agents = {step.name.split("/")[1] for step in example.steps(outcome.run_id) if step.kind == "model"}
    assert agents == {"desk", "archivist"}
    assert "crowns" in written(example, "answer.md")
    assert_cited(example, written(example, "answer.md"), 2, "documents/archive")


@pytest.mark.parametrize("example", ["patterns/fallbacks"], indirect=True)
def test_what_one_agent_cannot_do_another_does_and_what_nobody_can_is_said(example: Lab) -> None:
    outcome = run_to_its_end(example, "answer")
    assert "crowns" in written(example, "answer.md")
    tasks = {task["name"]: task for task in example.summary(outcome.run_id)["tasks"]}
    did = [tasks[name]["fallback"]["did"] for name in ("price", "parking")]
    assert did == ["agent archivist", "fixed text"]
    assert tasks["parking"]["output"] == "Our papers say nothing about parking."
    (note,) = outcome.partial
    assert note.startswith("parking: a fixed text stands for it: desk: ")


@pytest.mark.parametrize("example", ["patterns/human"], indirect=True)
@pytest.mark.parametrize(
    ("said", "made"), [("{decision: agreed, reason: it saves rent}", "notice.md"), ("decision: declined", "")]
)
def test_a_person_decides_which_branch_is_taken(example: Lab, said: str, made: str) -> None:
    answers = iter([said, "{decision: declined, reason: not yet}"])
    asked: list[str] = []

    def ask(question: Any) -> str:
        asked.append(question.prompt)
        return next(answers)

    outcome = run_to_its_end(example, "decision", ask=ask)
    found = statuses(example, outcome.run_id)
    if made:
        assert (found["announce"], found["file_away"], len(asked)) == ("done", "skipped", 1)
        assert_cited(example, written(example, made), 1)
    else:  # an answer without a reason breaks the contract: it is asked for again
        assert (found["announce"], found["file_away"], len(asked)) == ("skipped", "done", 2)
        assert "reason" in asked[1]
        assert_cited(example, written(example, "filed.md"), 1)


@pytest.mark.parametrize("example", ["patterns/human"], indirect=True)
def test_without_a_person_the_run_waits_and_goes_on_when_it_is_asked(example: Lab) -> None:
    waiting = example.run("decision")
    assert waiting.status == "waiting"
    assert not (example.root / "output").exists()
    outcome = example.resume(waiting.run_id, ask=lambda _: "{decision: agreed, reason: it saves rent}")
    assert outcome.status == "succeeded"
    assert_cited(example, written(example, "notice.md"), 1)


@pytest.mark.parametrize("example", ["patterns/human"], indirect=True)
def test_a_person_sees_the_plan_before_it_is_run(example: Lab) -> None:
    seen: list[str] = []

    def ask(question: Any) -> str:
        seen.extend([question.text, question.editable])
        return ""

    outcome = run_to_its_end(example, "planned", ask=ask)
    assert len(seen) == 2
    assert "1.  research  secretary" in seen[0]
    assert seen[1].startswith("subtasks:")
    assert_cited(example, outcome.output, 1)


@pytest.mark.parametrize("example", ["patterns/pipeline"], indirect=True)
def test_a_pipeline_hands_fields_of_one_crew_to_the_next(example: Lab) -> None:
    outcome = run_to_its_end(example, "article")
    assert list(statuses(example, outcome.run_id)) == ["research.find", "writing.write"]
    assert_cited(example, written(example, "article.md"), 4)


@pytest.mark.parametrize("example", ["patterns/state"], indirect=True)
def test_state_is_written_side_by_side_and_read_by_a_third_task(example: Lab) -> None:
    outcome = run_to_its_end(example, "advice")
    assert statuses(example, outcome.run_id) == {"money": "done", "dangers": "done", "advice": "done"}
    assert_cited(example, written(example, "advice.md"), 3)


@pytest.mark.parametrize("example", ["patterns/hierarchical"], indirect=True)
@pytest.mark.parametrize(
    ("crew", "tasks"),
    [("goal_only", {"research", "write"}), ("given_tasks", {"accounts", "workshop", "letter"})],
)
def test_a_manager_without_a_model_follows_a_fixed_plan(example: Lab, crew: str, tasks: set[str]) -> None:
    outcome = run_to_its_end(example, crew)
    assert tasks == set(statuses(example, outcome.run_id)) - {"manager"}
    assert_cited(example, outcome.output, 3)


@pytest.mark.parametrize("example", ["patterns/gates"], indirect=True)
def test_a_text_passes_every_gate(example: Lab) -> None:
    outcome = run_to_its_end(example, "notice")
    checks = [step for step in example.steps(outcome.run_id) if "/verdict#" in step.name]
    assert len(checks) == 1
    assert_cited(example, written(example, "notice.md"), 5)


@pytest.mark.parametrize(
    ("example", "crew", "file"),
    [
        ("patterns/review", "notice", "notice.md"),
        ("patterns/refine", "welcome", "welcome.md"),
        ("patterns/candidates", "debate", "proposal.md"),
    ],
    indirect=["example"],
)
def test_what_needs_judgement_is_left_out_and_the_rest_is_done(example: Lab, crew: str, file: str) -> None:
    outcome = run_to_its_end(example, crew)
    summary = example.summary(outcome.run_id)
    assert "approved by" not in str(summary["tasks"][0]["confidence"])
    assert_cited(example, written(example, file), 2)


@pytest.mark.parametrize("example", ["patterns/delegation"], indirect=True)
def test_nobody_is_asked_without_a_model(example: Lab) -> None:
    outcome = run_to_its_end(example, "answer")
    assert not [step for step in example.steps(outcome.run_id) if "treasurer" in step.name]
    assert_cited(example, written(example, "answer.md"), 2, "documents/lending")


@pytest.mark.parametrize("example", ["patterns/handoff"], indirect=True)
def test_nothing_is_handed_over_without_a_model(example: Lab) -> None:
    outcome = run_to_its_end(example, "help", {"message": "The cord of the saw is damaged. What now?"})
    assert not [step for step in example.steps(outcome.run_id) if "workshop" in step.name]
    assert "> Note:" in written(example, "answer.md")


@pytest.mark.parametrize("example", ["content-pipeline"], indirect=True)
def test_an_article_is_published_from_sources(example: Lab) -> None:
    outcome = run_to_its_end(example, "article")
    page = (example.root / "site" / "green-roofs.md").read_text(encoding="utf-8")
    assert page.strip() == outcome.output.strip() == written(example, "green-roofs.md").strip()
    assert '"green-roofs.md": "Green roofs"' in (example.root / "site" / "index.json").read_text(encoding="utf-8")
    assert page.index("## Summary") < page.index("## Sources")
    assert_cited(example, page, 8, "sources")


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_the_knowledge_base_answers_without_a_model(example: Lab) -> None:
    outcome = run_to_its_end(example, "knowledge", {"question": "How do I remove chalk?"})
    assert "30 grams of citric acid" in outcome.output
    assert_cited(example, outcome.output, 2, "knowledge")


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_a_ticket_is_not_sorted_and_nothing_is_paid_without_a_model(
    example: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_JOURNAL_KEY", JOURNAL_KEY)
    outcome = example.run("ticket", {"ticket": "1041"}, ask=lambda _: "{decision: pay, reason: yes}")
    assert outcome.status == "failed"
    assert "language model" in outcome.reason
    assert not (example.root / "output").exists()
