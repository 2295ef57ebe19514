"""One attempt to deliver a message."""

import ssl
import time
from collections.abc import Sequence

import anyio
import httpx

import autotuner
from autotuner.api.webhooks.addresses import Network, RefusedAddressError, checked_address
from autotuner.api.webhooks.destinations import Destination
from autotuner.api.webhooks.signing import signed_headers
from autotuner.study.base import FrozenModel

TIMEOUT_S = 15.0
"""Longest time of an attempt, from looking up the name to the status of the response."""
_GONE = 410
"""The receiver wants no more messages."""


class WebhookAttempt(FrozenModel):
    """How an attempt to deliver a message ended."""

    delivered: bool
    status: int | None = None
    """HTTP status of the response; None without one."""
    error: str = ""
    """Why it failed, in one line; empty if it was delivered."""
    seconds: float = 0.0

    @property
    def final(self) -> bool:
        """Whether further attempts would be pointless."""
        return self.delivered or self.status == _GONE


async def send(
    to: Destination, identity: str, body: bytes, *, networks: Sequence[Network], context: ssl.SSLContext
) -> WebhookAttempt:
    """Sends a message once.

    Args:
        to: Where to.
        identity: Id of the message.
        body: Its body.
        networks: Networks that may be reached though they are not public.
        context: For TLS; making one takes too long for an event loop.

    Returns:
        How it ended. It does not raise errors of the network.
    """
    began = time.monotonic()
    status: int | None = None
    try:
        with anyio.fail_after(TIMEOUT_S):
            status = await _post(to, identity, body, networks, context)
        error = "" if 200 <= status < 300 else _refusal(status)
    except TimeoutError:
        error = f"no response within {TIMEOUT_S:g} s"
    except RefusedAddressError as refused:
        error = str(refused)
    except (httpx.HTTPError, OSError) as failed:
        # Its own text may contain the address.
        error = f"the connection failed ({type(failed).__name__})"
    seconds = round(time.monotonic() - began, 3)
    return WebhookAttempt(delivered=not error, status=status, error=error, seconds=seconds)


async def _post(
    to: Destination, identity: str, body: bytes, networks: Sequence[Network], context: ssl.SSLContext
) -> int:
    address = await checked_address(to.url, networks)
    headers = {
        "Host": to.url.netloc.decode(),
        "Content-Type": "application/json",
        "User-Agent": f"llm-inference-autotuner/{autotuner.__version__}",
        **signed_headers(to.key, identity, time.time(), body),
    }
    async with httpx.AsyncClient(verify=context, timeout=TIMEOUT_S, trust_env=False) as client:
        # To the address that was checked: a second look-up could lead elsewhere. TLS verifies the name all the same.
        request = client.build_request(
            "POST",
            to.url.copy_with(host=address),
            headers=headers,
            content=body,
            extensions={"sni_hostname": to.url.host},
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        await response.aclose()  # the body does not matter, however long it is
        return response.status_code


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"status {status}: redirects are not followed"
    return f"status {status}: the receiver wants no more messages" if status == _GONE else f"status {status}"
