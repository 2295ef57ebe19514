"""Starting points of an engine that lie in a study's space."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.metric import METRICS, Direction
from autotuner.study.search.starting_point import Aim, Start, StartingPoint
from autotuner.study.spec import StudySpec

if TYPE_CHECKING:
    from autotuner.tuning.planning.prepared_study import Prepared


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


def _aim(spec: StudySpec) -> Aim:
    """Of the first objective."""
    metric = METRICS[spec.objectives[0].metric]
    return "latency" if metric.distribution and metric.better is Direction.MIN else "throughput"


def _in_space(prepared: "Prepared", point: StartingPoint) -> Iterator[Configuration]:
    """The configuration with these values, if all of them are tuned or fixed to just these; none otherwise."""
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
    defaults = prepared.default.values if prepared.default is not None else {}
    first = {
        p.name: next(iter(p.domain.grid() or (getattr(p.domain, "low", None),))) for p in prepared.space.parameters
    }
    found = prepared.space.pruned({**first, **defaults, **values})
    if prepared.space.contains(found) and prepared.valid(found):
        yield found
