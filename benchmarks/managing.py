"""What a manager makes of a crew: side by side when it can be, replaced when it must be, every choice with its reason.

    python benchmarks/managing.py [--runs 50] [--rounds 5]

One process, the scripted server in the same one. Shows

    side by side   four independent subtasks of 1 s each: seconds from the plan to the last of them (target <= 2)
    replaced       runs in which a worker fails, or says nothing, or is not sure: another one's output is there within
                   two attempts (target: every run)
    explained      routing decisions with a reason and what they were chosen among (target: all)

and, as the last line, one JSON object; exit 1 when a target is missed.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab import Lab  # noqa: E402
from tests.runs.boss import AGENTS, boss, plan, subtask  # noqa: E402
from tests.scripted_server import ScriptedServer  # noqa: E402
from tests.server_script import Reply, Script  # noqa: E402

SUBTASKS = 4
MOST_SECONDS = 2.0
MOST_ATTEMPTS = 2
KINDS = ("fails", "says nothing useful", "is not sure")


def write_crew(lab: Lab, server: ScriptedServer, **manager: Any) -> None:
    """Write a crew of two workers led by a manager."""
    crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"], "manager": manager}
    unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
    for name, value in {"agents": AGENTS, "tasks": unused, "crews": {"team": crew}}.items():
        lab.write(**{name: json.dumps(value)})
    lab.models(server.base_url, max_attempts=2)


def measure_side_by_side(folder: Path, rounds: int) -> tuple[list[float], list[dict[str, Any]]]:
    """Return the seconds from the plan to the last subtask's answer, a run each, and the routing decisions."""
    work = plan(*(subtask(f"part_{number}") for number in range(SUBTASKS)))
    seconds: list[float] = []
    routes: list[dict[str, Any]] = []
    lab = Lab(folder)
    with ScriptedServer(boss([work])) as server:
        write_crew(lab, server)
        server.configure(latency="1000")
        for _ in range(rounds):
            run_id = lab.run("team").run_id
            steps = lab.steps(run_id)
            planned = next(step for step in steps if step.record.get("decision") == "plan")
            answers = [step for step in steps if step.kind == "model" and step.task.startswith("part_")]
            assert len(answers) == SUBTASKS, f"{len(answers)} answers of {SUBTASKS}"
            seconds.append(max(step.started_at + step.seconds for step in answers) - planned.started_at)
            routes += routes_of(lab, run_id)
    lab.close()
    return seconds, routes


def measure_replaced(folder: Path, runs: int) -> tuple[int, list[str], list[dict[str, Any]]]:
    """Return in how many runs another worker's output was there in time, what went wrong, and the routing decisions."""
    good, wrong = 0, list[str]()
    routes: list[dict[str, Any]] = []
    lab = Lab(folder)
    with ScriptedServer(_unreliable) as server:
        write_crew(lab, server, min_confidence=0.6, on_failure="partial")
        for number in range(runs):
            kind = KINDS[number % len(KINDS)]
            crews = json.loads((folder / "config" / "crews.yaml").read_text())
            crews["team"]["goal"] = f"Get it done where the worker {kind}, case {number}"
            lab.write(crews=json.dumps(crews))
            outcome = lab.run("team")
            found = next(task for task in lab.summary(outcome.run_id)["tasks"] if task["name"] == "one")
            attempts = len(found["attempts"])
            if outcome.output == "Helper did it" and found["agent"] == "helper" and attempts <= MOST_ATTEMPTS:
                good += 1
            else:
                wrong.append(f"case {number}, {kind}: {outcome.status}, {attempts} attempts by {found['agent']}")
            routes += routes_of(lab, outcome.run_id)
    lab.close()
    return good, wrong, routes


def _unreliable(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Reply:
    """Answer as a worker on whom there is no relying and a helper who does it."""
    text = "\n".join(str(message.get("content")) for message in messages)
    if "You are Helper" in text:
        return Reply("Helper did it\nConfidence: 0.95")
    if "You are Worker" in text:
        if "fails" in text:
            return Reply(text="x" * 30, finish="length")  # cut off, however often it is asked
        return Reply("TODO\nConfidence: 0.9") if "says nothing" in text else Reply("Perhaps 4\nConfidence: 0.1")
    goal = next(kind for kind in KINDS if kind in text) if "Get it done where" in text else KINDS[0]
    rules = [{"rule": "no_placeholders", "value": True, "text": "Nothing is left open"}]
    script: Script = boss([plan(subtask("one", f"Do it although the worker {goal}", done=rules))])
    return script(messages, tools)


def routes_of(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    """Return every decision on who does what."""
    from runs.told.why import reasons_of

    row = lab.runner.find(run_id)
    found = reasons_of(lab.runner.source(), row, lab.runner.folder(run_id))
    return [entry for entry in found if entry["decision"] in ("route", "reassign", "retry", "replan", "handoff")]


def explained(routes: list[dict[str, Any]]) -> int:
    """Count the decisions that say what was chosen, among what, why and by whom."""
    return sum(1 for entry in routes if all(entry[key] for key in ("chosen", "among", "why", "by")))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=50)
    asked.add_argument("--rounds", type=int, default=5)
    given = asked.parse_args()
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ["OPENAI_API_KEY"] = "sk-scripted"
    with tempfile.TemporaryDirectory(prefix="muster-managing-") as folder:
        seconds, routes = measure_side_by_side(Path(folder, "side"), given.rounds)
        good, wrong, more = measure_replaced(Path(folder, "replaced"), given.runs)
    routes += more
    told = explained(routes)
    median = statistics.median(seconds)
    print(f"side by side  {SUBTASKS} subtasks of 1 s: median {median:.2f} s, most {max(seconds):.2f} s after the plan")
    print(f"replaced      {good} of {given.runs} within {MOST_ATTEMPTS} attempts")
    print(f"explained     {told} of {len(routes)} decisions")
    for line in wrong:
        print(f"  wrong: {line}")
    met = median <= MOST_SECONDS and good == given.runs and told == len(routes)
    figures = {"seconds": [round(one, 3) for one in seconds], "replaced": good, "runs": given.runs}
    print(json.dumps({**figures, "explained": told, "decisions": len(routes), "met": met}))
    if not met:
        raise SystemExit("missed")


if __name__ == "__main__":
    main()
