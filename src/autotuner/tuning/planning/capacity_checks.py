"""Whether the capacity that a study asks for can be searched for."""

from collections.abc import Iterator

from autotuner.capacity.bounds import bounds_of, limits_of
from autotuner.errors import Problem, UsageError
from autotuner.plugins.benchmark import Benchmark
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad


def capacity_problems(spec: StudySpec, benchmark: Benchmark) -> Iterator[Problem]:
    """Problems of the SLOs and of the benchmark; none if the study searches for no capacity."""
    if not any(isinstance(level, CapacityLoad) for level in spec.workload.levels):
        return
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
