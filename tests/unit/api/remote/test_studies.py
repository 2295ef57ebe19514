"""The studies of a server, and what can go wrong between the two."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

import autotuner
from autotuner.api.remote import studies
from autotuner.api.remote.connection import ServerUnreachableError
from autotuner.api.remote.studies import RemoteStudies
from autotuner.errors import AutotunerError, EnvironmentFaultError, NotFoundError, UsageError
from autotuner.events.types import Event, UnknownEvent
from autotuner.store import Store
from autotuner.study.owner import Owner
from autotuner.tuning.run_liveness import this_owner
from support.stored_samples import store_sample
from support.web.api_server import served


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


def token(scope: str = "write") -> str:
    return autotuner.open().access().create("a script", scope).secret


def test_all_pages_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("winner", "several", "failures"):
        store_sample(kind)
    monkeypatch.setattr(studies, "_PAGE", 2)
    with served(autotuner.open()) as url:
        assert RemoteStudies(url, token()).overviews() == autotuner.open().overviews()


def test_what_a_token_does_not_allow() -> None:
    store_sample("winner")
    with served(autotuner.open()) as url:
        with pytest.raises(EnvironmentFaultError, match="AUTOTUNER_TOKEN"):
            RemoteStudies(url, "at_wrong").overviews()
        with pytest.raises(EnvironmentFaultError, match="AUTOTUNER_TOKEN"):
            RemoteStudies(url, token("read")).delete("chat-8b")
        assert [found.name for found in RemoteStudies(url, token("read")).overviews()] == ["chat-8b"]
        with pytest.raises(NotFoundError, match="not in the store"):
            RemoteStudies(url, token()).load("missing")


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """The URL of a server that gives the same answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"{}", 200),
        (b"[]", 200),
        (b'{"study": "{}", "trials": []}', 200),
        (b"no", 500),
        (b'{"error": {"kind": "not_found", "message": "Not Found"}}', 404),
        (b'{"error": 1}', 404),
    ],
)
def test_a_foreign_server(body: bytes, status: int) -> None:
    with answering(body, status) as url:
        remote = RemoteStudies(url)
        reads = (partial(remote.load, "chat-8b"), remote.overviews, partial(remote.server_log, "chat-8b", 1))
        for read in reads:
            with pytest.raises(EnvironmentFaultError, match="did not answer as an autotuner"):
                read()


@pytest.mark.parametrize("url", ["", "host", "http://", "http://[", "ftp://host", "http://host?x=1", "http://a b"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of a server"):
        RemoteStudies(url)


def running_study() -> Owner:
    """Stores a study that this process runs."""
    owner = this_owner()
    store_sample("empty", owner=owner)
    return owner


def test_events_are_followed_over_a_restart_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "_RETRY_S", 0.05)
    monkeypatch.setattr(studies, "_RETRIES", 10_000)
    owner = running_study()
    (name,) = (found.name for found in autotuner.list_studies())
    seen = list[Event | UnknownEvent]()
    half = threading.Event()

    def take(event: Event | UnknownEvent) -> None:
        seen.append(event)
        half.set()

    states = list[str]()
    with served(autotuner.open()) as url:
        remote = RemoteStudies(url, token())
        watching = threading.Thread(target=lambda: states.append(remote.watch(name, take)))
        watching.start()
        assert half.wait(60)
    with served(autotuner.open(), port=int(url.rpartition(":")[2])):
        with Store.open() as store:
            store.events.append(name, "study_finished", {"state": "done", "why": "tried all"}, at=9.0)
            store.studies.set_state(name, "done", {"why": "tried all"}, 9.0)
            store.studies.release(name, owner.id)
        watching.join(60)
    assert states == ["done"]
    assert seen == list(autotuner.open().events(name))


def test_a_study_that_is_not_stored() -> None:
    with served(autotuner.open()) as url, pytest.raises(NotFoundError):
        RemoteStudies(url, token()).watch("chat-8b", lambda _: None)


@pytest.mark.parametrize("retry_s", [0.01, 60])
def test_a_study_that_is_deleted_meanwhile(monkeypatch: pytest.MonkeyPatch, retry_s: float) -> None:
    """Whether the stream is opened again first, or the state is read first."""
    monkeypatch.setattr(studies, "_RETRY_S", retry_s)
    running_study()
    (name,) = (found.name for found in autotuner.list_studies())

    def delete(_: Event | UnknownEvent) -> None:
        with Store.open() as store:
            store.studies.delete(name)

    with served(autotuner.open()) as url:
        assert RemoteStudies(url, token()).watch(name, delete) == "deleted"


def test_a_server_that_is_gone() -> None:
    with pytest.raises(ServerUnreachableError, match="cannot reach"):
        RemoteStudies("http://127.0.0.1:1").watch("chat-8b", lambda _: None)
    assert issubclass(ServerUnreachableError, AutotunerError)


def test_a_server_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "_RETRY_S", 0.01)
    monkeypatch.setattr(studies, "_RETRIES", 2)
    running_study()
    (name,) = (found.name for found in autotuner.list_studies())
    with ExitStack() as running:
        remote = RemoteStudies(running.enter_context(served(autotuner.open())), token())
        with pytest.raises(ServerUnreachableError, match="cannot reach"):
            remote.watch(name, lambda _: running.close())
