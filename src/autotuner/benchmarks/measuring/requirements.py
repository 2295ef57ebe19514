"""Requirements of a window: the load, the figures it must provide, and the requests that these need."""

import math
from collections.abc import Iterator

from autotuner.benchmarks.loadgen.processes.lags import ClientLimits
from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import LevelDecision, LevelPlan
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.objective import SLO, Objective
from autotuner.study.text.forms import parse_scenario
from autotuner.study.text.slices import part_names
from autotuner.study.workload import LoadLevel

_GAPS = ("itl", "itl_token")
"""Metrics pooled over the gaps of all answers: a few requests yield thousands of values."""


class Limits(FrozenModel):
    """Limits beyond which the load generator counts as the bottleneck and its measurements as unreliable."""

    lag_s: float = ClientLimits.lag_s
    """p99 of the event loop's lag and of the send lag that is always tolerated, in seconds."""
    lag_share: float = ClientLimits.lag_share
    """The same as a share of the median ttft, because a lag that distorts 1 ms does not matter for 1 s."""
    rate_share: float = 0.95
    """Minimum share of the scheduled arrivals that were actually sent."""
    cpu_cores: float = ClientLimits.cpu_cores
    """Maximum CPU usage per core that the load generator can use; each of its processes has a single thread."""


class Requirements(FrozenModel):
    """Load and figures that a study requests from a window; stored with the records, to evaluate them again."""

    scenario: str
    level: LoadLevel
    slos: tuple[SLO, ...] = ()
    objectives: tuple[Objective, ...] = ()
    fewest: int = 0
    """Finished requests below which the window is too thin to rank a configuration by."""
    limits: Limits = Limits()
    test: LevelPlan | None = None
    """How the test of the level came out, if the window ended with one."""
    decision: LevelDecision | None = None

    @property
    def figures(self) -> list[tuple[str, str | None]]:
        """(metric, statistic) of every objective and SLO that applies to this window."""
        return list(dict.fromkeys(required_figures(self.objectives, self.slos, self.scenario, self.level.text)))


def required_figures(
    objectives: tuple[Objective, ...], slos: tuple[SLO, ...], scenario: str, level: str
) -> Iterator[tuple[str, str | None]]:
    """(metric, statistic) of the objectives and SLOs that apply to a scenario and level; per-request SLOs have no
    statistic and are left out."""
    goals: list[Objective | SLO] = [*objectives, *slos]
    for goal in goals:
        here = goal.at in (None, level) and goal.scenario in (None, scenario)
        if isinstance(goal, SLO) and goal.of:
            continue  # a figure of some requests, not of the window
        if here and (goal.statistic is not None or not METRICS[goal.metric].distribution):
            yield goal.metric, goal.statistic


def required_requests(objectives: tuple[Objective, ...], slos: tuple[SLO, ...], scenario: str, level: str) -> int:
    """Finished requests that the percentiles of objectives and SLOs need; 0 if there are none."""
    figures = required_figures(objectives, slos, scenario, level)
    needed = [fewest_samples(s) for metric, s in figures if s is not None and metric not in _GAPS]
    for slo in slos:
        here = slo.at in (None, level) and slo.scenario in (None, scenario)
        if here and slo.of and slo.statistic is not None and slo.metric not in _GAPS:
            needed.append(math.ceil(fewest_samples(slo.statistic) / _share(slo.of, scenario)))
    return max(needed, default=0)


def _share(of: str, scenario: str) -> float:
    """Share of a window's requests that belong to a part of the load, as far as that is known in advance."""
    mix = parse_scenario(scenario).mix
    weights = dict(zip(part_names(mix), (part.weight for part in mix), strict=True))
    return weights[of] / sum(weights.values()) if of in weights else 1.0
