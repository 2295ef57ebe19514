"""A real server over a store of sample studies, and clients with each scope."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import autotuner
from support.stored_samples import store_sample
from support.web.api_server import served

Clients = Callable[[str], httpx.Client]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory for each test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AUTOTUNER_HOME", str(folder))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return folder


@pytest.fixture
def stored(home: Path) -> str:
    """The name of a finished study with a proven winner and a server's log."""
    sample = store_sample("winner")
    folder = home / "studies" / sample.spec.name / "trials" / f"{sample.trials[-1].number:04d}"
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("first line\nlast line\n")
    return sample.spec.name


@pytest.fixture
def url() -> Iterator[str]:
    """The server's URL."""
    with served(autotuner.open()) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[Clients]:
    """Makes a client whose token has a scope; without a token for an empty one."""
    made = list[httpx.Client]()

    def of(scope: str) -> httpx.Client:
        secret = autotuner.open().access().create(f"a {scope} token", scope).secret if scope else ""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        made.append(httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60))
        return made[-1]

    yield of
    for one in made:
        one.close()
