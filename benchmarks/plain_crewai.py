"""The same crews as benchmarks/peer.py in plain CrewAI, without a journal: what Muster is measured against.

    python benchmarks/plain_crewai.py import|cold|warm|throughput|fanout --n N

Reads OPENAI_BASE_URL and OPENAI_API_KEY; prints the JSON that peer.py prints. Where there was a choice, it is the one
that is better for CrewAI: crews are built before the clock starts, one model object serves all, and 64 at once have a
thread each (its own `akickoff_for_each` goes through a handful: 64 × 7 calls of 1 s would take more than a minute).
"""

import argparse
import importlib
import json
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peer import EXPECTED, FANOUT, MODEL, PIPELINE, ROLES, timed, topics

QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",
    "OTEL_SDK_DISABLED": "true",
}


class Plain:
    """The two crews as `crewai.Crew`, and how often their tools were called."""

    def __init__(self, folder: Path) -> None:
        self._crewai: Any = importlib.import_module("crewai")
        self._as_tool: Any = importlib.import_module("crewai.tools").tool
        self._folder = folder
        self._model: Any = self._crewai.LLM(model=MODEL)
        self._counting = threading.Lock()
        self.tool_calls = Counter(search_notes=0, save_report=0)

    def pipeline(self) -> Any:
        """Build the crew of five tasks, one after the other."""
        return self._crew([self._task(role, text, role) for role, text in PIPELINE.items()])

    def fanout(self) -> Any:
        """Build the crew of eight tasks at once and one that reads them."""
        texts = [
            f"Report the key facts about {{topic_{n}}} in one paragraph, from what you know." for n in range(FANOUT)
        ]
        findings = [self._task("researcher", text, None, async_execution=True) for text in texts]
        merge = "Merge the findings about {topic_0} into one summary."
        return self._crew([*findings, self._task("aggregator", merge, None, context=findings)])

    def run(self, crew: Any, inputs: dict[str, str], role: str, topic: str) -> None:
        """Run a crew. Raises: SystemExit when its output is not the scripted one."""
        output = crew.kickoff(inputs=inputs).raw
        wanted = f"{role.title()} result for {topic}."
        if wanted not in output:
            raise SystemExit(f"wrong output, expected {wanted!r}: {output[:300]!r}")

    def _crew(self, tasks: Sequence[Any]) -> Any:
        agents = [task.agent for task in tasks]
        process = self._crewai.Process.sequential
        return self._crewai.Crew(agents=agents, tasks=list(tasks), process=process, verbose=False, tracing=False)

    def _task(self, role: str, text: str, tools_of: str | None, **more: Any) -> Any:
        backstory, _ = ROLES[role]
        agent = self._crewai.Agent(
            role=role,
            goal="do your task well",
            backstory=backstory,
            llm=self._model,
            tools=[self._tool(name) for name in ROLES[tools_of][1]] if tools_of else [],
            allow_delegation=False,
            verbose=False,
        )
        return self._crewai.Task(description=text, expected_output=EXPECTED, agent=agent, **more)

    def _tool(self, name: str) -> Any:
        notes = [f"note {i}: fact number {i} about subject {i % 7}; see also note {(i * 13) % 60}" for i in range(60)]

        def search_notes(query: str) -> str:
            """Search the local notes for a query and return the matching lines."""
            self._count("search_notes")
            words = set(query.lower().split())
            return "\n".join(([note for note in notes if words & set(note.split())] or notes)[:5])

        def save_report(text: str) -> str:
            """Save the final report and return where it was saved."""
            path = self._folder / f"report-{self._count('save_report')}.txt"
            path.write_text(text)
            return f"saved {path.name} ({len(text)} characters)"

        return self._as_tool(name)({"search_notes": search_notes, "save_report": save_report}[name])

    def _count(self, name: str) -> int:
        with self._counting:
            self.tool_calls[name] += 1
            return self.tool_calls[name]


def measure(mode: str, count: int, folder: Path) -> dict[str, Any]:
    """Measure as peer.py does; the two first runs of a process warm it up."""
    plain = Plain(folder)
    if mode == "fanout":
        for crew in (plain.fanout(), plain.fanout()):
            names = topics(FANOUT)
            inputs = {f"topic_{number}": topic for number, topic in enumerate(names)}
            figures = [timed(plain.run, crew, inputs, "aggregator", names[0])]
        made = {"fanouts": 2}
    elif mode == "throughput":
        _at_once(plain, 2)
        figures = [_at_once(plain, count)]
        made = {"pipelines": count + 2}
    else:
        crew = plain.pipeline()
        number = 1 if mode == "cold" else count + 2
        figures = [timed(plain.run, crew, {"topic": topic}, "executor", topic) for topic in topics(number)]
        figures = figures if mode == "cold" else figures[2:]
        made = {"pipelines": number}
    return made | {
        "walls": [wall for wall, _ in figures],
        "cpus": [cpu for _, cpu in figures],
        "tool_calls": dict(plain.tool_calls),
    }


def _at_once(plain: Plain, count: int) -> tuple[float, float]:
    names = topics(count)
    crews = [plain.pipeline() for _ in names]

    def one(number: int) -> None:
        plain.run(crews[number], {"topic": names[number]}, "executor", names[number])

    with ThreadPoolExecutor(count) as pool:
        return timed(lambda: list(pool.map(one, range(count))))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("mode", choices=["import", "cold", "warm", "throughput", "fanout"])
    arguments.add_argument("--n", type=int, default=20)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="plain-crewai-") as folder:
        os.environ.update(QUIET, CREWAI_STORAGE_DIR=folder, HOME=folder)
        logging.getLogger("crewai").setLevel(logging.CRITICAL)  # else it warns at every call: CPU that is not its work
        began = time.perf_counter()
        importlib.import_module("crewai")

        found: dict[str, Any] = {"mode": asked.mode, "import_s": time.perf_counter() - began}
        found["tool_calls"] = {"search_notes": 0, "save_report": 0}
        if asked.mode != "import":
            found |= measure(asked.mode, asked.n, Path(folder))
    found["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
