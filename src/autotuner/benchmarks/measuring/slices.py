"""Results of some of a window's requests: the kinds of a mix, the stages of a load, the turns of conversations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Literal

from autotuner.benchmarks.measuring.population import NS, TURN_METRICS, Population, Request
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.study.measurement import Distribution, Slice
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Stages

Distributions = Callable[[Population], Mapping[str, Distribution]]
_Group = tuple[Literal["part", "stage", "turn"], str, Callable[[Request], bool]]


def window_slices(
    population: Population, requirements: Requirements, distributions: Distributions
) -> tuple[Slice, ...]:
    """One slice for each part of a mix, each stage of a load, and first and later turns, also for empty ones.

    Args:
        population: All requests of the window.
        requirements: What the window was measured for.
        distributions: Computes the latencies of a part of the population.
    """
    groups = [*_parts(population, requirements.scenario), *_stages(requirements), *_turns(population)]
    return tuple(_slice(population, group, distributions) for group in groups)


def _slice(population: Population, group: _Group, distributions: Distributions) -> Slice:
    kind, label, belongs = group
    own = replace(population, requests=tuple(filter(belongs, population.requests)))
    counted = own.counted
    return Slice(
        kind=kind,
        label=label,
        requests=len(counted),
        failed=len(counted) - len(own.successes),
        distributions={n: found for n, found in distributions(own).items() if n not in TURN_METRICS},
    )


def _parts(population: Population, scenario: str) -> Iterator[_Group]:
    if any(request.row["part"] is not None for request in population.requests):
        for index, part in enumerate(parse_scenario(scenario).mix):
            yield "part", part.text, lambda request, index=index: request.row["part"] == index  # type: ignore[misc]


def _stages(requirements: Requirements) -> Iterator[_Group]:
    """Requests belong to the stage in which they were scheduled."""
    if not isinstance(requirements.level, Stages):
        return
    stages = requirements.level.stages
    ends = accumulate(stage.span_s for stage in stages)
    for number, (stage, end) in enumerate(zip(stages, ends, strict=True), start=1):
        yield "stage", f"stage {number}: {stage.text}", _scheduled(end - stage.span_s, end)


def _turns(population: Population) -> Iterator[_Group]:
    if any(request.row["turn"] is not None for request in population.requests):
        yield "turn", "first turns", lambda request: request.row["turn"] == 0
        yield "turn", "later turns", lambda request: request.row["turn"] != 0


def _scheduled(begin_s: float, end_s: float) -> Callable[[Request], bool]:
    def inside(request: Request) -> bool:
        scheduled = request.row["scheduled_ns"]
        return scheduled is not None and begin_s <= scheduled * NS < end_s

    return inside
