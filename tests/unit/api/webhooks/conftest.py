"""A receiver on this machine, which the site file allows, and a server's outbox."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

import autotuner
from autotuner.api.webhooks.outbox import Outbox, Report
from autotuner.store import Store
from autotuner.store.webhooks.records import Notification, WebhookEvent
from support.web.receiver import Receiver, receiving

Running = Callable[..., AbstractAsyncContextManager[None]]
Notify = Callable[..., None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory for each test, on a machine whose site file allows its own addresses."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    site = tmp_path / "site.yaml"
    site.write_text("allow: {webhooks: [127.0.0.0/8]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))
    return tmp_path / "home"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that accepts everything until a test says otherwise."""
    with receiving() as found:
        yield found


@pytest.fixture
def webhooks() -> autotuner.Webhooks:
    """The webhooks of the test's store."""
    return autotuner.open().webhooks()


@pytest.fixture
def notify() -> Notify:
    """Puts a message into the outbox."""

    def put(kind: str = "study.finished", **data: object) -> None:
        with Store.open() as store:
            store.webhooks.notify(Notification(kind=WebhookEvent(kind), study="s", at=1e9, data={"study": "s", **data}))

    return put


@pytest.fixture
def running() -> Running:
    """Runs the outbox of a server for the time of a block."""

    @asynccontextmanager
    async def run(
        *, backoff_s: tuple[float, ...] = (0.01, 0.01), on_attempt: Report = lambda _: None
    ) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Outbox(None, backoff_s=backoff_s, poll_s=0.02, on_attempt=on_attempt).run)
            yield
            tasks.cancel_scope.cancel()

    return run
