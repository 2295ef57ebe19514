"""Images as text: ``I(512,512,2) input=64 output=128``, and the long form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_long_scenario, parse_scenario, parse_slo
from autotuner.study.workload import Images

SIDES = st.integers(1, 16_384)
TOKENS = st.integers(1, 100_000_000)


@given(SIDES, SIDES, st.integers(1, 64), TOKENS, TOKENS)
def test_round_trip(width: int, height: int, count: int, prompt: int, answer: int) -> None:
    found = parse_scenario(f"i( {width} , {height},{count}) output={answer}  input = {prompt}")
    assert found.images == Images(width=width, height=height, count=count)
    assert found.input is not None
    assert found.output is not None
    assert (found.input.a, found.output.a) == (prompt, answer)
    assert parse_scenario(found.text) == found
    assert parse_slo(f"p99 ttft <= 1s for {found.text}").scenario == found.text


def test_defaults_are_left_out() -> None:
    assert parse_scenario("I(9,8,1) input=64 output=128").text == "I(9,8)"
    assert parse_long_scenario({"lengths": "I(9,8)", "output": 5}) == parse_scenario("I(9,8) output=5")


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("I(9)", "I(width,height)"),
        ("I(9,8,7,6)", "I(width,height)"),
        ("I(0,8)", "1 to 16384"),
        ("I(9,16385)", "1 to 16384"),
        ("I(9,8,65)", "1 to 64"),
        ("I(9,8) output=0", "output"),
        ("I(9,8) answer=5", "output"),
        ("mix:1 I(9,8) + 1 D(8,8)", "I(9,8) cannot be part of a mix"),
        ({"lengths": "I(9,8)", "input": 1.5}, "input"),
    ],
)
def test_mistakes(written: Any, named: str) -> None:
    parse = parse_scenario if isinstance(written, str) else parse_long_scenario
    with pytest.raises(InvalidValueError) as caught:
        parse(written)
    assert named in f"{caught.value.why}; {caught.value.remedy}"
