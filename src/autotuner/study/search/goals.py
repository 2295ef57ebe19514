"""What a search optimizes, and the load levels at which every configuration is measured."""

from dataclasses import dataclass
from typing import Self

from autotuner.study.objective import SLO, Objective
from autotuner.study.workload import (
    CapacityLoad,
    Concurrency,
    LoadLevel,
    RequestRate,
    Scenario,
    Stages,
    TokenLengths,
    TraceSpeed,
    Users,
    Workload,
)


@dataclass(frozen=True)
class Place:
    """One level of one scenario."""

    scenario: str
    """:attr:`Scenario.text`."""
    level: str
    """:attr:`LoadLevel.text`."""
    load: float = 1.0
    """Amount of load in the level's unit; only ratios between the levels of a study matter."""
    in_flight: int | None = None
    """Requests in flight, if their number is fixed and all of them are alike (closed loop)."""
    input_tokens: float | None = None
    """Mean prompt length; None if it is unknown."""
    output_tokens: float | None = None
    """Mean response length; None if it is unknown or nothing is generated."""

    @classmethod
    def of(cls, scenario: Scenario, level: LoadLevel, *, generates: bool = True) -> Self:
        """The place of a scenario at a level."""
        plain = not (scenario.mix or scenario.conversations or scenario.dataset or scenario.trace)
        return cls(
            scenario=scenario.text,
            level=level.text,
            load=_load(level),
            in_flight=level.in_flight if isinstance(level, Concurrency) and plain and generates else None,
            input_tokens=_mean(scenario.input) if plain else None,
            output_tokens=_mean(scenario.output) if plain and generates else None,
        )


@dataclass(frozen=True)
class Goals:
    """Objectives and SLOs of a study, and where they are measured."""

    objectives: tuple[Objective, ...]
    slos: tuple[SLO, ...] = ()
    places: tuple[Place, ...] = ()
    any_level: bool = False
    """Whether the best level at which all SLOs hold counts, and not all levels."""

    @classmethod
    def of(cls, objectives: tuple[Objective, ...], slos: tuple[SLO, ...], workload: Workload) -> Self:
        """The goals of a study."""
        places = [
            Place.of(scenario, level, generates=workload.streams)
            for scenario in workload.scenarios
            for level in workload.levels
        ]
        return cls(objectives, slos, tuple(places))


def _mean(lengths: TokenLengths | None) -> float | None:
    return None if lengths is None else lengths.mean


def _load(level: LoadLevel) -> float:
    match level:
        case Concurrency():
            return float(level.in_flight)
        case RequestRate():
            return level.rate
        case Users():
            return float(level.count)
        case TraceSpeed():
            return level.speed
        case Stages():
            return max(level.requests, 1) / max(level.duration_s, 1e-9)
        case CapacityLoad():
            return 1.0
