"""Requests to a server that already runs, through whatever stands before it: keys, certificates, queries, proxies."""

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
    of_answer,
    of_exception,
    without_secrets,
)
from autotuner.net.target import Target, credentials_in
from autotuner.net.tls import tls_context

_LIMIT = 4 * 1024 * 1024


def target_client(target: Target, *, timeout_s: float) -> httpx.AsyncClient:
    """A client for one server. Redirects are not followed: the headers may be credentials. Raises ``ValueError`` for
    files of certificates that cannot be used."""
    access = target.access
    if target.base.startswith("https:"):
        verify = tls_context(access.ca_file, insecure=access.insecure)
    else:
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused; reading the system's certificates takes 20 ms
    return httpx.AsyncClient(
        timeout=timeout_s,
        trust_env=False,  # the proxy was chosen by the target, and a netrc would replace its credentials
        proxy=access.proxy.url if access.proxy else None,
        verify=verify,
        headers=dict(target.headers),
    )


async def fetch(client: httpx.AsyncClient, target: Target, path: str) -> tuple[Answer | None, Fault | None]:
    """The answer to one GET, and what is wrong with it; no answer where none came. At most 4 MiB are read."""
    try:
        async with client.stream("GET", target.url(path)) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LIMIT:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        return None, _safe(of_exception(error), target)
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() != "content-encoding"}
    answer = Answer(status=response.status_code, headers=headers, body=bytes(body))
    refused = answer.status != httpx.codes.OK
    fault = of_answer(answer if not refused else _beginning(answer))
    return answer, _safe(fault, target) if fault else None


async def health_of(client: httpx.AsyncClient, target: Target, path: str) -> Fault | None:
    """What is wrong with the answer to one GET; None for a 200. A path of the API must answer with JSON too."""
    answer, fault = await fetch(client, target, path)
    if answer is not None and answer.status == httpx.codes.OK and not path.startswith("/v1/"):
        return None
    return fault


async def fetch_object(target: Target, path: str, *, timeout_s: float) -> dict[str, Any] | Fault:
    """The JSON object at a path, or why there is none."""
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
    """Without the credentials that the server may have repeated."""
    return Fault(fault.kind, without_secrets(fault.message, credentials_in(target.headers, target.access)))


def _beginning(answer: Answer) -> Answer:
    return Answer(status=answer.status, headers=answer.headers, body=answer.body[:KEPT_BYTES])
