"""Small GETs for a server's own information; everything bigger goes through the load generator."""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import httpx

_LIMIT = 4 * 1024 * 1024


async def get_text(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0) -> str:
    """The text at ``url``, empty when there is none to be had within ``timeout_s`` and 4 MiB.

    Proxies of the environment are not used, and redirects not followed: the headers may be credentials.
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
    """The JSON object at ``url``, or None when there is none to be had; see :func:`get_text`."""
    try:
        found = json.loads(await get_text(url, headers=headers, timeout_s=timeout_s))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


async def _read(url: str, headers: Mapping[str, str]) -> bytes:
    """The body of a 200; empty where it is too large or the status another one."""
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
