"""All errors have the same body."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import Request

import autotuner
from autotuner.errors import AutotunerError, EnvironmentFaultError, Problem, StudyBusyError, UsageError
from autotuner.server.app import create_app

Clients = Callable[[str], httpx.Client]


async def answer_to(error: Exception) -> httpx.Response:
    """The response of a route that fails."""
    app = create_app(autotuner.open())

    @app.get("/failing")
    def failing(request: Request) -> None:
        request.state.caller = None  # as if a token had been accepted
        raise error

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/failing")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UsageError.at("name", "is wrong", remedy="correct it"), 422, "usage"),
        (StudyBusyError.running("chat", "correct it"), 409, "conflict"),
        (EnvironmentFaultError("the store is gone", remedy="correct it"), 503, "environment"),
        (AutotunerError("it failed", remedy="correct it"), 400, "failed"),
    ],
)
def test_expected_errors_keep_message_and_remedy(error: AutotunerError, status: int, kind: str) -> None:
    answer = asyncio.run(answer_to(error))
    body = answer.json()["error"]
    assert (answer.status_code, body["kind"]) == (status, kind)
    assert (body["message"], body["hint"]) == (error.message, "correct it")


def test_each_problem_of_the_input_has_its_place() -> None:
    problems = [Problem(where="a", why="is wrong"), Problem(where="b", value="1", why="is too small", remedy="use 2")]
    body = asyncio.run(answer_to(UsageError(problems))).json()["error"]
    assert body["path"] == "a"
    assert [(p["where"], p["remedy"]) for p in body["problems"]] == [("a", ""), ("b", "use 2")]


def test_a_defect_says_nothing_about_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    answer = asyncio.run(answer_to(LookupError("a detail of the inside")))
    assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "defect")
    assert "of the inside" not in answer.text
    assert "a detail of the inside" in caplog.text


def test_a_wrong_value_is_a_usage_error_with_its_place(client: Clients, stored: str) -> None:
    body = client("read").get(f"/api/v1/studies/{stored}/trials", params={"limit": "many"}).json()["error"]
    assert (body["kind"], body["path"]) == ("usage", "query.limit")
    body = client("admin").post("/api/v1/tokens", content=b"{").json()["error"]
    assert (body["kind"], body["path"].split(".")[0]) == ("usage", "body")


def test_unknown_paths_and_methods_have_the_same_body(client: Clients) -> None:
    assert client("").get("/nowhere").json()["error"]["kind"] == "not_found"
    assert client("").put("/healthz").json()["error"]["kind"] == "method_not_allowed"


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b'{"name": "x", "days": ' + b"9" * 5_000 + b"}"])
def test_a_body_that_cannot_be_decoded_is_wrong_input(client: Clients, body: bytes) -> None:
    answer = client("admin").post("/api/v1/tokens", content=body, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["kind"], error["path"]) == (422, "usage", "body")


def test_without_a_token_errors_of_the_store_say_nothing_about_it(client: Clients, home: Path) -> None:
    caller = client("admin")
    probe = client("")
    database = home / "autotuner.db"
    database.unlink()
    database.mkdir()
    for answer in (probe.get("/readyz"), caller.get("/api/v1/studies")):
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "environment")
        assert str(home) not in answer.text
