"""Every page at three widths, light and dark: axe finds nothing, and nothing is wider than the window.

``AUTOTUNER_SCREENSHOTS`` names a folder for pictures of them.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from support.web.server import violations

Open = Callable[..., Page]
READY = {
    "/studies": "tbody tr",
    "/studies/chat-8b": "tbody tr",
    "/studies/chat-capacity": ".curve",
    "/studies/chat-broken": "tbody tr",
    "/studies/chat-new": "h1",
    "/studies/chat-8b/trials/12": ".latencies .percentile",
    "/studies/chat-broken/trials/3": "h1",
    "/studies/chat-8b/winner": ".copyable pre",
    "/studies/chat-8b/compare?with=chat-both": ".latencies .cdf",
    "/new": "tbody tr",
    "/new?engine=vllm&goal=throughput": ".plan-facts, .problems",
    "/new?edit=chat-8b": ".plan-facts, .problems",
    "/presets": "tbody tr",
    "/fleet": "[aria-label='Processes, containers and pods of runs']",
    "/doctor?study=chat-8b": ".checkup li",
    "/settings": "tbody tr",
    "/sign-in": "form",
}
"""Pages, and what they show when they are complete."""
OUTSIDE = """width => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.scroll, pre, svg, .hidden, .skip') && e.getBoundingClientRect().right > width + 1)
    .map(e => e.outerHTML.slice(0, 120))"""


def keep_picture(page: Page, title: str) -> None:
    """Takes a picture of a page for people to look at, if a folder was named for it."""
    if folder := os.environ.get("AUTOTUNER_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{re.sub('[^a-z0-9]+', '-', title).strip('-')}.png", full_page=True)


@pytest.mark.parametrize("path", READY)
def test_a_page_is_accessible_and_fits(opened: Open, path: str, messages: list[str]) -> None:
    page = opened(path)
    page.locator(READY[path]).first.wait_for()
    for width in (360, 900, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert page.evaluate(OUTSIDE, width) == [], width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert violations(page) == {}, (width, scheme)
            keep_picture(page, f"{path} {width} {scheme}")
    # The form of a stored study that clients may not submit shows its problems.
    messages[:] = [message for message in messages if "422" not in message]


def test_the_switch_overrides_the_system(opened: Open) -> None:
    page = opened("/studies", scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("radio", name="Dark").check()
    assert page.evaluate(background) != light
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert page.evaluate(background) != light
    page.get_by_role("radio", name="Auto").check()
    assert page.evaluate(background) == light


def test_the_navigation_leads_to_every_page_at_any_width(opened: Open) -> None:
    page = opened("/fleet")
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    expect(links).to_have_text(["Studies", "Presets", "Workers", "Doctor", "Settings"])
    for width in (360, 600, 720, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OUTSIDE, width) == [], width
    links.filter(has_text="Presets").press("Enter")
    page.get_by_role("heading", name="Presets").wait_for()
