"""Parameters that the source of predictions does not know.

A source reads some flags and ignores others, and it rarely knows how two releases of an engine differ. What such a
parameter changes is missing from the predictions, so the model expects as much of it as without predictions. Otherwise
it takes the error of one release for one of all predictions, and launches the same release again instead of others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from autotuner.search.points import Axis
from autotuner.study.configuration import Configuration
from autotuner.study.search.forecast import Channel, Forecast
from autotuner.study.search.release import Release


def unpredicted(
    axes: Sequence[Axis],
    configurations: Sequence[Configuration],
    forecasts: Callable[[Configuration], Forecast | None],
) -> frozenset[str]:
    """Names of the parameters whose values make no difference to the predictions.

    Configurations that differ in one parameter alone are compared. If there are none with predictions for the same
    level, only parameters whose values are releases count as unpredicted.

    Args:
        axes: The parameters.
        configurations: Some or all of the space.
        forecasts: Their predictions; None where there are none.
    """
    known = [(c, f) for c in configurations if (f := forecasts(c)) is not None]
    if not known:
        return frozenset()
    found = set()
    for axis in axes:
        differs = _differences(axis.name, known)
        if not (any(differs) if differs else not _releases(axis)):
            found.add(axis.name)
    return frozenset(found)


def _differences(name: str, known: Iterable[tuple[Configuration, Forecast]]) -> list[bool]:
    """Whether predictions for the same level differ, for configurations that differ in one parameter."""
    first: dict[tuple[object, ...], tuple[object, Mapping[Channel, float]]] = {}
    compared = []
    for configuration, forecast in known:
        others = Configuration(values={k: v for k, v in configuration.values.items() if k != name}).key
        value = configuration.values.get(name)
        for level in forecast.levels:
            other, predicted = first.setdefault((others, level.scenario, level.level), (value, level.log_mean))
            if other != value:
                compared.append(predicted != level.log_mean)
    return compared


def _releases(axis: Axis) -> bool:
    """Whether the values name releases, as ``0.5.9`` or ``lmsysorg/sglang:v0.5.9`` do."""
    return any(isinstance(v, str) and Release.named(v) for v in axis.values or ())
