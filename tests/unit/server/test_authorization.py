"""Who may call what: checked for every route of the application, so that a new one cannot be forgotten."""

from collections.abc import Callable

import httpx
import pytest

import autotuner
from autotuner.server.app import create_app

Clients = Callable[[str], httpx.Client]
OPEN = {"/healthz", "/readyz"}
SIGN_IN = ("POST", "/api/v1/session")
SIGN_OUT = ("DELETE", "/api/v1/session")
"""Ends the session of the caller, whatever it allows."""
ADMIN = {
    "/api/v1/tokens",
    "/api/v1/tokens/{identity}",
    "/api/v1/audit",
    "/api/v1/webhooks",
    "/api/v1/webhooks/{identity}",
    "/api/v1/webhooks/{identity}/test",
}


def routes() -> list[tuple[str, str]]:
    """Method and path of each route."""
    paths = create_app(autotuner.open()).openapi()["paths"]
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


ROUTES = routes()
CLOSED = [found for found in ROUTES if found[1] not in OPEN and found != SIGN_IN]
WRITES = [found for found in CLOSED if found[0] != "GET" and found[1] not in ADMIN and found != SIGN_OUT]


def filled(path: str) -> str:
    return path.replace("{name}", "not-stored").replace("{number}", "0").replace("{identity}", "none")


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["kind"]


def test_there_are_routes_of_each_sort() -> None:
    assert len(CLOSED) > 10
    assert {method for method, _ in WRITES} == {"POST", "PUT", "DELETE"}
    assert {path for _, path in CLOSED} >= ADMIN


@pytest.mark.usefixtures("stored")
def test_every_route_but_the_probes_needs_a_token(client: Clients) -> None:
    for headers in ({}, {"Authorization": "Bearer atk_000000000000_" + 43 * "x"}, {"Authorization": "Basic eDp5"}):
        for method, path in CLOSED:
            answer = client("").request(method, filled(path), headers=headers)
            assert kind_of(answer) == (401, "unauthorized"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"]["hint"] == "create one with: autotuner token create NAME"


def test_a_token_for_reading_changes_nothing(client: Clients) -> None:
    reader = client("read")
    for method, path in WRITES:
        assert kind_of(reader.request(method, filled(path))) == (403, "forbidden"), (method, path)


@pytest.mark.parametrize("scope", ["read", "write"])
def test_only_admins_see_and_change_tokens(client: Clients, scope: str) -> None:
    caller = client(scope)
    for method, path in CLOSED:
        if path in ADMIN:
            answer = caller.request(method, filled(path), json={"name": "x"} if method == "POST" else None)
            assert kind_of(answer) == (403, "forbidden"), (method, path)


def test_a_larger_scope_includes_the_smaller_ones(client: Clients, stored: str) -> None:
    for scope in ("write", "admin"):
        caller = client(scope)
        assert caller.get(f"/api/v1/studies/{stored}/overview").status_code == 200
        assert caller.post(f"/api/v1/studies/{stored}/stop").status_code == 202
        assert caller.get("/api/v1/about").json()["scope"] == scope


def test_a_revoked_or_expired_token_is_refused(client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    access = autotuner.open().access()
    made = access.create("laptop", days=1)
    caller = client("")
    caller.headers["Authorization"] = f"Bearer {made.secret}"
    assert caller.get("/api/v1/about").json()["token"] == "laptop"
    now = made.token.created_at
    with monkeypatch.context() as later:
        later.setattr("autotuner.api.access.time.time", lambda: now + 86_401)
        assert caller.get("/api/v1/about").status_code == 401
    access.revoke(made.token.id)
    assert caller.get("/api/v1/about").status_code == 401


def test_probes_need_no_token(client: Clients) -> None:
    for path in OPEN:
        assert client("").get(path).json() == {"status": "ok"}
