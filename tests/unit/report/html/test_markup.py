"""Strings are always escaped; markup comes only from the program."""

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.html.markup import Html, element, escaped, joined

CONTROLS = [*range(9), 11, 12, *range(14, 32), 127]


class Reader(HTMLParser):
    """Collects what a parser sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


@given(st.text())
def test_any_text_survives_escaping(text: str) -> None:
    seen = Reader(element("p", text, title=text).text)
    cleaned = unescape(escaped(text))
    assert seen.tags == ["p"]
    assert seen.text == cleaned
    assert dict(seen.attributes) == {"title": cleaned}
    if not any(ord(c) in CONTROLS or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        assert cleaned == text


@given(st.recursive(st.text() | st.none() | st.integers(), lambda inner: st.lists(inner, max_size=4)))
def test_children_of_any_depth_stay_text(children: object) -> None:
    assert Reader(joined(children).text).tags == []  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [*CONTROLS, 0xD800])
def test_control_characters_become_the_replacement_character(code: int) -> None:
    assert escaped(f"a{chr(code)}b") == "a\ufffdb"


def test_layout_of_text_stays() -> None:
    assert escaped("a\tb\nc\rd") == "a\tb\nc\rd"


def test_attributes() -> None:
    made = element("a", "x", class_="c", aria_label='"', hidden=True, disabled=False, rel=None, x=1.25, y=2.0)
    assert made.text == '<a class="c" aria-label="&quot;" hidden x="1.2" y="2">x</a>'
    assert element("br").text == "<br>"
    assert element("p", Html("<b>ok</b>"), ["<i>", 3, None]).text == "<p><b>ok</b>&lt;i&gt;3</p>"


@pytest.mark.parametrize("name", ["", "a b", "a>", "1a", "a=b", "on click"])
def test_invalid_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="invalid element name: "):
        element(name)
    with pytest.raises(ValueError, match="invalid attribute name: "):
        element("p", **{name: "x"})  # type: ignore[arg-type]
