"""Saturation seen in the requests in flight."""

from math import exp
from random import Random

import pytest

from autotuner.capacity.backlog import Backlog


def noticed(counts: list[int]) -> int | None:
    backlog = Backlog()
    return next((number for number, count in enumerate(counts, 1) if backlog.arrive(count)), None)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_queue_that_keeps_a_share_of_the_arrivals_is_saturated(share: float) -> None:
    found = noticed([int(share * number) for number in range(1_000)])
    assert found is not None
    assert found <= 800


def test_a_queue_that_fills_to_a_level_is_not_saturated() -> None:
    for level in (20, 60, 256):
        assert noticed([min(number, level) for number in range(2_000)]) is None
        assert noticed([round(level * (1 - exp(-number / level))) for number in range(2_000)]) is None


def test_a_random_walk_is_not_saturated() -> None:
    random = Random(3)
    for _ in range(50):
        count = 0
        counts = []
        for _ in range(1_000):
            count = max(0, count + random.choice((-1, 1)))
            counts.append(count)
        assert noticed(counts) is None
