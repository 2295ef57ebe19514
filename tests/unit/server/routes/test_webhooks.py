"""Webhooks over the API."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import autotuner
from autotuner.store import Store
from autotuner.store.webhooks.records import Notification, WebhookEvent
from support.web.receiver import Receiver, receiving

Clients = Callable[[str], httpx.Client]


@pytest.fixture(autouse=True)
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site file allows addresses of this machine."""
    site = tmp_path / "site.yaml"
    site.write_text("allow: {webhooks: [127.0.0.1]}\n")
    monkeypatch.setenv("AUTOTUNER_SITE", str(site))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_webhooks_are_added_tested_listed_and_removed(client: Clients, receiver: Receiver) -> None:
    admin = client("admin")
    wanted = {"name": "ops", "url": f"{receiver.url}/hooks/of-the-team", "events": ["worker.lost", "study.failed"]}
    made = admin.post("/api/v1/webhooks", json=wanted)
    assert made.status_code == 201
    webhook = made.json()["webhook"]
    assert made.json()["secret"].startswith("whsec_")
    assert webhook["events"] == ["study.failed", "worker.lost"]
    tested = admin.post(f"/api/v1/webhooks/{webhook['id']}/test")
    assert (tested.status_code, tested.json()["delivered"]) == (200, True)
    receiver.statuses = [500]
    failed = admin.post(f"/api/v1/webhooks/{webhook['id']}/test").json()
    assert (failed["delivered"], failed["status"], failed["error"]) == (False, 500, "status 500")
    listed = admin.get("/api/v1/webhooks")
    assert [one["webhook"] for one in listed.json()] == [webhook]
    for secret in (made.json()["secret"], "of-the-team"):
        assert secret not in listed.text + admin.get("/api/v1/audit").text
    assert admin.delete(f"/api/v1/webhooks/{webhook['id']}").status_code == 204
    assert admin.delete(f"/api/v1/webhooks/{webhook['id']}").status_code == 404
    assert admin.post(f"/api/v1/webhooks/{webhook['id']}/test").status_code == 404
    actions = [entry["action"] for entry in admin.get("/api/v1/audit").json()]
    assert set(actions) == {"add_webhook", "send_test_message", "remove_webhook"}


def test_the_server_delivers_and_counts(client: Clients, receiver: Receiver) -> None:
    autotuner.open().webhooks().add("ops", receiver.url)
    with Store.open() as store:
        store.webhooks.notify(Notification(kind=WebhookEvent.STUDY_FINISHED, at=1.0))
    reader = client("read")
    deadline = time.monotonic() + 60
    text = ""
    while 'autotuner_webhook_messages{state="delivered"} 1.0' not in text and time.monotonic() < deadline:
        time.sleep(0.1)
        text = reader.get("/metrics").text
    assert 'autotuner_webhook_attempts_total{result="delivered"} 1.0' in text
    assert 'autotuner_webhook_messages{state="waiting"} 0.0' in text
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "https://ops.example.com"},
        {"name": "ops"},
        {"name": "ops", "url": "http://10.0.0.1/"},
        {"name": "ops", "url": "https://ops.example.com", "events": ["study.deleted"]},
        {"name": "ops", "url": "https://ops.example.com", "form": "xml"},
        {"name": "ops", "url": "https://ops.example.com", "secret": "mine"},
        {"name": "ops", "url": "https://ops.example.com", "secret_file": "relative"},
    ],
)
def test_a_wrong_webhook_is_refused(client: Clients, wrong: dict[str, object]) -> None:
    answer = client("admin").post("/api/v1/webhooks", json=wrong)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "usage")
