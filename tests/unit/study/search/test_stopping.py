"""The bound of the remaining gain in words, and the rule that ends a search."""

import pytest

from autotuner.study.search.stopping import GainBound, StopRule

BOUND = GainBound(gain=0.021, confidence=0.95, trial=7, untried=5000)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, ("95%", "no untried configuration", "more than 3% better than trial 7")),
        ({"gain": 0.02}, ("more than 2% better",)),
        ({"gain": 0.0}, ("is better than trial 7",)),
        ({"confidence": 0.99}, ("99%",)),
        ({"complete": False}, ("none of 5,000 untried configurations, a sample of the space",)),
    ],
)
def test_the_gain_is_rounded_up_and_a_sample_is_called_one(changes: dict[str, float], parts: tuple[str, ...]) -> None:
    text = BOUND.replaced(**changes).text
    assert all(part in text for part in parts), text


def test_a_search_ends_within_the_gain_that_is_not_worth_a_launch() -> None:
    why = (
        "search.stop reached: with 95% confidence, no untried configuration was more than 3% better than the best trial"
    )
    assert BOUND.within(StopRule(remaining_gain=0.03)) == why, "the bound itself changes with the proof"
    assert BOUND.within(StopRule(remaining_gain=0.021))
    assert not BOUND.within(StopRule(remaining_gain=0.02))
