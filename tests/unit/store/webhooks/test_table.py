"""The outbox with many servers at once, on SQLite, which has no row locks."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autotuner.store import Store
from autotuner.store.webhooks.records import Notification, Webhook, WebhookEvent, WebhookForm

MESSAGES = 40


def test_no_message_is_claimed_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/autotuner.db"
    webhook = Webhook(
        id="a",
        name="a",
        form=WebhookForm.JSON,
        events=tuple(WebhookEvent),
        target="",
        url_source="kept",
        secret_source="kept",
        created_at=0.0,
    )

    def claim(server: int) -> list[str]:
        found = list[str]()
        with Store.open(url) as store:
            while claimed := store.webhooks.claim(f"server {server}", ["a"], most=3, for_s=60):
                found += [delivery.id for delivery in claimed]
        return found

    with Store.open(url) as store:
        store.webhooks.add(webhook)
        for _ in range(MESSAGES):
            store.webhooks.notify(Notification(kind=WebhookEvent.STUDY_FINISHED, at=1.0))
        with ThreadPoolExecutor(4) as servers:
            claimed = [identity for found in servers.map(claim, range(4)) for identity in found]
    assert len(claimed) == len(set(claimed)) == MESSAGES
