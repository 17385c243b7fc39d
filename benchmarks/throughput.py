"""What durability costs: Muster with its journal against plain CrewAI without one, and against the ideal.

    python benchmarks/throughput.py [--rounds 3] [--only warm,fanout,16,64] [--alone]

Every measurement is a process of its own, benchmarks/peer.py or benchmarks/plain_crewai.py, with the scripted server
in another; the two take turns, so that both meet the same machine. A run is five tasks one after the other with seven
model calls.

    warm     CPU of one run after two others, without model latency: mean of 20, median of the processes; peak memory
             of a process that makes one run only
    fanout   eight tasks at once, then one that reads them, 500 ms a call: median of five; ideal 1 s
    16, 64   so many runs at once in one process, 1 s a call: median wall; ideal 7 s; peak memory

Prints a table and, as the last line, one JSON object with the targets; exit 1 when one is missed. With --alone plain
CrewAI is left out but where a target is set against it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402

FRAMEWORKS = {"muster": "benchmarks/peer.py", "crewai": "benchmarks/plain_crewai.py"}
CALLS = 7
FANOUT_PROCESSES = 5


@dataclass(frozen=True)
class Measure:
    """One kind of measurement: what a process is asked to do, and against what."""

    mode: str
    count: int
    latency_ms: int
    ideal_seconds: float | None = None
    rounds: int | None = None
    """None: what the command line says."""
    against: bool = False
    """A target is set against plain CrewAI."""


MEASURES = {
    "cold": Measure("cold", 1, 0, rounds=1),
    "warm": Measure("warm", 20, 0, against=True),
    "fanout": Measure("fanout", 8, 500, 1.0, rounds=FANOUT_PROCESSES),
    "16": Measure("throughput", 16, 1000, CALLS * 1.0),
    "64": Measure("throughput", 64, 1000, CALLS * 1.0),
}


def run_process(framework: str, measure: Measure, server: Server) -> dict[str, Any]:
    """Make one measurement; return what the process printed. Raises: SystemExit when it failed."""
    server.configure(latency=str(measure.latency_ms))
    command = [sys.executable, str(ROOT / FRAMEWORKS[framework]), measure.mode, "--n", str(measure.count)]
    environ = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def take_turns(name: str, frameworks: Sequence[str], rounds: int, server: Server) -> dict[str, list[dict[str, Any]]]:
    """Measure each framework `rounds` times, the one that begins changing from round to round."""
    found: dict[str, list[dict[str, Any]]] = {framework: [] for framework in frameworks}
    for number in range(rounds):
        for framework in frameworks if number % 2 == 0 else reversed(frameworks):
            found[framework].append(run_process(framework, MEASURES[name], server))
            last = found[framework][-1]
            wall, cpu = statistics.median(last["walls"]), statistics.mean(last["cpus"])
            say = f"{name} {framework}: wall {wall:.3f} s, CPU {cpu:.3f} s, {last['peak_rss_mb']} MB"
            print(f"{say}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return found


def sum_up(name: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Return medians over the processes: wall and CPU seconds of one measurement, peak memory in MB."""
    ideal = MEASURES[name].ideal_seconds
    figures: dict[str, dict[str, float]] = {}
    for framework, results in found.items():
        wall = statistics.median(statistics.median(result["walls"]) for result in results)
        figures[framework] = {
            "wall_s": round(wall, 3),
            "cpu_s": round(statistics.median(statistics.mean(result["cpus"]) for result in results), 4),
            "peak_rss_mb": round(statistics.median(result["peak_rss_mb"] for result in results), 1),
        }
        if ideal:
            figures[framework]["wall_to_ideal"] = round(wall / ideal, 3)
    return figures


def judge(figures: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Set what was measured beside the targets."""
    wanted: list[tuple[str, str, str, float]] = [
        ("64 at once, wall to ideal", "64", "wall_to_ideal", 1.4),
        ("16 at once, wall to ideal", "16", "wall_to_ideal", 1.15),
        ("fan-out, median wall in s", "fanout", "wall_s", 1.3),
        ("peak memory of one run, MB", "cold", "peak_rss_mb", 280),
        ("peak memory of 64 at once, MB", "64", "peak_rss_mb", 450),
    ]
    if "warm" in figures:
        wanted.append(("warm CPU a run to plain CrewAI's, s", "warm", "cpu_s", figures["warm"]["crewai"]["cpu_s"]))
    return [
        {
            "what": what,
            "got": figures[name]["muster"][key],
            "target": target,
            "met": figures[name]["muster"][key] <= target,
        }
        for what, name, key, target in wanted
        if name in figures
    ]


def table(figures: dict[str, dict[str, dict[str, float]]], verdicts: Sequence[dict[str, Any]]) -> str:
    """Lay the figures out for people."""
    lines = [f"{'':8}{'':8}{'wall s':>9}{'x ideal':>9}{'CPU ms':>9}{'RSS MB':>8}"]
    for name, by_framework in figures.items():
        for framework, row in by_framework.items():
            ratio = f"{row['wall_to_ideal']:.2f}" if "wall_to_ideal" in row else ""
            cells = f"{row['wall_s']:>9.3f}{ratio:>9}{row['cpu_s'] * 1000:>9.1f}{row['peak_rss_mb']:>8.0f}"
            lines.append(f"{name:8}{framework:8}{cells}")
    lines += ["", f"{'target':40}{'at most':>9}{'got':>9}"]
    lines += [
        f"{one['what']:40}{one['target']:>9}{one['got']:>9}{'' if one['met'] else '  MISSED'}" for one in verdicts
    ]
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--only", default=",".join(MEASURES), help=f"some of: {', '.join(MEASURES)}")
    asked.add_argument("--alone", action="store_true", help="leave plain CrewAI out where no target needs it")
    given = asked.parse_args()
    before = os.getloadavg()[0]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with Server() as server:
        for name in given.only.split(","):
            measure = MEASURES[name]
            frameworks = list(FRAMEWORKS) if measure.against or not given.alone else ["muster"]
            figures[name] = sum_up(name, take_turns(name, frameworks, measure.rounds or given.rounds, server))
    verdicts = judge(figures)
    load = {"before": round(before, 1), "after": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    print(table(figures, verdicts))
    print(json.dumps({"load_average": load, "figures": figures, "targets": verdicts}), flush=True)
    if missed := [one["what"] for one in verdicts if not one["met"]]:
        raise SystemExit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
