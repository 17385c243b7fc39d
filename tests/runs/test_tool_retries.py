"""Calls of tools that fail: made again where that is declared and harmless, then made with another tool."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from project.errors import AppError
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, chosen, part, reasons
from tests.runs.scene import crash_after, effects, step_names, write_project
from tests.scripted_server import ScriptedServer

TOOLS = '''
import os
import time

from muster import tool


def _count(text: str) -> int:
    with open(os.environ["NOTED"], "a") as file:
        file.write(text + "\\n")
    return sum(1 for line in open(os.environ["NOTED"]) if line.strip() == text)


@tool(effect="read")
def fetch(page: str) -> str:
    """Fetch a page. One called `down` is never there, `slow` never comes, `second` is there at the second time."""
    times = _count(page)
    if page == "slow":
        time.sleep(60)
    if page == "odd":
        raise ValueError("not a page")
    if page == "down" or (page == "second" and times == 1):
        raise OSError("no route to it")
    return "" if page == "empty" else f"page {page}"


@tool(effect="read")
def cached(page: str) -> str:
    """Fetch a page from the cache."""
    if page == "odd":
        raise KeyError("not in the cache")
    return f"cached {page}"


@tool(effect="read")
def other(name: str) -> str:
    """Fetch by another name."""
    return name


@tool(effect="send", repeat="keyed")
def post(page: str, idempotency_key: str) -> str:
    """Post a page."""
    if _count(idempotency_key) == 1:
        raise OSError("no route to it")
    return "posted"


@tool(effect="send")
def send(page: str) -> str:
    """Send a page."""
    return "sent"
'''


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which each call of `fetch` leaves a line."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    lab.write(tools__net_py=TOOLS)
    return path


def write_work(lab: Lab, page: str, use: dict[str, Any], **keys: Any) -> None:
    work = {"description": f'@call {use["name"]} {{"page": "{page}"}}\n@echo', **keys}
    write_project(lab, {"work": work}, {"tools": [use]})


def fetching(*, backoff: float = 0.0, **more: Any) -> dict[str, Any]:
    retry = {"attempts": 3, "backoff_seconds": backoff} | more.pop("retry", {})
    return {"name": "fetch", "retry": retry, **more}


def test_a_failed_call_is_made_again_as_a_step_of_its_own(lab: Lab, noted: Path) -> None:
    write_work(lab, "second", fetching(backoff=0.02))
    outcome = lab.run()
    assert (outcome.output, outcome.partial) == ("page second", ())
    assert [name for name in step_names(lab, outcome.run_id) if "fetch" in name] == [
        "work/worker/fetch#1",
        "work/worker/fetch#1/backoff#1",
        "work/worker/fetch#1.2",
    ]
    (told,) = reasons(lab, outcome.run_id, "wait")
    waited = re.fullmatch(r"call fetch again after (.*) s", told["chosen"])
    assert waited is not None
    assert (float(waited[1]) >= 0.02, told["why"]) == (True, "no route to it")


def test_without_retry_nothing_is_called_again(lab: Lab, noted: Path) -> None:
    write_work(lab, "second", {"name": "fetch", "settings": {}})
    outcome = lab.run()
    assert outcome.output == "Error: fetch failed: no route to it"
    assert effects(noted) == ["second"]


def test_attempts_are_bounded_and_the_result_is_partial(lab: Lab, noted: Path) -> None:
    write_work(lab, "down", fetching())
    outcome = lab.run()
    assert outcome.output == "Error: fetch failed 3 times: no route to it"
    assert outcome.partial == ("work: a tool failed for good: fetch failed 3 times: no route to it",)
    assert effects(noted) == ["down"] * 3


@pytest.mark.parametrize(("on", "times"), [(["OSError"], 3), (["ValueError"], 1), (["timeout"], 1), (["error"], 3)])
def test_only_the_errors_that_are_named_are_tried_again(lab: Lab, noted: Path, on: list[str], times: int) -> None:
    write_work(lab, "down", fetching(retry={"on": on}))
    lab.run()
    assert effects(noted) == ["down"] * times


def test_a_call_has_the_time_that_its_use_gives_it(lab: Lab, noted: Path) -> None:
    write_work(lab, "slow", fetching(retry={"attempts": 2}, timeout_seconds=0.5, fallback=["cached"]))
    outcome = lab.run()
    assert (
        outcome.output == "[fetch failed 2 times: no result within 0.5 s; cached was called in its place]\ncached slow"
    )
    assert len(effects(noted)) == 2


def test_another_tool_is_called_with_the_same_arguments_and_the_agent_is_told(lab: Lab, noted: Path) -> None:
    write_work(lab, "down", fetching(fallback=["cached"]))
    outcome = lab.run()
    assert outcome.output == "[fetch failed 3 times: no route to it; cached was called in its place]\ncached down"
    assert outcome.partial == ()
    record = next(step.record for step in lab.steps(outcome.run_id) if step.name == "work/worker/cached#1.4")
    assert (record["tool"], record["arguments"]) == ("cached", {"page": "down"})
    (told,) = reasons(lab, outcome.run_id, "fallback", "work")
    assert (told["chosen"], told["why"]) == ("tool cached", "fetch failed 3 times: no route to it")


def test_a_result_without_anything_in_it_can_count_as_failed(lab: Lab, noted: Path) -> None:
    write_work(lab, "empty", fetching(retry={"attempts": 2, "on": ["empty"]}, fallback=["cached"]))
    outcome = lab.run()
    assert outcome.output.endswith("cached empty")
    assert effects(noted) == ["empty"] * 2


def test_when_every_tool_fails_the_agent_reads_why(lab: Lab, noted: Path) -> None:
    write_work(lab, "odd", {"name": "fetch", "fallback": ["cached"]})
    outcome = lab.run()
    assert outcome.output.startswith("Error: fetch failed: not a page; cached failed: ")
    assert "not in the cache" in outcome.partial[0]


def test_a_keyed_call_keeps_its_key(lab: Lab, noted: Path) -> None:
    write_work(lab, "a", {"name": "post", "retry": {"attempts": 3, "backoff_seconds": 0}})
    assert lab.run().output == "posted"
    first, second = effects(noted)
    assert first == second


def test_the_tool_of_a_fallback_is_not_the_agents_own(lab: Lab, noted: Path) -> None:
    use = {"name": "fetch", "fallback": ["cached"]}
    work = '@call cached {"page": "a"}\n@echo'
    write_project(lab, {"work": work}, {"tools": [use]})
    outcome = lab.run()
    assert "cached a" not in outcome.output
    assert "cached" in outcome.output


def test_a_tool_that_failed_for_good_can_be_a_reason_to_try_the_task_again(lab: Lab, noted: Path) -> None:
    retry = {"attempts": 2, "on": ["tool"]}
    write_work(lab, "second", {"name": "fetch", "settings": {}}, retry=retry)
    outcome = lab.run()
    assert outcome.output == "page second"
    assert chosen(lab, outcome.run_id, "retry") == ["worker"]
    assert "a tool failed for good" in part(lab, outcome.run_id, "work")["attempts"][0]["why"]


def test_what_may_be_done_once_is_not_tried_again(lab: Lab, noted: Path) -> None:
    write_work(lab, "a", {"name": "send", "retry": 3})
    with pytest.raises(AppError, match="the tool `send` is to be called once"):
        lab.plan()


def test_a_tool_with_other_arguments_cannot_stand_in(lab: Lab, noted: Path) -> None:
    write_work(lab, "a", {"name": "fetch", "fallback": ["other"]})
    with pytest.raises(AppError, match="`other` cannot stand in for `fetch`: it does not take page"):
        lab.plan()


@pytest.mark.parametrize(("most", "said"), [(1, "failed"), (2, "failed 2 times")])
def test_attempts_are_no_more_than_the_calls_that_are_allowed(lab: Lab, noted: Path, most: int, said: str) -> None:
    lab.write(policy=json.dumps({"order": [{"tool": "fetch", "at_most": most}]}))
    write_work(lab, "down", fetching())
    outcome = lab.run()
    assert outcome.output == f"Error: fetch {said}: no route to it"
    assert outcome.partial == (f"work: a tool failed for good: fetch {said}: no route to it",)
    assert effects(noted) == ["down"] * most
    names = [name for name in step_names(lab, outcome.run_id) if name.startswith("work/worker")]
    first = names.index("work/worker/fetch#1")
    for steps, again in ((first, most), (first + 1, most - 1)):  # a crash in the first attempt, and after it
        noted.write_text("")
        crash_after(lab, outcome.run_id, "work", steps)
        assert lab.resume(outcome.run_id).output == outcome.output
        assert effects(noted) == ["down"] * again


def test_when_its_calls_are_used_up_another_tool_is_called(lab: Lab, noted: Path) -> None:
    lab.write(policy=json.dumps({"order": [{"tool": "fetch", "at_most": 1}]}))
    write_work(lab, "down", fetching(fallback=["cached"]))
    assert lab.run().output == "[fetch failed: no route to it; cached was called in its place]\ncached down"
    assert effects(noted) == ["down"]


def test_a_crash_anywhere_repeats_no_finished_call(lab: Lab, noted: Path, server: ScriptedServer) -> None:
    write_work(lab, "down", fetching(retry={"attempts": 2}, fallback=["cached"]))
    assert_survives_crashes(lab, server, most=8)
