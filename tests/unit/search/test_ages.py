"""Releases are counted from the newest one of their engine."""

import pytest

from autotuner.search.ages import Ages
from autotuner.study.search.release import Release

LISTED = ("0.5.9", "0.5.10", "0.5.10rc1", "0.5.10.post1", "0.5.9")


@pytest.mark.parametrize(
    ("number", "age"), [("0.5.10.post1", 0), ("0.5.10", 1), ("0.5.10rc1", 2), ("0.5.9", 3), ("0.4.1", 4), ("0.6.0", 0)]
)
def test_age_is_the_number_of_newer_releases(number: str, age: float) -> None:
    ages = Ages([*(Release("sglang ", n) for n in LISTED), Release("vllm ", "0.19.0")])
    assert ages.of(Release("sglang ", number)) == age
    assert ages.of(Release("vllm ", "0.17.0")) == 1


def test_an_unknown_release_has_the_usual_age() -> None:
    ages = Ages([*(Release("sglang ", n) for n in LISTED), Release("vllm ", "0.19.0"), None])
    assert ages.of(None) == ages.of(Release("trtllm ", "1.1.0")) == pytest.approx((0 + 1 + 2 + 3 + 0) / 5)


def test_without_releases_nothing_is_old() -> None:
    assert Ages([None]).of(None) == Ages([]).of(Release("vllm ", "0.19.0")) == 0
