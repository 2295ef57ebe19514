"""Readiness probes of a server, raced against its end.

The client skips proxies and redirects, and loads no certificates for plain HTTP, which would delay each start.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping

import anyio
import httpx

from autotuner.concurrency import first_of
from autotuner.study.failure import Failure


def http_client(base_url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client for a server that we started, past the environment's proxies. TLS certificates are verified."""
    verify: ssl.SSLContext | bool = True
    if base_url.startswith("http://"):
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(base_url=base_url, timeout=timeout_s, trust_env=False, verify=verify, headers=headers)


async def answer(client: httpx.AsyncClient, path: str) -> tuple[int | None, str]:
    """(status, description) of one GET; the status is None if there was no response."""
    try:
        response = await client.get(path)
    except httpx.TimeoutException:
        return None, "no answer in time"
    except httpx.HTTPError as error:
        return None, str(error) or type(error).__name__
    return response.status_code, f"HTTP {response.status_code}"


async def until_ready(
    answers: Callable[[], Awaitable[Failure | None]], ends: Callable[[], Awaitable[Failure]], timeout_s: float
) -> Failure | None:
    """Waits until ``answers`` returns None, or either of the two returns a failure; returns the first result. Raises
    ``TimeoutError`` after ``timeout_s`` seconds."""
    with anyio.fail_after(timeout_s):
        return await first_of(ends, answers, result_outranks_error=True)
