"""The server as a process: how it starts and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

import autotuner
from autotuner.errors import AutotunerError, UsageError
from autotuner.server.app import create_app
from autotuner.server.serving import prepare, serve, taking_turns

_SERVE = [sys.executable, "-m", "autotuner", "serve", "--port", "0"]


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and its URL."""
    with subprocess.Popen([*_SERVE, *options], stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as started:
        assert started.stderr is not None
        try:
            yield started, started.stderr.readline().split()[1].removesuffix("/api/v1")
        finally:
            started.kill()


def test_a_signal_right_after_the_url_ends_the_server(home: object) -> None:
    with process() as (server, _):
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_open_streams_do_not_delay_the_end(stored: str) -> None:
    headers = {"Authorization": f"Bearer {autotuner.open().access().create('laptop').secret}"}
    with (
        process() as (server, url),
        httpx.stream("GET", f"{url}/api/v1/studies/{stored}/events", headers=headers, timeout=60) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        server.send_signal(signal.SIGTERM)
        list(lines)  # raises an error if the stream is cut off instead of ended
        assert server.wait(60) == 0
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


def test_warnings_are_on_stderr_without_control_characters(home: object) -> None:
    with process() as (server, url):
        httpx.get(f"{url}/%1b[2J", headers={"Host": "evil.example"})
        server.send_signal(signal.SIGTERM)
        _, text = server.communicate(timeout=60)
    assert "refused: the Host header" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--host", "0.0.0.0"], "http://127.0.0.1:"),
        (["--host", "0.0.0.0", "--host-name", "tuner.example"], "http://tuner.example:"),
    ],
)
def test_the_url_of_every_interface_is_one_for_browsers(options: list[str], shown: str, home: object) -> None:
    autotuner.open().access().create("laptop")
    with process(*options) as (server, url):
        assert url.startswith(shown)
        httpx.get(f"http://127.0.0.1:{httpx.URL(url).port}/")  # by then, it has said everything
        server.send_signal(signal.SIGTERM)
        _, text = server.communicate(timeout=60)
    assert ("--host-name" in text) == ("--host-name" not in options)


@pytest.mark.parametrize("name", ["http://x", "x:80", "", "*"])
def test_a_name_that_no_host_header_has_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name"):
        serve(autotuner.open(), host="127.0.0.1", port=0, names=[name])


def test_other_addresses_need_a_token_that_is_still_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    access = autotuner.open().access()
    made = access.create("laptop", days=1)
    monkeypatch.setattr("autotuner.server.serving.time.time", lambda: made.token.created_at + 86_401)
    with pytest.raises(UsageError, match="no valid token exists"):
        serve(autotuner.open(), host="0.0.0.0", port=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere..invalid"])
def test_an_address_that_cannot_be_listened_on(host: str) -> None:
    autotuner.open().access().create("laptop")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AutotunerError, match="cannot listen on"):
            serve(autotuner.open(), host=host, port=port)


def test_the_first_request_waits_for_no_route_to_be_built(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(autotuner.open())
    prepare(app)
    built = 0
    create = TypeAdapter.__init__

    def counted(*given: object, **more: object) -> None:
        nonlocal built
        built += 1
        create(*given, **more)  # type: ignore[arg-type, misc]

    monkeypatch.setattr(TypeAdapter, "__init__", counted)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/api/v1/studies").status_code == 401
    assert built == 0


def test_threads_leave_the_interpreter_to_the_loop_more_often_while_serving() -> None:
    before = sys.getswitchinterval()
    with taking_turns():
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == before
