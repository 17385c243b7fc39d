"""Blame: each line of what a run wrote is led back to who wrote it, the call that said it, and who looked at it."""

import json
import shutil
import time
from typing import Any

import pytest

from runs.told.blame import Shelf, blame, changed_lines, likeness, read_results, words_of
from tasks.wording import make_stemmer
from tests.lab import APPLICATION, Lab
from tests.pace import pace
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.scene import tool_file, write_project
from tests.runs.test_candidates import judged_by, rank_by_score
from tests.runs.test_delegation import OTHERS, handing, write_asking, write_crew
from tests.scripted_server import Reply, ScriptedServer

SUN = "The sun gives 173000 terawatts to the earth without a break."
ALMANAC = f"ALMANAC\n\n{SUN}\nA moon of ice circles the seventh planet in nine days.\n"


def blamed(lab: Lab, run_id: str, task: str, text: str | None = None) -> list[dict[str, Any]]:
    """Return the story of each line of a task's output, or of `text` in its place."""
    runner = lab.runner
    results = read_results(runner.source(), run_id, runner.folder(run_id))
    plan = runner.find(run_id).read_plan()
    return blame(plan, lab.steps(run_id), results, task, results[task]["output"] if text is None else text)


def story(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["task"], entry["origin"], entry["match"], [step["step"] for step in entry["steps"]]


def answer(*lines: str) -> str:
    return "\n".join(["@answer:", *lines, "@end"])


def look_up(lab: Lab, text: str = ALMANAC) -> None:
    """Give the project a tool `note` that returns a text, whatever it is asked."""
    lab.write(tools__note_py=tool_file(f"return {text!r}", 'effect="read", repeat="safe"', 'text: str = ""'))


def test_every_cited_line_of_the_starter_brief_is_traced_to_the_call_that_returned_its_source(lab: Lab) -> None:
    for folder in ("config", "docs/background"):
        shutil.copytree(APPLICATION / folder, lab.root / folder, dirs_exist_ok=True)
    outcome = lab.run("brief", {"topic": "durable execution"}, model="offline")
    entries = blamed(lab, outcome.run_id, "publish", (lab.root / "output" / "brief.md").read_text())
    results = {step.name: step.record for step in lab.steps(outcome.run_id) if step.kind == "tool"}
    cited = [entry for entry in entries if entry["text"].endswith("]")]
    assert len(cited) > 10
    for entry in cited:
        sentence, _, place = entry["text"].rstrip("]").rpartition(" [")
        assert (entry["task"], entry["agent"], entry["model"]) == ("research", "researcher", "offline")
        assert (entry["origin"], entry["match"], entry["changed"]) == ("tool", "word for word", False)
        for step in entry["steps"]:
            assert step["place"] == place
            assert step["arguments"] == results[step["step"]]["arguments"]
            assert sentence.removeprefix("- ") in results[step["step"]]["result"]
        assert {("rule", "cited", "passed"), ("reviewer", None, "read it")} <= {
            (review["by"], review["check"], review["outcome"]) for review in entry["reviewed_by"]
        }
    summary = next(entry for entry in entries if entry["text"] == "## Summary")
    assert story(summary) == ("draft", "model", None, [])


def test_lines_from_a_tool_from_the_inputs_and_from_the_model_alone_are_told_apart(lab: Lab) -> None:
    look_up(lab)
    made_up = "Everybody should therefore buy three large panels at once."
    text = answer(SUN, "A moon of ice circles the seventh planet within about nine days.", "{topic}", made_up)
    write_project(lab, {"work": f'@call note {{"text": "sun"}}\n{text}'}, {"tools": ["note"]})
    run_id = lab.run(inputs={"topic": "Light for every house"}).run_id
    exact, reworded, given, invented = blamed(lab, run_id, "work")
    note = "work/worker/note#1"
    assert story(exact) == ("work", "tool", "word for word", [note])
    assert exact["steps"][0]["arguments"] == {"text": "sun"}
    assert (exact["agent"], exact["model"]) == ("worker", "openai/scripted")
    assert story(reworded) == ("work", "tool", "reworded", [note])
    assert story(given) == ("work", "input", "word for word", [None])
    assert given["steps"][0]["place"] == "input topic"
    assert story(invented) == ("work", "model", None, [])


def test_a_number_that_no_tool_returned_is_the_model_s(lab: Lab) -> None:
    look_up(lab)
    wrong = SUN.replace("173000", "1730000")
    denied = SUN.replace("gives", "never gives")
    write_project(lab, {"work": f"@call note {{}}\n{answer(wrong, denied)}"}, {"tools": ["note"]})
    assert [entry["origin"] for entry in blamed(lab, lab.run().run_id, "work")] == ["model", "model"]


def test_what_a_tool_only_says_back_is_the_model_s(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"noted: {text}"'))
    work = f"@call note {json.dumps({'text': SUN})}\n@answer: {SUN}"
    write_project(lab, {"work": work}, {"tools": ["note"]})
    (entry,) = blamed(lab, lab.run().run_id, "work")
    assert story(entry) == ("work", "model", None, [])


def test_a_sentence_that_stands_beside_a_found_one_is_named_as_unsupported(lab: Lab) -> None:
    look_up(lab)
    write_project(
        lab, {"work": f"@call note {{}}\n@answer: {SUN} Nobody has ever measured this by hand."}, {"tools": ["note"]}
    )
    (entry,) = blamed(lab, lab.run().run_id, "work")
    assert (entry["origin"], entry["match"]) == ("tool", "reworded")
    assert entry["unsupported"] == ["Nobody has ever measured this by hand."]


def test_the_earliest_task_that_has_a_line_is_named_and_one_that_was_reworded(lab: Lab) -> None:
    look_up(lab)
    reworded = "Without a break the sun gives the earth its 173000 terawatts."
    tasks: dict[str, Any] = {
        "find": {"description": f"@call note {{}}\n@answer: {SUN}", "context": []},
        "aside": {"description": f"@answer: {SUN}", "context": []},
        "write": {"description": answer(SUN, reworded), "context": ["find"]},
    }
    write_project(lab, tasks, {"tools": ["note"]})
    first, second = blamed(lab, lab.run().run_id, "write")
    assert story(first) == ("find", "tool", "word for word", ["find/worker/note#1"])
    assert first["reworded_from"] is None
    assert story(second) == ("write", "tool", "reworded", ["find/worker/note#1"])
    assert second["reworded_from"] == "find"


def test_a_task_that_the_writer_did_not_build_on_explains_nothing(lab: Lab) -> None:
    look_up(lab)
    tasks: dict[str, Any] = {
        "aside": {"description": f"@call note {{}}\n@answer: {SUN}", "context": []},
        "write": {"description": f"@answer: {SUN}", "context": []},
    }
    write_project(lab, tasks, {"tools": ["note"]})
    (entry,) = blamed(lab, lab.run().run_id, "write")
    assert story(entry) == ("write", "model", None, [])


def test_a_citation_leads_to_the_call_that_returned_the_place(lab: Lab) -> None:
    listed = f"[facts.md:7 § Sun] {SUN}\n[facts.md:9 § Moon] A moon of ice circles the seventh planet in nine days."
    look_up(lab, listed)
    lines = (f"- {SUN} [facts.md:7]", "Ice is rather cold stuff. [facts.md:9]", f"{SUN} [other.md:3]")
    write_project(lab, {"work": f"@call note {{}}\n{answer(*lines)}"}, {"tools": ["note"]})
    right, loose, foreign = blamed(lab, lab.run().run_id, "work")
    assert (right["match"], right["steps"][0]["place"]) == ("word for word", "facts.md:7")
    assert (loose["match"], loose["steps"][0]["place"]) == ("cited", "facts.md:9")
    assert (foreign["match"], foreign["steps"][0]["place"]) == ("word for word", "facts.md:7")


def test_lines_that_a_person_wrote_and_what_a_person_asked_for_are_a_person_s(lab: Lab) -> None:
    tasks: dict[str, Any] = {
        "ask": {"description": "Say what you want", "agent": "human", "context": []},
        "write": {
            "description": f"{answer('Paint every fence green before the winter.', 'A title')}\n"
            "@after-refusal: Mention the old gate beside the river, too.",
            "context": ["ask"],
            "human_input": True,
        },
    }
    write_project(lab, tasks)
    said = iter(["Paint every fence green before the winter.", "Mention the old gate beside the river", ""])
    run_id = lab.run(ask=lambda _question: next(said)).run_id
    (fence,) = blamed(lab, run_id, "ask")
    assert story(fence) == ("ask", "person", "word for word", [])
    (gate,) = blamed(lab, run_id, "write")
    assert (gate["origin"], gate["match"]) == ("person", "reworded")
    assert [step["step"] for step in gate["steps"]] == ["write/judge/answer#1"]
    approvals = [(review["by"], review["what"], review["outcome"]) for review in gate["reviewed_by"]]
    assert approvals == [
        ("person", "answer", "asked for: Mention the old gate beside the river"),
        ("person", "answer", "approved"),
    ]


def test_guardrails_and_a_reviewer_are_named_with_gate_and_score(lab: Lab) -> None:
    def reply(messages: list[Any], _tools: list[Any]) -> Reply:
        return Reply('{"approved": true, "score": 0.9, "issues": []}' if "approved" in str(messages) else SUN)

    work = {
        "description": "Write about the sun",
        "guardrails": [{"words": 50}, {"no_repeats": True, "gate": "warn"}],
        "review": {"by": "critic", "criteria": ["it is short"]},
    }
    critic = {"role": "Critic", "goal": "Judge", "backstory": "You judge."}
    write_project(lab, {"work": work})
    agents = json.loads((lab.root / "config" / "agents.yaml").read_text())
    lab.write(agents=json.dumps(agents | {"critic": critic}))
    with ScriptedServer(reply) as judging:
        lab.models(judging.base_url)
        outcome = lab.run()
    assert outcome.status == "succeeded", outcome.reason
    (entry,) = blamed(lab, outcome.run_id, "work")
    told = [(r["by"], r["what"], r["check"], r["gate"], r["outcome"], r["score"]) for r in entry["reviewed_by"]]
    assert told[-1] == ("critic", "review", None, None, "approved", 0.9)
    assert ("rule", "check", "words", "revise", "passed", None) in told
    assert ("rule", "check", "no_repeats", "warn", "passed", None) in told


def test_a_forged_line_is_told_as_changed_and_the_others_are_still_explained(lab: Lab) -> None:
    look_up(lab)
    write_project(lab, {"work": f"@call note {{}}\n{answer(SUN, 'Second line of it all.')}"}, {"tools": ["note"]})
    run_id = lab.run().run_id
    forged, kept, doubled = blamed(lab, run_id, "work", f"Sugar is healthy.\r\n\r\n{SUN}\r\n{SUN}\r\n")
    assert (forged["line"], forged["changed"], forged["task"], forged["origin"]) == (1, True, None, None)
    assert (kept["line"], kept["changed"], kept["origin"]) == (3, False, "tool")
    assert doubled["changed"]


@pytest.mark.parametrize(
    ("text", "changed"),
    [("a\nb\n", []), ("b\na", []), ("a\nb \n", []), ("a\nB", [2]), ("a\na\nb", [2]), ("a\n\n\nb\nc", [5])],
)
def test_a_line_is_changed_when_the_run_did_not_write_it(text: str, changed: list[int]) -> None:
    assert changed_lines(text.split("\n"), "a\nb") == set(changed)


@pytest.mark.parametrize(
    ("line", "text", "held"),
    [
        ("The *cost* is “low” — always", 'x\nthe cost is "low" - always so', True),
        ("It costs 40 dollars in a year", "it costs 40 dollars in a year", True),
        ("It costs dollars every year 40", "it costs dollars every year 400", False),
        ("It costs 3.5 dollars in a year", "it costs 35 dollars in a year", False),
        ("wrapped over several lines of text", "12  wrapped over\n13  several lines of text", True),
        ("Determinism", "4  ## Determinism\n5  text", True),
        ("Determinism", "it needs determinism here", False),
        ("耐久実行はプログラムの実行方法の一つである", "序。耐久実行はプログラムの実行方法の一つである。", False),
    ],
)
def test_words_are_found_whatever_the_marks_around_them(line: str, text: str, held: bool) -> None:
    needle = b" ".join(words_of(line).split())
    assert bool(Shelf([text], make_stemmer()).hold({needle: [0]}, 1)) is held


def test_likeness_needs_most_words_every_number_and_the_same_sense() -> None:
    stem = make_stemmer()
    passage = words_of("Recovered workflows replay 28 recorded steps from the journal")
    assert likeness(words_of("The journal replays 28 recorded steps of recovered workflows"), passage, stem) > 0.6
    assert likeness(words_of("The journal replays 29 recorded steps of recovered workflows"), passage, stem) == 0
    assert likeness(words_of("The journal never replays 28 recorded steps of workflows"), passage, stem) == 0
    assert likeness(words_of("Green paint dries slowly"), passage, stem) == 0


def test_long_files_and_large_journals_are_bounded() -> None:
    texts = [
        "\n".join(
            f"[doc{number}.md:{at}] Statement {at} of document {number} tells about item {at * 7 + number}."
            for at in range(1400)
        )
        for number in range(40)
    ]
    needles = [
        f"statement {at} of document {number} tells about item {at * 7 + number}".encode()
        for number in range(40)
        for at in range(50)
    ]
    lost = [f"nobody has said {number} words about the item anywhere".encode() for number in range(1000)]
    before = pace()
    began = time.process_time()
    shelf = Shelf(texts, make_stemmer())
    found = shelf.hold(dict.fromkeys([*needles, *lost], range(40)), 3)
    assert shelf.reword(dict.fromkeys(lost, range(40))) == {}
    assert [found[needle] for needle in needles] == [[number] for number in range(40) for _ in range(50)]
    assert found.keys() == set(needles)
    assert time.process_time() - began < 1000 * max(before, pace())  # some thirty of them


# -- other shapes of work


def names(lab: Lab, run_id: str, task: str) -> list[tuple[str | None, str | None, list[str]]]:
    """Return (task, agent, steps) of each line of an output."""
    told = blamed(lab, run_id, task)
    return [(entry["task"], entry["agent"], [step["step"] for step in entry["steps"]]) for entry in told]


def test_a_line_of_a_pipeline_leads_to_the_crew_that_found_it(lab: Lab) -> None:
    look_up(lab)
    tasks: dict[str, Any] = {
        "find": {"description": f"@call note {{}}\n@answer: {SUN}", "context": []},
        "write": {"description": "@answer: {first}", "context": []},
    }
    crews: dict[str, Any] = {
        "first": {"tasks": ["find"]},
        "second": {"tasks": ["write"]},
        "both": {"crews": ["first", {"crew": "second", "inputs": {"first": "{first}"}}]},
    }
    write_project(lab, tasks, {"tools": ["note"]}, crews=crews)
    run_id = lab.run("both").run_id
    found = [("first.find", "worker", ["first.find/worker/note#1"])]
    assert names(lab, run_id, "second.write") == names(lab, run_id, "second") == names(lab, run_id, "") == found


def test_a_line_of_a_task_done_by_a_crew_leads_to_the_task_in_it(lab: Lab) -> None:
    look_up(lab)
    tasks: dict[str, Any] = {
        "find": {"description": f"Do {{task}}\n@call note {{}}\n@answer: {SUN}", "context": []},
        "have": {"description": "Have it found", "agent": "finders", "context": []},
        "write": {"description": f"@answer: {SUN}", "context": ["have"]},
    }
    crews: dict[str, Any] = {
        "finders": {"tasks": ["find"], "inputs": {"task": {}}},
        "whole": {"tasks": ["have", "write"]},
    }
    write_project(lab, tasks, {"tools": ["note"]}, crews=crews)
    run_id = lab.run("whole").run_id
    found = [("have.find", "worker", ["have.find/worker/note#1"])]
    assert names(lab, run_id, "have") == names(lab, run_id, "write") == found


def test_a_line_of_an_entry_leads_to_the_entry_and_not_to_its_neighbours(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"It is known of {text} that it shines by night."', 'effect="read"'))
    steps: dict[str, Any] = {"description": '@answer: {"steps": ["tin", "zinc"]}', "output": {"steps": "list[str]"}}
    description = '@call note {"text": "{item}"}\n@answer: It is known of {item} that it shines by night.'
    each: dict[str, Any] = {"description": description, "for_each": "outputs.plan.steps", "context": []}
    write_project(lab, {"plan": steps, "each": each}, {"tools": ["note"]})
    stories = [one for one in names(lab, lab.run().run_id, "each") if one[2]]
    assert stories == [
        ("each.i1", "worker", ["each.i1/worker/note#1"]),
        ("each.i2", "worker", ["each.i2/worker/note#1"]),
    ]


def test_a_line_of_the_candidate_taken_is_its_maker_s_and_the_others_explain_nothing(lab: Lab) -> None:
    look_up(lab)
    agents: dict[str, Any] = {
        name: {"role": name.title(), "goal": "Write", "backstory": text, "tools": tools}
        for name, text, tools in (
            ("anna", f"You write.\n@call note {{}}\n@answer: {SUN} (0.3)", ["note"]),
            ("bert", f"You write.\n@answer: {SUN} (0.9)", []),
            ("boss", "You judge.", []),
        )
    }
    work: dict[str, Any] = {"description": "Write", "agent": "anna", "judge": "boss"}
    work |= {"candidates": {"count": 2, "agents": ["anna", "bert"]}}
    write_project(lab, {"work": work}, agents=agents)
    with ScriptedServer(judged_by(rank_by_score)) as model:
        lab.models(model.base_url)
        run_id = lab.run().run_id
    (entry,) = blamed(lab, run_id, "work")
    assert (entry["task"], entry["agent"], entry["origin"], entry["steps"]) == ("work.c2", "bert", "model", [])
    assert [(r["by"], r["what"], r["outcome"]) for r in entry["reviewed_by"]] == [
        ("boss", "judge", "chose c2 of c1, c2")
    ]


def test_a_line_of_a_manager_s_whole_leads_to_the_subtask_also_of_a_second_plan(lab: Lab) -> None:
    look_up(lab)
    found = subtask("one", f"@call note {{}}\n@answer: {SUN}")
    failing = subtask("one", "@answer: no", done=[{"rule": "words", "value": {"min": 5}, "text": "Five words"}])
    agents = AGENTS | {"worker": AGENTS["worker"] | {"tools": ["note"]}}
    again = plan(found, subtask("two", f"@answer: {SUN}", depends_on=["one"]), result=["one", "two"])
    crew: dict[str, Any] = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker"]}
    unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
    lab.write(**{name: json.dumps(value) for name, value in (("agents", agents), ("tasks", unused))})
    lab.write(crews=json.dumps({"team": crew}))
    for plans, second, below in (([again], None, ""), ([plan(failing)], again, "again.")):
        with ScriptedServer(boss(plans, again=second, whole=f"# Sun\n\n{SUN}")) as model:
            lab.models(model.base_url)
            outcome = lab.run("team")
        assert outcome.status == "succeeded", outcome.reason
        heading, line = blamed(lab, outcome.run_id, "")
        assert (heading["task"], heading["agent"], heading["origin"]) == ("", "manager", "model")
        assert line["task"] == f"{below}one.a1"
        assert (line["agent"], line["match"]) == ("worker", "word for word")
        assert [step["step"] for step in line["steps"]] == [f"{line['task']}/worker/note#1"]
        whole = [(r["by"], r["what"], r["outcome"]) for r in line["reviewed_by"] if r["task"] == ""]
        assert whole == [("manager", "aggregate", "synthesize"), ("rule", "done", "met")]
        (second_line,) = blamed(lab, outcome.run_id, f"{below}two")
        assert second_line["task"] == line["task"]


def test_what_a_coworker_answered_is_its_own_and_rests_on_its_calls(lab: Lab) -> None:
    look_up(lab)
    others = OTHERS | {"other": OTHERS["other"] | {"tools": ["note"]}}
    write_asking(lab, f"@call note {{}}\n@answer: {SUN}", others=others)
    (entry,) = blamed(lab, lab.run().run_id, "work")
    assert (entry["task"], entry["agent"], entry["match"]) == ("work", "other", "word for word")
    assert [step["step"] for step in entry["steps"]] == ["work/worker>other#1/note#1"]


def test_what_was_handed_over_is_the_first_agent_s_and_what_it_looked_up_counts(lab: Lab) -> None:
    look_up(lab)
    own = "The rest of it was put in order later on."
    description = f"@call note {{}}\n{handing(done=f'I found this. {SUN}')}\n{answer(SUN, own)}"
    write_crew(lab, description, {"handoffs": ["other"], "tools": ["note"]})
    first, second = blamed(lab, lab.run().run_id, "work")
    assert (first["agent"], second["agent"]) == ("worker", "other")
    assert story(first) == ("work", "tool", "word for word", ["work/worker/note#1"])
    assert story(second) == ("work", "model", None, [])
