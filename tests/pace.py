"""How fast this machine is just now, so that a test of costs compares two figures of one moment, not one with a clock."""

import time
from collections.abc import Callable

_ROUNDS = 400_000


def pace() -> float:
    """Return the CPU seconds that a fixed piece of work takes now: some 0.03 s on an idle core, more on a busy one."""
    return max(_measured(_fixed_work) for _ in range(3))


def cpu_of(work: Callable[[], object]) -> float:
    """Return the CPU time of `work`, in units of the slower of the paces before and after it."""
    before = pace()
    taken = _measured(work)
    return taken / max(before, pace())


def _measured(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _fixed_work() -> int:
    total = 0
    for number in range(_ROUNDS):
        total += number & 7
    return total
