"""Requests that never reach a route: wrong host, other web pages, large bodies."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

import autotuner
from autotuner.server.guard import MOST_BYTES, Guard

Clients = Callable[[str], httpx.Client]


def refused(answer: httpx.Response, status: int, kind: str) -> None:
    assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8321",
        "",
        "[",
        "127.0.0.1.evil.example",
        "x@localhost",
        "localhost/x",
        "localhost?x",
        "localhost:x",
    ],
)
def test_a_name_that_is_not_the_servers_is_refused(client: Clients, host: str) -> None:
    refused(client("read").get("/api/v1/studies", headers={"Host": host}), 421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:8321"])
def test_names_of_the_loopback_interface_are_accepted(client: Clients, host: str) -> None:
    assert client("read").get("/api/v1/studies", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://[", "", "//localhost"])
def test_other_web_pages_are_refused(client: Clients, origin: str) -> None:
    refused(client("admin").post("/api/v1/tokens", headers={"Origin": origin}, json={"name": "x"}), 403, "forbidden")


def test_a_page_of_this_server_is_accepted(client: Clients, url: str) -> None:
    made = client("admin").post("/api/v1/tokens", headers={"Origin": url}, json={"name": "x"})
    assert made.status_code == 201


def test_a_large_body_is_refused_with_and_without_its_length(client: Clients) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"name": "'
        for _ in range(MOST_BYTES // 65_536 + 1):
            yield 65_536 * b"x"

    admin = client("admin")
    refused(admin.post("/api/v1/tokens", content=(MOST_BYTES + 1) * b"x"), 413, "too_large")
    refused(admin.post("/api/v1/tokens", content=pieces()), 413, "too_large")
    assert len(admin.get("/api/v1/tokens").json()) == 1


def test_every_response_forbids_frames_and_foreign_scripts(client: Clients) -> None:
    for answer in (client("").get("/healthz"), client("").get("/api/v1/studies"), client("").get("/nowhere")):
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


def test_known_callers_alone_are_told_the_version(client: Clients) -> None:
    for path, status in (("/api/v1/session", 200), ("/api/v1/study-rows", 200), ("/api/v1/studies/none", 404)):
        answer = client("read").get(path)
        assert (answer.status_code, answer.headers["Autotuner-Version"]) == (status, autotuner.__version__)
        assert "Autotuner-Version" not in client("").get(path).headers
    assert "Autotuner-Version" not in client("").get("/healthz").headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: evil.example\r\nHost: localhost", 421),
        ("Host: localhost\r\nOrigin: http://evil.example\r\nOrigin: http://localhost", 403),
    ],
)
def test_several_hosts_or_origins_are_refused(url: str, headers: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_no_redirect_repeats_the_host_of_the_request(client: Clients, stored: str) -> None:
    refused(client("read").get(f"/api/v1/studies/{stored}/"), 404, "not_found")


def test_a_request_that_outlasts_the_server_gets_an_answer() -> None:
    sent = list[Message]()

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def cut_off() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
        request = asyncio.create_task(Guard(hang, hosts=())(scope, receive, send))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        request.cancel()  # as uvicorn does when the grace time is over
        await request

    asyncio.run(cut_off())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503
