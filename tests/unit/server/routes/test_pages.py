"""The files of the web UI."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from autotuner.server.routes import pages

Clients = Callable[[str], httpx.Client]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A UI of two files, and one beside its folder."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Autotuner</title>")
    (folder / "assets" / "index-abc.js").write_text("export {}")
    (folder / "assets" / "secret.txt").write_text("x")
    (folder / "beside.js").write_text("x")
    monkeypatch.setattr(pages, "FOLDER", folder)
    return folder


@pytest.mark.usefixtures("built")
def test_every_address_of_a_page_shows_it_without_a_token(client: Clients) -> None:
    for path in ("/", "/sign-in", "/studies", "/studies/chat-8b", "/studies/chat-8b/trials/3"):
        answer = client("").get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert "<title>Autotuner" in answer.text


@pytest.mark.usefixtures("built")
def test_a_person_gets_a_page_for_an_unknown_address_and_a_program_an_error(client: Clients) -> None:
    browser = {"Accept": "text/html,*/*;q=0.8"}
    answer = client("").get("/nonsense", headers=browser)
    assert (answer.status_code, "<title>Autotuner" in answer.text) == (404, True)
    for path, headers in (("/nonsense", {}), ("/api/v1/nonsense", browser), ("/assets/nonsense.js", browser)):
        answer = client("").get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "not_found")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/studies/chat-8b", "/api/v1/studies/chat-8b/details"),
        ("/studies/chat-8b?sort=gain", "/api/v1/studies/chat-8b/details"),
        ("/studies", "/api/v1/study-rows?limit=50&offset=0"),
        ("/studies?page=2", None),
        ("/studies/a%0d%0ab", None),
        ("/studies/chat-8b%3e", None),
        ("/studies/chat-8b/trials/3", None),
        ("/sign-in", None),
    ],
)
def test_browsers_request_the_data_of_a_page_before_its_scripts_are_loaded(
    client: Clients, path: str, data: str | None
) -> None:
    found = client("").get(path).headers.get("Link")
    assert found == (f"<{data}>; rel=preload; as=fetch; crossorigin" if data else None)


@pytest.mark.usefixtures("built")
def test_scripts_are_cached_forever(client: Clients) -> None:
    answer = client("").get("/assets/index-abc.js")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert "immutable" in answer.headers["Cache-Control"]


def test_scripts_are_sent_compressed_to_those_who_accept_it(built: Path, client: Clients) -> None:
    text = "export const name = 'autotuner';\n" * 100
    (built / "assets" / "large-abc.js").write_text(text)
    sizes = list[int]()
    for encoding in ("gzip, br", "identity"):
        answer = client("").get("/assets/large-abc.js", headers={"Accept-Encoding": encoding})
        assert (answer.text, answer.headers["Vary"]) == (text, "Accept-Encoding")
        assert answer.headers.get("Content-Encoding") == ("gzip" if "gzip" in encoding else None)
        sizes.append(int(answer.headers["Content-Length"]))
    assert sizes[0] < sizes[1] / 5


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "path", ["/assets/..%2fbeside.js", "/assets/%2e%2e/beside.js", "/assets/secret.txt", "/assets/none.js", "/nowhere"]
)
def test_nothing_else_is_served(client: Clients, path: str) -> None:
    answer = client("").get(path)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "not_found")


def test_without_the_ui_a_page_says_how_to_build_it_and_the_api_works(
    client: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FOLDER", tmp_path / "missing")
    answer = client("").get("/studies")
    assert answer.status_code == 503
    assert "make ui" in answer.text
    assert client("read").get("/api/v1/studies").status_code == 200
