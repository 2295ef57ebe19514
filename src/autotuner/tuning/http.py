"""One small GET for a server's own information endpoint; everything bigger goes through the load generator."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from anyio.to_thread import run_sync

_LIMIT = 4 * 1024 * 1024
_OPENER = build_opener(ProxyHandler({}))


async def get_json(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
) -> dict[str, Any] | None:
    """The JSON object at ``url``, or None when there is none to be had. Proxies of the environment are not used."""
    return await run_sync(_get, url, dict(headers or {}), timeout_s)


def _get(url: str, headers: dict[str, str], timeout_s: float) -> dict[str, Any] | None:
    if not url.startswith(("http://", "https://")):
        return None
    try:
        request = Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
        with _OPENER.open(request, timeout=timeout_s) as answer:
            found = json.loads(answer.read(_LIMIT))
    except (URLError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
