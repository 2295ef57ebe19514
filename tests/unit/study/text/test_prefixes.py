"""Shared prefixes as text: options behind the lengths of a scenario, and the long form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_long_scenario, parse_objective, parse_scenario, parse_slo
from autotuner.study.text.prefixes import prefixes_text
from autotuner.study.workload import SharedPrefixes


@pytest.mark.parametrize(
    ("text", "canonical", "prefixes"),
    [
        ("D(8,4) prefixes=2 prefix_tokens=64", None, SharedPrefixes(count=2, tokens=64)),
        (
            "U(9,9)   zipf = 0.50 prefix_tokens=1e3 prefixes=50",
            "U(1,9)/(1,9) prefixes=50 prefix_tokens=1000 zipf=0.5",
            SharedPrefixes(count=50, tokens=1000, zipf=0.5),
        ),
        (
            "N(8,1)/(4,1) prefixes=2 prefix_tokens=64 zipf=1",
            "N(8,1)/(4,1) prefixes=2 prefix_tokens=64",
            SharedPrefixes(count=2, tokens=64),
        ),
    ],
)
def test_text(text: str, canonical: str | None, prefixes: SharedPrefixes) -> None:
    found = parse_scenario(text)
    assert (found.text, found.prefixes) == (canonical or text, prefixes)
    assert found.input is not None
    assert found.output is not None


@given(st.integers(1, 100_000), st.integers(16, 100_000_000), st.floats(0, 10).map(lambda s: 0.0 if s < 1e-300 else s))
def test_round_trip(count: int, tokens: int, zipf: float) -> None:
    prefixes = SharedPrefixes(count=count, tokens=tokens, zipf=zipf)
    text = f"D(128,48){prefixes_text(prefixes)}"
    assert parse_scenario(text).prefixes == prefixes
    assert parse_scenario(text).text == text


def test_long_form_is_the_same() -> None:
    short = parse_scenario("D(8,4) prefixes=2 prefix_tokens=64 zipf=1.5")
    assert parse_long_scenario({"lengths": "D(8, 4)", "prefixes": 2, "prefix_tokens": 64, "zipf": 1.5}) == short
    assert parse_long_scenario({"lengths": "D(8,4)"}) == parse_scenario("D(8,4)")


def test_in_an_objective_and_an_slo() -> None:
    text = "D(8,4) prefixes=2 prefix_tokens=64"
    assert parse_objective(f"min p99 ttft at concurrency=8 for {text}").scenario == text
    assert parse_slo(f"p99 ttft <= 1s for {text}").scenario == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("D(8,4) prefixes=2", "prefix_tokens"),
        ("D(8,4) prefix_tokens=64", "prefixes"),
        ("D(8,4) zipf=1", "prefixes"),
        ("D(8,4) prefixes=0 prefix_tokens=64", "from 1 to 100000"),
        ("D(8,4) prefixes=1.5 prefix_tokens=64", "from 1 to 100000"),
        ("D(8,4) prefixes=2 prefix_tokens=15", "from 16"),
        ("D(8,4) prefixes=nan prefix_tokens=64", "prefixes"),
        ("D(8,4) prefixes=1_0 prefix_tokens=64", "prefixes"),
        ("D(8,4) prefixes=2 prefix_tokens=64 zipf=-1", "from 0 to 10"),
        ("D(8,4) prefixes=2 prefix_tokens=64 zipf=inf", "zipf"),
        ("D(8,4) prefixes=2 prefixes=3 prefix_tokens=64", "twice"),
        ("D(8,4) prefixs=2 prefix_tokens=64", "prefixes"),
        ("prefixes=2 prefix_tokens=64", "scenario"),
        ("D(8,4), prefixes=2 prefix_tokens=64", "scenario"),
    ],
)
def test_bad_text_is_refused(text: str, named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_scenario(text)
    said = f"{error.value.why}; {error.value.remedy}"
    assert named in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"prefixes": 2, "prefix_tokens": 64}, "lengths"),
        ({"lengths": 3}, "lengths"),
        ({"lengths": "D(8,4)", "prefixes": True, "prefix_tokens": 64}, "prefixes"),
        ({"lengths": "D(8,4)", "prefixes": [2], "prefix_tokens": 64}, "prefixes"),
        ({"lengths": "D(8,4)", "prefix": 2}, "prefixes"),
        ({"lengths": "dataset:x", "prefixes": 2, "prefix_tokens": 64}, "scenario"),
        ({"lengths": "D(8,4)", "trace": "t"}, "trace"),
    ],
)
def test_bad_long_form_is_refused(value: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_long_scenario(value)
    assert named in f"{error.value.why}; {error.value.remedy}"
