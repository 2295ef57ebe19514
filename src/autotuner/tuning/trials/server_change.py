"""Changes flags of a running server, and proves it by reading them back."""

from collections.abc import Mapping

import anyio
import httpx

from autotuner.net.info import get_json
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.engine import ControlRequest, Engine
from autotuner.study.base import Value

_TIMEOUT_S = 30.0
"""Longest time of one request."""
_PATIENCE_S = 10.0
"""How long a server may refuse: it does not empty its caches while it still ends requests that were cut off."""
_POLL_S = 0.5


async def change_server(endpoint: Endpoint, engine: Engine, flags: Mapping[str, Value]) -> str:
    """Changes flags of a running server.

    Args:
        endpoint: The server, which has no requests.
        engine: What it runs.
        flags: New values by canonical name, all of them among the engine's ``runtime_flags``.

    Returns:
        Why the change failed; empty if the server reports the new values.
    """
    url = endpoint.info_url or endpoint.url
    async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S, headers=dict(endpoint.headers)) as client:
        for request in engine.change(flags):
            if why := await _accepted(client, url, request):
                return why
    info = await get_json(url + (engine.info_path or ""), headers=endpoint.headers) or {}
    reported = engine.running_values(info)
    if not reported:
        return f"{engine.info_path} does not tell the values that it runs with"
    for name, value in flags.items():
        for values in reported:
            if not _equal(values.get(name), value):
                return f"{name} is {values.get(name)} instead of {value}"
    return ""


async def _accepted(client: httpx.AsyncClient, url: str, request: ControlRequest) -> str:
    """Sends a request until it is accepted. Returns why it was not; empty if it was."""
    deadline = anyio.current_time() + _PATIENCE_S
    while True:
        try:
            answer = await client.post(url + request.path, json=dict(request.body))
            why = "" if answer.is_success else f"{request.path} answered {answer.status_code}"
        except httpx.HTTPError as error:
            why = f"{request.path}: {str(error) or type(error).__name__}"
        if not why or anyio.current_time() >= deadline:
            return why
        await anyio.sleep(_POLL_S)


def _equal(found: object, wanted: Value) -> bool:
    if isinstance(found, (int, float)) and isinstance(wanted, (int, float)):
        return float(found) == float(wanted)
    return found == wanted
