"""Whether the capacity that a study asks for can be searched for."""

from collections.abc import Iterator
from contextlib import suppress

from autotuner.benchmarks.capacity.replays import budget_problems
from autotuner.capacity.bounds import bounds_of, limits_of
from autotuner.errors import Problem, UsageError
from autotuner.plugins.benchmark import Benchmark
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad


def capacity_problems(spec: StudySpec, benchmark: Benchmark) -> Iterator[Problem]:
    """Problems of the SLOs and of the benchmark; none if the study searches for no capacity."""
    load = next((level for level in spec.workload.levels if isinstance(level, CapacityLoad)), None)
    if load is None:
        return
    for part in dict.fromkeys(scenario.trace for scenario in spec.workload.scenarios if scenario.trace):
        with suppress(UsageError):  # the preflight says what is wrong with the file
            yield from budget_problems(part, load, "workload")
    if not benchmark.tests_levels:
        why = f"{benchmark.kind} cannot end a window as soon as its load is decided"
        yield Problem(where="workload.load", value="capacity", why=why, remedy="use benchmark: native")
    for index, slo in enumerate(spec.slos):
        if slo.hard and slo.at:
            why = "a capacity search chooses the load levels"
            yield Problem(where=f"slo[{index}]", value=slo.text, why=why, remedy=f"remove at {slo.at}")
    try:
        bounds_of(limits_of(spec.slos), spec.min_success_rate, where="slo")
    except UsageError as error:
        yield from error.problems
