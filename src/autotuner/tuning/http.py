"""Small GETs for a server's own information; everything bigger goes through the load generator."""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from anyio.to_thread import run_sync

_LIMIT = 4 * 1024 * 1024
_OPENER = build_opener(ProxyHandler({}))


async def get_text(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0) -> str:
    """The text at ``url``, empty when there is none to be had. Proxies of the environment are not used."""
    return await run_sync(_get, url, dict(headers or {}), timeout_s)


async def get_json(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
) -> dict[str, Any] | None:
    """The JSON object at ``url``, or None when there is none to be had. Proxies of the environment are not used."""
    try:
        found = json.loads(await get_text(url, headers=headers, timeout_s=timeout_s))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _get(url: str, headers: dict[str, str], timeout_s: float) -> str:
    if not url.startswith(("http://", "https://")):
        return ""
    try:
        request = Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
        with _OPENER.open(request, timeout=timeout_s) as answer:
            return str(answer.read(_LIMIT), "utf-8", "replace")
    except (URLError, OSError, ValueError, HTTPException):
        return ""
