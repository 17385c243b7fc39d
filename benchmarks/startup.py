"""How long a command takes to start: whole processes, bytecode compiled, taking turns with `python -c pass`.

    python benchmarks/startup.py [--rounds 11] [--runs 5]

Makes a project with `muster new`, and some finished offline runs in it. Prints medians and, as the last line, one JSON
object with the targets; exit 1 when one is missed.
"""

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("project", "models", "tools", "policy", "agents", "tasks", "crews", "runs", "cli")
TARGETS = {"--help": 0.3, "check": 0.6, "runs list": 1.8}
PLAIN = "python -c pass"


def environment() -> dict[str, str]:
    """Return this process's environment without what would keep bytecode from being used, and without keys."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "MUSTER_PROJECT", "MUSTER_STATE")
    return {k: v for k, v in os.environ.items() if k not in unwanted and not k.endswith("_API_KEY")}


def call(arguments: Sequence[str], environ: Mapping[str, str]) -> float:
    """Run Python with these arguments to its end; return the seconds. Raises: SystemExit when it failed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True, cwd="/")
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"python {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return seconds


def measure(rounds: int, runs: int) -> dict[str, list[float]]:
    """Return the seconds of each round for each command."""
    compileall.compile_file(ROOT / "main.py", quiet=1)
    compileall.compile_file(ROOT / "muster.py", quiet=1)
    for room in ROOMS:
        compileall.compile_dir(ROOT / room, quiet=1)
    main = str(ROOT / "main.py")
    with tempfile.TemporaryDirectory(prefix="muster-startup-") as folder:
        project, environ = f"{folder}/project", environment()
        call([main, "new", project], environ)
        for number in range(runs):
            question = f"question=What is a budget for, in {number + 1} words?"
            call([main, "--project", project, "run", "ask", "--model", "offline", "-i", question], environ)
        made = len(list(Path(project, ".muster", "runs").iterdir()))
        assert made == runs, f"{made} of {runs} runs are there"
        commands = {PLAIN: ["-c", "pass"]}
        commands |= {name: [main, "--project", project, *name.split()] for name in TARGETS}
        for arguments in commands.values():
            call(arguments, environ)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                seconds[name].append(call(arguments, environ))
    return seconds


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=11)
    asked.add_argument("--runs", type=int, default=5, help="finished runs in the project")
    given = asked.parse_args()
    seconds = measure(given.rounds, given.runs)
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    for name, median in medians.items():
        target = f"at most {TARGETS[name]}" if name in TARGETS else ""
        print(f"{name:16}median {median:.3f} s  least {min(seconds[name]):.3f} s  {target}".rstrip())
    load = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps({"medians_s": medians, "targets_s": TARGETS, "rounds": given.rounds, "load_average": load}))
    if missed := [name for name, most in TARGETS.items() if medians[name] > most]:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
