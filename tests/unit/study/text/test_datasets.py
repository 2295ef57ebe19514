"""Datasets as text: a file alone, and its conversations with pauses between the turns."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_long_scenario, parse_scenario, parse_slo
from autotuner.study.workload import Conversations, Pauses


@pytest.mark.parametrize(
    ("text", "canonical", "file", "conversations"),
    [
        ("dataset:a.jsonl", None, "a.jsonl", None),
        ("dataset: a b=c.jsonl ", "dataset:a b=c.jsonl", "a b=c.jsonl", None),
        ("dataset:a turns=all", None, "a", Conversations()),
        ("dataset:a think=U(2s,8s)  turns = all", "dataset:a turns=all think=U(2s,8s)", "a",
         Conversations(think=Pauses(kind="uniform", a=2, b=8))),
        ("dataset:a turns=all think=0s", "dataset:a turns=all", "a", Conversations()),
    ],
)  # fmt: skip
def test_text(text: str, canonical: str | None, file: str, conversations: Conversations | None) -> None:
    found = parse_scenario(text)
    assert (found.text, found.dataset, found.conversations) == (canonical or text, file, conversations)
    assert parse_scenario(found.text) == found
    assert found.input is None


@given(st.sampled_from(["a.jsonl", "my file", "/x/y=1.json"]), st.floats(0.001, 1e6), st.floats(0, 1e6))
def test_round_trip(file: str, mean: float, deviation: float) -> None:
    made = parse_long_scenario({"dataset": file, "turns": "all", "think": f"N({mean},{deviation})"})
    assert made.conversations == Conversations(think=Pauses(kind="normal", a=mean, b=deviation))
    assert parse_scenario(made.text) == made
    assert parse_slo(f"p99 ttft_later_turns <= 1s at users=4 for {made.text}").scenario == made.text


def test_forms_are_the_same() -> None:
    short = parse_scenario("dataset:a b.json turns=all think=2s")
    assert parse_long_scenario({"dataset": "a b.json", "turns": "all", "think": 2}) == short
    assert parse_long_scenario({"dataset": "a b.json"}) == parse_scenario("dataset:a b.json")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("dataset:", "has no file name"),
        ("dataset: turns=all", "has no file name"),
        ("dataset:a turns=3", "turns=all"),
        ("dataset:a turns=U(2,3)", "turns=all"),
        ("dataset:a think=2s", "turns=all"),
        ("dataset:a turns=all turns=all", "twice"),
        ("dataset:a turns=all think=-1s", "think"),
        ("dataset:a turns=all think=U(3s,2s)", "shortest"),
        ("dataset:a turns=all later=8", "later"),
        ("dataset:a turns=all prefixes=2 prefix_tokens=16", "prefix"),
        ({"dataset": 7}, "has no file name"),
        ({"dataset": "a", "turns": 3}, "turns=all"),
        ({"dataset": "a", "turn": "all"}, "turns"),
        ({"dataset": "a", "turns": "all", "think": [1]}, "think"),
        ({"dataset": "a" * 5000}, "path"),
    ],
)
def test_bad_forms_are_refused(value: Any, named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_scenario(value) if isinstance(value, str) else parse_long_scenario(value)
    said = f"{error.value.why}; {error.value.remedy}"
    assert named in said
    assert "\n" not in said
