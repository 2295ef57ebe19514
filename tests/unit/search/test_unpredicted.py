"""Parameters that the source of predictions does not know."""

import math
from collections.abc import Callable, Sequence

from autotuner.search.points import Points
from autotuner.search.unpredicted import unpredicted
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.search.forecast import TPOT, Forecast, LevelForecast

IMAGES = ("lmsysorg/sglang:v0.5.8", "lmsysorg/sglang:v0.5.9")
SPACE = Space(
    parameters=(
        Parameter(name="tp", domain=Choices(values=(1, 2))),
        Parameter(name="backend", domain=Choices(values=("fa3", "triton"))),
        Parameter(name="image", domain=Choices(values=IMAGES)),
    )
)
ALL = tuple(SPACE.grid())


def forecasts(*read: str, only: Sequence[Configuration] = ALL) -> Callable[[Configuration], Forecast | None]:
    """Predictions that depend on some parameters, for some configurations."""

    def forecast(configuration: Configuration) -> Forecast | None:
        if configuration not in only:
            return None
        values: list[Value] = [configuration.values[name] for name in read]
        seconds = 0.01 * (1 + len(str(values)))
        return Forecast((LevelForecast("chat", "4", {TPOT: math.log(seconds)}),), source="made up", version="1")

    return forecast


def of(configurations: Sequence[Configuration], found: Callable[[Configuration], Forecast | None]) -> frozenset[str]:
    return unpredicted(Points(SPACE).axes, configurations, found)


def test_a_parameter_is_unpredicted_if_its_values_make_no_difference() -> None:
    assert of(ALL, forecasts("backend")) == {"tp", "image"}


def test_one_difference_is_enough_to_be_predicted() -> None:
    """Both releases are predicted, and differ in one of four pairs."""

    def forecast(configuration: Configuration) -> Forecast | None:
        return forecasts("image" if configuration == ALL[0] else "backend")(configuration)

    assert "image" not in of(ALL, forecast)


def test_without_pairs_only_releases_are_unpredicted() -> None:
    """The two configurations differ in every parameter."""
    assert of((ALL[0], ALL[-1]), forecasts("tp")) == {"image"}


def test_configurations_without_predictions_are_no_evidence() -> None:
    some = [c for c in ALL if c.values["image"] == IMAGES[0]]
    assert of(ALL, forecasts("tp", "backend", only=some)) == {"tp", "image"}
    assert of(ALL, forecasts("tp", only=())) == frozenset()
