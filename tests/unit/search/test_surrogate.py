"""Gaussian process: influence of the values' own uncertainty on the expected value."""

import numpy as np

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
