"""Releases are counted from the middle of those that are listed of their engine."""

import pytest

from autotuner.search.ages import Ages
from autotuner.study.search.release import Release

LISTED = ("0.5.9", "0.5.10", "0.5.10rc1", "0.5.10.post1", "0.5.9")
AGES = [("0.5.10.post1", -1.5), ("0.5.10", -0.5), ("0.5.10rc1", 0.5), ("0.5.9", 1.5), ("0.4.1", 2.5), ("0.6.0", -1.5)]


@pytest.mark.parametrize(("number", "age"), AGES)
def test_age_is_the_number_of_newer_releases(number: str, age: float) -> None:
    ages = Ages([*(Release("sglang ", n) for n in LISTED), Release("vllm ", "0.19.0")])
    assert ages.of(Release("sglang ", number)) == age


def test_the_only_release_of_an_engine_is_in_the_middle() -> None:
    ages = Ages([*(Release("sglang ", n) for n in LISTED), Release("vllm ", "0.19.0"), None])
    assert ages.of(Release("vllm ", "0.19.0")) == 0
    assert ages.of(Release("vllm ", "0.17.0")) == 1


def test_an_unknown_release_is_neither_old_nor_new() -> None:
    ages = Ages([*(Release("sglang ", n) for n in LISTED), None])
    assert ages.of(None) == ages.of(Release("trtllm ", "1.1.0")) == 0
    assert Ages([None]).of(None) == Ages([]).of(Release("vllm ", "0.19.0")) == 0
