"""Tables of webhooks and of their outbox.

Messages are added in the transaction of what they are about, so none is lost and none is about something that did not
happen. A server claims a message for a while before it sends it; if it dies meanwhile, another one does.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from autotuner.store.database import Database, clock
from autotuner.store.rows import Row
from autotuner.store.tables import deliveries, webhooks
from autotuner.store.webhooks.records import (
    Delivery,
    DeliveryState,
    LastAttempt,
    Notification,
    Settled,
    Webhook,
    WebhookEvent,
    WebhookStatus,
)

KEPT_S = 7 * 86_400.0
"""How long a delivered message is listed, and how long one waits that no server can send."""
DEAD_KEPT_S = 30 * 86_400.0
_COUNTS = "SELECT webhook_id, state, count(*) AS n FROM deliveries GROUP BY webhook_id, state"
_NEWEST = """\
SELECT d.* FROM deliveries d
JOIN (SELECT webhook_id, max(tried_at) AS at FROM deliveries GROUP BY webhook_id) m
    ON m.webhook_id = d.webhook_id AND m.at = d.tried_at
ORDER BY d.id
"""
_KNOWN = tuple(kind.value for kind in WebhookEvent)
"""Messages of other kinds come from a newer version, whose servers send them."""
_KNOWN_SQL = ", ".join(f"'{kind}'" for kind in _KNOWN)
_NEVER_SENT = "no server had its address and its secret within seven days"


class WebhookTable:
    """Webhooks and the outbox. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, webhook: Webhook) -> Webhook:
        """Stores a webhook, and returns it with the time at which this happened."""
        with self._database.writing() as db:
            stored = webhook.replaced(created_at=clock(db))
            values = stored.model_dump(mode="json") | {"events": ",".join(stored.events)}
            db.execute(insert(webhooks).values(**values))
        return stored

    def all(self) -> list[Webhook]:
        """All webhooks, in the order in which they were added."""
        return [_webhook(row) for row in self._database.rows("SELECT * FROM webhooks ORDER BY created_at, id")]

    def get(self, identity: str) -> Webhook | None:
        """One webhook; None if there is none with this id."""
        rows = self._database.rows("SELECT * FROM webhooks WHERE id = :id", id=identity)
        return _webhook(rows[0]) if rows else None

    def remove(self, identity: str) -> bool:
        """Removes a webhook with its messages. False if there is none with this id."""
        with self._database.writing() as db:
            db.execute(delete(deliveries).where(deliveries.c.webhook_id == identity))
            return db.execute(delete(webhooks).where(webhooks.c.id == identity)).rowcount == 1

    def statuses(self) -> list[WebhookStatus]:
        """All webhooks with their messages."""
        counts = self._database.rows(_COUNTS)
        newest = self._database.rows(_NEWEST)
        last = {row["webhook_id"]: _last(row) for row in newest if row["kind"] in _KNOWN}
        return [
            WebhookStatus(
                webhook=webhook,
                last=last.get(webhook.id),
                **{row["state"]: int(row["n"]) for row in counts if row["webhook_id"] == webhook.id},
            )
            for webhook in self.all()
        ]

    def notify(self, notification: Notification) -> None:
        """Adds a message for each webhook that receives such events."""
        with self._database.writing() as db:
            self.notify_in(db, [notification])

    def notify_in(self, db: Connection, notifications: Sequence[Notification]) -> None:
        """As :meth:`notify`, inside the transaction of what they are about."""
        if not notifications:
            return
        wanted = [(row.id, row.events.split(",")) for row in db.execute(select(webhooks.c.id, webhooks.c.events))]
        now = clock(db) if wanted else 0.0
        for notification in notifications:
            for identity, events in wanted:
                if notification.kind in events:
                    db.execute(insert(deliveries).values(**self._new(identity, notification, now)))

    def told(self, kind: WebhookEvent, study: str) -> list[Mapping[str, object]]:
        """The data of all kept messages of a kind about a study, delivered or not."""
        rows = self._database.rows("SELECT DISTINCT data FROM deliveries WHERE kind = :kind", kind=kind.value)
        found = [json.loads(row["data"]) for row in rows]
        return [data for data in found if data.get("study") == study]

    def _new(self, identity: str, notification: Notification, now: float) -> Row:
        return {
            "id": f"msg_{uuid.uuid4().hex}",
            "webhook_id": identity,
            "kind": notification.kind.value,
            "at": notification.at,
            "data": self._database.json(notification.data),
            "state": DeliveryState.WAITING.value,
            "attempts": 0,
            "next_at": now,
        }

    def is_due(self) -> bool:
        """Whether a message is to be sent now. Only reads: servers ask every second."""
        query = (
            "SELECT 1 AS found FROM deliveries WHERE state = 'waiting' AND next_at <= :now "  # noqa: S608 - constants
            f"AND (claimed_until IS NULL OR claimed_until < :now) AND kind IN ({_KNOWN_SQL}) LIMIT 1"
        )
        return bool(self._database.rows(query, now=self._database.clock()))

    def claim(self, by: str, webhook_ids: Collection[str], *, most: int, for_s: float) -> list[Delivery]:
        """Claims messages that are to be sent now; nobody else gets them for a while.

        Args:
            by: Who sends them.
            webhook_ids: Webhooks whose messages can be sent.
            most: Messages to claim at most.
            for_s: Seconds until others may send them.
        """
        with self._database.writing() as db:
            now = clock(db)
            free = or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until < now)
            due = (deliveries.c.state == DeliveryState.WAITING.value) & (deliveries.c.next_at <= now) & free
            query = (
                select(deliveries)
                .where(due & deliveries.c.webhook_id.in_(list(webhook_ids)) & deliveries.c.kind.in_(_KNOWN))
                .order_by(deliveries.c.next_at, deliveries.c.id)
                .limit(most)
                .with_for_update(skip_locked=True)
            )
            rows = [dict(row) for row in db.execute(query).mappings()]
            mine = deliveries.c.id.in_([row["id"] for row in rows])
            db.execute(update(deliveries).where(mine).values(claimed_by=by, claimed_until=now + for_s))
        return [_delivery(row) for row in rows]

    def settle(self, identity: str, by: str, settled: Settled) -> None:
        """Stores the end of an attempt by who has claimed the message."""
        with self._database.writing() as db:
            now = clock(db)
            values = {
                "state": settled.state.value,
                "attempts": deliveries.c.attempts + 1,
                "next_at": now + settled.again_s,
                "tried_at": now,
                "status": settled.status,
                "error": self._database.clean(settled.error),
                "claimed_by": None,
                "claimed_until": None,
            }
            db.execute(update(deliveries).where(_claimed(identity, by)).values(**values))

    def release(self, identity: str, by: str) -> None:
        """Gives a message back that was not sent."""
        with self._database.writing() as db:
            db.execute(update(deliveries).where(_claimed(identity, by)).values(claimed_by=None, claimed_until=None))

    def forget(self) -> None:
        """Removes messages that nobody will look at any more, and gives up those that no server could send."""
        with self._database.writing() as db:
            now = clock(db)
            state = deliveries.c.state
            old = (state == DeliveryState.DELIVERED.value) & (deliveries.c.next_at < now - KEPT_S)
            older = (state == DeliveryState.DEAD.value) & (deliveries.c.next_at < now - DEAD_KEPT_S)
            db.execute(delete(deliveries).where(or_(old, older)))
            stuck = (state == DeliveryState.WAITING.value) & (deliveries.c.next_at < now - KEPT_S)
            values = {"state": DeliveryState.DEAD.value, "error": _NEVER_SENT, "tried_at": now, "next_at": now}
            db.execute(update(deliveries).where(stuck).values(**values))


def _claimed(identity: str, by: str) -> ColumnElement[bool]:
    return (deliveries.c.id == identity) & (deliveries.c.claimed_by == by)


def _webhook(row: Row) -> Webhook:
    return Webhook.model_validate({**row, "events": [kind for kind in row["events"].split(",") if kind in _KNOWN]})


def _delivery(row: Row) -> Delivery:
    known = {name: row[name] for name in Delivery.model_fields}
    return Delivery.model_validate({**known, "data": json.loads(row["data"])})


def _last(row: Row) -> LastAttempt:
    known = {name: row[name] for name in ("kind", "state", "attempts", "status")}
    return LastAttempt.model_validate({**known, "at": row["tried_at"], "error": row["error"] or ""})
