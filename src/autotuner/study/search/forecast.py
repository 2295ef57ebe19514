"""Predicted results of a configuration, with what they depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from autotuner.study.measurement import Measurement


class Channel(NamedTuple):
    """A quantity that is predicted and observed at every level."""

    metric: str
    statistic: str | None = None
    """None for metrics with one value per window."""

    @property
    def text(self) -> str:
        """``mean ttft``."""
        return f"{self.statistic} {self.metric}" if self.statistic else self.metric

    def observed(self, measurement: Measurement) -> float | None:
        """Its value in a window; None if it was not measured."""
        return measurement.value(self.metric, self.statistic)


TTFT = Channel("ttft", "mean")
TPOT = Channel("tpot", "mean")
OUTPUT_THROUGHPUT = Channel("output_throughput")


@dataclass(frozen=True)
class LevelForecast:
    """Predicted results at one load level."""

    scenario: str
    """:attr:`Scenario.text`."""
    level: str
    """:attr:`LoadLevel.text`."""
    log_mean: Mapping[Channel, float]
    """Natural logarithm of each channel's value, in the units of :data:`METRICS`."""
    slopes: Mapping[Channel, Mapping[str, float]] = field(default_factory=dict)
    """Derivative of ``log_mean`` with respect to the logarithm of each calibration parameter, by the parameter's name.
    Parameters without an effect may be left out."""


@dataclass(frozen=True)
class Forecast:
    """Predicted results of one configuration."""

    levels: tuple[LevelForecast, ...]
    source: str
    """What predicted it."""
    version: str
    """Version of the source: forecasts of different versions are not comparable."""

    def at(self, scenario: str, level: str) -> LevelForecast | None:
        """The forecast at a level; None if there is none."""
        return next((f for f in self.levels if f.scenario == scenario and f.level == level), None)
