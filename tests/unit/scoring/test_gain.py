"""Gain: coverage of its interval with few repeats, and the conclusions from it."""

import math
from random import Random
from statistics import fmean, pvariance

import pytest

from autotuner.scoring import LAUNCH_NOISE, MARGIN, Effect, change, gain
from autotuner.scoring.gain import student_t, variance_of_log_mean
from autotuner.study.metric import Direction

RUNS = 400


def covered(repeats: int, noise: tuple[float, float], drift: float = 0.0) -> int:
    """How many of ``RUNS`` simulated proofs hold the true gain of 10%; drift is common to each pair."""
    source = Random(f"{repeats} {noise} {drift}")
    hits = 0
    for _ in range(RUNS):
        shift = [source.gauss(0, drift) for _ in range(repeats)]
        default = [100 * math.exp(s + source.gauss(0, noise[0])) for s in shift]
        winner = [110 * math.exp(s + source.gauss(0, noise[1])) for s in shift]
        found = gain(default, winner, Direction.MAX)
        hits += found.low <= 0.10 <= found.high
    return hits


@pytest.mark.parametrize("repeats", [3, 4, 5, 6])
@pytest.mark.parametrize("noise", [(0.02, 0.02), (0.04, 0.04), (0.02, 0.04)])
def test_coverage_of_the_95_percent_interval(repeats: int, noise: tuple[float, float]) -> None:
    """Sampling error of the simulation itself: 1.1 percentage points."""
    assert covered(repeats, noise) >= 0.93 * RUNS


def test_common_drift_does_not_narrow_the_interval() -> None:
    assert covered(3, (0.02, 0.02), drift=0.03) >= 0.95 * RUNS


def test_percentile_bootstrap_would_fail_the_coverage_test() -> None:
    """Three repeats cover too little without the correction: the reason for it."""
    source = Random(1)
    hits = 0
    for _ in range(RUNS):
        ratios = sorted(source.gauss(0, 0.03) for _ in range(3))
        hits += ratios[0] <= 0 <= ratios[-1]  # the percentile interval of three reaches no further
    assert hits < 0.85 * RUNS


def test_interval_within_the_margin_shows_equivalence() -> None:
    found = gain([100, 101, 99.5], [100.5, 100.2, 99.6], Direction.MAX)
    assert found.effect is Effect.AS_GOOD
    assert -MARGIN <= found.low < 0 < found.high <= MARGIN


def test_wide_interval_is_undecided() -> None:
    found = gain([100, 110, 92], [101, 112, 93], Direction.MAX)
    assert found.effect is Effect.UNDECIDED
    assert found.high > MARGIN


def test_clear_gain() -> None:
    found = gain([100, 101, 99], [120, 121, 119], Direction.MAX)
    assert found.effect is Effect.BETTER
    assert found.relative == pytest.approx(0.2)
    assert 0.1 < found.low < 0.2 < found.high < 0.3


def test_shorter_time_is_a_gain() -> None:
    found = gain([0.200, 0.201, 0.199], [0.100, 0.101, 0.099], Direction.MIN)
    assert found.relative == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.effect is Effect.BETTER


def test_loss_is_never_a_gain() -> None:
    assert gain([120, 121, 119], [100, 101, 99], Direction.MAX).effect is Effect.WORSE
    assert gain([0.1, 0.101, 0.099], [0.2, 0.201, 0.199], Direction.MIN).effect is Effect.WORSE


def test_repeats_that_agree_by_chance_do_not_prove_a_tiny_gain() -> None:
    found = gain([100.0, 100.0, 100.0], [100.4, 100.4, 100.4], Direction.MAX)
    assert found.effect is Effect.AS_GOOD, "half a percent is what two launches differ by anyway"
    assert found.high - found.low > 2 * LAUNCH_NOISE


def test_noise_widens_the_interval() -> None:
    sides = ([100, 101, 99], [104, 105, 103])
    narrow, wide = (gain(*sides, Direction.MAX, noise=noise) for noise in (LAUNCH_NOISE, 0.05))
    assert (narrow.effect, wide.effect) == (Effect.BETTER, Effect.UNDECIDED)
    assert narrow.relative == wide.relative


def test_false_winners_among_equal_configurations_are_rare() -> None:
    """Three challengers share one default; the best of them is looked at. Sampling error: 1.1 percentage points."""
    source = Random(5)
    claimed = 0
    for _ in range(RUNS):
        default, *others = [[100 * math.exp(source.gauss(0, 0.02)) for _ in range(3)] for _ in range(4)]
        claimed += any(gain(default, o, Direction.MAX).effect is Effect.BETTER for o in others)
    assert claimed <= 0.061 * RUNS


@pytest.mark.parametrize("direction", list(Direction))
def test_one_repeat_proves_nothing(direction: Direction) -> None:
    found = gain([100], [200], direction)
    assert found.effect is Effect.UNDECIDED
    assert math.isinf(found.high) or math.isinf(found.low)


def test_change_equals_the_estimate_of_gain() -> None:
    sides = ([100.0, 104.0, 99.0], [120.0, 131.0, 118.0])
    assert change(*sides) == pytest.approx(gain(*sides, Direction.MAX).relative)
    assert change([], [1.0]) is None
    assert change([0.0], [1.0]) is None


def test_gain_is_independent_of_units_and_deterministic() -> None:
    one = gain([1.00, 1.01, 0.99], [1.2, 1.21, 1.19], Direction.MAX)
    other = gain([1000, 1010, 990], [1200, 1210, 1190], Direction.MAX)
    assert one.low == pytest.approx(other.low)
    assert one == gain([1.00, 1.01, 0.99], [1.2, 1.21, 1.19], Direction.MAX)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf])
def test_invalid_values_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="positive, finite"):
        gain([1, 2, bad], [1, 2, 3], Direction.MAX)
    with pytest.raises(ValueError, match="no repeats"):
        gain([], [1], Direction.MAX)


def test_students_t_matches_published_tables() -> None:
    for freedom, quantile in ((1, 12.706), (2, 4.303), (4, 2.776), (10, 2.228), (30, 2.042)):
        assert student_t(0.975, freedom) == pytest.approx(quantile, abs=1e-3)


def test_students_t_with_fractional_and_many_degrees_of_freedom() -> None:
    """With 1 and 2 degrees there are closed forms; with many it is the normal one."""
    assert student_t(0.5, 3) == 0
    assert student_t(0.9995, 1) == pytest.approx(math.tan(math.pi * 0.4995), rel=1e-9)
    assert student_t(0.975, 2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)
    assert student_t(0.975, 1e7) == pytest.approx(student_t(0.975, math.inf), rel=1e-6)
    falling = [student_t(0.975, 1 + i / 10) for i in range(200)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("repeats", [2, 3, 5, 7, 8, 12])
def test_bootstrap_variance_matches_sampled_resamples(repeats: int) -> None:
    source = Random(repeats)
    values = [100 * math.exp(source.gauss(0, 0.05)) for _ in range(repeats)]
    drawn = [math.log(fmean(source.choices(values, k=repeats))) for _ in range(20_000)]
    assert variance_of_log_mean(values) == pytest.approx(pvariance(drawn), rel=0.05)
