"""HTTP client for a server that is already running, with its keys, certificates, query parameters and proxy."""

import json
import ssl
from typing import Any

import anyio
import httpx

from autotuner.net.faults import (
    CONNECT,
    KEPT_BYTES,
    NO_ANSWER,
    NOT_JSON,
    Answer,
    Fault,
    answer_fault,
    exception_fault,
    without_secrets,
)
from autotuner.net.target import Target, credentials_in
from autotuner.net.tls import tls_context

_LIMIT = 4 * 1024 * 1024


def target_client(target: Target, *, timeout_s: float) -> httpx.AsyncClient:
    """Creates a client for one server. It does not follow redirects, because the headers may contain credentials.

    Args:
        target: The server.
        timeout_s: Timeout of each operation, in seconds.

    Raises:
        ValueError: A certificate file is not usable.
    """
    access = target.access
    if target.base.startswith("https:"):
        verify = tls_context(access.ca_file, insecure=access.insecure)
    else:
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused, but loading the system's certificates takes 20 ms
    return httpx.AsyncClient(
        timeout=timeout_s,
        trust_env=False,  # the target has its proxy already, and a netrc file would replace its credentials
        proxy=access.proxy.url if access.proxy else None,
        verify=verify,
        headers=dict(target.headers),
    )


async def fetch(client: httpx.AsyncClient, target: Target, path: str) -> tuple[Answer | None, Fault | None]:
    """Sends one GET and reads at most 4 MiB.

    Returns:
        The response, or None if there was none; and its fault, or None for a valid response with JSON.
    """
    try:
        async with client.stream("GET", target.url(path)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LIMIT:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        return None, _safe(exception_fault(error), target)
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() != "content-encoding"}
    answer = Answer(status=response.status_code, headers=headers, body=bytes(body))
    refused = answer.status != httpx.codes.OK
    fault = answer_fault(answer if not refused else _beginning(answer))
    return answer, _safe(fault, target) if fault else None


async def health_of(client: httpx.AsyncClient, target: Target, path: str) -> Fault | None:
    """The fault of one GET; None for status 200, which must come with JSON if the path belongs to the API."""
    answer, fault = await fetch(client, target, path)
    if answer is not None and answer.status == httpx.codes.OK and not path.startswith("/v1/"):
        return None
    return fault


async def fetch_object(target: Target, path: str, *, timeout_s: float) -> dict[str, Any] | Fault:
    """The JSON object at a path, or the fault.

    Args:
        target: The server.
        path: E.g. ``/v1/models``.
        timeout_s: Time limit of the whole exchange, in seconds.
    """
    try:
        client = target_client(target, timeout_s=timeout_s)
    except ValueError as error:
        return Fault(CONNECT, str(error))
    with anyio.move_on_after(timeout_s):
        async with client:
            answer, fault = await fetch(client, target, path)
        if fault is not None or answer is None:
            return fault or Fault(NO_ANSWER, "no answer")
        found = json.loads(answer.body)
        return found if isinstance(found, dict) else Fault(NOT_JSON, "HTTP 200, but not a JSON object")
    return Fault(NO_ANSWER, f"no answer within {timeout_s:g} s")


def _safe(fault: Fault, target: Target) -> Fault:
    """The fault without credentials that the server may have echoed."""
    return Fault(fault.kind, without_secrets(fault.message, credentials_in(target.headers, target.access)))


def _beginning(answer: Answer) -> Answer:
    return Answer(status=answer.status, headers=answer.headers, body=answer.body[:KEPT_BYTES])
