"""Starting points of an engine that lie in a study's space."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.metric import METRICS, Direction
from autotuner.study.search.starting_point import Aim, Start, StartingPoint
from autotuner.study.spec import StudySpec

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared

_LATENCIES: Mapping[Aim, tuple[str, ...]] = {"ttft": ("ttft",), "tpot": ("tpot", "itl")}
"""Beginnings of the names of metrics."""


def starting_points(prepared: "Prepared") -> tuple[Start, ...]:
    """The engine's starting points for the study's aim as configurations of its space, without the default."""
    if not prepared.deployer.launches or not prepared.spec.parameters:
        return ()
    machine = prepared.engine.machine(prepared.hardware)
    found: dict[str, Start] = {}
    for point in prepared.engine.starting_points(machine):
        if point.aim in (None, _aim(prepared.spec)):
            for configuration in _in_space(prepared, point):
                found.setdefault(prepared.identity(configuration), Start(configuration, point.source))
    return tuple(found.values())


def _aim(spec: StudySpec) -> Aim | None:
    """Of the first objective; None if it mixes aims, as the latency of whole requests does."""
    metric = METRICS[spec.objectives[0].metric]
    if not (metric.distribution and metric.better is Direction.MIN):
        return "throughput"
    return next((aim for aim in _LATENCIES if metric.name.startswith(_LATENCIES[aim])), None)


def _in_space(prepared: "Prepared", point: StartingPoint) -> Iterator[Configuration]:
    """The configuration with these values and the defaults of all other parameters, if all of the values are tuned or
    fixed to just these and the defaults are known and in the space; none otherwise."""
    tuned = {prepared.engine.canonical(p.name): p.name for p in prepared.space.parameters}
    fixed = prepared.fixed
    values: dict[str, Value] = {}
    for flag, value in point.values.items():
        if flag in tuned:
            values[tuned[flag]] = value
        elif flag not in fixed or fixed[flag] != value:
            return
    if not values:
        return
    # A launch with an arbitrary value of another parameter is not what is recommended.
    defaults = {p.name: p.default(prepared.space.known) for p in prepared.space.parameters}
    found = prepared.space.pruned({**defaults, **values})
    if prepared.space.contains(found) and prepared.valid(found):
        yield found
