"""Loads whose rate changes, as text and in the long form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_level, parse_objective, parse_slo, parse_stages
from autotuner.study.workload import Arrivals, Stage, Stages


@pytest.mark.parametrize(
    ("text", "canonical", "requests"),
    [
        ("stages=2/s:10s,8/s:20s,2..10/s:30s", None, 360),
        ("stages= 2:10 , 8 /s : 1m ,2 .. 10/s:1.5 s", "stages=2/s:10s,8/s:60s,2..10/s:1.5s", 509),
        ("stages=.5/s:500ms,3..3/s:2s constant", "stages=0.5/s:0.5s,3/s:2s constant", 6),
        ("stages=0/s:10s,5/s:1s gamma burstiness=.50", "stages=0/s:10s,5/s:1s gamma burstiness=0.5", 5),
        ("stages=1/s:1s poisson", "stages=1/s:1s", 1),
    ],
)
def test_text(text: str, canonical: str | None, requests: int) -> None:
    found = parse_level(text)
    assert isinstance(found, Stages)
    assert found.text == (canonical or text)
    assert found.requests == requests
    assert parse_level(found.text) == found


_RATES = st.floats(0.001, 1e6)
_STAGES = st.builds(
    lambda begin, end, span: Stage(begin=begin, end=begin if end is None else end, span_s=span),
    _RATES,
    st.none() | _RATES,
    st.floats(1e3, 1e6),
)


@given(
    st.lists(_STAGES, min_size=1, max_size=8),
    st.sampled_from([(Arrivals.POISSON, 1.0), (Arrivals.CONSTANT, 1.0), (Arrivals.GAMMA, 0.3)]),
)
def test_round_trip(stages: list[Stage], kind: tuple[Arrivals, float]) -> None:
    load = Stages(stages=tuple(stages), arrivals=kind[0], burstiness=kind[1])
    assert parse_level(load.text) == load
    assert parse_slo(f"p99 ttft <= 1s at {load.text} for D(8,4)").at == load.text


def test_forms_are_the_same() -> None:
    short = parse_stages("2/s:10s,2..10/s:30s")
    stages = [{"rate": 2, "for": "10s"}, {"from": 2, "to": 10, "for": 30}]
    assert parse_stages(stages) == parse_stages({"stages": stages}) == short
    assert parse_stages(["2/s:10s", {"from": 2, "to": 10, "for": 30}]) == short
    assert parse_stages({"stages": "2/s:10s", "arrivals": "gamma", "burstiness": 2}) == parse_stages(
        "stages=2/s:10s gamma burstiness=2"
    )
    assert parse_objective("min p99 ttft at stages=2/s:10s, 2..10/s:30s for D(8,4)").at == short.text


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("", "stage 1"),
        ("2/s:10s,", "stage 2"),
        ("2/s:10s;3/s:10s", "stage 1"),
        ("2..3..4/s:1s", "stage 1"),
        ("-2/s:1s", "stage 1"),
        ("2/m:1s", "stage 1"),
        ("1/s:1s,2e6/s:1s", "stage 2"),
        ("1/s:1s,2/s:0s", "stage 2"),
        ("1/s:1s,2/s:9e9s", "stage 2"),
        ("1/s:1s,2/s:3q", "stage 2"),
        ("0/s:10s", "no request"),
        ("0.1/s:1s", "no request"),
        ("2/s:10s poison", "poisson"),
        ("2/s:10s burstiness=2", "gamma"),
        ("2/s:10s gamma burstiness=0", "above 0"),
        (3, "list of stages"),
        (None, "list of stages"),
        ([], "0 stages"),
        ([{"rate": 1, "for": "1s"}] * 1001, "1001 stages"),
        ([{"rate": 1, "for": "1s"}, {"rate": 1}], "stage 2"),
        ([{"rate": 1, "to": 2, "for": "1s"}], "stage 1"),
        ([{"rate": True, "for": "1s"}], "stage 1"),
        ([{"rate": "1", "for": "1s"}], "stage 1"),
        ([{"rate": float("nan"), "for": "1s"}], "stage 1"),
        ([{"rate": 1, "for": None}], "stage 1"),
        ([{"rate": 1, "span": "1s"}], "for"),
        ([[1, "1s"]], "stage 1"),
        ({"stages": "1/s:1s", "arrival": "constant"}, "arrivals"),
        ({"stages": "1/s:1s", "arrivals": 3}, "poisson"),
        ({"stages": "1/s:1s", "arrivals": "gamma", "burstiness": "x"}, "burstiness"),
        ({"arrivals": "constant"}, "list of stages"),
    ],
)
def test_bad_values_are_refused(value: Any, named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_stages(value)
    said = f"{error.value.why}; {error.value.remedy}"
    assert named in said
    assert "\n" not in said
