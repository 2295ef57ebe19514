"""Estimates of how requests depend on each other."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.dispersion import dispersion, mean_dispersion, memory, tail_dispersion, windows_with


def modes(length: int, requests: int, seed: int) -> list[bool]:
    """Marks in stretches of a mean length, a tenth of all."""
    random = Random(seed)
    marked = False
    marks = []
    for _ in range(requests):
        if random.random() < 1 / length:
            marked = random.random() < 0.1
        marks.append(marked)
    return marks


def test_independent_marks_have_a_dispersion_of_about_one() -> None:
    assert dispersion(modes(1, 5_000, 1)) < 2.5


@pytest.mark.parametrize("length", [10, 40])
def test_the_dispersion_is_about_twice_the_length_of_a_cluster(length: int) -> None:
    found = [dispersion(modes(length, 40 * length * 10, seed)) for seed in range(20)]
    assert length < sorted(found)[10] < 4 * length


@given(st.lists(st.booleans(), max_size=300))
def test_no_estimate_is_below_that_of_independent_requests(marks: list[bool]) -> None:
    values = [float(mark) for mark in marks]
    assert dispersion(marks) >= 1
    assert tail_dispersion(values, 0.5) >= 1
    assert mean_dispersion(values) >= 1
    assert memory([int(mark) for mark in marks]) >= 1


def test_the_largest_values_stand_in_for_misses() -> None:
    random = Random(4)
    clustered = [(0.9 if mark else 0.1) + 0.01 * random.random() for mark in modes(30, 4_000, 3)]
    spread = random.sample(clustered, len(clustered))
    assert tail_dispersion(clustered, 1.0) > 2 * tail_dispersion(spread, 1.0)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 50))
def test_windows_hold_every_mark(marks: list[bool], length: int) -> None:
    count = windows_with(marks, length)
    assert sum(marks) <= count * length
    assert count <= sum(marks)
    assert (count == 0) == (not any(marks))
