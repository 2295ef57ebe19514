"""Connections to the server through an HTTP proxy."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from autotuner.invalid_value import InvalidValueError
from autotuner.net.faults import message_line
from autotuner.net.proxies import Proxy

P = TypeVar("P", bound=asyncio.Protocol)

_LONGEST_HEAD = 64 * 1024


class ProxyRefusedError(OSError):
    """The proxy did not open a tunnel to the server."""


def check_usable(proxy: Proxy) -> None:
    """Raises ``ValueError`` if the load generator does not support the proxy."""
    scheme = urlsplit(proxy.url).scheme
    if scheme != "http":
        raise InvalidValueError(
            f"cannot send load through {proxy.shown}: {scheme} proxies are not supported",
            remedy="add the server's host to NO_PROXY",
        )


def proxy_headers(proxy: Proxy) -> dict[str, str]:
    """The proxy's credentials as a header; empty if it has none."""
    parts = urlsplit(proxy.url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def proxy_address(proxy: Proxy) -> tuple[str, int]:
    """Host and port of the proxy."""
    parts = urlsplit(proxy.url)
    return parts.hostname or "", parts.port or 80


class _ConnectReply(asyncio.Protocol):
    """Waits for the head of the proxy's response. Not an asyncio stream: that would close the transport when it is
    garbage-collected."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._head = b""
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head and not self.answer.done():
            self.answer.set_result(self._head.split(b"\r\n", 1)[0].decode("latin-1"))
        elif len(self._head) > _LONGEST_HEAD:
            self._fail()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()

    def _fail(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(ProxyRefusedError(f"{self._proxy.shown} did not answer CONNECT"))


async def connect_through(proxy: Proxy, make: Callable[[], P], host: str, port: int, secure: ssl.SSLContext) -> P:
    """Opens a TLS connection to the server through a ``CONNECT`` tunnel. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    plain, opening = await loop.create_connection(lambda: _ConnectReply(proxy), *proxy_address(proxy))
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        lines += [f"{name}: {value}" for name, value in proxy_headers(proxy).items()]
        plain.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = await opening.answer
        if answer.split()[1:2] != ["200"]:
            raise ProxyRefusedError(f"{proxy.shown} refused to connect to {authority}: {message_line(answer)}")
        protocol = make()
        transport = await loop.start_tls(plain, protocol, secure, server_hostname=host)
    except BaseException:
        plain.abort()
        raise
    if transport is None:  # closed during the handshake
        raise ProxyRefusedError(f"{proxy.shown} closed the connection")
    protocol.connection_made(transport)  # start_tls does not call it
    return protocol
