"""Quantities of Kubernetes, and dollar signs in arguments."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.text import amount, literal, plain, positive, quantity


@pytest.mark.parametrize(("text", "number"), [("500m", 0.5), ("16Gi", 16 * 2.0**30), (4, 4.0), (".5k", 500.0)])
def test_amounts(text: str | int, number: float) -> None:
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "16GB", "-1", "1 Gi", "1e3"])
def test_texts_that_are_not_quantities(text: str) -> None:
    with pytest.raises(InvalidValueError):
        amount(text)


@given(st.integers(min_value=1, max_value=2**53))
def test_quantity_of_bytes_is_exact(size: int) -> None:
    assert amount(quantity(size)) == size


def test_a_quantity_must_be_positive() -> None:
    assert positive(2) == "2"
    with pytest.raises(ValueError, match="more than 0"):
        positive("0Gi")


@given(st.text())
def test_dollar_signs_are_escaped(text: str) -> None:
    """Kubernetes reads ``$$`` as ``$``, and a ``$(NAME)`` that results from it is not a variable."""
    escaped = literal(text)
    assert plain(escaped) == text
    assert not re.search(r"\$(?!\$)", escaped.replace("$$", ""))
