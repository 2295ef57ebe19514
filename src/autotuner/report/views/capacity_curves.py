"""The curve of a capacity search: its levels with their verdicts, and its answer in sentences."""

from collections.abc import Mapping

from autotuner.report.views.capacity_texts import capacity_answer, refuted_by
from autotuner.report.views.window_figures import (
    LOAD_UNITS,
    FigureKind,
    figure_kind,
    figure_name,
    figure_values,
)
from autotuner.study.base import FrozenModel
from autotuner.study.capacity.result import CapacityLevel, CapacityResult
from autotuner.study.capacity.units import load_text


class CapacityPoint(FrozenModel):
    """One level of a capacity search."""

    load: float
    text: str
    """``12.4 requests/s``."""
    verdict: str
    """``certified``, ``refuted`` or ``open``, or why it does not count."""
    refuted_by: str
    """The SLO that refuted it; empty if none did."""
    requests: int
    """Requests that arrived."""
    bounded: float | None
    """The figure that the SLO bounds; None if it is unknown."""
    values: Mapping[str, float]
    """As in windows."""


class CapacityCurve(FrozenModel):
    """The capacity search of one scenario."""

    scenario: str
    load_unit: str
    certified: float | None
    """Highest load at which all SLOs were shown to hold."""
    refuted: float | None
    """Lowest load above it at which one was shown not to hold."""
    answer: tuple[str, ...]
    """The bracket in words, or which end is missing and why; one line each."""
    bound: str
    """The latency SLO that limits the load; empty if there is none."""
    figure: str
    """What it bounds, as in the values of levels: ``p99 ttft``; empty if there is none."""
    kind: FigureKind | None
    """What that figure is."""
    threshold: float | None
    """In the metric's unit."""
    levels: tuple[CapacityPoint, ...]
    """In the order in which they were measured."""


def capacity_curve(found: CapacityResult) -> CapacityCurve:
    """Returns the curve of one search."""
    bound = found.latency_bound
    return CapacityCurve(
        scenario=found.scenario,
        load_unit=LOAD_UNITS[found.unit],
        certified=found.certified,
        refuted=found.refuted,
        answer=tuple(" ".join(line.split()) for line in capacity_answer(found)),
        bound="" if bound is None else bound.slo,
        figure="" if bound is None else figure_name(bound.metric, bound.statistic),
        kind=None if bound is None else figure_kind(bound.metric, bound.statistic),
        threshold=None if bound is None else bound.limit,
        levels=tuple(_point(found, level) for level in found.levels),
    )


def _point(found: CapacityResult, level: CapacityLevel) -> CapacityPoint:
    bound = found.latency_bound
    measured = level.measurement
    return CapacityPoint(
        load=level.load,
        text=load_text(found.unit, level.load),
        verdict=level.verdict,
        refuted_by=refuted_by(level),
        requests=measured.arrived,
        bounded=None if bound is None else measured.value(bound.metric, bound.statistic),
        values=figure_values(measured),
    )
