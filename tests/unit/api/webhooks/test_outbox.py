"""Delivery to a real receiver: retries, several servers, and a server that ends in the middle."""

import base64
import hashlib
import hmac
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

import autotuner
from autotuner.logs import logging_to
from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.store.webhooks.records import WebhookEvent
from support.web.receiver import Received, Receiver

pytestmark = pytest.mark.anyio
Running = Callable[..., AbstractAsyncContextManager[None]]
Notify = Callable[..., None]


def status(webhooks: autotuner.Webhooks) -> autotuner.WebhookStatus:
    (found,) = webhooks.list()
    return found


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not await run_sync(true):  # noqa: ASYNC110 - other threads make it true
            await anyio.sleep(0.02)


def database(home: Path) -> bytes:
    """All bytes of the store, its journals included."""
    return b"".join(file.read_bytes() for file in home.glob("autotuner.db*"))


def verified(request: Received, secret: str) -> bool:
    """As a receiver does it: written from the specification alone."""
    key = base64.b64decode(secret.split("_")[1])
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in request.headers["webhook-signature"].split(" ")


async def test_a_message_is_signed_and_delivered_once(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    made = webhooks.add("ops", f"{receiver.url}/hooks/autotuner")
    notify(state="done", why="trial budget (14) used up")
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    (request,) = receiver.requests
    assert verified(request, made.secret)
    assert not verified(request, webhooks.add("other", receiver.url).secret)
    assert request.path == "/hooks/autotuner"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "type": "study.finished",
        "timestamp": "2001-09-09T01:46:40.000Z",
        "data": {"study": "s", "state": "done", "why": "trial budget (14) used up"},
    }


