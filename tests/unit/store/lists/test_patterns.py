"""Patterns of names in databases: those of the command line."""

import re
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from autotuner.store.lists.pages import regex_of


@given(st.text("aB.-_1", min_size=1, max_size=6), st.text("aB.-_1*?]!^\\$+(", max_size=8))
def test_regular_expressions_mean_what_the_patterns_mean(name: str, pattern: str) -> None:
    assert (re.search(regex_of(pattern), name) is not None) is fnmatchcase(name, pattern)
