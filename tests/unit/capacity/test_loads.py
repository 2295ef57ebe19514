"""Distances between loads."""

import pytest

from autotuner.capacity.loads import next_above


@pytest.mark.parametrize(
    ("load", "precision", "above"),
    [
        (100.0, 0.15, 115.0),  # 100 * 1.15 is 114.99999999999999 in floating point
        (3.0, 0.1, 4.0),
        (20.0, 0.1, 22.0),
        (25.0, 0.1, 27.0),
    ],
)
def test_whole_loads(load: float, precision: float, above: float) -> None:
    assert next_above(load, precision, whole=True) == above


def test_rates() -> None:
    assert next_above(40.0, 0.1, whole=False) == pytest.approx(44.0)
