"""Figures of windows as pages show them, by names such as ``p99 ttft`` and ``output_throughput``."""

from collections.abc import Mapping
from functools import lru_cache

from autotuner.report.numbers import metric_name
from autotuner.scoring.values import metric_value
from autotuner.study.base import FrozenModel
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Direction, Unit
from autotuner.study.workload import Concurrency, LoadLevel, LoadUnit, RequestRate, TraceSpeed

LOAD_UNITS = {LoadUnit.CONCURRENCY: "in flight", LoadUnit.RATE: "requests/s", LoadUnit.SPEED: "x speed"}
STATISTICS = ("mean", "p50", "p90", "p99")
"""Those of distributions that pages show of every window."""


class FigureKind(FrozenModel):
    """What a figure of windows is."""

    title: str
    """``p99 TTFT``, ``output throughput``."""
    unit: Unit
    better: Direction


class WindowFigures(FrozenModel):
    """What one window measured."""

    scenario: str
    level: str
    load: float | None
    """Its place on an axis of load: requests in flight, requests per second, or times the recorded speed."""
    load_unit: str
    values: Mapping[str, float]
    """By figure: ``p99 ttft``, ``output_throughput``."""


def window_figures(m: Measurement) -> WindowFigures:
    """Returns the figures of a window, with its place on an axis of load."""
    load, unit = _load(m.level)
    return WindowFigures(scenario=m.scenario, level=m.level.text, load=load, load_unit=unit, values=figure_values(m))


def figure_values(m: Measurement) -> dict[str, float]:
    """Returns all figures of a window that were measured."""
    values = {name: metric_value(m, metric, statistic) for metric, statistic, name in figure_names(m)}
    return {name: value for name, value in values.items() if value is not None}


def figure_names(m: Measurement) -> tuple[tuple[str, str | None, str], ...]:
    """Returns the metrics of a window, each with a statistic and the name of the figure."""
    return _named(tuple(m.distributions), tuple(m.scalars))


@lru_cache(256)  # windows of a study have the same metrics
def _named(distributions: tuple[str, ...], scalars: tuple[str, ...]) -> tuple[tuple[str, str | None, str], ...]:
    found: list[tuple[str, str | None]] = [(name, s) for name in distributions for s in STATISTICS]
    found += [(name, None) for name in scalars]
    return tuple((name, s, figure_name(name, s)) for name, s in found if name in METRICS)


def figure_kind(name: str, statistic: str | None) -> FigureKind:
    """Returns what a figure is."""
    metric = METRICS[name]
    return FigureKind(title=metric_name(name, statistic), unit=metric.unit, better=metric.better)


def figure_name(name: str, statistic: str | None) -> str:
    """Returns the name of a figure: ``p99 ttft``, ``output_throughput``."""
    return f"{statistic} {name}" if statistic else name


def _load(level: LoadLevel) -> tuple[float | None, str]:
    match level:
        case Concurrency():
            return level.in_flight, LOAD_UNITS[LoadUnit.CONCURRENCY]
        case RequestRate():
            return level.rate, LOAD_UNITS[LoadUnit.RATE]
        case TraceSpeed():
            return level.speed, LOAD_UNITS[LoadUnit.SPEED]
        case _:  # users, stages and searches have no place on an axis
            return None, ""
