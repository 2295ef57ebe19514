"""The Gaussian process: what a value's own uncertainty does to what is expected."""

import numpy as np

from autotuner.search import surrogate

POINTS = np.linspace(0, 1, 6)[:, None]
VALUES = np.array([0.0, 0.1, 0.0, 2.0, 0.1, 0.0])
"""The fourth one stands out."""


def expected_at_the_peak(variances: surrogate.Array | None) -> float:
    mean, _ = surrogate.fit(POINTS, VALUES, [0], variances).predict(POINTS[3:4])
    return float(mean[0])


def test_an_unsure_value_is_believed_less() -> None:
    sure = expected_at_the_peak(np.zeros(6))
    unsure = expected_at_the_peak(np.array([0, 0, 0, 1.0, 0, 0]))
    assert sure > 1.5
    assert unsure < sure / 2, "its sure neighbors say otherwise"


def test_without_uncertainties_nothing_changes() -> None:
    assert expected_at_the_peak(None) == expected_at_the_peak(np.zeros(6))


def test_points_that_still_run_keep_the_uncertainty_of_the_others() -> None:
    variances = np.array([0, 0, 0, 1.0, 0, 0])
    model = surrogate.fit(POINTS, VALUES, [0], variances).believing(np.array([[0.5]]), VALUES)
    assert len(model.own_noise) == 7
    assert model.own_noise[3] == 1.0, "no more than the amplitude"
    assert model.own_noise[6] == 0.0
