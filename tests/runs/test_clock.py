"""How long was worked at tasks and how much of a run's time is used, on clocks that the test sets."""

import pytest

from runs.executing.clock import Clock, Interval, calls_in, covered, seconds_used, task_of


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [([], 0), ([(0, 2)], 2), ([(0, 2), (1, 3)], 3), ([(0, 5), (1, 2)], 5), ([(4, 5), (0, 1)], 2)],
)
def test_work_side_by_side_counts_once(intervals: list[Interval], seconds: float) -> None:
    assert covered(intervals) == seconds


@pytest.mark.parametrize(
    ("waits", "used"),
    [([], 100), ([(10, 30)], 80), ([(10, 30), (20, 40)], 70), ([(-50, 10)], 90), ([(90, 200)], 90), ([(-9, -1)], 100)],
)
def test_waiting_for_a_person_is_no_time_of_a_run(waits: list[Interval], used: float) -> None:
    assert seconds_used(100, 0, waits) == used


def test_a_clock_that_was_set_back_uses_no_time_up() -> None:
    assert seconds_used(50, 100, []) == 0


@pytest.mark.parametrize(
    ("path", "task"),
    [("work", "work"), ("work.a2", "work"), ("crew.work.i3r2.f1", "crew.work"), ("work.a1.inner", "work.a1.inner")],
)
def test_a_piece_belongs_to_its_task(path: str, task: str) -> None:
    assert task_of(path) == task


def test_what_was_worked_before_counts_for_the_task_and_for_each_agent() -> None:
    clock = Clock()
    steps = [
        ("work.a1", {"kind": "model", "agent": "one"}, 0.0, 4.0),
        ("work.a2", {"kind": "tool", "agent": "two"}, 6.0, 2.0),
        ("work", {"kind": "join"}, 0.0, 60.0),
    ]
    clock.seed(calls_in(steps))
    assert (clock.seconds("work"), clock.seconds("work", "one"), clock.seconds("work", "two")) == (6.0, 4.0, 2.0)
    clock.limit("work", 5)
    (limit,) = clock.limits("work.a3", "one", None)
    assert (limit.seconds_left, limit.cause) == (-1.0, "task time")
    (of_task, of_agent) = clock.limits("work.a3", "two", 2)
    assert (of_task.cause, of_agent.cause, of_agent.seconds_left) == ("task time", "timeout", 0.0)


def test_a_deadline_runs_on_but_not_while_a_person_is_waited_for() -> None:
    clock = Clock()
    clock.set_deadline(100, used=90)
    clock.waited(50)
    (limit,) = clock.limits("work", "one", None)
    assert 59 < limit.seconds_left <= 60
    clock.set_deadline(100, used=151)
    (limit,) = clock.limits("work", "one", None)
    assert limit.seconds_left < 0
    assert limit.reason == "the run's deadline of 100 s has passed"
