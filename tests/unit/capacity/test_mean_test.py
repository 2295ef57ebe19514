"""Evidence about a mean."""

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.mean_test import MeanTest


def fed(values: list[float], limit: float = 1.0) -> MeanTest:
    test = MeanTest(limit)
    for value in values:
        test.add(value)
    return test


@given(st.lists(st.integers(-64, 64), min_size=30, max_size=200))
def test_mirrored_values_swap_the_sides(sixteenths: list[int]) -> None:
    values = [1 + one / 16 for one in sixteenths]
    direct = fed(values)
    mirrored = fed([2 - value for value in values])
    assert direct.log_evidence_below == pytest.approx(mirrored.log_evidence_above, rel=1e-6, abs=1e-9)
    assert direct.log_evidence_above == pytest.approx(mirrored.log_evidence_below, rel=1e-6, abs=1e-9)


def test_a_mean_below_the_limit_is_recognized() -> None:
    random = Random(1)
    test = fed([random.expovariate(2.0) for _ in range(400)])
    assert test.log_evidence_below > 5
    assert test.log_evidence_above == 0


def test_failed_requests_have_no_part_in_the_mean() -> None:
    values = [0.5, 0.7] * 100
    assert fed([*values, *[inf] * 50]).log_evidence_below > 0


def test_few_requests_are_no_evidence() -> None:
    assert fed([0.1, 0.2] * 9).log_evidence_below == 0


def test_errors_at_the_limit_are_rarer_than_asked_for() -> None:
    random = Random(2)
    runs = 100
    alpha = 0.1
    errors = 0
    for _ in range(runs):
        test = MeanTest(1.0)
        for _ in range(300):
            test.add(random.expovariate(1.0))
            if test.requests % 16 == 0 and test.log_evidence_below >= 2.303:
                errors += 1
                break
    assert errors <= alpha * runs + 2 * (alpha * (1 - alpha) * runs) ** 0.5
