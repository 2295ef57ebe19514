"""The interval of the gain holds the truth as often as it says, with three repeats as with six."""

import math
from random import Random

import pytest

from autotuner.scoring import gain
from autotuner.scoring.gain import student_t
from autotuner.study.metric import Direction

RUNS = 400


def covered(repeats: int, noise: tuple[float, float], drift: float = 0.0) -> int:
    """How many of ``RUNS`` simulated proofs hold the true gain of 10 %; drift is common to each pair."""
    source, hits = Random(f"{repeats} {noise} {drift}"), 0
    for run in range(RUNS):
        shift = [source.gauss(0, drift) for _ in range(repeats)]
        default = [100 * math.exp(s + source.gauss(0, noise[0])) for s in shift]
        winner = [110 * math.exp(s + source.gauss(0, noise[1])) for s in shift]
        found = gain(default, winner, Direction.MAX, seed=run, resamples=1000)
        hits += found.low <= 0.10 <= found.high
    return hits


@pytest.mark.parametrize("repeats", [3, 4, 5, 6])
@pytest.mark.parametrize("noise", [(0.02, 0.02), (0.04, 0.04), (0.02, 0.04)])
def test_a_95_percent_interval_covers_at_least_93_percent(repeats: int, noise: tuple[float, float]) -> None:
    """Sampling error of the simulation itself: 1.1 percentage points."""
    assert covered(repeats, noise) >= 0.93 * RUNS


def test_drift_that_moves_both_alike_does_not_make_it_too_narrow() -> None:
    assert covered(3, (0.02, 0.02), drift=0.03) >= 0.95 * RUNS


def test_a_percentile_bootstrap_would_not_have_passed() -> None:
    """Three repeats cover too little without the correction: the reason for it."""
    source, hits = Random(1), 0
    for _ in range(RUNS):
        ratios = sorted(source.gauss(0, 0.03) for _ in range(3))
        hits += ratios[0] <= 0 <= ratios[-1]  # the percentile interval of three reaches no further
    assert hits < 0.85 * RUNS


def test_the_same_machine_twice_is_as_good() -> None:
    found = gain([100, 103, 99], [101, 102, 99], Direction.MAX)
    assert found.as_good
    assert found.low < 0 < found.high
    assert found.text.startswith("the default is as good")


def test_a_clear_gain_is_said_with_its_interval() -> None:
    found = gain([100, 101, 99], [120, 121, 119], Direction.MAX)
    assert not found.as_good
    assert found.relative == pytest.approx(0.2)
    assert 0.1 < found.low < 0.2 < found.high < 0.3
    assert found.text == "+20.0% over the default (95% interval +17.5% to +22.6%, 3 interleaved repeats)"


def test_less_time_is_a_gain() -> None:
    found = gain([0.200, 0.201, 0.199], [0.100, 0.101, 0.099], Direction.MIN)
    assert found.relative == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert not found.as_good


def test_a_loss_is_never_a_gain() -> None:
    assert gain([120, 121, 119], [100, 101, 99], Direction.MAX).as_good
    assert gain([0.1, 0.101, 0.099], [0.2, 0.201, 0.199], Direction.MIN).as_good


def test_the_winner_is_the_default() -> None:
    found = gain([100, 101, 99], [100, 101, 99], Direction.MAX)
    assert (found.relative, found.low, found.high, found.as_good) == (0, 0, 0, True)


@pytest.mark.parametrize("direction", list(Direction))
def test_one_repeat_proves_nothing(direction: Direction) -> None:
    found = gain([100], [200], direction)
    assert found.as_good
    assert math.isinf(found.high) or math.isinf(found.low)
    assert "measured once only" in found.text


def test_units_and_seed() -> None:
    one = gain([1.00, 1.01, 0.99], [1.2, 1.21, 1.19], Direction.MAX, seed=3)
    other = gain([1000, 1010, 990], [1200, 1210, 1190], Direction.MAX, seed=3)
    assert one.low == pytest.approx(other.low)
    assert one == gain([1.00, 1.01, 0.99], [1.2, 1.21, 1.19], Direction.MAX, seed=3)


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf])
def test_what_is_no_measurement_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="positive, finite"):
        gain([1, 2, bad], [1, 2, 3], Direction.MAX)
    with pytest.raises(ValueError, match="no repeats"):
        gain([], [1], Direction.MAX)


def test_students_t_against_the_usual_table() -> None:
    for freedom, quantile in ((1, 12.706), (2, 4.303), (4, 2.776), (10, 2.228), (30, 2.042)):
        assert student_t(0.975, freedom) == pytest.approx(quantile, abs=1e-3)
