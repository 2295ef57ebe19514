"""Small GET requests: whatever a server sends, the result is an object or None, without an exception or a long wait."""

import socket
import threading
from collections.abc import Callable, Iterator

import anyio
import pytest

from autotuner.net.info import get_json

pytestmark = pytest.mark.anyio
Serve = Callable[..., str]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def ok(body: bytes) -> bytes:
    return OK % (len(body), body)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that send the given bytes to every client and record the requests; returns the URL."""
    sockets = list[socket.socket]()
    threads = list[threading.Thread]()
    ended = threading.Event()

    def start(answer: bytes, *, requests: list[bytes] | None = None, hang: bool = False) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        sockets.append(listener)

        def work() -> None:
            while not ended.is_set():
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    continue
                with peer:
                    peer.settimeout(5)
                    request = peer.recv(65536)
                    if requests is not None:
                        requests.append(request)
                    try:
                        peer.sendall(answer)
                        while hang and not ended.wait(0.02):
                            peer.sendall(b" ")
                    except OSError:
                        continue

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    ended.set()
    for thread in threads:
        thread.join(30)
    for listener in sockets:
        listener.close()


async def test_an_object(serve: Serve) -> None:
    requests: list[bytes] = []
    url = serve(ok(b'{"total_slots": 4, "name": "\xc3\xbc"}'), requests=requests)
    assert await get_json(url + "/props", headers={"Authorization": "Bearer x"}) == {"total_slots": 4, "name": "ü"}
    assert requests[0].startswith(b"GET /props HTTP/1.1\r\n")
    assert b"authorization: bearer x\r\n" in requests[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        ok(b"{not json"), ok(b""), ok(b"[1, 2]"), ok(b"7"), ok(b"null"), ok(b"\xff\xfe{}"),
        ok(b"[" * 200_000), ok(b'{"a":' * 200_000),
        b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: no\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\n{"error": "x"}',
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    ],
)  # fmt: skip
async def test_anything_but_an_object_is_none(serve: Serve, answer: bytes) -> None:
    assert await get_json(serve(answer)) is None


async def test_redirect_is_not_followed(serve: Serve) -> None:
    """It would send the key to another server."""
    requests: list[bytes] = []
    other = serve(ok(b"{}"), requests=requests)
    for status in (b"301", b"302", b"307", b"308"):
        away = b"HTTP/1.1 %s Moved\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % (status, other.encode())
        assert await get_json(serve(away), headers={"Authorization": "Bearer x"}) is None
    assert requests == []


async def test_huge_response_is_not_read_completely(serve: Serve) -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b'{"a": "' + b"x" * 5_000_000
    with anyio.fail_after(30):
        assert await get_json(serve(endless, hang=True), timeout_s=20) is None


async def test_time_limit_is_on_the_whole_response(serve: Serve) -> None:
    """A server may send every byte in time and never end."""
    with anyio.fail_after(30):
        assert await get_json(serve(b"HTTP/1.1 200 OK\r\n\r\n{", hang=True), timeout_s=0.3) is None


async def test_cancellation_takes_effect_immediately(serve: Serve) -> None:
    with anyio.fail_after(30), anyio.move_on_after(0.2) as scope:
        await get_json(serve(b"HTTP/1.1 200 OK\r\n\r\n{", hang=True), timeout_s=600)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "nonsense", "http://", "http://[::1", "http://h:x/",
     "http://nowhere.invalid/"],
)  # fmt: skip
async def test_unreachable_or_invalid_url(url: str) -> None:
    assert await get_json(url) is None


async def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await get_json(serve(ok(b'{"a": 1}'))) == {"a": 1}
