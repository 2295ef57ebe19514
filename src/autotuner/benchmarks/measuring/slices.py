"""Results of each kind of request in a mix by itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from autotuner.benchmarks.measuring.population import Population
from autotuner.study.measurement import Distribution, Slice
from autotuner.study.text.forms import parse_scenario


def mix_slices(
    population: Population, scenario: str, distributions: Callable[[Population], Mapping[str, Distribution]]
) -> tuple[Slice, ...]:
    """One slice for each part of a mix, also for those without requests.

    Args:
        population: All requests of the window.
        scenario: The scenario's text.
        distributions: Computes the latencies of a part of the population.
    """
    if not any(request.row["part"] is not None for request in population.requests):
        return ()
    found = []
    for index, part in enumerate(parse_scenario(scenario).mix):
        own = replace(population, requests=tuple(r for r in population.requests if r.row["part"] == index))
        counted = own.counted
        found.append(
            Slice(
                label=part.text,
                requests=len(counted),
                failed=len(counted) - len(own.successes),
                distributions=distributions(own),
            )
        )
    return tuple(found)
