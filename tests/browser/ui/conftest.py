"""The web UI of a real server, signed in by the address that ``autotuner serve`` prints."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

import autotuner
from autotuner.server.routes.pages import is_built
from support.stored_samples import store_sample
from support.web.capacity_study import store_capacity_study
from support.web.server import Server, serving, watch

KINDS = ("winner", "several", "failures", "infeasible", "huge", "empty")
TIMEOUT_MS = 30_000
Open = Callable[..., Page]


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with samples, for copies."""
    home = tmp_path_factory.mktemp("samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_HOME", str(home))
        for kind in KINDS:
            store_sample(kind, recorded=(0, 12) if kind == "winner" else None)
        store_capacity_study()
        autotuner.open().presets().save("vllm-h100", "{engine: vllm, model: Qwen/Qwen3-8B}", by="token of the team")
        autotuner.open().webhooks().add("ops", "https://ops.example.com/hooks/autotuner")
    log = home / "studies" / "chat-8b" / "trials" / "0012" / "server.log"
    log.write_text("".join(f"line {i} of the server\n" for i in range(500)) + "an error happened\n")
    return home


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over a store of samples."""
    if not is_built():
        pytest.skip("the web UI is not built (make ui)")
    home = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(request.getfixturevalue("samples"), home)
    with serving(home) as found:
        yield found


@pytest.fixture
def empty_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose store is empty, and whose webhooks may reach this machine."""
    if not is_built():
        pytest.skip("the web UI is not built (make ui)")
    site = tmp_path / "site.yaml"
    site.write_text("allow: {webhooks: [127.0.0.1]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    with serving(tmp_path / "home") as found:
        yield found


@pytest.fixture(scope="module")
def state(server: Server, browser: Browser) -> dict[str, object]:
    """Cookies of a signed-in browser."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.sign_in)
    page.wait_for_url("**/studies")
    found = context.storage_state()
    context.close()
    return dict(found)


@pytest.fixture
def messages() -> list[str]:
    """Errors in the console, and requests to other servers."""
    return []


@pytest.fixture
def opened(server: Server, browser: Browser, state: dict[str, object], messages: list[str]) -> Iterator[Open]:
    """Opens a page of the UI, signed in; finally checks that nothing was wrong in the console."""
    contexts = list[BrowserContext]()

    def open_page(path: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            storage_state=state,  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        watch(page, server, messages)
        page.goto(f"{server.url}{path}")
        page.locator("main h1").first.wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
