"""What a window was asked to be, and what it must hold to answer that."""

from collections.abc import Iterator

from autotuner.study.base import Noun
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.objective import SLO, Objective
from autotuner.study.workload import LoadLevel

_GAPS = ("itl", "itl_token")
"""Pooled over the gaps of all answers: a few requests give thousands of values."""


class Limits(Noun):
    """How far the load generator may fall behind before its figures are not to be trusted."""

    lag_s: float = 0.010
    """p99 of loop lag and of send lag that is always allowed, in seconds."""
    lag_share: float = 0.1
    """... and as a share of the median ttft: what disturbs 1 ms need not disturb 1 s."""
    rate_share: float = 0.95
    """Least share of the scheduled arrivals that were really sent."""
    cpu_cores: float = 0.9
    """The worker has one thread: near one core it is the bottleneck."""


class Asked(Noun):
    """What the window was asked to be; kept with the records, so that they can be summed up again."""

    scenario: str
    level: LoadLevel
    slos: tuple[SLO, ...] = ()
    objectives: tuple[Objective, ...] = ()
    fewest: int = 0
    """Finished requests below which the window is too thin to be ranked."""
    limits: Limits = Limits()

    @property
    def figures(self) -> list[tuple[str, str | None]]:
        """Metric and statistic of every objective and SLO that this window answers."""
        return list(dict.fromkeys(figures_asked(self.objectives, self.slos, self.scenario, self.level.text)))


def figures_asked(
    objectives: tuple[Objective, ...], slos: tuple[SLO, ...], scenario: str, level: str
) -> Iterator[tuple[str, str | None]]:
    """Metric and statistic of each objective and SLO at one place; per-request SLOs have none and are left out."""
    goals: list[Objective | SLO] = [*objectives, *slos]
    for goal in goals:
        here = goal.at in (None, level) and goal.scenario in (None, scenario)
        if here and (goal.statistic is not None or not METRICS[goal.metric].distribution):
            yield goal.metric, goal.statistic


def requests_wanted(objectives: tuple[Objective, ...], slos: tuple[SLO, ...], scenario: str, level: str) -> int:
    """Finished requests among which every percentile asked for can lie; 0 where none is asked for."""
    found = figures_asked(objectives, slos, scenario, level)
    return max((fewest_samples(s) for metric, s in found if s is not None and metric not in _GAPS), default=0)
