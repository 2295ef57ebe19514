"""Predicted capacities under the SLOs of a study."""

import math

import pytest

from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.study.launch import Hardware
from autotuner.study.objective import SLO
from autotuner.study.search.forecast import Channel
from autotuner.study.spec import Model
from autotuner.study.workload import CapacityLoad, LoadUnit, Scenario, TokenLengths, Workload
from autotuner.tuning.planning.prediction.predictions import Predictions

LOAD = Workload(
    scenarios=(Scenario(text="s", input=TokenLengths(kind="fixed", a=512), output=TokenLengths(kind="fixed", a=128)),),
    levels=(CapacityLoad(unit=LoadUnit.RATE),),
)


def capacity(*slos: SLO) -> float:
    engine = Simulated(SimulatedSettings(gpu="H100", model="Llama-3.1-8B"))
    found = Predictions(engine, Model(path="m"), Hardware(), here=False).forecast({}, LOAD, slos)
    assert found is not None
    return math.exp(found.levels[0].log_mean[Channel("capacity")])


@pytest.mark.parametrize(
    ("metric", "mean_s", "statistic", "ratio"),
    [("ttft", 0.03, "p99", 2.48), ("ttft", 0.03, "p50", 0.912), ("tpot", 0.02, "p99", 1.313)],
)
def test_a_percentile_bounds_a_capacity_as_its_mean_does(
    metric: str, mean_s: float, statistic: str, ratio: float
) -> None:
    """The ratios are those of log-normal latencies with the assumed spread."""
    mean = capacity(SLO(metric=metric, statistic="mean", threshold=mean_s))
    percentile = capacity(SLO(metric=metric, statistic=statistic, threshold=ratio * mean_s))
    assert percentile == pytest.approx(mean, rel=0.01)
    assert mean < 0.9 * capacity(), "the bound is lower than what the server can sustain"


def test_only_hard_slos_on_all_requests_bound_a_capacity() -> None:
    bound = SLO(metric="ttft", statistic="mean", threshold=0.03)
    strict = bound.replaced(threshold=0.025)
    bounded = capacity(bound)
    assert capacity(bound, strict) < bounded
    others = strict.replaced(hard=False), strict.replaced(of="part 1"), strict.replaced(metric="e2e_latency")
    assert capacity(bound, *others) == bounded
