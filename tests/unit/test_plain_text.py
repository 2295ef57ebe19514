"""Text from outside made fit for display, by each of the functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.plain_text import (
    SCANNED,
    blank_unprintable,
    blanked_line,
    escape_controls,
    escape_unprintable,
    escaped_line,
    joined_line,
    marked_line,
    shortened,
)

HOSTILE = "a\n b\x1b[1m\t\u202ec\u00a0d"


def test_what_stands_in_place_of_an_unprintable_character() -> None:
    assert joined_line(HOSTILE) == "a b\x1b[1m \u202ec d"
    assert blank_unprintable(HOSTILE) == "a  b [1m  c d"
    assert blanked_line(HOSTILE) == "a b [1m c d"
    assert marked_line(HOSTILE) == "a b\ufffd[1m \ufffdc d"
    assert escaped_line(HOSTILE, longest=300) == r"a b\x1b[1m \u202ec d"
    assert escape_unprintable(HOSTILE, keep="\n") == "a\n b" + r"\x1b[1m\t\u202ec\xa0d"
    assert escape_controls(HOSTILE) == "a\n b" + r"\x1b[1m" + "\t" + r"\u202ec" + "\u00a0d"


@given(st.text())
def test_lines_are_single_and_printable(text: str) -> None:
    for line in (blanked_line(text), marked_line(text), escaped_line(text, longest=40)):
        assert line.isprintable()
        assert line == line.strip()
    assert len(escaped_line(text, longest=40)) <= 40
    assert len(blank_unprintable(text)) == len(text)


@given(st.text(st.characters(codec=None)) | st.text("\ud800\x1b\n\ta"))
def test_a_document_keeps_its_lines_and_can_be_encoded(text: str) -> None:
    shown = escape_controls(text)
    assert shown.count("\n") == text.count("\n")
    assert "\x1b" not in shown
    assert shown.encode().decode() == shown


@pytest.mark.parametrize(("text", "expected"), [("abcdef", "abcdef"), ("abcdefg", "abc...")])
def test_long_text_ends_in_dots(text: str, expected: str) -> None:
    assert shortened(text, 6) == expected


def test_only_the_beginning_of_an_endless_text_is_looked_at() -> None:
    assert escaped_line(" " * SCANNED + "late", longest=40) == ""
