"""Signing in with a browser: what a cookie allows, and what is refused."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

import autotuner
from autotuner.server.app import create_app
from autotuner.server.sign_in import CODE_S, MOST_FAILURES, WITHIN_S, Attempts, Codes
from support.web.audit import audited

SESSION = "/api/v1/session"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Codes]:
    """Codes of the server under test."""
    made = Codes()
    monkeypatch.setattr("autotuner.server.app.Codes", lambda: made)
    return made  # type: ignore[return-value]


@pytest.fixture
def browser(codes: Codes, url: str) -> Iterator[httpx.Client]:
    """A client that keeps cookies and names its origin, as a page of the server does."""
    with httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False, timeout=60) as client:
        yield client


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["kind"]


def test_a_code_signs_in_once_and_allows_everything(browser: httpx.Client, codes: Codes) -> None:
    code = codes.create()
    answer = browser.post(SESSION, json={"code": code})
    assert (answer.status_code, answer.json()["scope"]) == (201, "admin")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age=604" in cookie
    assert "Secure" not in cookie
    assert browser.get("/api/v1/tokens").status_code == 200
    assert refusal(browser.post(SESSION, json={"code": code})) == (401, "unauthorized")


def test_what_a_session_changes_names_it_once(browser: httpx.Client) -> None:
    token = autotuner.open().access().create("dashboard", "write")
    assert browser.post(SESSION, json={"token": token.secret}).status_code == 201
    saved = browser.put("/api/v1/presets/chat", json={"text": "engine: vllm"})
    assert saved.json()["updated_by"] == "browser session of dashboard"


def test_behind_https_the_cookie_is_secure(browser: httpx.Client, codes: Codes, url: str) -> None:
    origin = {"Origin": url.replace("http:", "https:")}
    assert "Secure" in browser.post(SESSION, json={"code": codes.create()}, headers=origin).headers["Set-Cookie"]


@pytest.mark.parametrize("shown", [{"code": "wrong"}, {"token": "atk_000000000000_" + 43 * "x"}, {"token": "x"}])
def test_what_is_not_known_is_refused_and_sets_no_cookie(browser: httpx.Client, shown: dict[str, str]) -> None:
    answer = browser.post(SESSION, json=shown)
    assert refusal(answer) == (401, "unauthorized")
    assert "Set-Cookie" not in answer.headers
    assert browser.get(SESSION).status_code == 401


@pytest.mark.parametrize("shown", [{}, {"code": "a", "token": "b"}, {"password": "x"}, {"token": 201 * "x"}])
def test_a_request_needs_a_code_or_a_token(browser: httpx.Client, shown: dict[str, str]) -> None:
    assert refusal(browser.post(SESSION, json=shown)) == (422, "usage")


def test_a_code_expires() -> None:
    clock = Clock()
    codes = Codes(clock)
    early = codes.create()
    late = codes.create()
    clock.now += CODE_S - 1
    assert codes.redeem(early)
    clock.now += 1
    assert not codes.redeem(late)


def test_a_session_allows_what_its_token_does_and_ends_with_it(browser: httpx.Client) -> None:
    access = autotuner.open().access()
    made = access.create("dashboard", "read", days=2)
    session = browser.post(SESSION, json={"token": made.secret}).json()
    assert (session["scope"], session["name"]) == ("read", "browser session of dashboard")
    assert session["expires_at"] == made.token.expires_at
    assert browser.get("/api/v1/studies").status_code == 200
    assert refusal(browser.get("/api/v1/tokens")) == (403, "forbidden")
    access.revoke(made.token.id)
    assert refusal(browser.get("/api/v1/studies")) == (401, "unauthorized")


def test_signing_out_ends_the_session_also_for_a_copy_of_its_cookie(browser: httpx.Client, codes: Codes) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    copy = dict(browser.cookies)
    assert browser.delete(SESSION).status_code == 204
    assert not dict(browser.cookies)
    assert refusal(browser.get(SESSION, headers={"Cookie": "; ".join(f"{k}={v}" for k, v in copy.items())}))[0] == 401


def test_a_session_can_be_revoked_by_others(browser: httpx.Client, codes: Codes) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    (session,) = autotuner.open().access().tokens()
    assert session.name == "browser session"
    autotuner.open().access().revoke(session.id)
    assert browser.get(SESSION).status_code == 401


def test_a_session_ends_after_a_week(browser: httpx.Client, codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr("autotuner.api.access.time.time", lambda: now + 7 * 86_400 + 1)
        assert browser.get(SESSION).status_code == 401
    assert browser.get(SESSION).status_code == 200


def test_the_cookie_changes_nothing_without_an_origin_of_this_server(
    browser: httpx.Client, codes: Codes, url: str
) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    del browser.headers["Origin"]
    made = {"json": {"name": "x"}}
    assert refusal(browser.post("/api/v1/tokens", **made)) == (403, "forbidden")  # type: ignore[arg-type]
    for headers in ({"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:1"}):
        answer = browser.post("/api/v1/tokens", json={"name": "x"}, headers=headers)
        assert refusal(answer) == (403, "forbidden"), headers
    assert browser.get("/api/v1/tokens").status_code == 200
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": url}):
        assert browser.post("/api/v1/tokens", json={"name": "x"}, headers=headers).status_code == 201


def test_the_secret_of_a_session_is_no_token_and_a_token_no_session(browser: httpx.Client, codes: Codes) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    ((name, secret),) = dict(browser.cookies).items()
    token = autotuner.open().access().create("x").secret
    browser.cookies.clear()
    assert browser.get(SESSION, headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert browser.get(SESSION, headers={"Cookie": f"{name}={token}"}).status_code == 401


def test_a_token_cannot_sign_out(client: Callable[[str], httpx.Client]) -> None:
    assert refusal(client("admin").delete(SESSION)) == (422, "usage")


def test_many_failures_are_refused_unread_for_a_minute(
    browser: httpx.Client, codes: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MOST_FAILURES):
        assert browser.post(SESSION, json={"code": "wrong"}).status_code == 401
    answer = browser.post(SESSION, json={"code": codes.create()})
    assert refusal(answer) == (429, "too_many")
    assert 0 < int(answer.headers["Retry-After"]) <= WITHIN_S


def test_failures_are_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(MOST_FAILURES):
        attempts.failed()
        clock.now += 1
    assert attempts.wait_s() == WITHIN_S - MOST_FAILURES
    clock.now += WITHIN_S - MOST_FAILURES
    assert attempts.wait_s() == 0


def test_signing_in_and_out_are_in_the_audit(browser: httpx.Client, codes: Codes) -> None:
    browser.post(SESSION, json={"code": codes.create()})
    browser.delete(SESSION)
    assert audited(2) == [("sign_out", 204), ("sign_in", 201)]


def test_old_sessions_are_forgotten_and_tokens_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    access = autotuner.open().access()
    old = access.create("old", days=1)
    access.open_session(None)
    now = time.time()
    monkeypatch.setattr("autotuner.api.access.time.time", lambda: now + 38 * 86_400)
    new = access.open_session(None)
    assert [token.id for token in access.tokens()] == [old.token.id, new.token.id]


def test_codes_of_two_servers_differ() -> None:
    first, second = (create_app(autotuner.open()) for _ in range(2))
    assert not second.state.codes.redeem(first.state.codes.create())
