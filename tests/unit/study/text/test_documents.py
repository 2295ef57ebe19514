"""Embeddings and rankings as text: ``E(512) documents=8`` and ``R(256,32)``, and the long form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.documents import documents_text
from autotuner.study.text.forms import parse_long_scenario, parse_objective, parse_scenario, parse_slo
from autotuner.study.workload import Documents


@pytest.mark.parametrize(
    ("text", "canonical", "documents"),
    [
        ("E(512)", None, Documents(tokens=512)),
        ("e( 512 )  documents = 8", "E(512) documents=8", Documents(tokens=512, count=8)),
        ("R(256, 32)", "R(256,32)", Documents(tokens=256, query_tokens=32)),
        ("R(256,32) documents=1", "R(256,32)", Documents(tokens=256, query_tokens=32)),
    ],
)
def test_text(text: str, canonical: str | None, documents: Documents) -> None:
    found = parse_scenario(text)
    assert (found.text, found.documents) == (canonical or text, documents)
    assert (found.input, found.output) == (None, None)


@given(st.integers(1, 10_000), st.integers(1, 100_000_000), st.none() | st.integers(1, 100_000_000))
def test_round_trip(count: int, tokens: int, query: int | None) -> None:
    documents = Documents(count=count, tokens=tokens, query_tokens=query)
    text = documents_text(documents)
    assert parse_scenario(text).documents == documents
    assert parse_scenario(text).text == text


def test_long_form_is_the_same() -> None:
    assert parse_long_scenario({"lengths": "E(8)", "documents": 4}) == parse_scenario("E(8) documents=4")
    assert parse_long_scenario({"lengths": "R(8,2)"}) == parse_scenario("R(8,2)")


def test_in_an_objective_and_an_slo() -> None:
    text = "R(8,4) documents=20"
    assert parse_objective(f"min p99 e2e_latency at concurrency=8 for {text}").scenario == text
    assert parse_slo(f"p99 e2e_latency <= 1s for {text}").scenario == text


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("E()", "E(tokens)"),
        ("E(8,8)", "E(tokens)"),
        ("E(-8)", "E(tokens)"),
        ("E(8.5)", "E(tokens)"),
        ("E(0)", "from 1"),
        ("E(999999999)", "from 1"),
        ("R(8)", "R(document,query)"),
        ("R(8,0)", "from 1"),
        ("E(8) documents=0", "from 1 to 10000"),
        ("E(8) documents=10001", "from 1 to 10000"),
        ("E(8) documents=2.5", "from 1 to 10000"),
        ("E(8) documents=many", "from 1 to 10000"),
        ("E(8) documents=2 documents=3", "twice"),
        ("E(8) prefixes=2", "prefixes"),
        ("mix:1 E(8) + 1 D(8,8)", "E(8) cannot be part of a mix"),
        ({"lengths": "E(8)", "documents": True}, "from 1 to 10000"),
        ({"lengths": "E(8)", "model": "a"}, "model"),
    ],
)
def test_mistakes(written: Any, named: str) -> None:
    parse = parse_scenario if isinstance(written, str) else parse_long_scenario
    with pytest.raises(InvalidValueError) as caught:
        parse(written)
    assert named in f"{caught.value.why}; {caught.value.remedy}"
