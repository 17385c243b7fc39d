"""A tool that blocks for 60 s under a limit of 1 s: when control is back, and what is left; what the processes cost.

    python benchmarks/deadlines.py [--rounds 50] [--calls 500]

Each round calls a tool that sleeps for 60 s and has started two processes, one in a session of its own. Control must be
back within 2.0 s, and no process be left. Then a tool that does nothing is called in a process of its own and in a
thread, in turn, and the ratio of the two told.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from muster import ToolContext  # noqa: E402
from project.spec import ToolUse  # noqa: E402
from runs import quiet  # noqa: E402
from tools.registry import load_tools  # noqa: E402
from tools.tool import Tool  # noqa: E402

MOST_SECONDS = 2.0
TOOLS = '''
import subprocess
import time

from muster import tool


@tool(effect="read", timeout_seconds=1)
def block() -> str:
    """Block."""
    subprocess.Popen(["sleep", "60"])
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    time.sleep(60)
    return "late"


@tool(effect="read")
def quick(text: str) -> str:
    """Return at once."""
    return text
'''


def descendants(process: int) -> set[int]:
    """Return the processes below one."""
    found: set[int] = set()
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found |= {child} | descendants(child)
    return found


def sleepers() -> set[int]:
    """Return the processes that this benchmark's tools started, wherever they hang by now."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"MUSTER_ROUND={os.getpid()}".encode() in (entry / "environ").read_bytes():
                found.add(int(entry.name))
    return found - {os.getpid()}


def block_once(tool: Tool, context: ToolContext) -> float:
    """Call the tool that blocks; return the seconds until control is back."""
    from runs.calls.tool_hosts import FunctionFailed, call_tool

    began = time.monotonic()
    try:
        call_tool("benchmark", tool, {}, context, tool.timeout_seconds)
    except FunctionFailed as error:
        if error.kind != "timeout":
            raise
        return time.monotonic() - began
    raise AssertionError("it was not ended")


def left_over(keeper_and_hosts: set[int]) -> set[int]:
    """Return what a round left, after half a second in which the kernel may clean up."""
    until = time.monotonic() + 0.5
    while (left := sleepers() - keeper_and_hosts) and time.monotonic() < until:
        time.sleep(0.01)
    return left


def cost(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the milliseconds of a call: wall clock, and CPU of this process."""
    began, used = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.perf_counter() - began) / calls * 1000, (time.process_time() - used) / calls * 1000


def main() -> int:
    """Run the rounds; return 0 when every one was in time and left nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    os.environ["MUSTER_ROUND"] = str(os.getpid())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "tools").mkdir()
        (root / "tools" / "mine.py").write_text(TOOLS)
        quiet.prepare(root / "state")
        from runs.calls import tool_hosts

        tools = load_tools(root, [ToolUse(name="block"), ToolUse(name="quick")])
        context = ToolContext(root, root / "files")
        began = time.monotonic()
        tool_hosts.call_tool("benchmark", tools["quick"], {"text": "a"}, context, 10)
        print(f"first call, with the start of the keeper: {time.monotonic() - began:.2f} s")
        times: list[float] = []
        left = 0
        for _ in range(options.rounds):
            times.append(block_once(tools["block"], context))
            left += len(left_over(descendants(os.getpid())))
        in_time = sum(seconds <= MOST_SECONDS for seconds in times)
        print(f"control back: {in_time} of {options.rounds} within {MOST_SECONDS} s")
        print(f"  median {statistics.median(times):.3f} s, most {max(times):.3f} s; processes left: {left}")
        _compare(tools["quick"], context, options.calls)
        tool_hosts.close()
        alive = left_over(set())
        print(f"after close: {len(alive)} processes left")
    return 0 if in_time == options.rounds and not left and not alive else 1


def _compare(tool: Tool, context: ToolContext, calls: int) -> None:
    from runs.calls.tool_hosts import call_here, call_tool

    ratios: list[float] = []
    cpu: list[float] = []
    for _ in range(5):  # in turn, so that what else the machine does is the same for both
        host = cost(lambda: call_tool("benchmark", tool, {"text": "a"}, context, 10), calls // 5)
        thread = cost(lambda: call_here(lambda: tool.call({"text": "a"}, context), 10, "quick"), calls // 5)
        ratios.append(host[0] / thread[0])
        cpu.append(host[1] / thread[1])
        print(
            f"  a call: process {host[0]:.2f} ms ({host[1]:.2f} CPU), thread {thread[0]:.2f} ms ({thread[1]:.2f} CPU)"
        )
    print(f"process / thread: {statistics.median(ratios):.2f} wall clock, {statistics.median(cpu):.2f} CPU of Muster")


if __name__ == "__main__":
    raise SystemExit(main())
