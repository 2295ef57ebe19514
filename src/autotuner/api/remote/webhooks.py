"""The webhooks of a server, with the methods of :class:`autotuner.api.webhooks.webhooks.Webhooks`."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from autotuner.api.remote.connection import ServerConnection
from autotuner.api.webhooks.destinations import hide
from autotuner.api.webhooks.sending import WebhookAttempt
from autotuner.api.webhooks.webhooks import NewWebhook, unknown_webhook
from autotuner.store.webhooks.records import WebhookStatus

_PATH = "/webhooks"


class RemoteWebhooks:
    """The webhooks of one server. Its token must have the scope ``admin``."""

    def __init__(self, server: ServerConnection) -> None:
        self._server = server

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
        """As :meth:`~autotuner.api.webhooks.webhooks.Webhooks.add`, with variables and files of the server."""
        body = {
            "name": name,
            "url": url,
            "form": form,
            "events": list(events),
            "url_env": url_env,
            "url_file": url_file,
            "secret_env": secret_env,
            "secret_file": secret_file,
        }
        made = self._server.parsed(NewWebhook, self._server.send("POST", _PATH, body))
        hide(httpx.URL(url.strip()) if url else None, made.secret)
        return made

    def list(self) -> list[WebhookStatus]:
        """As :meth:`~autotuner.api.webhooks.webhooks.Webhooks.list`."""
        return self._server.parsed_all(WebhookStatus, self._server.get(_PATH))

    def remove(self, identity: str) -> None:
        """As :meth:`~autotuner.api.webhooks.webhooks.Webhooks.remove`."""
        self._server.send("DELETE", _path(identity))

    def test(self, identity: str) -> WebhookAttempt:
        """As :meth:`~autotuner.api.webhooks.webhooks.Webhooks.test`; the server sends the message."""
        return self._server.parsed(WebhookAttempt, self._server.send("POST", f"{_path(identity)}/test"))


def _path(identity: str) -> str:
    """The path of a webhook. Raises ``NotFoundError`` for what is not an ID, because it might be another path."""
    if not identity.isalnum():
        raise unknown_webhook(identity)
    return f"{_PATH}/{identity}"
