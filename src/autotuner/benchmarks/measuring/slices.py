"""Results of some of a window's requests: the kinds of a mix, the stages of a load, the turns of conversations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from autotuner.benchmarks.measuring.population import NS, TURN_METRICS, Population, Request
from autotuner.benchmarks.measuring.rates import Group, output_of, rates_of
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.study.measurement import OF_SLICES, Distribution, Slice
from autotuner.study.text.forms import parse_scenario
from autotuner.study.text.slices import TURNS, part_names, stage_name
from autotuner.study.workload import Stages

Distributions = Callable[[Population], Mapping[str, Distribution]]


def window_groups(population: Population, requirements: Requirements) -> list[Group]:
    """Each part of a mix, each stage of a load, and first and later turns, also empty ones.

    Args:
        population: All requests of the window.
        requirements: What the window was measured for.
    """
    return [*_parts(population, requirements.scenario), *_stages(requirements), *_turns(population)]


def window_slices(
    population: Population,
    groups: Sequence[Group],
    meets: Callable[[Request], bool],
    info: RunInfo,
    distributions: Distributions,
) -> tuple[Slice, ...]:
    """The results of each group.

    Args:
        population: All requests of the window.
        groups: See :func:`window_groups`.
        meets: Whether a request meets its SLOs.
        info: Facts about the window.
        distributions: Computes the latencies of a part of the population.
    """

    def made(group: Group) -> Slice:
        own = replace(population, requests=tuple(filter(group.belongs, population.requests)))
        counted = own.counted
        measured = own if group.span is None else population
        rates = rates_of(measured, output_of(measured, info, group.span), meets, info, group.span)
        # The rates of a stage count all requests in its time; its success rate is that of its own requests, if any.
        rates.pop("success_rate", None)
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

    return tuple(map(made, groups))


def _parts(population: Population, scenario: str) -> Iterator[Group]:
    if any(request.row["part"] is not None for request in population.requests):
        mix = parse_scenario(scenario).mix
        for index, (name, part) in enumerate(zip(part_names(mix), mix, strict=True)):
            yield Group("part", name, part.text, lambda request, index=index: request.row["part"] == index)  # type: ignore[misc]


def _stages(requirements: Requirements) -> Iterator[Group]:
    """Requests belong to the stage in which they were scheduled."""
    if not isinstance(requirements.level, Stages):
        return
    stages = requirements.level.stages
    ends = accumulate(stage.span_s for stage in stages)
    for number, (stage, end) in enumerate(zip(stages, ends, strict=True)):
        name = stage_name(number)
        span = (end - stage.span_s, end)
        yield Group("stage", name, f"{name}: {stage.text}", _scheduled(*span), span)


def _turns(population: Population) -> Iterator[Group]:
    if any(request.row["turn"] is not None for request in population.requests):
        first, later = TURNS
        yield Group("turn", first, first, lambda request: request.row["turn"] == 0)
        yield Group("turn", later, later, lambda request: request.row["turn"] != 0)


def _scheduled(begin_s: float, end_s: float) -> Callable[[Request], bool]:
    def inside(request: Request) -> bool:
        scheduled = request.row["scheduled_ns"]
        return scheduled is not None and begin_s <= scheduled * NS < end_s

    return inside