async def test_a_message_is_sent_again_until_it_is_accepted(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    made = webhooks.add("ops", receiver.url)
    receiver.statuses = [500, 302]
    receiver.location = f"{receiver.url}/elsewhere"
    notify()
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    assert [request.path for request in receiver.requests] == ["/", "/", "/"]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert all(verified(request, made.secret) for request in receiver.requests)
    last = status(webhooks).last
    assert last is not None
    assert (last.attempts, last.status, last.error) == (3, 200, "")


@pytest.mark.parametrize(("statuses", "attempts"), [([500, 404, 503], 3), ([410], 1)])
async def test_a_message_is_given_up(
    receiver: Receiver,
    webhooks: autotuner.Webhooks,
    running: Running,
    notify: Notify,
    statuses: list[int],
    attempts: int,
) -> None:
    webhooks.add("ops", receiver.url)
    receiver.statuses = [*statuses]
    notify()
    async with running():
        await until(lambda: status(webhooks).dead == 1)
    assert len(receiver.requests) == attempts
    last = status(webhooks).last
    assert last is not None
    assert (last.attempts, last.status) == (attempts, statuses[-1])
    assert last.error.startswith(f"status {statuses[-1]}")


async def test_two_servers_deliver_each_message_once(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    webhooks.add("ops", receiver.url)
    receiver.go_on.clear()
    for number in range(12):
        notify(why=str(number))
    async with running(), running():
        await until(lambda: len(receiver.requests) == 12)
        receiver.go_on.set()
        await until(lambda: status(webhooks).delivered == 12)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == len(receiver.requests) == 12
    assert receiver.at_once == 1


async def test_a_server_that_ends_in_the_middle_leaves_the_message_to_the_next_one(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    webhooks.add("ops", receiver.url)
    receiver.go_on.clear()
    notify()
    async with running():
        await until(lambda: len(receiver.requests) == 1)
    assert status(webhooks).waiting == 1
    receiver.go_on.set()
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


async def test_a_webhook_gets_what_it_wants_only(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    webhooks.add("failures", receiver.url, events=["study.failed"], form="slack")
    notify()
    notify("study.failed", why="no <GPU> & no time")
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    (request,) = receiver.requests
    assert json.loads(request.body) == {"text": "Study *s* failed: no &lt;GPU&gt; &amp; no time"}


async def test_what_only_another_machine_can_send_waits(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify, home: Path
) -> None:
    made = webhooks.add("ops", receiver.url)
    notify()
    kept = home / "webhooks" / f"{made.webhook.id}.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    content = kept.read_text()
    kept.unlink()
    async with running():
        await anyio.sleep(0.2)
        assert status(webhooks).waiting == 1
        kept.write_text(content)
        await until(lambda: status(webhooks).delivered == 1)


async def test_addresses_and_secrets_from_variables_and_files(
    receiver: Receiver,
    webhooks: autotuner.Webhooks,
    running: Running,
    notify: Notify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    (tmp_path / "secret").write_text(secret + "\n")
    monkeypatch.setenv("OPS_HOOK", f"{receiver.url}/from/a/variable")
    made = webhooks.add("ops", url_env="OPS_HOOK", secret_file=str(tmp_path / "secret"))
    assert (made.secret, made.webhook.target, made.webhook.url_source) == ("", "", "env:OPS_HOOK")
    notify()
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    assert verified(receiver.requests[0], secret)
    assert receiver.requests[0].path == "/from/a/variable"


async def test_no_secret_leaves(
    receiver: Receiver,
    webhooks: autotuner.Webhooks,
    running: Running,
    notify: Notify,
    home: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = "/services/T0000/B0000/" + "Xy7" * 8
    log = tmp_path / "log"
    with logging_to(2, log, others=["httpx", "httpcore"]):
        made = webhooks.add("ops", receiver.url + path)
        receiver.statuses = [500]
        # As an error of a study might repeat them.
        notify(why=f"cannot reach {receiver.url}{path} with {made.secret}")
        async with running():
            await until(lambda: status(webhooks).delivered == 1)
        assert autotuner.open().webhooks().test(made.webhook.id).delivered
    autotuner.open().backup(tmp_path / "backup.tar.gz")
    with tarfile.open(tmp_path / "backup.tar.gz") as archive:
        backup = b"".join(archive.extractfile(name).read() for name in archive.getnames())  # type: ignore[union-attr]
    printed = "".join(capfd.readouterr())
    stored = database(home)
    listed = json.dumps([found.model_dump(mode="json") for found in webhooks.list()])
    key = base64.b64decode(made.secret.split("_")[1])
    sent = b"".join(request.raw for request in receiver.requests)
    for place in (sent, log.read_bytes(), printed.encode(), stored, backup, listed.encode()):
        assert made.secret.encode() not in place
        assert made.secret.split("_")[1].encode() not in place
        assert key not in place
        assert key.hex().encode() not in place
    for place in (log.read_bytes(), printed.encode(), stored, backup, listed.encode()):
        assert path.encode() not in place
    assert b"/services" not in b"".join(request.body for request in receiver.requests)
    assert len(receiver.requests) == 3


async def test_a_lost_worker_is_reported_once(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running
) -> None:
    webhooks.add("ops", receiver.url)
    with Store.open() as store:
        record = WorkerRecord(id="w1", host="node-1", pid=1, at_most=1, lease_s=0.05)
        store.workers.register(record)
        store.workers.register(record.replaced(id="w2", lease_s=3600))
    async with running(), running():
        await until(lambda: status(webhooks).delivered == 1)
        await anyio.sleep(0.1)
    (request,) = receiver.requests
    data = json.loads(request.body)["data"]
    assert (data["worker"], data["host"], data["studies"]) == ("w1", "node-1", [])
    assert {worker.worker.id: worker.worker.state for worker in autotuner.open().workers()} == {
        "w1": "lost",
        "w2": "running",
    }


async def test_a_failing_look_does_not_end_the_server(
    receiver: Receiver,
    webhooks: autotuner.Webhooks,
    running: Running,
    notify: Notify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Here the certificates of TLS cannot be read; the message stays free for other servers."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    webhooks.add("ops", receiver.url)
    notify()
    async with running():
        await until(lambda: "webhooks: FileNotFoundError" in caplog.text)
        await anyio.sleep(0.2)
        with Store.open() as store:
            assert store.webhooks.is_due()
        monkeypatch.delenv("SSL_CERT_FILE")
        await until(lambda: status(webhooks).delivered == 1)
    assert [record.levelname for record in caplog.records if "FileNotFoundError" in record.getMessage()] == ["ERROR"]


async def test_a_defect_after_an_attempt_ends_neither_the_server_nor_other_messages(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify
) -> None:
    webhooks.add("ops", receiver.url)
    notify()
    notify()

    def broken(_: autotuner.WebhookAttempt) -> None:
        raise RuntimeError("the metric is gone")

    async with running(on_attempt=broken):
        await until(lambda: status(webhooks).delivered == 2)
    assert len(receiver.requests) == 2


async def test_what_a_newer_version_stored_is_left_to_its_servers(
    receiver: Receiver, webhooks: autotuner.Webhooks, running: Running, notify: Notify, home: Path
) -> None:
    webhooks.add("ops", receiver.url)
    notify(why="of a newer version")
    with closing(sqlite3.connect(home / "autotuner.db")) as database, database:
        database.execute("UPDATE deliveries SET kind = 'study.paused'")
        database.execute("UPDATE webhooks SET events = events || ',study.paused'")
    notify()
    async with running():
        await until(lambda: status(webhooks).delivered == 1)
    found = status(webhooks)
    assert (found.waiting, found.webhook.events) == (1, tuple(WebhookEvent))
