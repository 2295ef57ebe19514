"""Conversations as text: options behind the lengths of a scenario, the long form, and users as a load."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.conversations import conversations_text
from autotuner.study.text.forms import parse_level, parse_long_scenario, parse_objective, parse_scenario, parse_slo
from autotuner.study.workload import Conversations, Pauses, TokenLengths, Users


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("D(8,4) turns=3", None),
        ("N(8,1)/(4,1) turns=U(2,6) think=U(2s,8s) later=N(64,16)", None),
        ("D(8,4) later = 16 think=500ms turns=n(4,2)", "D(8,4) turns=N(4,2) think=0.5s later=16"),
        ("D(8,4) turns=U(2, 6) think=0s", "D(8,4) turns=U(2,6)"),
        ("D(8,4) prefixes=3 prefix_tokens=32 turns=2 later=9", None),
        ("D(8,4) turns=2 think=N(1m,2) model=a", "D(8,4) turns=2 think=N(60s,2s) model=a"),
    ],
)
def test_text(text: str, canonical: str | None) -> None:
    found = parse_scenario(text)
    assert found.text == (canonical or text)
    assert found.conversations is not None
    assert parse_scenario(found.text) == found


def _lengths(most: int) -> st.SearchStrategy[TokenLengths]:
    pairs = st.tuples(st.integers(1, most), st.integers(1, most)).map(sorted)
    return st.one_of(
        st.integers(1, most).map(lambda a: TokenLengths(kind="fixed", a=a)),
        pairs.map(lambda ab: TokenLengths(kind="uniform", a=ab[0], b=ab[1])),
        st.tuples(st.integers(1, most), st.integers(0, most)).map(
            lambda ab: TokenLengths(kind="normal", a=ab[0], b=ab[1])
        ),
    )


_SECONDS = st.just(0.0) | st.floats(0.001, 1e6)
_PAUSES = st.one_of(
    _SECONDS.map(lambda a: Pauses(a=a)),
    st.tuples(_SECONDS, _SECONDS).map(sorted).map(lambda ab: Pauses(kind="uniform", a=ab[0], b=ab[1])),
    st.tuples(_SECONDS, _SECONDS).map(lambda ab: Pauses(kind="normal", a=ab[0], b=ab[1])),
)


@given(st.builds(Conversations, turns=_lengths(1000), think=_PAUSES, later=st.none() | _lengths(10**8)))
def test_round_trip(conversations: Conversations) -> None:
    text = f"D(128,48){conversations_text(conversations)}"
    assert parse_scenario(text).conversations == conversations
    assert parse_scenario(text).text == text
    assert parse_slo(f"p99 ttft_later_turns <= 1s at users=4 for {text}").scenario == text


def test_forms_are_the_same() -> None:
    short = parse_scenario("D(8,4) turns=3 think=2s later=U(1,9)")
    assert parse_long_scenario({"lengths": "D(8,4)", "turns": 3, "think": 2, "later": "U(1,9)"}) == short
    assert parse_long_scenario({"lengths": "D(8,4)", "turns": "3", "think": "2s", "later": "U(1, 9)"}) == short
    assert parse_level("users = 16") == Users(count=16)
    assert parse_objective("min p90 ttft_later_turns at users=16").at == "users=16"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("think=2s", "turns"),
        ("later=8", "turns"),
        ("turns=0", "from 1 to 1000"),
        ("turns=1001", "from 1 to 1000"),
        ("turns=1.5", "turns must"),
        ("turns=-1", "turns must"),
        ("turns=U(3,2)", "smallest"),
        ("turns=U(2)", "turns must"),
        ("turns=E(2,3)", "turns must"),
        ("turns=N(2,x)", "turns must"),
        ("turns=²", "turns must"),
        ("turns=2 think=2x", "think"),
        ("turns=2 think=-1s", "think"),
        ("turns=2 think=U(3s,2s)", "shortest"),
        ("turns=2 think=U(1s,9q)", "think"),
        ("turns=2 later=0", "later must"),
        ("turns=2 later=999999999", "later must"),
        ("turns=2 turns=3", "twice"),
        ("turns=2 prefixes=2", "prefix_tokens"),
        ("trns=2", "turns"),
    ],
)
def test_bad_text_is_refused(options: str, named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_scenario(f"D(8,4) {options}")
    said = f"{error.value.why}; {error.value.remedy}"
    assert named in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"lengths": "D(8,4)", "turns": True}, "turns must"),
        ({"lengths": "D(8,4)", "turns": [2, 3]}, "turns must"),
        ({"lengths": "D(8,4)", "turns": 2.5}, "turns must"),
        ({"lengths": "D(8,4)", "turns": 2, "think": [1]}, "think"),
        ({"lengths": "D(8,4)", "turns": 2, "thinks": 1}, "think"),
        ({"turns": 2}, "lengths"),
        ({"mix": ["D(1,1) turns=2", "D(2,2)"]}, "cannot be part"),
    ],
)
def test_bad_long_form_is_refused(value: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_long_scenario(value)
    assert named in f"{error.value.why}; {error.value.remedy}"


@pytest.mark.parametrize("text", ["users=0", "users=100001", "users=1.5", "users="])
def test_bad_users_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"users|load level"):
        parse_level(text)
