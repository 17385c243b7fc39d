"""kill -9 at random moments of real runs: same output and token totals as undisturbed, no journaled call made again.

    python benchmarks/chaos.py [--runs 20] [--kills 60] [--latency 100] [--seed 1]

One scripted model server in its own process. The parent imports CrewAI once and forks a child for each execution,
before DBOS is launched; a child starts or resumes the run and is killed after a random time, then another one goes on.
A tool appends a line to a file with fsync, so that every effect is counted. What may be repeated is what was in flight
at a kill: calls that had begun (seen by the server, or in the effects file) and were not yet in the journal.
"""

import argparse
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from tests.lab import Lab  # noqa: E402

AGENTS = """
    finder: {role: Finder, goal: Find, backstory: You find., tools: [note]}
    writer: {role: Writer, goal: Write, backstory: You write.}
"""
# Three finders side by side, two tool calls each, then a writer with a repaired answer, then a last one.
TASKS = (
    "".join(
        f"""
    find_{name}:
      description: |
        @call note {{"text": "{name} one of {{topic}}"}}
        @call note {{"text": "{name} two of {{topic}}"}}
        @answer: found {name} about {{topic}}
      expected_output: A line.
      agent: finder
      context: []
"""
        for name in ("a", "b", "c")
    )
    + """
    write:
      description: |
        @answer: the draft about {topic}
        @after-refusal: the text about {topic}, FINAL
      expected_output: A line.
      agent: writer
      guardrails: [matches: FINAL]
      context: [find_a, find_b, find_c]
    close:
      description: |
        @long 60
      expected_output: Words.
      agent: writer
      context: [write]
"""
)
TOOL = '''
import os

from muster import tool


@tool(effect="write", repeat="safe")
def note(text: str) -> str:
    """Append a line to the effects file."""
    file = os.open(os.environ["CHAOS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{text}\\n".encode())
    os.fsync(file)
    os.close(file)
    return f"noted {text}"
'''


def execute(lab: Lab, topic: str, run_id: str) -> None:
    """In a child: start the run, or go on with it, to its end."""
    if lab.runner.store.find(run_id) is None:
        outcome = lab.run("default", {"topic": topic}, run_id=run_id)
    else:
        outcome = lab.resume(run_id)
    assert outcome.status == "succeeded", outcome


def in_child(lab: Lab, topic: str, run_id: str, kill_after: float | None) -> bool:
    """Execute the run in a forked child; kill it after so many seconds. True: it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            execute(lab, topic, run_id)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    until = None if kill_after is None else time.monotonic() + kill_after
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status != 0:
                raise SystemExit(f"run {run_id}: the child ended with status {status}")
            return True
        if until is not None and time.monotonic() >= until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.002)


def look(lab: Lab, run_id: str) -> dict[str, Any]:
    """Read the run from its journal, in this process: result, tokens, journaled model and tool calls, what failed."""
    from runs.stored.database import database_exists, open_database
    from runs.stored.engine import Reader
    from runs.stored.store import RunStore
    from runs.told.report import read_steps, summarise

    settings = lab.settings()
    folder = settings.state_folder / "runs" / run_id
    if not database_exists(settings):
        return {"models": 0, "tools": 0, "summary": None}
    database = open_database(settings)
    row = RunStore(database).find(run_id)
    if row is None:
        return {"models": 0, "tools": 0, "summary": None}
    reader = Reader(database)
    try:
        steps = read_steps(reader, run_id, folder)
        kinds = Counter(step.kind for step in steps)
        errors = [f"{step.name}: {step.record['error']}" for step in steps if "error" in step.record]
        summary = summarise(reader, row, folder)
        return {"models": kinds["model"], "tools": kinds["tool"], "summary": summary, "errors": errors}
    finally:
        reader.close()
        database.dispose()


def trial(lab: Lab, server: Server, number: int, kills: int, rng: random.Random, length: float) -> dict[str, Any]:
    """Run one crew with `kills` kills, and the same undisturbed; return what was seen."""
    topic = f"subject {number}"
    effects = lab.root / f"effects-{number}.txt"
    os.environ["CHAOS_EFFECTS"] = str(effects)
    server.reset()
    killed = under_way = model_flight = tool_flight = 0
    while killed < kills:
        if in_child(lab, topic, f"run-{number}", rng.uniform(0.05, length)):
            break
        killed += 1
        seen = look(lab, f"run-{number}")
        noted = effects.read_text().count("\n") if effects.exists() else 0
        under_way += seen["models"] > 0
        model_flight = max(0, server.get("/_stats")["attempts"] - seen["models"])
        tool_flight = max(0, noted - seen["tools"])
    if killed == kills:
        in_child(lab, topic, f"run-{number}", None)
    stats = server.get("/_stats")
    disturbed = look(lab, f"run-{number}")["summary"]
    lines = Counter(effects.read_text().splitlines())
    os.environ["CHAOS_EFFECTS"] = str(lab.root / f"undisturbed-{number}.txt")
    in_child(lab, topic, f"calm-{number}", None)
    calm = look(lab, f"calm-{number}")["summary"]
    if disturbed["usage"] != calm["usage"]:
        print(f"run-{number}: {disturbed['usage']}, undisturbed {calm['usage']}", file=sys.stderr)
        print(*look(lab, f"run-{number}")["errors"], *look(lab, f"calm-{number}")["errors"], sep="\n", file=sys.stderr)
    return {
        "kills": killed,
        "kills_under_way": under_way,
        "same_output": disturbed["output"] == calm["output"]
        and [task["output"] for task in disturbed["tasks"]] == [task["output"] for task in calm["tasks"]],
        "same_tokens": disturbed["usage"] == calm["usage"],
        "model_repeats": stats["attempts"] - disturbed["usage"]["model_calls"],
        "model_in_flight": model_flight,
        "tool_repeats": sum(lines.values()) - len(lines),
        "tool_in_flight": tool_flight,
        "lost_effects": 6 - len(lines),
    }


def measure(count: int, kills: int, latency: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="muster-chaos-") as folder:
        from runs import quiet

        quiet.prepare(Path(folder) / "crewai")
        for name in ("runs.executing.control", "openai.resources"):
            importlib.import_module(name)

        lab = Lab(Path(folder) / "project")
        lab.write(agents=AGENTS, tasks=TASKS, tools__note_py=TOOL)
        with Server(latency=str(latency)) as server:
            lab.models(server.base_url)
            length = 0.4 + latency / 1000 * 7
            share = [kills // count + (number < kills % count) for number in range(count)]
            return [trial(lab, server, number, each, rng, length) for number, each in enumerate(share)]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=20)
    asked.add_argument("--kills", type=int, default=60)
    asked.add_argument("--latency", type=int, default=100, help="milliseconds a model call")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    found = measure(given.runs, given.kills, given.latency, given.seed)
    total = {key: sum(int(item[key]) for item in found) for key in found[0]}
    print(json.dumps({"runs": len(found), **total}))
    bad = [item for item in found if not (item["same_output"] and item["same_tokens"]) or item["lost_effects"]]
    bad += [item for item in found if item["model_repeats"] > item["model_in_flight"]]
    bad += [item for item in found if item["tool_repeats"] > item["tool_in_flight"]]
    if bad:
        raise SystemExit(f"not as promised: {bad}")


if __name__ == "__main__":
    main()
