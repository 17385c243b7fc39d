"""30 runs of several shapes, each executed again from its journal: the same bytes, no socket, nothing asked.

python -m benchmarks.replay [--runs 30]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.scene import tool_file, write_project
from tests.scripted_server import ScriptedServer

INPUTS = {"topic": "rain"}
TASKS: dict[str, Any] = {
    "gather": {"description": '@call note {"text": "{topic}"}\n@answer: notes on {topic}', "tools": ["note"]},
    "list": {"description": '@answer: {"names": ["x", "y", "z"]}', "output": {"names": "list[str]"}},
    "left": {"description": "@answer: left of {topic}", "output_file": "left.md"},
    "right": {"description": "@answer: right of {topic}"},
    "join": {"description": "@answer: both", "context": ["left", "right"]},
    "each": {"description": "@answer: about {item}", "for_each": "outputs.list.names", "context": ["list"]},
    "short": {
        "description": "@answer: a b c d e {topic}\n@after-refusal: a b",
        "guardrails": [{"words": {"max": 3}}],
        "retry": {"attempts": 2},
    },
    "last": {"description": "@answer: all of {topic}", "context": ["gather", "short"]},
    "goal": {"description": "@answer: not asked for"},
}
CREWS: dict[str, Any] = {
    "sequential": {"tasks": ["gather", "short", "last"]},
    "parallel": {"tasks": ["left", "right", "join"]},
    "listed": {"tasks": ["list", "each"]},
    "staged": {"crews": ["sequential", "parallel"]},
    "team": {"process": "hierarchical", "goal": "Get {topic} done", "agents": ["worker", "helper"]},
}
PLAN = plan(
    subtask("one"), subtask("two", agent="helper"), subtask("three", depends_on=["one", "two"]), result=["three"]
)
FAULTS = [{"fault": "500", "match": "about y", "attempts": [1]}, {"fault": "429", "match": "left of", "attempts": [1]}]


def write(lab: Lab, base_url: str) -> None:
    """Write the project of all shapes; calls fail at first here and there, so that retries are in the journals."""
    lab.write(tools__note_py=tool_file("return f'kept {text}'"))
    write_project(lab, TASKS, crews=CREWS)
    lab.write(agents=json.dumps(AGENTS))
    lab.models(base_url)


def make_runs(lab: Lab, number: int) -> list[str]:
    """Do `number` runs, every crew in turn; each sixth one without a model."""
    names = list(CREWS)
    made: list[str] = []
    for at in range(number):
        crew, model = names[at % len(names)], "offline" if at % 6 == 5 else None
        inputs = INPUTS if crew != "listed" else {}
        outcome = lab.run(crew, inputs, model=model)
        if outcome.status not in ("succeeded", "failed"):
            raise SystemExit(f"{crew}: {outcome.status}: {outcome.reason}")
        made.append(outcome.run_id)
    return made


def replay_all(lab: Lab, run_ids: Sequence[str]) -> list[Any]:
    """Replay each of the runs, one after the other, in one scratch database."""
    # Here, where the runner has told CrewAI to be quiet: its telemetry would be a socket.
    from runs.repair.replay import Replayer
    from runs.stored.database import open_database
    from runs.stored.files import runs_folder
    from runs.stored.journal_rows import JournalRows
    from runs.stored.store import RunStore, find_run

    lab.close()
    settings = lab.settings()
    database = open_database(settings)
    journal, store = JournalRows(database), RunStore(database)
    with Replayer() as replayer:
        found = [
            replayer.replay(journal, find_run(store, run_id), runs_folder(settings) / run_id) for run_id in run_ids
        ]
    database.dispose()
    return found


def measure(number: int) -> list[Any]:
    """Do the runs against the scripted server, then replay them while it is still there, so that a call would show."""
    with tempfile.TemporaryDirectory() as folder, ScriptedServer(boss([PLAN])) as server:
        lab = Lab(Path(folder))
        write(lab, server.base_url)
        server.configure(latency="0", faults=FAULTS, retry_after_seconds=0.01)
        run_ids = make_runs(lab, number)
        server.reset()
        found = replay_all(lab, run_ids)
        if server.stats()["attempts"]:
            raise SystemExit(f"{server.stats()['attempts']} calls reached the server")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    began = time.monotonic()
    found = measure(parser.parse_args().runs)
    for one in found:
        shown = f"identical, hash {one.hash[:16]}" if one.identical else one.difference
        print(f"{one.run_id:40} {one.steps:4} steps  {one.sockets} sockets  {one.seconds:6.2f} s  {shown}")
    same, sockets = sum(one.identical for one in found), sum(one.sockets for one in found)
    print(f"{same} of {len(found)} identical, {sockets} sockets, {sum(one.steps for one in found)} steps")
    print(f"{time.monotonic() - began:.1f} s in all")
    raise SystemExit(0 if same == len(found) else 1)


if __name__ == "__main__":
    main()
