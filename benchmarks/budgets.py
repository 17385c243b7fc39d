"""One limit for many processes: kept exactly where estimates are exact, and within their error where they are not.

    python -m benchmarks.budgets [--runs 100] [--workers 8] [--kills 20] [--database sqlite|postgresql|both]

Worker processes execute runs under one ceiling in dollars for the month of their project; runs are killed with kill -9
while they are under way and resumed by another process. The model server counts by itself what it bills. Variants:
`exact`: every call uses what was reserved for it; `over`: one call in ten uses 1.3 times as much. Overspend may then
be the errors of the calls that were in flight, killed ones included: nobody learns what those used. Exit 1 otherwise.
"""

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.answer import estimate_tokens  # noqa: E402
from tests.lab import Lab  # noqa: E402

MAX_TOKENS = 100
INPUT, OUTPUT = Decimal(2), Decimal(10)
_OVER, _SHARE = 1.3, 10
_MILLION = Decimal(1_000_000)
_WAIT_SECONDS = 300
_RUN = re.compile(r"for (run-\d+)")


class Billing:
    """What the server has billed: dollars in all, and of each call how much more than its estimate."""

    def __init__(self, over: bool) -> None:
        self.over, self.lock = over, threading.Lock()
        self.calls, self.usd, self.errors = 0, Decimal(0), list[Decimal]()

    def bill(self, body: dict[str, Any]) -> tuple[int, int]:
        """Count a call as it comes in, whatever becomes of its answer; return its tokens."""
        sent = json.dumps([body["messages"], body.get("tools") or []], default=str)
        prompt, answer = estimate_tokens(sent), MAX_TOKENS
        expected = price(prompt, answer)
        with self.lock:
            self.calls += 1
            mark = hashlib.blake2b(f"{self.calls}".encode(), digest_size=4).digest()
            if self.over and int.from_bytes(mark) % _SHARE == 0:
                prompt, answer = int(prompt * _OVER), int(answer * _OVER)
            self.usd += price(prompt, answer)
            self.errors.append(price(prompt, answer) - expected)
        return prompt, answer


def price(prompt: int, answer: int) -> Decimal:
    return (prompt * INPUT + answer * OUTPUT) / _MILLION


def serve(over: bool, latency_seconds: float, seen: Path, ready: Connection) -> None:
    """Answer every call after the latency, in a process of its own; note in `seen` which runs have called."""
    billing = Billing(over)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompt, answer = billing.bill(body)
            for run_id in _RUN.findall(json.dumps(body["messages"])):
                (seen / run_id).touch()
            time.sleep(latency_seconds)
            usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
            message = {"role": "assistant", "content": "done"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            head = {"id": "x", "object": "chat.completion", "created": 1, "model": "scripted"}
            self._send({**head, "choices": [choice], "usage": usage})

        def do_GET(self) -> None:
            with billing.lock:
                told = {"calls": billing.calls, "usd": str(billing.usd), "errors": [str(one) for one in billing.errors]}
            self._send(told)

        def _send(self, value: dict[str, Any]) -> None:
            text = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            return None

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # its client was killed
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_address[1])
    server.serve_forever()


def write_project(lab: Lab, port: int, limit: Decimal) -> None:
    tasks = {
        name: {"description": f"Do {name} for {{topic}}", "expected_output": "A line.", "agent": "worker"}
        for name in "ab"
    }
    model = {"model": "openai/scripted", "base_url": f"http://127.0.0.1:{port}/v1", "max_tokens": MAX_TOKENS}
    model |= {"price": {"input": float(INPUT), "output": float(OUTPUT)}, "timeout_seconds": 60}
    lab.write(
        agents=json.dumps({"worker": {"role": "Worker", "goal": "Do the work", "backstory": "You work."}}),
        tasks=json.dumps(tasks),
        models=json.dumps({"default": model}),
        policy=json.dumps({"budgets": {"month": {"max_usd": float(limit)}}}),
    )


def work(lab: Lab, run_ids: Sequence[str], progress: Path) -> None:
    """In a child: execute these runs to their end, or to the limit; those of a dead process once its lease is over."""
    from runs.executing.control import UnderWay

    store, left = lab.runner.store, list(run_ids)
    while left:
        run_id = left.pop(0)
        with progress.open("a") as file:
            file.write(f"{run_id}\n")
        row = store.find(run_id)
        if row is not None and row.state in ("succeeded", "stopped"):
            continue
        try:
            outcome = lab.run(inputs={"topic": run_id}, run_id=run_id) if row is None else lab.resume(run_id)
        except UnderWay:
            left.append(run_id)
            time.sleep(0.1)
        else:
            assert outcome.status in ("succeeded", "stopped"), outcome


