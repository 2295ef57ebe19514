"""Mixes as text: weights, scenarios with options, and the long form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_long_scenario, parse_objective, parse_scenario, parse_slo

LORA = "D(8,4) model=a/b-1 + D(8,4) model=c"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mix:70% D(8, 4)  +  30% U(9,9)", "mix:0.7 D(8,4) + 0.3 U(1,9)/(1,9)"),
        ("mix: 7 D(8,4) + 3 D(9,4) prefixes=2 prefix_tokens=16", "mix:7 D(8,4) + 3 D(9,4) prefixes=2 prefix_tokens=16"),
        (f"mix:{LORA}", "mix:1 D(8,4) model=a/b-1 + 1 D(8,4) model=c"),
    ],
)
def test_text(text: str, canonical: str) -> None:
    found = parse_scenario(text)
    assert found.text == canonical
    assert parse_scenario(canonical) == found
    assert found.input is None
    assert [part.scenario for part in found.mix] == list(found.parts)


def test_a_model_is_an_option() -> None:
    found = parse_scenario("N(8,1)/(4,1) model=my-adapter")
    assert found.model == "my-adapter"
    assert found.text == "N(8,1)/(4,1) model=my-adapter"
    assert found.parts == (found,)
    assert parse_long_scenario({"lengths": "N(8,1)/(4,1)", "model": "my-adapter"}) == found


_PARTS = st.lists(
    st.tuples(
        st.floats(1e-6, 1e6),
        st.integers(1, 10**8),
        st.none() | st.from_regex(r"[a-z][a-z0-9/_.+-]{0,9}", fullmatch=True),
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda part: part[1],
)


@given(_PARTS)
def test_round_trip(parts: list[tuple[float, int, str | None]]) -> None:
    long = {
        "mix": [
            {"weight": weight, "scenario": f"D({length},4){f' model={model}' if model else ''}"}
            for weight, length, model in parts
        ]
    }
    found = parse_long_scenario(long)
    assert parse_scenario(found.text) == found
    assert [(p.weight, p.scenario.model) for p in found.mix] == [(weight, model) for weight, _, model in parts]


def test_forms_are_the_same() -> None:
    short = parse_scenario("mix:2 D(8,4) + 1 D(9,4) prefixes=2 prefix_tokens=16")
    assert parse_long_scenario({"mix": "2 D(8,4) + D(9,4) prefixes=2 prefix_tokens=16"}) == short
    prefixed = {"lengths": "D(9,4)", "prefixes": 2, "prefix_tokens": 16}
    assert parse_long_scenario({"mix": [{"weight": "200%", "scenario": "D(8,4)"}, {"scenario": prefixed}]}) == short
    assert parse_long_scenario({"mix": ["2 D(8,4)", {"scenario": prefixed}]}) == short
    named = parse_scenario("mix:2 D(8,4) name = chat model=a + 1 D(9,4)")
    assert named.text == "mix:2 D(8,4) model=a name=chat + 1 D(9,4)"
    assert parse_scenario(named.text) == named
    chat = {"weight": 2, "scenario": "D(8,4) model=a", "name": "chat"}
    assert parse_long_scenario({"mix": [chat, "D(9,4)"]}) == named
    file = parse_scenario("mix:2 D(8,4) + 1 dataset:my file.jsonl")
    assert parse_scenario(file.text) == file
    assert [part.dataset for part in file.parts] == [None, "my file.jsonl"]
    assert parse_long_scenario({"mix": ["2 D(8,4)", {"scenario": {"dataset": "my file.jsonl"}}]}) == file


def test_in_an_objective_and_an_slo() -> None:
    text = "mix:0.7 D(8,4) + 0.3 D(9,4)"
    assert parse_objective(f"min p99 ttft at concurrency=8 for {text}").scenario == text
    assert parse_slo(f"p99 ttft <= 1s for {text}").scenario == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mix:", "scenario"),
        ("mix:D(8,4)", "2 to 1000 parts"),
        ("mix:1 D(8,4) + 2 D(8,4)", "D(8,4) twice"),
        ("mix:0 D(8,4) + 2 D(9,4)", "above 0"),
        ("mix:1e9 D(8,4) + 2 D(9,4)", "above 0"),
        ("mix:1.2.3 D(8,4) + 2 D(9,4)", "share"),
        ("mix:-1 D(8,4) + 2 D(9,4)", "scenario"),
        ("mix:1 D(8,4) + 2", "scenario"),
        ("mix:1 dataset:x turns=all + 2 D(8,4)", "dataset:x turns=all cannot be part"),
        ("mix:1 dataset: + 2 D(8,4)", "has no file name"),
        ("mix:D(8,4) name=a + D(9,4) name=a", "two parts with the name a"),
        ("mix:D(8,4) name=a name=b + D(9,4)", "twice"),
        ("mix:D(8,4) name=stage + D(9,4)", "stage cannot be"),
        ("mix:D(8,4) name=2 + D(9,4)", "name=chat"),
        ("mix:1 trace:x + 2 D(8,4)", "trace:x cannot be part"),
        ("mix:1 mix:D(8,4) + 2 D(9,4)", "2 to 1000 parts"),
        ("mix:1 D(8,4) + 2 D(9,4) modl=x", "model"),
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
        ({"mix": []}, "2 to 1000 parts"),
        ({"mix": 3}, "list"),
        ({"mix": [{"weight": 1}, "D(8,4)"]}, "scenario"),
        ({"mix": ["D(8,4)", {"scenario": {"dataset": "a + b"}}]}, "rename"),
        ({"mix": [{"wght": 1, "scenario": "D(9,4)"}, "D(8,4)"]}, "weight"),
        ({"mix": [{"weight": True, "scenario": "D(9,4)"}, "D(8,4)"]}, "share"),
        ({"mix": [{"weight": 1, "scenario": 9}, "D(8,4)"]}, "scenario"),
        ({"mix": [{"scenario": {"mix": "D(1,1) + D(2,2)"}}, "D(8,4)"]}, "cannot be part"),
        ({"mix": "D(1,1) + D(2,2)", "weight": 2}, "weight"),
        ({"lengths": "D(8,4)", "model": "two words"}, "spaces"),
        ({"lengths": "D(8,4)", "model": 3}, "spaces"),
    ],
)
def test_bad_long_form_is_refused(value: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_long_scenario(value)
    assert named in f"{error.value.why}; {error.value.remedy}"
