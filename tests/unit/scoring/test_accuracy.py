"""Accuracy of two servers compared, item by item."""

from random import Random

import pytest

from autotuner.scoring.accuracy import LEAST_ITEMS, compare_tasks, least_drop, own_accuracy, worse
from autotuner.study.quality.result import TaskResult
from autotuner.study.quality.tasks import TaskRun, TaskScores

LEVEL = 0.01 / 3


def run(*scores: float, metric: str = "acc,none", first: int = 0) -> TaskRun:
    items = {f"t/{first + n}": score for n, score in enumerate(scores)}
    return TaskRun(tasks=(TaskScores(name="t", metric=metric, scores=items),))


def compared(reference: TaskRun, candidate: TaskRun) -> TaskResult:
    [found] = compare_tasks(["t"], reference, candidate, LEVEL)
    return found


def test_the_drop_is_that_of_pairs() -> None:
    found = compared(run(*[1.0] * 60, *[0.0] * 40), run(*[1.0] * 50, *[0.0] * 45, *[1.0] * 5))
    assert found.accuracy is not None
    assert found.reference is not None
    assert found.drop is not None
    assert (found.accuracy.value, found.reference.value) == (0.55, 0.6)
    assert found.reference.stderr == pytest.approx((0.6 * 0.4 / 99) ** 0.5)
    assert found.drop.value == pytest.approx(0.05)
    assert (found.drop.losses, found.drop.gains) == (10, 5)
    assert found.drop.chance == pytest.approx(0.150879, abs=1e-6)  # binomial, 15 trials, at least 10
    assert found.drop.low < 0 < found.drop.value < found.drop.high
    assert not worse(found, 0.02, LEVEL)


def test_a_drop_beyond_doubt_is_worse_than_the_limit() -> None:
    found = compared(run(*[1.0] * 200), run(*[0.0] * 20, *[1.0] * 180))
    assert found.drop is not None
    assert found.drop.low > 0.02
    assert worse(found, 0.02, LEVEL)
    assert not worse(found, 0.05, LEVEL)
    better = compared(run(*[0.0] * 200), run(*[1.0] * 200))
    assert better.drop is not None
    assert better.drop.value == -1
    assert not worse(better, 0.0, LEVEL)


def test_few_lost_items_are_not_beyond_doubt_even_for_a_limit_of_zero() -> None:
    found = compared(run(*[1.0] * 200), run(*[0.0] * 8, *[1.0] * 192))
    assert found.drop is not None
    assert found.drop.low > 0  # Student's t alone would reject it
    assert found.drop.chance == pytest.approx(0.5**8)
    assert not worse(found, 0.0, LEVEL)


@pytest.mark.parametrize(
    ("reference", "candidate", "why"),
    [
        (TaskRun(problem="no disk"), run(*[1.0] * 20), "no disk"),
        (run(*[1.0] * 20), TaskRun(problem="lm-eval exited with code 1"), "exited with code 1"),
        (run(*[1.0] * 20), TaskRun(), "not evaluated"),
        (run(*[1.0] * 20), run(*[1.0] * 20, metric="f1,none"), "another metric"),
        (run(*[1.0] * 20), run(*[1.0] * 20, first=1), "only 19 of 20 items"),
        (run(*[1.0] * (LEAST_ITEMS - 1)), run(*[1.0] * (LEAST_ITEMS - 1)), "only 15 of 15 items"),
    ],
)
def test_what_cannot_be_compared_is_not_decided(reference: TaskRun, candidate: TaskRun, why: str) -> None:
    found = compared(reference, candidate)
    assert found.drop is None
    assert why in found.why


def test_the_default_has_an_accuracy_of_its_own() -> None:
    [found] = own_accuracy(["t"], run(*[1.0] * 30, *[0.0] * 10))
    assert found.accuracy is not None
    assert (found.accuracy.value, found.accuracy.items, found.drop) == (0.75, 40, None)
    [failed] = own_accuracy(["t"], TaskRun(problem="crashed"))
    assert (failed.accuracy, failed.why) == (None, "crashed")
    [few] = own_accuracy(["t"], run(*[1.0] * 15))
    assert few.accuracy is None


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5])
def test_an_identical_server_is_rarely_worse_even_for_a_limit_of_zero(noise: float) -> None:
    source = Random(round(noise * 100))
    rejected = 0
    for _ in range(1000):
        difficulty = [source.random() < 0.6 for _ in range(100)]
        one, two = (run(*[float(right != (source.random() < noise / 2)) for right in difficulty]) for _ in range(2))
        rejected += worse(compared(one, two), 0.0, LEVEL)
    assert rejected <= 9  # at most LEVEL of 1000 is 3.3; nine or more happen once in 100 runs


def test_the_smallest_drop_that_can_be_shown() -> None:
    for items, limit in ((100, 0.02), (200, 0.02), (1000, 0.0)):
        drop = least_drop(items, limit, LEVEL)
        lost = round(drop * items)
        for count, expected in ((lost, True), (lost - 1, False)):
            found = compared(run(*[1.0] * items), run(*[0.0] * count, *[1.0] * (items - count)))
            assert worse(found, limit, LEVEL) is expected
    assert least_drop(16, 0.99, LEVEL) == 1.0
