"""Gaussian process: influence of the values' own uncertainty on the expected value."""

import numpy as np
import pytest

from autotuner.search import surrogate

POINTS = np.linspace(0, 1, 6)[:, None]
VALUES = np.array([0.0, 0.1, 0.0, 2.0, 0.1, 0.0])
"""The fourth one stands out."""


def expected_peak(variances: surrogate.Array | None) -> float:
    mean, _ = surrogate.fit(POINTS, VALUES, [0], variances).predict(POINTS[3:4])
    return float(mean[0])


def test_uncertain_value_weighs_less() -> None:
    sure = expected_peak(np.zeros(6))
    unsure = expected_peak(np.array([0, 0, 0, 1.0, 0, 0]))
    assert sure > 1.5
    assert unsure < sure / 2, "its sure neighbors say otherwise"


def test_no_variances_equal_zero_variances() -> None:
    assert expected_peak(None) == expected_peak(np.zeros(6))


def test_running_points_keep_the_noise_of_the_others() -> None:
    variances = np.array([0, 0, 0, 1.0, 0, 0])
    model = surrogate.fit(POINTS, VALUES, [0], variances).believing(np.array([[0.5]]), VALUES)
    assert len(model.own_noise) == 7
    assert model.own_noise[3] == 1.0, "no more than the amplitude"
    assert model.own_noise[6] == 0.0


def test_a_bound_pulls_the_expectation_below_it_and_leaves_what_is_below_alone() -> None:
    points = np.array([[0.0], [0.5], [1.0]])
    values = np.array([1.0, 2.0, 1.5])
    bounded = np.array([False, False, True])
    tight = surrogate.fit_bounded(points, values, [0], np.zeros(3), bounded)
    mean, deviation = tight.predict(np.array([[1.0], [0.5]]))
    assert mean[0] < 1.5
    assert deviation[0] > deviation[1]
    exact = surrogate.fit(points, values, [0])
    assert mean[0] < exact.predict(points[2:])[0][0]


def test_a_bound_far_above_what_is_expected_says_next_to_nothing() -> None:
    points = np.array([[0.0], [0.5], [1.0]])
    lax = surrogate.fit_bounded(points, np.array([1.0, 2.0, 50.0]), [0], np.zeros(3), np.array([False, False, True]))
    assert lax.predict(points[2:])[0][0] < 3


@pytest.mark.parametrize("bound", [-40.0, -5.0, 0.0, 3.0])
def test_mean_and_variance_below_a_bound_agree_with_a_sum_over_the_density(bound: float) -> None:
    grid = np.linspace(bound - 12, bound, 400_001)
    weights = np.exp(-((grid**2) - min(bound, 0.0) ** 2) / 2)
    mean = float((grid * weights).sum() / weights.sum())
    variance = float(((grid - mean) ** 2 * weights).sum() / weights.sum())
    found = surrogate._below_bound(0.0, 1.0, bound)
    assert found == (pytest.approx(mean, abs=1e-3), pytest.approx(variance, rel=0.06, abs=1e-4))
