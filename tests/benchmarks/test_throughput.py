"""How benchmarks/throughput.py sums up and judges; nothing is timed here."""

from benchmarks.throughput import judge, sum_up, table


def _process(wall: float, cpu: float, memory: float) -> dict[str, object]:
    return {"walls": [wall], "cpus": [cpu, cpu], "peak_rss_mb": memory}


def test_figures_are_medians_over_processes_and_ratios_to_the_ideal() -> None:
    found = {"muster": [_process(7.7, 1.0, 300), _process(9.1, 3.0, 310), _process(7.0, 1.5, 305)]}
    assert sum_up("64", found) == {"muster": {"wall_s": 7.7, "cpu_s": 1.5, "peak_rss_mb": 305, "wall_to_ideal": 1.1}}


def test_warm_cpu_is_judged_by_plain_crewais_of_the_same_session() -> None:
    figures = {"warm": sum_up("warm", {"muster": [_process(0.1, 0.07, 1)], "crewai": [_process(0.1, 0.06, 1)]})}
    verdicts = judge(figures)
    assert verdicts == [{"what": "warm CPU a run to plain CrewAI's, s", "got": 0.07, "target": 0.06, "met": False}]
    assert "MISSED" in table(figures, verdicts)


def test_only_what_was_measured_is_judged() -> None:
    figures = {"16": sum_up("16", {"muster": [_process(7.5, 1, 200)]})}
    assert [one["what"] for one in judge(figures) if one["met"]] == ["16 at once, wall to ideal"]
