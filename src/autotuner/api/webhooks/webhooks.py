"""Webhooks of a store: add, list, remove, test."""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Sequence

import httpx
from pydantic import Field

from autotuner.api.blocking import blocking
from autotuner.api.study_input import allowed_networks
from autotuner.api.webhooks import destinations
from autotuner.api.webhooks.addresses import parsed_url, shown
from autotuner.api.webhooks.destinations import KEPT, source_of
from autotuner.api.webhooks.messages import body_of
from autotuner.api.webhooks.sending import WebhookAttempt, send
from autotuner.api.webhooks.signing import new_secret
from autotuner.errors import NotFoundError, UsageError
from autotuner.store import Store
from autotuner.store.webhooks.records import Webhook, WebhookEvent, WebhookForm, WebhookStatus
from autotuner.study.base import FrozenModel

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,62}")
_TEST = "webhook.test"
_MOST = 100


class NewWebhook(FrozenModel):
    """A webhook that was just added."""

    webhook: Webhook
    secret: str = Field(repr=False)
    """The signing secret for the receiver, which cannot be shown again; empty if it comes from a variable or file."""


class Webhooks:
    """Webhooks of one store. Create it with :meth:`Autotuner.webhooks`."""

    def __init__(self, store: str | None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store

    def add(
        self,
        name: str,
        url: str = "",
        *,
        form: str = "json",
        events: Sequence[str] = (),
        url_env: str = "",
        url_file: str = "",
        secret_env: str = "",
        secret_file: str = "",
    ) -> NewWebhook:
        """Add a webhook. Its address and its signing secret are kept in a private file of the data directory, not in
        the store, unless servers read them from a variable or a file.

        Args:
            name: What it is for: up to 63 letters, digits, spaces and ``._-``, a letter or digit first.
            url: The address; empty with ``url_env`` or ``url_file``.
            form: ``json``, or ``slack`` for chats that take Slack's incoming webhooks.
            events: Values of :class:`WebhookEvent`; empty: all.
            url_env: Environment variable of the servers that has the address.
            url_file: File on the servers that has it.
            secret_env: Environment variable of the servers that has the signing secret.
            secret_file: File on the servers that has it.

        Returns:
            The webhook, and its signing secret unless that comes from elsewhere.

        Raises:
            UsageError: If an argument is wrong.
            AutotunerError: If the private file cannot be written.

        Example:
            >>> made = autotuner.open().webhooks().add("ops", "https://ops.example.com/hooks/autotuner")
            >>> made.webhook.target, made.secret.startswith("whsec_")
            ('https://ops.example.com/...', True)
        """
        if not _NAME.fullmatch(name):
            remedy = "use letters, digits, spaces, '.', '_' and '-', at most 63, a letter or digit first"
            raise UsageError.at("name", "is not a valid name of a webhook", value=name, remedy=remedy)
        url_source = source_of(url_env, url_file, where="url")
        secret_source = source_of(secret_env, secret_file, where="secret")
        if bool(url) is (url_source != KEPT):
            raise UsageError.at("url", "give either the address, or the variable or the file that has it")
        parsed = parsed_url(url, allowed_networks()) if url else None
        webhook = Webhook(
            id=uuid.uuid4().hex[:12],
            name=name,
            form=_form(form),
            events=_events(events),
            target=shown(parsed) if parsed is not None else "",
            url_source=url_source,
            secret_source=secret_source,
            created_at=time.time(),
        )
        secret = new_secret() if secret_source == KEPT else ""
        return self._add(webhook, parsed, secret)

    def _add(self, webhook: Webhook, url: httpx.URL | None, secret: str) -> NewWebhook:
        kept = {name: value for name, value in (("url", str(url or "")), ("secret", secret)) if value}
        with Store.open(self._url) as store:
            if len(store.webhooks.all()) >= _MOST:
                raise UsageError.at("webhook", f"the store has {_MOST} already", remedy="remove one first")
            if kept:
                destinations.keep(webhook.id, kept)
            try:
                stored = store.webhooks.add(webhook)
            except BaseException:
                destinations.discard(webhook.id)
                raise
        if secret:
            destinations.hide(url, secret)
        return NewWebhook(webhook=stored, secret=secret)

    def list(self) -> list[WebhookStatus]:
        """All webhooks with the number of their messages and the newest attempt.

        Returns:
            One entry per webhook, in the order in which they were added.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().webhooks().list()
            []
        """
        if not Store.exists(self._url):
            return []
        with Store.open(self._url) as store:
            return store.webhooks.statuses()

    def remove(self, identity: str) -> None:
        """Remove a webhook with the messages that wait for it.

        Args:
            identity: Id of the webhook.

        Raises:
            UsageError: If there is none with this id.

        Example:
            >>> webhooks = autotuner.open().webhooks()
            >>> webhooks.remove(webhooks.add("ops", "https://ops.example.com").webhook.id)
        """
        with Store.open(self._url) as store:
            if not store.webhooks.remove(identity):
                raise unknown_webhook(identity)
        destinations.discard(identity)

    def test(self, identity: str) -> WebhookAttempt:
        """Send a message of the type ``webhook.test`` from this machine, once.

        Args:
            identity: Id of the webhook.

        Returns:
            How that ended, after at most 15 s.

        Raises:
            UsageError: If there is none with this id, or its signing secret is too short.
            AutotunerError: If its address or its secret is not known on this machine.

        Example:
            >>> autotuner.open().webhooks().test("x")
            Traceback (most recent call last):
            ...
            autotuner.errors.NotFoundError: id = x: unknown webhook; autotuner webhook list shows all ids
        """
        with Store.open(self._url) as store:
            webhook = store.webhooks.get(identity)
        if webhook is None:
            raise unknown_webhook(identity)
        networks = allowed_networks()
        to = destinations.destination(webhook, networks)
        now = time.time()
        body = body_of(webhook.form, _TEST, now, {"webhook": webhook.name})
        context = httpx.create_ssl_context()
        message = f"msg_{secrets.token_hex(16)}"
        return blocking(lambda: send(to, message, body, networks=networks, context=context))


def _form(text: str) -> WebhookForm:
    if text not in set(WebhookForm):
        raise UsageError.at("form", "unknown form", value=text, remedy=f"use {' or '.join(WebhookForm)}")
    return WebhookForm(text)


def _events(texts: Sequence[str]) -> tuple[WebhookEvent, ...]:
    for text in texts:
        if text not in set(WebhookEvent):
            raise UsageError.at("event", "unknown event", value=text, remedy=f"use {', '.join(WebhookEvent)}")
    wanted = set(texts) or set(WebhookEvent)
    return tuple(event for event in WebhookEvent if event in wanted)


def unknown_webhook(identity: str) -> NotFoundError:
    """The error for an id that no webhook has."""
    remedy = "autotuner webhook list shows all ids"
    return NotFoundError.at("id", "unknown webhook", value=identity, remedy=remedy)