class Worker:
    """A share of the runs, in a process that may be killed and is then followed by another one."""

    def __init__(self, lab: Lab, run_ids: list[str], number: int, kill: set[str], rng: random.Random) -> None:
        self._lab, self._ids, self._kill, self._rng = lab, run_ids, kill, rng
        self._progress = lab.root / f"progress-{number}.txt"
        self.killed = 0

    def go(self) -> None:
        """Execute the runs; return when all are done. Raises: SystemExit when a process fails."""
        waiting = set(self._kill) & set(self._ids)
        while True:
            child = multiprocessing.get_context("fork").Process(
                target=work, args=(self._lab, self._ids, self._progress), daemon=True
            )
            child.start()
            while child.is_alive():
                now = self._now()
                if now in waiting and (self._lab.root / "seen" / now).exists():
                    waiting.discard(now)
                    child.join(self._rng.uniform(0, 0.25))
                    if child.is_alive() and child.pid is not None:
                        os.kill(child.pid, signal.SIGKILL)
                        self.killed += 1
                child.join(0.01)
            child.join()
            if child.exitcode == 0:
                return
            if child.exitcode != -signal.SIGKILL:
                raise SystemExit(f"a worker ended with {child.exitcode}")

    def _now(self) -> str:
        lines = self._progress.read_text().splitlines() if self._progress.exists() else []
        return lines[-1] if lines else ""


def measure(runs: int, workers: int, kills: int, database: str, variant: str, seed: int = 1) -> dict[str, Any]:
    """Execute the runs under a limit of about two thirds of what they would cost; return what was seen."""
    rng = random.Random(seed)
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    limit = (price(100, MAX_TOKENS) * 2 * runs * 2 / 3).quantize(Decimal("0.000001"))
    with tempfile.TemporaryDirectory(prefix="muster-budgets-") as folder:
        lab = Lab(Path(folder) / "project")
        (lab.root / "seen").mkdir(parents=True)
        server = fork.Process(target=serve, args=(variant == "over", 0.15, lab.root / "seen", there), daemon=True)
        server.start()
        port = here.recv()
        write_project(lab, port, limit)
        ids = [f"run-{number}" for number in range(runs)]
        chosen = set(rng.sample(ids[: runs // 2], kills))
        made = [Worker(lab, ids[number::workers], number, chosen, rng) for number in range(workers)]
        began = time.monotonic()
        threads = [threading.Thread(target=one.go, daemon=True) for one in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_WAIT_SECONDS)
        took = time.monotonic() - began
        found = look(lab, ids)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/billed", timeout=10) as response:
        billed = json.load(response)
    server.kill()
    killed = sum(one.killed for one in made)
    worst = sorted((Decimal(error) for error in billed["errors"]), reverse=True)
    overspend = max(Decimal(0), Decimal(billed["usd"]) - limit)
    allowed = sum(worst[: workers + killed], Decimal(0))
    return {
        "database": database,
        "variant": variant,
        "runs": runs,
        "workers": workers,
        "killed": killed,
        **found,
        "calls": billed["calls"],
        "limit_usd": str(limit),
        "billed_usd": billed["usd"],
        "overspend_usd": str(overspend),
        "allowed_usd": str(allowed),
        "seconds": round(took, 1),
        "ok": overspend <= allowed and found["unfinished"] == 0,
    }


def look(lab: Lab, ids: Sequence[str]) -> dict[str, Any]:
    """Read from the database how the runs ended and what the ledger holds."""
    from runs.governed.ledger import Ledger
    from runs.stored.database import open_database
    from runs.stored.store import RunStore

    database = open_database(lab.settings())
    states = [row.state if (row := RunStore(database).find(one)) is not None else "" for one in ids]
    ledger = Ledger(database)
    rows = [one for run_id in ids for one in ledger.of_run(run_id)]
    lost = [one for one in rows if one.state == "lost"]
    database.dispose()
    return {
        "succeeded": states.count("succeeded"),
        "stopped": states.count("stopped"),
        "unfinished": len(states) - states.count("succeeded") - states.count("stopped"),
        "lost": len(lost),
        "lost_usd": str(sum((one.spent.usd for one in lost), Decimal(0))),
    }


def prepare(folder: Path) -> None:
    """Import CrewAI once, before any process is forked."""
    from runs import quiet

    quiet.prepare(folder)
    for name in ("runs.executing.control", "openai.resources"):
        importlib.import_module(name)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=int, default=100)
    asked.add_argument("--workers", type=int, default=8)
    asked.add_argument("--kills", type=int, default=20)
    asked.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-budgets-home-") as folder:
        prepare(Path(folder))
        results: list[dict[str, Any]] = []
        for database in ("sqlite", "postgresql") if given.database == "both" else (given.database,):
            for variant in ("exact", "over"):
                results.append(on(database, given.runs, given.workers, given.kills, variant))
                print(json.dumps(results[-1]), flush=True)
    if not all(result["ok"] for result in results):
        raise SystemExit("not as promised")


def on(database: str, runs: int, workers: int, kills: int, variant: str) -> dict[str, Any]:
    """Measure on a database; PostgreSQL is a server of its own."""
    if database == "sqlite":
        return measure(runs, workers, kills, database, variant)
    from tests.postgres import PostgresServer

    with PostgresServer() as server:
        os.environ["MUSTER_DATABASE_URL"] = server.new_database()
        try:
            return measure(runs, workers, kills, database, variant)
        finally:
            del os.environ["MUSTER_DATABASE_URL"]


if __name__ == "__main__":
    main()
