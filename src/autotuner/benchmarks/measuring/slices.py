"""Results of some of a window's requests: the kinds of a mix, the stages of a load, the turns of conversations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from autotuner.benchmarks.measuring.population import NS, TURN_METRICS, Population, Request
from autotuner.benchmarks.measuring.rates import Span, output_of, rates_of
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.study.measurement import OF_SLICES, Distribution, Slice
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Stages

Distributions = Callable[[Population], Mapping[str, Distribution]]


@dataclass(frozen=True)
class _Group:
    """Some of a window's requests."""

    kind: Literal["part", "stage", "turn"]
    name: str
    label: str
    belongs: Callable[[Request], bool]
    span: Span | None = None
    """The time that it takes up in the window, within which rates count all requests; None: rates are those of its own
    requests in the whole window."""


def window_slices(
    population: Population, requirements: Requirements, info: RunInfo, distributions: Distributions
) -> tuple[Slice, ...]:
    """One slice for each part of a mix, each stage of a load, and first and later turns, also for empty ones.

    Args:
        population: All requests of the window.
        requirements: What the window was measured for.
        info: Facts about the window.
        distributions: Computes the latencies of a part of the population.
    """

    def made(group: _Group) -> Slice:
        own = replace(population, requests=tuple(filter(group.belongs, population.requests)))
        counted = own.counted
        measured = own if group.span is None else population
        rates = rates_of(measured, output_of(measured, info, group.span), requirements, info, group.span)
        success = {"success_rate": len(own.successes) / len(counted)} if counted else {}
        return Slice(
            kind=group.kind,
            name=group.name,
            label=group.label,
            requests=len(counted),
            failed=len(counted) - len(own.successes),
            distributions={n: found for n, found in distributions(own).items() if n not in TURN_METRICS},
            scalars={name: value for name, value in rates.items() if name in OF_SLICES} | success,
        )

    groups = [*_parts(population, requirements.scenario), *_stages(requirements), *_turns(population)]
    return tuple(map(made, groups))


def _parts(population: Population, scenario: str) -> Iterator[_Group]:
    if any(request.row["part"] is not None for request in population.requests):
        for index, part in enumerate(parse_scenario(scenario).mix):
            name = f"part {index + 1}"
            yield _Group("part", name, part.text, lambda request, index=index: request.row["part"] == index)  # type: ignore[misc]


def _stages(requirements: Requirements) -> Iterator[_Group]:
    """Requests belong to the stage in which they were scheduled."""
    if not isinstance(requirements.level, Stages):
        return
    stages = requirements.level.stages
    ends = accumulate(stage.span_s for stage in stages)
    for number, (stage, end) in enumerate(zip(stages, ends, strict=True), start=1):
        name = f"stage {number}"
        span = (end - stage.span_s, end)
        yield _Group("stage", name, f"{name}: {stage.text}", _scheduled(*span), span)


def _turns(population: Population) -> Iterator[_Group]:
    if any(request.row["turn"] is not None for request in population.requests):
        yield _Group("turn", "first turns", "first turns", lambda request: request.row["turn"] == 0)
        yield _Group("turn", "later turns", "later turns", lambda request: request.row["turn"] != 0)


def _scheduled(begin_s: float, end_s: float) -> Callable[[Request], bool]:
    def inside(request: Request) -> bool:
        scheduled = request.row["scheduled_ns"]
        return scheduled is not None and begin_s <= scheduled * NS < end_s

    return inside
