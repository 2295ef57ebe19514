"""Signing in and out, and being refused."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

import autotuner
from support.web.server import Server

pytestmark = pytest.mark.usefixtures("samples")
"""Made before the browser runs, as they need an event loop of this thread."""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser without a session."""
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def test_the_printed_address_signs_in_once_and_its_code_disappears(
    page: Page, browser: Browser, server: Server
) -> None:
    page.goto(server.sign_in)
    page.wait_for_url("**/studies")
    assert "code" not in page.url
    page.reload()
    page.get_by_role("region", name="Studies").wait_for()
    page.go_back()
    assert "code" not in page.url
    context = browser.new_context()
    second = context.new_page()
    second.goto(server.sign_in)
    second.get_by_role("alert").get_by_text("was used already").wait_for()
    assert "code" not in second.url
    context.close()


def test_a_deep_link_comes_back_after_signing_in_with_a_token_and_after_its_end(
    page: Page, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(server.home))
    access = autotuner.open().access()
    first = access.create("dashboard", "read")
    page.goto(f"{server.url}/studies/chat-8b?sort=-trial")
    page.wait_for_url("**/sign-in?next=*")
    page.get_by_label("Token").fill("atk_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("not valid").wait_for()
    page.get_by_label("Token").fill(first.secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/chat-8b?sort=-trial")
    page.get_by_role("heading", name="chat-8b").wait_for()
    access.revoke(first.token.id)
    ended = page.get_by_role("status").filter(has_text="Your session has ended.")
    ended.get_by_role("link", name="Sign in").click()
    page.get_by_label("Token").fill(access.create("dashboard", "read").secret)
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/chat-8b?sort=-trial")
    page.get_by_role("heading", name="chat-8b").wait_for()
    assert ended.count() == 0
    page.locator("summary", has_text="Account").click()
    page.get_by_text("browser session of dashboard").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(f"{server.url}/studies")
    page.wait_for_url("**/sign-in*")


@pytest.mark.parametrize("following", ["//evil.example/x", "https://evil.example/", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(
    page: Page, server: Server, following: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOTUNER_HOME", str(server.home))
    secret = autotuner.open().access().create("x", "read").secret
    page.goto(f"{server.url}/sign-in?next={following}")
    page.get_by_label("Token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/studies")
