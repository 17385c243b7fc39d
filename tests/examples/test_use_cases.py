"""The use cases on hand-written answers, from the first input to the last file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.examples.projects import scripted
from tests.lab import Lab
from tests.runs.scene import crash_after
from tests.scripted_server import ScriptedServer

Example = tuple[Lab, ScriptedServer]


@pytest.fixture
def example(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Example]:
    with scripted(request.param, tmp_path / "project") as made:
        yield made


def statuses(lab: Lab, run_id: str) -> dict[str, str]:
    return {task["name"]: task["status"] for task in lab.summary(run_id)["tasks"]}


def refunds(lab: Lab) -> list[dict[str, str]]:
    path = lab.root / "output" / "refunds.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def refund_calls(lab: Lab, run_id: str) -> list[str]:
    return [step.name for step in lab.steps(run_id) if step.kind == "tool" and "/refund#" in step.name]


def says(decision: str) -> Callable[[object], str]:
    return lambda _question: {"pay": "y", "decline": "n send a photo of the leak first"}[decision]


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_a_refund_that_a_person_agrees_to_is_paid_exactly_once(example: Example) -> None:
    lab, _ = example
    outcome = lab.run("ticket", {"ticket": "1041"}, ask=says("pay"))
    assert outcome.status == "succeeded"
    assert refund_calls(lab, outcome.run_id) == ["pay/cashier/refund#1/approved#1"]
    assert [(entry["order"], entry["amount_crowns"]) for entry in refunds(lab)] == [("BK-2207", "129.50")]
    reply = (lab.root / "output" / "reply-1041.md").read_text()
    assert "refund of 129.50 crowns" in reply  # the first draft said "reimbursement", which the glossary refuses
    assert set(statuses(lab, outcome.run_id).values()) == {"done"}


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_a_refund_that_a_person_declines_is_never_paid(example: Example) -> None:
    lab, _ = example
    outcome = lab.run("ticket", {"ticket": "1041"}, ask=says("decline"))
    assert outcome.status == "succeeded"
    (refused,) = [step.record for step in lab.steps(outcome.run_id) if step.name in refund_calls(lab, outcome.run_id)]
    assert refused["refused"].endswith("a person has rejected it: send a photo of the leak first")
    assert refunds(lab) == []
    assert "cannot agree to the refund" in outcome.output


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
@pytest.mark.parametrize(("steps", "settled_by"), [(5, "probe"), (6, None)])
def test_a_crash_around_the_payment_does_not_pay_again(example: Example, steps: int, settled_by: str | None) -> None:
    lab, _ = example
    run_id = lab.run("ticket", {"ticket": "1041"}, ask=says("pay")).run_id
    names = [step.name for step in lab.steps(run_id) if step.task == "pay"]
    call = "pay/cashier/refund#1"
    assert names[2:6] == [f"{call}/intent", f"{call}/approval#1", f"{call}/approved#1/intent", f"{call}/approved#1"]
    crash_after(lab, run_id, "pay", steps)
    outcome = lab.resume(run_id, ask=says("decline"))  # asked again, the person would decline: nobody is asked again
    assert outcome.status == "succeeded"
    assert len(refunds(lab)) == 1
    told = [step.record for step in lab.steps(run_id) if step.kind == "tool" and step.record.get("result")]
    paid = next(record for record in told if record["result"] == "paid back 129.50 crowns for BK-2207")
    assert paid.get("settled_by") == settled_by


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_nothing_is_paid_while_nobody_has_answered(example: Example) -> None:
    lab, _ = example
    waiting = lab.run("ticket", {"ticket": "1041"})
    assert waiting.status == "waiting"
    assert refunds(lab) == []
    lab.restart()
    outcome = lab.resume(waiting.run_id, ask=says("pay"))
    assert outcome.status == "succeeded"
    assert len(refunds(lab)) == 1


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_a_question_is_answered_without_a_person(example: Example) -> None:
    lab, _ = example
    outcome = lab.run("ticket", {"ticket": "1042"})
    assert outcome.status == "succeeded"
    found = statuses(lab, outcome.run_id)
    assert [name for name, status in found.items() if status == "skipped"] == ["propose", "pay"]
    assert "30 grams of citric acid" in (lab.root / "output" / "reply-1042.md").read_text()


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_what_a_customer_orders_in_a_ticket_changes_nothing(example: Example) -> None:
    lab, _ = example
    outcome = lab.run("ticket", {"ticket": "1043"})  # nobody is asked: what does not fit the rules is not proposed
    assert outcome.status == "succeeded"
    assert statuses(lab, outcome.run_id)["pay"] == "skipped"
    assert refunds(lab) == []


@pytest.mark.parametrize("example", ["support-triage"], indirect=True)
def test_a_number_that_no_tool_returned_goes_back(example: Example) -> None:
    lab, server = example
    lab.run("ticket", {"ticket": "1041"}, ask=says("decline"))
    sent_back = [
        str(request.messages[-1]["content"])
        for request in server.requests
        if request.messages[-1]["role"] == "user" and len(request.messages) > 2
    ]
    assert any("12" in text for text in sent_back)  # days that the tool did not count
    assert any("192.50" in text for text in sent_back)  # a price with two digits the wrong way round


@pytest.mark.parametrize("example", ["content-pipeline"], indirect=True)
def test_an_article_is_reviewed_gated_and_published(example: Example) -> None:
    lab, server = example
    outcome = lab.run("article")
    assert outcome.status == "succeeded"
    page = (lab.root / "site" / "green-roofs.md").read_text(encoding="utf-8")
    assert page.strip() == outcome.output
    assert "Seven of the first roofs failed" in page  # what the reviewer asked for
    assert "living roof" not in page.casefold()  # what the glossary refuses
    assert json.loads((lab.root / "site" / "index.json").read_text()) == {"green-roofs.md": "Green roofs in Windmoor"}
    reviews = [step.record for step in lab.steps(outcome.run_id) if step.record.get("decision") == "review"]
    assert [(record["chosen"], record["by"]) for record in reviews] == [
        ("sent back", "reviewer"),
        ("approved", "reviewer"),
    ]
    judged = [
        str(step.record) for step in lab.steps(outcome.run_id) if step.name.startswith("writing.write/judge/model")
    ]
    assert len(judged) == 2  # both versions kept to the rules; the first one was then sent back by the reviewer
    assert all("does not drift from it: An article about green roofs for neighbours" in text for text in judged)
    assert "living roof" in str(server.requests[-1].messages[-1]["content"]).casefold()


@pytest.mark.parametrize("example", ["code-review"], indirect=True)
def test_reviews_become_one_and_their_conflicts_are_named(example: Example) -> None:
    lab, server = example
    outcome = lab.run("review")
    assert outcome.status == "succeeded"
    assert "## Verdict" in outcome.output
    assert "basket.py:25" in outcome.output
    conflicts = lab.summary(outcome.run_id)["conflicts"]
    assert {conflict["subject"] for conflict in conflicts} == {"verdict", "basket.py:25 severity"}
    verdict = next(conflict for conflict in conflicts if conflict["subject"] == "verdict")
    assert {said["source"]: said["value"] for said in verdict["said"]} == {
        "check_security": "request changes",
        "check_correctness": "request changes",
        "check_readability": "approve",
    }
    joined = next(request for request in server.requests if "Make one complete text" in str(request.messages))
    assert "Differences between the outputs" in str(joined.messages)


@pytest.mark.parametrize("example", ["data-report"], indirect=True)
def test_every_number_of_a_report_comes_from_the_table(example: Example) -> None:
    lab, server = example
    outcome = lab.run("report")
    assert outcome.status == "succeeded"
    report = (lab.root / "output" / "report.md").read_text()
    assert "70,079.00 crowns" in report
    assert "38 percent" not in report
    sent_back = [
        str(request.messages[-1]["content"])
        for request in server.requests
        if request.messages[-1]["role"] == "user" and len(request.messages) > 2
    ]
    assert any("50760.50" in text for text in sent_back)  # digits of a sum the wrong way round
    assert any("38" in text for text in sent_back)  # a percentage that nobody worked out
