"""The list of studies."""

from collections.abc import Callable

from playwright.sync_api import Page

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
    assert names(page)[0] == "chat-huge"
    page.get_by_label("State").select_option("done")
    page.get_by_label("Name").fill("chat-b")
    page.wait_for_url("**q=chat-b*")
    assert names(page) == ["chat-both"]
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert names(page) == ["chat-both"]
    page.get_by_label("Name").fill("nothing")
    page.get_by_role("button", name="Clear filters").click()
    page.locator("tbody tr").nth(6).wait_for()


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
    assert all("404" in message for message in messages)
    messages.clear()
