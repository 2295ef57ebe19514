"""Facts about requests without a complete answer."""

from typing import Any

import pytest

from autotuner.benchmarks.measuring.unanswered_stats import expected_answer_s, first_messages


def row(**changes: Any) -> dict[str, Any]:
    """A request that was cut off at the window's end after ten tokens, at ten tokens per second."""
    cut = {"error": None, "complete": False, "sent_ns": 0, "first_ns": 500_000_000, "gaps_ns": [100_000_000] * 9}
    return {**cut, "asked_output": 20, **changes}


@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [("D(4,200)", 20.4), ("N(4,1)/(100,10)", 10.4), ("U(1,4)/(50,300)", 30.4), ("dataset:x.jsonl", 2.4)],
)
def test_duration_is_estimated_from_the_pace_of_running_answers(scenario: str, seconds: float) -> None:
    assert expected_answer_s([row(), row(first_ns=None, gaps_ns=[])], scenario) == pytest.approx(seconds)


def test_no_estimate_without_a_pace() -> None:
    assert expected_answer_s([], "D(4,200)") is None
    assert expected_answer_s([row(gaps_ns=[])], "D(4,200)") is None
    assert expected_answer_s([row(error="timeout")], "D(4,200)") is None


def test_first_message_of_each_error() -> None:
    columns = {"error": ["a", None, "b", "a", "c"], "detail": ["one", "", "two", "three", ""]}
    assert first_messages(columns) == {"a": "one", "b": "two"}
