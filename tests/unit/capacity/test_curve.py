"""Estimate of the capacity from all levels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.curve import estimate
from autotuner.capacity.observation import MeanValue, ShareCount


def test_the_capacity_lies_between_a_good_and_a_bad_level() -> None:
    found = estimate([ShareCount(5, 1_000, 0, 0.01), ShareCount(10, 200, 60, 0.01)])
    assert 5 < found.low < found.median < found.high < 10


def test_more_requests_narrow_the_estimate() -> None:
    wide = estimate([ShareCount(9, 200, 1, 0.01), ShareCount(11, 100, 4, 0.01)])
    narrow = estimate([ShareCount(9, 20_000, 100, 0.01), ShareCount(11, 10_000, 400, 0.01)])
    assert narrow.width < wide.width


@given(st.floats(0.01, 1_000))
def test_the_unit_of_the_load_does_not_matter(unit: float) -> None:
    observations = [(5.0, 400.0, 1.0), (7.0, 300.0, 30.0)]
    plain = estimate([ShareCount(load, count, misses, 0.01) for load, count, misses in observations])
    scaled = estimate([ShareCount(unit * load, count, misses, 0.01) for load, count, misses in observations])
    assert scaled.median == pytest.approx(unit * plain.median, rel=0.03)


def test_means_are_located_by_their_distance_from_the_limit() -> None:
    found = estimate([MeanValue(4, 300, -1.0), MeanValue(8, 300, 1.0)])
    assert 4 < found.median < 8
