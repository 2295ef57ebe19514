"""Objectives and SLOs of drawn results: the rules of scoring, in logarithms."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from autotuner.search.model.encoding import Encoder, Units
from autotuner.search.model.model import Draws
from autotuner.search.model.quantities import Key
from autotuner.search.model.worth import Worth, achieved, worth
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.search.goals import Goals, Place
from autotuner.study.verdict import Verdict
from autotuner.testing.search_kit import context_of, made, space_of

ONE = Configuration(values={"p": 1})
SPACE = space_of(p=[1, 2])
PLACES = (Place("D(8,8)", "concurrency=2", 2), Place("D(8,8)", "concurrency=8", 8))
RATE = Objective(metric="output_throughput", direction=Direction.MAX)
LATENCY = Objective(metric="tpot", statistic="mean", direction=Direction.MIN)
BOUND = SLO(metric="tpot", statistic="mean", threshold=0.02)
Levels = Mapping[tuple[str, str | None], Sequence[float]]


def worth_of(levels: Levels, *objectives: Objective, slos: tuple[SLO, ...] = (), any_level: bool = False) -> Worth:
    """The worth of one draw of one configuration, from values at both levels."""
    context = context_of(
        SPACE,
        goals=Goals(objectives, slos, PLACES, any_level=any_level),
        directions=tuple(o.direction for o in objectives),
    )
    logs = {Key(*key): np.log(np.array([[values]], float)) for key, values in levels.items()}
    units: Units = Encoder(context, [ONE]).units([ONE])
    return worth(context, units, Draws(logs, None))


def only(found: Worth) -> tuple[float, float]:
    """The objective's value and the distance from the SLOs."""
    assert found.objectives.shape == (1, 1, 1)
    return math.exp(found.objectives.item()), found.missed.item()


def test_a_rate_is_the_geometric_mean_and_a_latency_the_worst_level() -> None:
    rates = {("output_throughput", None): [100.0, 400.0]}
    assert only(worth_of(rates, RATE)) == pytest.approx((200, 0))
    assert only(worth_of(rates, RATE.replaced(at="concurrency=8"))) == pytest.approx((400, 0))
    value, _ = only(worth_of({("tpot", "mean"): [0.01, 0.04]}, LATENCY))
    assert 1 / value == pytest.approx(0.04), "larger is better"
    successes = Objective(metric="success_rate", direction=Direction.MAX)
    assert only(worth_of({("success_rate", None): [0.9, 1.0]}, successes)) == pytest.approx((0.9, 0))


def test_hard_slos_are_missed_by_their_distance_at_the_levels_they_apply_to() -> None:
    levels = {("output_throughput", None): [100.0, 100.0], ("tpot", "mean"): [0.04, 0.08]}
    assert only(worth_of(levels, RATE, slos=(BOUND,)))[1] == pytest.approx(math.log(2) + math.log(4))
    assert only(worth_of(levels, RATE, slos=(BOUND.replaced(at="concurrency=2"),)))[1] == pytest.approx(math.log(2))
    assert only(worth_of(levels, RATE, slos=(BOUND.replaced(scenario="D(1,1)"),)))[1] == 0
    assert not worth_of(levels, RATE, slos=(BOUND,)).feasible.item()
    least = SLO(metric="output_throughput", comparison=Comparison.GE, threshold=200)
    assert only(worth_of(levels, RATE, slos=(least,)))[1] == pytest.approx(2 * math.log(2))
    ignored = (SLO(metric="ttft", threshold=0.1), SLO(metric="goodput", comparison=Comparison.GE, threshold=0))
    assert only(worth_of(levels, RATE, slos=ignored)) == pytest.approx((100, 0))


def test_soft_slos_only_make_the_objective_worse() -> None:
    """By the factor that scoring uses."""
    levels = {("output_throughput", None): [100.0, 100.0], ("tpot", "mean"): [0.01, 0.03]}
    soft = BOUND.replaced(hard=False, weight=2.0)
    assert only(worth_of(levels, RATE, slos=(soft,))) == pytest.approx((100 / (1 + 2 * 0.5), 0))
    least = SLO(metric="output_throughput", comparison=Comparison.GE, threshold=200, hard=False)
    assert only(worth_of(levels, RATE, slos=(least,))) == pytest.approx((100 / (1 + 2 * 0.5), 0))


def test_the_best_level_may_count_instead_of_all() -> None:
    levels = {("output_throughput", None): [100.0, 400.0], ("tpot", "mean"): [0.01, 0.04]}
    assert only(worth_of(levels, RATE, slos=(BOUND,), any_level=True)) == pytest.approx((100, 0))
    slow = {**levels, ("tpot", "mean"): [0.04, 0.08]}
    found = worth_of(slow, RATE, slos=(BOUND,), any_level=True)
    assert found.objectives.item() == -math.inf
    assert found.missed.item() == pytest.approx(math.log(2)), "of the level that misses least"


def test_what_a_trial_has_achieved() -> None:
    context = context_of(SPACE, directions=(Direction.MAX, Direction.MIN))
    trial = made(0, ONE, objectives=(8.0, 2.0))
    assert achieved(context, trial) == pytest.approx([math.log(8), -math.log(2)])
    verdict = trial.verdict
    assert verdict is not None
    penalized = trial.replaced(verdict=verdict.replaced(penalty=1.0))
    assert achieved(context, penalized) == pytest.approx([math.log(4), -math.log(4)])
    for without in (
        Verdict(feasible=False, objectives=(8.0, 2.0), total_violation=0.1),
        Verdict(feasible=True, objectives=(8.0, 2.0), rankable=False),
        Verdict(feasible=True, objectives=(8.0, None)),
        Verdict(feasible=True, objectives=(8.0, 0.0)),
        Verdict(feasible=True, objectives=(8.0,)),
    ):
        assert achieved(context, trial.replaced(verdict=without)) is None
    assert achieved(context, trial.replaced(verdict=None)) is None
