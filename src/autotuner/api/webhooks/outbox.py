"""Delivery of the messages in the outbox, by every server of a store."""

from __future__ import annotations

import logging
import random
import ssl
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio
import httpx
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from autotuner.api.study_input import allowed_networks
from autotuner.api.webhooks.addresses import Network
from autotuner.api.webhooks.destinations import Destination, destination
from autotuner.api.webhooks.lost_workers import LostWorkers
from autotuner.api.webhooks.messages import body_of
from autotuner.api.webhooks.sending import TIMEOUT_S, WebhookAttempt, send
from autotuner.api.webhooks.waiting_studies import WaitingStudies
from autotuner.errors import AutotunerError
from autotuner.logs import FailureLog
from autotuner.store import Store
from autotuner.store.webhooks.records import Delivery, DeliveryState, Settled, Webhook

POLL_S = 1.0
BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 21_600.0, 43_200.0)
"""Seconds between attempts; after the last one the message is dead, about a day after its first attempt."""
CLAIM_S = 4 * TIMEOUT_S
"""Seconds for which a claimed message is left alone: the attempt and its entry in the store end before."""
_JITTER = 0.1
_AT_ONCE = 8
"""Messages that one server sends at the same time."""
_TIDY_S = 3_600.0

logger = logging.getLogger(__name__)

Report = Callable[[WebhookAttempt], object]


@dataclass(frozen=True)
class _Job:
    delivery: Delivery
    webhook: Webhook
    to: Destination
    networks: Sequence[Network]
    context: ssl.SSLContext


class Outbox:
    """Sends what is in the outbox of a store. Create it with :meth:`autotuner.Autotuner.outbox`, and keep :meth:`run`
    running."""

    def __init__(
        self,
        store: str | None,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
        poll_s: float = POLL_S,
        on_attempt: Report = lambda _: None,
    ) -> None:
        """Uses the store at a SQLAlchemy URL.

        Args:
            store: The URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``.
            backoff_s: Seconds before the second attempt, the third one, and so on.
            poll_s: Seconds between two looks at the outbox.
            on_attempt: Called after each attempt.
        """
        self._url = store
        self._backoff_s = backoff_s
        self._poll_s = poll_s
        self._on_attempt = on_attempt
        self._id = uuid.uuid4().hex[:12]
        self._sending = set[str]()
        self._lost = LostWorkers()
        self._waiting = WaitingStudies()
        self._context: ssl.SSLContext | None = None
        self._tidied: float | None = None
        self._failures = FailureLog(logger, "webhooks")
        self._silent = dict[str, str]()
        """Why messages of a webhook cannot be sent from here, by its id: said once."""

    async def run(self) -> None:
        """Sends messages until it is cancelled; what is being sent then is left to the next server.

        Example:
            >>> async def main() -> None:
            ...     with anyio.move_on_after(0):
            ...         await autotuner.open().outbox().run()
            >>> anyio.run(main)
        """
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self._send_due(tasks)
                    self._failures.succeeded()
                except Exception as error:  # even a defect must end neither this task nor the server that it is part of
                    self._failures.failed(error)
                await anyio.sleep(self._poll_s)

    async def _send_due(self, tasks: TaskGroup) -> None:
        room = _AT_ONCE - len(self._sending)
        for job in await run_sync(self._claimed, room):
            self._sending.add(job.delivery.id)
            tasks.start_soon(self._deliver, job)

    def _claimed(self, room: int) -> list[_Job]:
        """Messages to send now, in a thread."""
        if not Store.exists(self._url):
            return []
        with Store.open(self._url) as store:
            self._tidy(store)
            self._lost.look(store)
            self._waiting.look(store)
            if room < 1 or not store.webhooks.is_due():
                return []
            networks = allowed_networks()
            known = self._reachable(store.webhooks.all(), networks)
            if not known:
                return []
            # Before any message is claimed, which no other server could send if this fails.
            self._context = context = self._context or httpx.create_ssl_context()
            claimed = store.webhooks.claim(self._id, known.keys(), most=room, for_s=CLAIM_S)
        return [_Job(delivery, *known[delivery.webhook_id], networks, context) for delivery in claimed]

    def _tidy(self, store: Store) -> None:
        now = time.monotonic()
        if self._tidied is None or now - self._tidied >= _TIDY_S:
            self._tidied = now
            store.webhooks.forget()

    def _reachable(
        self, webhooks: Sequence[Webhook], networks: Sequence[Network]
    ) -> dict[str, tuple[Webhook, Destination]]:
        """The webhooks whose address and secret this machine has. Messages of others wait for another server."""
        found = {}
        silent = {}
        for webhook in webhooks:
            try:
                found[webhook.id] = (webhook, destination(webhook, networks))
            except AutotunerError as error:
                silent[webhook.id] = error.message
                if self._silent.get(webhook.id) != error.message:
                    logger.warning("webhook %s (%s): %s", webhook.name, webhook.id, error)
        self._silent = silent
        return found

    async def _deliver(self, job: _Job) -> None:
        try:
            await self._send_and_settle(job)
        except Exception:  # a defect with one message must end neither the others nor the server
            logger.exception("webhook %s: after an attempt to send %s", job.webhook.name, job.delivery.id)

    async def _send_and_settle(self, job: _Job) -> None:
        delivery = job.delivery
        settled: Settled | None = None
        try:
            attempt = await self._attempt(job)
            settled = self._settled(delivery, attempt)
            self._on_attempt(attempt)
            level = logging.INFO if attempt.delivered else logging.WARNING
            how = attempt.error or f"delivered in {attempt.seconds:g} s"
            logger.log(level, "webhook %s: %s of %s: %s", job.webhook.name, delivery.id, delivery.kind, how)
        finally:
            self._sending.discard(delivery.id)
            # Also when the server ends: otherwise the message would wait for the end of its claim.
            with anyio.CancelScope(shield=True):
                await run_sync(self._store_end, delivery.id, settled)

    async def _attempt(self, job: _Job) -> WebhookAttempt:
        delivery = job.delivery
        try:
            body = body_of(job.webhook.form, delivery.kind, delivery.at, delivery.data)
            return await send(job.to, delivery.id, body, networks=job.networks, context=job.context)
        except Exception as error:  # counts as an attempt, so that it is not made without end
            logger.exception("webhook %s: %s cannot be sent", job.webhook.name, delivery.id)
            return WebhookAttempt(delivered=False, error=f"it cannot be sent ({type(error).__name__})")

    def _settled(self, delivery: Delivery, attempt: WebhookAttempt) -> Settled:
        if attempt.delivered:
            return Settled(state=DeliveryState.DELIVERED, status=attempt.status)
        if attempt.final or delivery.attempts >= len(self._backoff_s):
            return Settled(state=DeliveryState.DEAD, status=attempt.status, error=attempt.error)
        wait_s = self._backoff_s[delivery.attempts] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        return Settled(state=DeliveryState.WAITING, status=attempt.status, error=attempt.error, again_s=wait_s)

    def _store_end(self, identity: str, settled: Settled | None) -> None:
        try:
            with Store.open(self._url) as store:
                if settled is None:
                    store.webhooks.release(identity, self._id)
                else:
                    store.webhooks.settle(identity, self._id, settled)
        except AutotunerError as error:  # it is sent again at the end of its claim
            logger.warning("webhooks: the end of %s is not stored: %s", identity, error)
