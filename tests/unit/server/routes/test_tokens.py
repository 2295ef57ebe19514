"""Tokens over the API, and the audit."""

from collections.abc import Callable

import httpx

import autotuner

Clients = Callable[[str], httpx.Client]


def test_tokens_are_created_listed_and_revoked(client: Clients) -> None:
    admin = client("admin")
    made = admin.post("/api/v1/tokens", json={"name": "ci", "scope": "write", "days": 30})
    assert made.status_code == 201
    token = made.json()["token"]
    assert token["expires_at"] - token["created_at"] == 30 * 86_400
    assert autotuner.open().access().check(made.json()["secret"]) is not None
    assert token["id"] in [one["id"] for one in admin.get("/api/v1/tokens").json()]
    assert made.json()["secret"] not in admin.get("/api/v1/tokens").text
    assert admin.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
    assert autotuner.open().access().check(made.json()["secret"]) is None
    assert admin.delete(f"/api/v1/tokens/{token['id']}").json()["error"]["kind"] == "usage"
    assert admin.delete("/api/v1/tokens/unknown").json()["error"]["kind"] == "not_found"


def test_a_wrong_request_for_a_token(client: Clients) -> None:
    admin = client("admin")
    for wrong in (
        {"name": ""},
        {"name": "x", "days": 0},
        {"name": "x", "scope": "root"},
        {"name": "x", "scpoe": "admin"},
        {"name": "x", "days": True},
        {},
    ):
        assert admin.post("/api/v1/tokens", json=wrong).json()["error"]["kind"] == "usage"


def test_every_write_is_in_the_audit(client: Clients, stored: str) -> None:
    client("read").delete(f"/api/v1/studies/{stored}")
    client("").delete(f"/api/v1/studies/{stored}")
    client("write").post(f"/api/v1/studies/{stored}/stop")
    client("read").get(f"/api/v1/studies/{stored}")
    entries = client("admin").get("/api/v1/audit").json()
    assert [(e["name"], e["action"], e["target"], e["status"]) for e in entries] == [
        ("a write token", "stop", f"/api/v1/studies/{stored}/stop", 202),
        ("a read token", "delete", f"/api/v1/studies/{stored}", 403),
    ]
