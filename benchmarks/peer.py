"""Muster as one of the frameworks in a benchmark of frameworks: always durable, one journal for all runs of a process.

    python benchmarks/peer.py import|cold|warm|throughput|fanout --n N [--durable DIR]

Reads OPENAI_BASE_URL and OPENAI_API_KEY. Prints one JSON object as its last line: mode, import_s, walls and cpus in
seconds, pipelines or fanouts, how often each of the two tools was called, peak memory (RSS) in MB. A pipeline is five
tasks, seven model calls, two tool calls; a fan-out is eight tasks at once and one that reads them.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MODEL = "gpt-4o-mini"
FANOUT = 8
ROLES: dict[str, tuple[str, list[str]]] = {
    "researcher": ("You find the relevant facts in the notes and report them precisely.", ["search_notes"]),
    "planner": ("You turn findings into a short plan with an owner for each step.", []),
    "writer": ("You write clear, plain reports that a busy reader can act on.", []),
    "reviewer": ("You check a report against the findings and correct what is wrong.", []),
    "executor": ("You save the final report and say what was saved.", ["save_report"]),
    "aggregator": ("You merge several findings into one summary.", []),
}
PIPELINE = {
    "researcher": "Find the facts about {topic}. Use the search tool once, then report what you found.",
    "planner": "Make a plan for a report about {topic} from the findings.",
    "writer": "Write the report about {topic}, following the plan.",
    "reviewer": "Review the report about {topic} and give the corrected version.",
    "executor": "Save the final report about {topic} with the save tool, then confirm.",
}
EXPECTED = "A few clear paragraphs."
TOOLS = '''
from pathlib import Path

from muster import ToolContext, tool

NOTES = [f"note {i}: fact number {i} about subject {i % 7}; see also note {(i * 13) % 60}" for i in range(60)]


@tool(effect="read")
def search_notes(query: str) -> str:
    """Search the local notes for a query and return the matching lines."""
    words = set(query.lower().split())
    return "\\n".join(([n for n in NOTES if words & set(n.split())] or NOTES)[:5])


@tool(effect="write", repeat="safe")
def save_report(text: str, context: ToolContext) -> str:
    """Save the final report and return where it was saved."""
    path = context.output_folder / "report.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return f"saved {path.name} ({len(text)} characters)"
'''


def write_project(root: Path) -> None:
    """Write the benchmark's crews as a Muster project."""
    config = root / "config"
    config.mkdir(parents=True)
    (root / "tools").mkdir()
    (root / "tools" / "notes.py").write_text(TOOLS)
    agents = {
        name: {"role": name, "goal": "do your task well", "backstory": text, "tools": tools}
        for name, (text, tools) in ROLES.items()
    }
    tasks: dict[str, Any] = {
        role: {"description": text, "expected_output": EXPECTED, "agent": role} for role, text in PIPELINE.items()
    }
    for number in range(FANOUT):
        tasks[f"finding_{number}"] = {
            "description": f"Report the key facts about {{topic_{number}}} in one paragraph, from what you know.",
            "expected_output": EXPECTED,
            "agent": "researcher",
            "tools": [],
            "context": [],
        }
    findings = [f"finding_{number}" for number in range(FANOUT)]
    tasks["aggregate"] = {
        "description": "Merge the findings about {topic_0} into one summary.",
        "expected_output": EXPECTED,
        "agent": "aggregator",
        "context": findings,
    }
    crews = {"pipeline": {"tasks": list(PIPELINE)}, "fanout": {"tasks": [*findings, "aggregate"]}}
    models = {"default": {"model": f"openai/{MODEL}", "timeout_seconds": 120}}
    for name, content in (("agents", agents), ("tasks", tasks), ("crews", crews), ("models", models)):
        (config / f"{name}.yaml").write_text(json.dumps(content))  # JSON is YAML


class Peer:
    """The two crews, run in this process as `muster run` does, on one journal."""

    def __init__(self, folder: Path) -> None:
        import os

        from crews.plan import plan_crew
        from project.load import load_project
        from project.settings import load_settings, make_state_folder
        from runs.executing.control import Runner

        root = folder / "project"
        write_project(root)
        settings = load_settings(root, os.environ)
        make_state_folder(settings)
        self._project = load_project(root, Path(__file__).resolve().parent.parent / "tools")
        self._environ = settings.environment
        self._plan_crew = plan_crew
        self.runner = Runner(settings)
        self.tool_calls = {"search_notes": 0, "save_report": 0}

    def run(self, crew: str, inputs: dict[str, str | int | float], role: str, topic: str) -> None:
        plan = self._plan_crew(self._project, crew, inputs, self._environ)
        outcome = self.runner.wait(self.runner.start(plan))
        wanted = f"{role.title()} result for {topic}."
        if wanted not in outcome.output:
            raise SystemExit(f"wrong output, expected {wanted!r}: {outcome}")

    def pipeline(self, topic: str) -> None:
        self.run("pipeline", {"topic": topic}, "executor", topic)
        for name in self.tool_calls:
            self.tool_calls[name] += 1

    def fanout(self, topics: list[str]) -> None:
        self.run("fanout", {f"topic_{n}": topic for n, topic in enumerate(topics)}, "aggregator", topics[0])

    def many(self, topics: list[str]) -> None:
        with ThreadPoolExecutor(len(topics)) as pool:
            list(pool.map(self.pipeline, topics))


def topics(count: int) -> list[str]:
    run = uuid.uuid4().hex[:8]
    return [f"topic-{run}-{number}" for number in range(count)]


def timed(function: Any, *arguments: Any) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(mode: str, count: int, folder: Path) -> dict[str, Any]:
    peer = Peer(folder)
    try:
        if mode == "fanout":
            peer.fanout(topics(FANOUT))
            wall, cpu = timed(peer.fanout, topics(FANOUT))
            return {"fanouts": 2, "walls": [wall], "cpus": [cpu], "tool_calls": peer.tool_calls}
        if mode == "throughput":
            peer.many(topics(2))
            figures = [timed(peer.many, topics(count))]
            made = count + 2
        else:
            made = 1 if mode == "cold" else count + 2
            figures = [timed(peer.pipeline, topic) for topic in topics(made)]
            figures = figures if mode == "cold" else figures[2:]
        walls, cpus = [wall for wall, _ in figures], [cpu for _, cpu in figures]
        return {"pipelines": made, "walls": walls, "cpus": cpus, "tool_calls": peer.tool_calls}
    finally:
        peer.runner.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("mode", choices=["import", "cold", "warm", "throughput", "fanout"])
    arguments.add_argument("--n", type=int, default=20)
    arguments.add_argument("--durable", help="a folder for the journal; default: a temporary one")
    asked = arguments.parse_args()
    began = time.perf_counter()
    from runs import quiet

    with tempfile.TemporaryDirectory(prefix="muster-peer-") as temporary:
        folder = Path(asked.durable or temporary)
        quiet.prepare(folder)
        import runs.executing.control  # noqa: F401  # pyright: ignore[reportUnusedImport]

        found: dict[str, Any] = {"mode": asked.mode, "import_s": time.perf_counter() - began}
        found["tool_calls"] = {"search_notes": 0, "save_report": 0}
        if asked.mode != "import":
            found |= measure(asked.mode, asked.n, folder)
    found["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
