"""The list of studies."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from autotuner.store import Store
from autotuner.testing.samples import sample_spec
from support.web.numbers import wrong_numbers
from support.web.server import Server, violations

Open = Callable[..., Page]


def names(page: Page) -> list[str]:
    return page.locator("tbody a.name").all_text_contents()


def test_filters_and_order_are_in_the_address(opened: Open) -> None:
    page = opened("/studies")
    page.locator("tbody tr").nth(6).wait_for()
    assert set(names(page)) == {
        "chat-8b",
        "chat-both",
        "chat-broken",
        "chat-strict",
        "chat-huge",
        "chat-new",
        "chat-capacity",
    }
    page.get_by_role("button", name="Gain").click()
    page.wait_for_url("**/studies?sort=-gain")
    first = page.locator("tbody a.name").first
    expect(first).to_have_text("chat-huge")
    page.get_by_label("State").select_option("done")
    page.get_by_label("Name").fill("chat-b")
    page.wait_for_url("**q=chat-b*")
    expect(page.locator("tbody a.name")).to_have_text(["chat-both"])
    page.reload()
    expect(page.locator("tbody a.name")).to_have_text(["chat-both"])
    page.get_by_label("Name").fill("nothing")
    page.get_by_role("button", name="Clear filters").click()
    page.locator("tbody tr").nth(6).wait_for()
    page.goto(page.url.partition("?")[0] + "?page=9")  # an address of earlier, when there were more studies
    page.locator("tbody tr").nth(6).wait_for()
    assert "page" not in page.url


def test_a_narrow_list_shows_the_most_important_columns(opened: Open) -> None:
    """What does not fit is reached by scrolling, below the column of actions."""
    page = opened("/studies?q=chat-broken")
    for width, cell in ((1024, "tbody time"), (360, "tbody td .good")):
        page.set_viewport_size({"width": width, "height": 800})
        if width == 360:
            page.locator("tbody a.name").evaluate("link => { link.textContent = 'chat-8b'.repeat(9) }")
        shown = page.locator(cell).bounding_box()
        actions = page.locator("tbody td.pinned").bounding_box()
        assert shown is not None
        assert actions is not None
        assert shown["x"] + shown["width"] <= actions["x"], f"{cell} at {width} px"


def test_a_study_opens_by_keyboard(opened: Open) -> None:
    page = opened("/studies?q=chat-8b")
    page.get_by_role("link", name="chat-8b").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="chat-8b").wait_for()


def test_a_killed_run_is_cut_off_and_an_unknown_study_is_explained(opened: Open, messages: list[str]) -> None:
    page = opened("/studies?q=chat-new")
    page.locator("tbody").get_by_text("cut off").wait_for()
    page.goto(page.url.partition("/studies")[0] + "/studies/not-there")
    page.get_by_role("heading", name="Not found").wait_for()
    page.get_by_text("not in the store").wait_for()
    page.goto(page.url.partition("/studies")[0] + "/nonsense")
    page.get_by_role("heading", name="Page not found").wait_for()
    assert all("404" in message for message in messages)
    messages.clear()


def test_a_page_of_before_an_update_explains_itself(opened: Open, messages: list[str]) -> None:
    page = opened("/studies")
    page.locator("tbody tr").first.wait_for()

    def answer_as_updated(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "autotuner-version": "99.0"})

    page.route("**/api/v1/study-rows*", answer_as_updated)
    page.route("**/assets/FleetPage-*.js", lambda route: route.fulfill(status=404))
    page.get_by_label("Name").fill("chat-b")
    page.get_by_role("status").get_by_text("The server was updated to 99.0. Reload this page.").wait_for()
    assert violations(page) == {}
    page.unroute("**/api/v1/study-rows*")
    own = f"{page.url.partition('/studies')[0]}/"
    page.route(own, lambda route: route.fulfill(body='<script type="module" src="/assets/index-99.js"></script>'))
    loaded_at = page.evaluate("performance.timeOrigin")
    page.get_by_role("link", name="Workers").click()
    outdated = page.get_by_role("alert")
    outdated.get_by_role("heading", name="This page is out of date").wait_for()
    assert page.evaluate("performance.timeOrigin") == loaded_at
    page.unroute("**/assets/FleetPage-*.js")
    page.unroute(own)
    outdated.get_by_role("button", name="Reload").click()
    page.get_by_role("heading", name="Workers").first.wait_for()
    assert page.get_by_text("The server was updated").count() == 0
    _a_lost_script_is_loaded_again(page)
    assert all("404" in message or "another build" in message or LOST.search(message) for message in messages)
    messages.clear()


LOST = re.compile("ERR_FAILED|a script cannot be loaded")


def _a_lost_script_is_loaded_again(page: Page) -> None:
    page.route("**/assets/PresetsPage-*.js", lambda route: route.abort(), times=1)
    page.get_by_role("link", name="Presets").click()
    page.get_by_role("heading", name="Presets").first.wait_for()
    page.route("**/assets/DoctorPage-*.js", lambda route: route.abort())
    page.get_by_role("link", name="Doctor").click()
    lost = page.get_by_role("alert")
    lost.get_by_role("heading", name="This page could not be loaded").wait_for()
    page.unroute("**/assets/DoctorPage-*.js")
    lost.get_by_role("button", name="Reload").click()
    page.get_by_role("heading", name="Doctor").first.wait_for()


def test_a_long_list_has_pages(opened: Open, server: Server) -> None:
    """The last test of this module: it adds studies."""
    with Store.open(f"sqlite:///{server.home}/autotuner.db") as store:
        for number in range(60):
            spec = sample_spec(f"later-{number:02d}")
            store.studies.create(spec, source="study.yaml", digest=spec.digest, now=1.0)
    page = opened("/studies?sort=-name")
    pages = page.get_by_role("navigation", name="Pages of the list")
    pages.get_by_text("1 to 50 of 67").wait_for()
    assert (len(names(page)), names(page)[0]) == (50, "later-59")
    pages.get_by_role("button", name="Next").click()
    pages.get_by_text("51 to 67 of 67").wait_for()
    assert "page=2" in page.url
    assert (len(names(page)), names(page)[-1]) == (17, "chat-8b")
    assert pages.get_by_role("button", name="Next").is_disabled()
    printed = json.loads(
        subprocess.run(
            [sys.executable, "-m", "autotuner", "list", "--sort", "gain", "--json"],
            capture_output=True,
            env={**os.environ, "AUTOTUNER_HOME": str(server.home)},
            check=True,
        ).stdout
    )
    page.get_by_role("button", name="Gain").click()
    page.wait_for_url("**sort=-gain*")
    pages.get_by_text("1 to 50 of 67").wait_for()
    assert "page" not in page.url
    page.locator("tbody tr").first.get_by_text("chat-huge").wait_for()
    assert wrong_numbers(page, printed) == []
    page.get_by_label("Name").fill("LATER-0")
    page.get_by_text("10 of 67 studies").wait_for()
    assert pages.count() == 0
    assert violations(page) == {}
