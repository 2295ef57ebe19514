"""Objectives and SLOs."""

from enum import StrEnum

from pydantic import Field

from autotuner.study.base import FrozenModel, number_text
from autotuner.study.metric import METRICS, Direction


class Objective(FrozenModel):
    """A quantity to optimize, e.g. ``max output_throughput`` or ``min p99 ttft at concurrency=8``.

    Without ``at``, all levels count: the worst scenario and level for a latency, the geometric mean for a throughput,
    the lowest ``success_rate``. Percentiles are never averaged.
    """

    metric: str
    statistic: str | None = None
    """One of ``STATISTICS``; None for metrics with one value per window."""
    direction: Direction
    at: str | None = None
    """Text of a load level (``concurrency=8``); None: all levels."""
    scenario: str | None = None
    """Text of a scenario; None: all scenarios."""

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


class SLO(FrozenModel):
    """A bound on a measured metric, e.g. ``p99 ttft <= 200ms``."""

    metric: str
    statistic: str | None = None
    """None on a metric with one value per request: a bound on each request. It defines goodput, not feasibility."""
    comparison: Comparison = Comparison.LE
    threshold: float
    """The bound in the metric's unit (seconds, not milliseconds)."""
    of: str | None = None
    """Name of a part of the load, such as ``part 1`` or ``later turns``; None: all requests."""
    at: str | None = None
    scenario: str | None = None
    hard: bool = True
    """Whether a violation makes the trial infeasible; if not, it only lowers the rank among feasible trials."""
    weight: float = Field(default=1.0, ge=0)
    """Factor of a soft SLO's relative violation in the penalty."""

    @property
    def bounds_each_request(self) -> bool:
        """Whether it is a bound on each request, which defines goodput and nothing else."""
        return self.statistic is None and METRICS[self.metric].distribution

    @property
    def text(self) -> str:
        """Canonical spelling, with times in milliseconds."""
        metric = METRICS[self.metric]
        bound = number_text(self.threshold, thousandfold=metric.unit.value == "s")
        unit = "ms" if metric.unit.value == "s" else ""
        what = f"{metric_text(self.metric, self.statistic)}{of_text(self.of)} {self.comparison.value} {bound}{unit}"
        return what + _place_text(self.at, self.scenario)


def metric_text(metric: str, statistic: str | None) -> str:
    """``p99 ttft`` or ``output_throughput``."""
    return f"{statistic} {metric}" if statistic else metric


def of_text(of: str | None) -> str:
    """`` of part 1``; empty for all requests."""
    return f" of {of}" if of else ""


def _place_text(at: str | None, scenario: str | None) -> str:
    return (f" at {at}" if at else "") + (f" for {scenario}" if scenario else "")
