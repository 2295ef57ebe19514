"""Small GET requests for information about a server; load goes through the load generator."""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import httpx

_LIMIT = 4 * 1024 * 1024


async def get_text(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0) -> str:
    """The text at a URL; empty if it is not available within the time limit and 4 MiB.

    It ignores proxies of the environment and does not follow redirects, because the headers may contain credentials.

    Args:
        url: Where to get it.
        headers: Request headers.
        timeout_s: Time limit of the whole exchange, in seconds.
    """
    body = b""
    with anyio.move_on_after(timeout_s):
        try:
            body = await _read(url, headers or {})
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
            return ""
    return body.decode(errors="replace")


async def get_json(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
) -> dict[str, Any] | None:
    """The JSON object at a URL, or None if it is not available; see :func:`get_text`."""
    try:
        found = json.loads(await get_text(url, headers=headers, timeout_s=timeout_s))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _read(url: str, headers: Mapping[str, str]) -> bytes:
    """The body; empty if it is too large or the status is not 200."""
    body = bytearray()
    secure = url.startswith("https:")
    async with (
        httpx.AsyncClient(trust_env=False, timeout=None, verify=secure) as client,  # noqa: S113 - bounded by the caller
        client.stream("GET", url, headers=dict(headers)) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            return b""
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _LIMIT:
                return b""
    return bytes(body)
