"""What is optimized, and which bounds must hold."""

from enum import StrEnum

from pydantic import Field

from autotuner.study.base import Noun, number_text
from autotuner.study.metric import METRICS, Direction


class Objective(Noun):
    """One optimized quantity, e.g. ``max output_throughput`` or ``min p99 ttft at concurrency=8``.

    Without ``at``, all levels count: a latency statistic is taken at its worst scenario and level; a throughput is the
    geometric mean over them; ``success_rate`` the lowest. Percentiles are never averaged.
    """

    metric: str
    statistic: str | None = None
    """One of ``STATISTICS``; None for metrics that have one value a window."""
    direction: Direction
    at: str | None = None
    """A load level's text (``concurrency=8``), or None for all."""
    scenario: str | None = None
    """A scenario's text, or None for all."""

    @property
    def text(self) -> str:
        """Canonical spelling."""
        return f"{self.direction.value} {metric_text(self.metric, self.statistic)}" + _place_text(
            self.at, self.scenario
        )


class Comparison(StrEnum):
    """Direction of a bound."""

    LE = "<="
    GE = ">="


class SLO(Noun):
    """A bound on a measured metric, e.g. ``p99 ttft <= 200ms``."""

    metric: str
    statistic: str | None = None
    """None on a distribution metric: a bound on every request (counts in goodput, not in feasibility)."""
    comparison: Comparison = Comparison.LE
    threshold: float
    """In the metric's own unit (seconds, not milliseconds)."""
    at: str | None = None
    scenario: str | None = None
    hard: bool = True
    """Hard: a violation makes the trial infeasible. Soft: it lowers the rank among feasible trials."""
    weight: float = Field(default=1.0, ge=0)

    @property
    def text(self) -> str:
        """Canonical spelling, milliseconds for times."""
        metric = METRICS[self.metric]
        bound = number_text(self.threshold, thousandfold=metric.unit.value == "s")
        unit = "ms" if metric.unit.value == "s" else ""
        what = f"{metric_text(self.metric, self.statistic)} {self.comparison.value} {bound}{unit}"
        return what + _place_text(self.at, self.scenario)


def metric_text(metric: str, statistic: str | None) -> str:
    """``p99 ttft`` or ``output_throughput``."""
    return f"{statistic} {metric}" if statistic else metric


def _place_text(at: str | None, scenario: str | None) -> str:
    return (f" at {at}" if at else "") + (f" for {scenario}" if scenario else "")
