"""Runs against a model that fails in 30 % of all attempts: they succeed, and the trace shows every attempt and why.

    python benchmarks/faults.py [--runs 20] [--at-once 5] [--max-attempts 8] [--seed 1]

A scripted server in its own process fails in four ways, equally often: 429 (Retry-After: 1), 500, a closed connection,
and no answer at all, which `timeout_seconds` ends. Each run has five tasks: three side by side, one of them with a
tool, then two that read what came before; six model calls when nothing goes wrong. What the server says holds a digest
of what it was asked, so equal outputs mean equal prompts. Then the same runs are made undisturbed and compared. Prints
one JSON line; exit 1 when something is not as promised.

`max_attempts` is 8 here: with the default of 5, one logical call in 400 fails, and so about one of 70 such runs, which
`muster runs resume` then goes on with.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from tests.lab import Lab  # noqa: E402

SHARE = 0.3
FAULTS = ("429", "500", "drop", "hang")
LATENCY_MS = 50
AGENTS = """
    noter: {role: Noter, goal: Note, backstory: You note., tools: [note]}
    reader: {role: Reader, goal: Read, backstory: You read.}
    writer: {role: Writer, goal: Write, backstory: You write.}
"""
TASKS = """
    note: {description: "Use the tool and report about {topic}.", expected_output: A line, agent: noter, context: []}
    facts: {description: "Tell the facts about {topic}.", expected_output: A line, agent: reader, context: []}
    risks: {description: "Tell the risks about {topic}.", expected_output: A line, agent: reader, context: []}
    write: {description: "Write about {topic}.", expected_output: A text, agent: writer, context: [note, facts, risks]}
    close: {description: "Close the text about {topic}.", expected_output: A text, agent: writer, context: [write]}
"""
TOOL = '''
from muster import ToolContext, tool


@tool(effect="write", repeat="safe")
def note(text: str, context: ToolContext) -> str:
    """Append a line to the run's notes."""
    context.output_folder.mkdir(parents=True, exist_ok=True)
    with (context.output_folder / "notes.txt").open("a") as file:
        file.write(f"{text}\\n")
    return f"noted {text}"
'''


def carry_out(lab: Lab, prefix: str, count: int, at_once: int) -> list[dict[str, Any]]:
    """Make `count` runs; return for each what became of it, and its steps as the trace has them."""

    def one(number: int) -> dict[str, Any]:
        run_id = f"{prefix}-{number}"
        outcome = lab.run("default", {"topic": f"subject {number}"}, run_id=run_id)
        notes = lab.runner.folder(run_id) / "files" / "notes.txt"
        return {
            "status": outcome.status,
            "reason": outcome.reason,
            "summary": lab.summary(run_id),
            "steps": lab.steps(run_id),
            "notes": notes.read_text().count("\n") if notes.exists() else 0,
        }

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, range(count)))


def compare(disturbed: Sequence[dict[str, Any]], calm: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say how many disturbed runs ended with the outputs and tokens of their undisturbed twins."""
    found = Counter[str]()
    for one, other in zip(disturbed, calm, strict=True):
        mine, theirs = one["summary"], other["summary"]
        texts = [[task["output"] for task in each["tasks"]] for each in (mine, theirs)]
        found["same_outputs"] += texts[0] == texts[1] and mine["output"] == theirs["output"] is not None
        names = ("input_tokens", "output_tokens", "tool_calls")
        found["same_tokens"] += all(mine["usage"][name] == theirs["usage"][name] for name in names)
    return {"same_outputs": found["same_outputs"], "same_tokens": found["same_tokens"]}


def tell(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count what the traces show."""
    steps = [step for run in runs for step in run["steps"]]
    attempts = [step.record for step in steps if step.kind == "model"]
    errors = [record["error"] for record in attempts if "error" in record]
    backoffs = [step.record for step in steps if step.kind == "backoff"]
    return {
        "attempts": len(attempts),
        "most_attempts_per_call": max((record["attempt"] for record in attempts), default=0),
        "error_attempts": len(errors),
        "errors": dict(sorted(Counter(str(error["kind"]) for error in errors).items())),
        "errors_without_reason": sum(not error["message"] for error in errors),
        "backoffs": len(backoffs),
        "backoffs_without_reason": sum(not record["reason"] for record in backoffs),
        "notes": sum(run["notes"] for run in runs),
    }


def measure(count: int, at_once: int, max_attempts: int, timeout_seconds: float, seed: int) -> dict[str, Any]:
    """Make the runs, disturbed and undisturbed; return what was seen."""
    with tempfile.TemporaryDirectory(prefix="muster-faults-") as folder, Server(latency=str(LATENCY_MS)) as server:
        lab = Lab(Path(folder) / "project")
        lab.write(agents=AGENTS, tasks=TASKS, tools__note_py=TOOL)
        lab.models(server.base_url, timeout_seconds=timeout_seconds, max_attempts=max_attempts)
        _ = lab.runner
        try:
            server.configure(rates=dict.fromkeys(FAULTS, SHARE / len(FAULTS)), seed=seed)
            began = time.monotonic()
            disturbed = carry_out(lab, "disturbed", count, at_once)
            seconds = time.monotonic() - began
            stats = server.get("/_stats")
            server.configure(rates={})
            calm = carry_out(lab, "calm", count, at_once)
        finally:
            lab.close()
    return {
        "runs": count,
        "succeeded": sum(run["status"] == "succeeded" for run in disturbed),
        "reasons": [run["reason"] for run in disturbed if run["status"] != "succeeded"],
        "max_attempts": max_attempts,
        **tell(disturbed),
        **compare(disturbed, calm),
        "server": {key: stats[key] for key in ("attempts", "logical_calls", "outcomes", "paid_twice", "never_ok")},
        "seconds": round(seconds, 1),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def broken_promises(found: dict[str, Any]) -> list[str]:
    """Name what is not as promised in what `measure` returned."""
    runs = found["runs"]
    promises = {
        "every run succeeds": found["succeeded"] == runs,
        "outputs are those of undisturbed runs": found["same_outputs"] == runs,
        "tokens are those of undisturbed runs": found["same_tokens"] == runs,
        "the tool of each run was called once": found["notes"] == runs,
        "there were faults": found["error_attempts"] > 0,
        "attempts are bounded": found["most_attempts_per_call"] <= found["max_attempts"],
        "the trace has every attempt that the server saw": found["attempts"] == found["server"]["attempts"],
        "each error attempt has a reason": found["errors_without_reason"] == 0,
        "each error attempt was followed by a backoff": found["backoffs"] == found["error_attempts"],
        "each backoff has a reason": found["backoffs_without_reason"] == 0,
    }
    return [name for name, kept in promises.items() if not kept]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=20)
    asked.add_argument("--at-once", type=int, default=5, help="runs under way at the same time")
    asked.add_argument("--max-attempts", type=int, default=8, help="`max_attempts` in models.yaml")
    asked.add_argument("--timeout", type=float, default=2.0, help="`timeout_seconds` in models.yaml")
    asked.add_argument("--seed", type=int, default=1, help="of the faults")
    given = asked.parse_args()
    found = measure(given.runs, given.at_once, given.max_attempts, given.timeout, given.seed)
    print(json.dumps(found), flush=True)
    if broken := broken_promises(found):
        raise SystemExit(f"not as promised: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
