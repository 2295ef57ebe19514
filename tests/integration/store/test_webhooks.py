"""Webhooks and the outbox in the database: SQLite and PostgreSQL."""

from collections.abc import Callable

import pytest

from autotuner.store import Store, StoreError
from autotuner.store.records import WorkerRecord
from autotuner.store.webhooks.records import (
    DeliveryState,
    Notification,
    Settled,
    Webhook,
    WebhookEvent,
    WebhookForm,
)
from autotuner.study.spec import StudySpec

ALL = tuple(WebhookEvent)
DONE = Settled(state=DeliveryState.DELIVERED, status=204)


def webhook(identity: str, *events: WebhookEvent) -> Webhook:
    return Webhook(
        id=identity,
        name=identity,
        form=WebhookForm.JSON,
        events=events or ALL,
        target="https://ops.example.com/...",
        url_source="kept",
        secret_source="kept",
        created_at=0.0,
    )


def finished(study: str = "s") -> Notification:
    return Notification(kind=WebhookEvent.STUDY_FINISHED, study=study, at=5.0, data={"study": study})


def test_a_message_goes_to_whoever_wants_it(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    store.webhooks.add(webhook("b", WebhookEvent.WORKER_LOST))
    store.webhooks.notify(finished())
    (claimed,) = store.webhooks.claim("server", ["a", "b"], most=9, for_s=60)
    assert (claimed.webhook_id, claimed.kind, claimed.at, claimed.data) == ("a", "study.finished", 5.0, {"study": "s"})
    assert {status.webhook.id: status.waiting for status in store.webhooks.statuses()} == {"a": 1, "b": 0}


def test_a_claimed_message_is_nobody_elses(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    for _ in range(3):
        store.webhooks.notify(finished())
    first = store.webhooks.claim("one", ["a"], most=2, for_s=60)
    second = store.webhooks.claim("two", ["a"], most=9, for_s=60)
    assert (len(first), len(second)) == (2, 1)
    assert not store.webhooks.is_due()
    store.webhooks.settle(first[0].id, "two", DONE)  # it is not two's
    assert store.webhooks.statuses()[0].delivered == 0
    store.webhooks.settle(first[0].id, "one", DONE)
    store.webhooks.release(first[1].id, "one")
    assert store.webhooks.is_due()
    assert [d.id for d in store.webhooks.claim("two", ["a"], most=9, for_s=-1)] == [first[1].id]
    # The claim of a server that died ends.
    assert [d.id for d in store.webhooks.claim("three", ["a"], most=9, for_s=60)] == [first[1].id]
    status = store.webhooks.statuses()[0]
    assert (status.delivered, status.waiting, status.dead) == (1, 2, 0)


def test_an_attempt_that_failed_waits(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    store.webhooks.notify(finished())
    (claimed,) = store.webhooks.claim("one", ["a"], most=1, for_s=60)
    again = Settled(state=DeliveryState.WAITING, status=500, error="status 500", again_s=60)
    store.webhooks.settle(claimed.id, "one", again)
    assert not store.webhooks.is_due()
    last = store.webhooks.statuses()[0].last
    assert last is not None
    assert (last.state, last.attempts, last.status, last.error) == ("waiting", 1, 500, "status 500")


def test_messages_are_stored_with_the_end_of_the_run_or_not_at_all(
    store: Store, add_study: Callable[..., StudySpec]
) -> None:
    add_study()
    store.webhooks.add(webhook("a"))
    store.events.append("s", "study_finished", {}, at=1.0, notifications=[finished()])
    with pytest.raises(StoreError):
        store.events.append("gone", "study_finished", {}, at=1.0, notifications=[finished("gone")])
    assert [d.data for d in store.webhooks.claim("one", ["a"], most=9, for_s=60)] == [{"study": "s"}]


def test_a_webhook_is_removed_with_its_messages(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    store.webhooks.notify(finished())
    assert store.webhooks.remove("a")
    assert not store.webhooks.remove("a")
    assert not store.webhooks.is_due()
    assert store.webhooks.statuses() == []


def test_a_worker_is_lost_once(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    store.workers.register(WorkerRecord(id="w1", host="h", pid=1, at_most=1, lease_s=20))
    (seen,) = store.workers.all()
    lost = Notification(kind=WebhookEvent.WORKER_LOST, at=1.0, data={"worker": "w1"})
    assert not store.workers.mark_lost(seen.replaced(heartbeat_at=1.0), lost)  # it has sent another one since
    assert store.workers.mark_lost(seen, lost)
    assert not store.workers.mark_lost(seen, lost)
    assert store.webhooks.statuses()[0].waiting == 1
    store.workers.heartbeat("w1", "running")
    (back,) = store.workers.all()
    assert back.state == "running"
    assert store.workers.mark_lost(back, lost)


def test_old_messages_are_forgotten(store: Store) -> None:
    store.webhooks.add(webhook("a"))
    for _ in range(3):
        store.webhooks.notify(finished())
    one, two, _ = store.webhooks.claim("one", ["a"], most=9, for_s=60)
    store.webhooks.settle(one.id, "one", DONE.replaced(again_s=-8 * 86_400))
    store.webhooks.settle(two.id, "one", DONE.replaced(again_s=-6 * 86_400))
    store.webhooks.forget()
    assert store.webhooks.statuses()[0].delivered == 1
