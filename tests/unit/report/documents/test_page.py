"""The page of a report: filled with data that cannot break out of it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.documents import page as html_page
from autotuner.report.documents.page import ReportPageMissingError, embedded, is_built, page

built = pytest.mark.skipif(not is_built(), reason="the web UI is not built (make ui)")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ATTACKS = (
    "</script><script>window.hacked=1</script>",
    "<!--<script>",
    "]]><style>*{display:none}</style>",
    "\u2028alert(1)\u2029",
    "</title><svg onload=window.hacked=1>",
    "&lt;/script&gt;",
    "</pre></div>",
    "\\u003c/script>",
    "autotuner-report-data",
)


class Elements(HTMLParser):
    """The elements of a page, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.open = str(dict(attrs).get("id") or tag)

    def handle_data(self, data: str) -> None:
        self.texts[self.open] = self.texts.get(self.open, "") + data


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_data_can_be_read_from_the_page(data: dict[str, object]) -> None:
    written = embedded(data)
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == data


@built
@pytest.mark.parametrize("attack", ATTACKS)
def test_data_stay_data(attack: str) -> None:
    harmless = Elements(page("harmless", "harmless", {"a": "harmless"}))
    found = Elements(page(attack, attack, {"a": attack}))
    assert found.tags == harmless.tags
    assert json.loads(found.texts["data"]) == {"a": attack}
    assert attack in found.texts["pre"]


@built
def test_the_policy_allows_only_the_script_and_the_style_of_the_page() -> None:
    text = page("title", "text", {})
    found = Elements(text)
    policy = next(a["content"] or "" for a in found.attributes if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name, pattern in (("style", r"<style>(.*?)</style>"), ("script", r'<script type="module">(.*?)</script>')):
        (content,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert text.index("Content-Security-Policy") < text.index("<style>")


@built
def test_the_page_refers_to_no_other_file() -> None:
    found = Elements(page("title", "text", {}))
    assert not {"link", "iframe", "object", "embed", "form", "base", "img"} & set(found.tags)
    assert not [a for a in found.attributes if {"src", "href", "style"} & set(a)]


def test_without_the_web_ui_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(html_page, "PAGE", tmp_path / "report.html")  # type: ignore[operator]
    with pytest.raises(ReportPageMissingError) as caught:
        page("title", "text", {})
    assert "make ui" in caught.value.remedy
    assert "--format md" in caught.value.remedy
