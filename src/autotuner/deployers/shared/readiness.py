"""Readiness of a server, raced against its end.

Without proxies, redirects or TLS contexts that cost start-up time.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping

import anyio
import httpx

from autotuner.concurrency import first_of
from autotuner.study.failure import Failure


def http_client(base_url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client for a server of ours: the environment's proxies would hide it. TLS is verified where it is used."""
    verify: ssl.SSLContext | bool = True
    if base_url.startswith("http://"):
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(base_url=base_url, timeout=timeout_s, trust_env=False, verify=verify, headers=headers)


async def answer(client: httpx.AsyncClient, path: str) -> tuple[int | None, str]:
    """(status, how it answered) of one GET; the status is None where nothing answered."""
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
    """None once ``answers`` says so; the failure that either of the two comes back with first. Raises TimeoutError."""
    with anyio.fail_after(timeout_s):
        return await first_of(ends, answers, result_outranks_error=True)
