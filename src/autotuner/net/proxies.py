"""Choice of the proxy for a URL, from environment variables.

The rules are those of Go's ``golang.org/x/net/http/httpproxy``, which kubectl, Docker and Helm follow; curl, requests
and httpx each lack a part of them (address ranges, ports, IPv6). No Python library implements them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit, urlunsplit

from autotuner.invalid_value import InvalidValueError

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SCHEMES = ("http", "https", "socks5", "socks5h")
_SECURE = frozenset({"https", "wss"})

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Proxy:
    """A proxy and the environment variable that names it."""

    url: str = field(repr=False)
    """May contain user and password."""
    variable: str

    @property
    def shown(self) -> str:
        """Text for messages, without user and password."""
        return f"the proxy {without_userinfo(self.url)} ({self.variable})"


def without_userinfo(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def proxy_for(url: str, environ: Mapping[str, str], *, all_proxy: bool = True) -> Proxy | None:
    """The proxy for a URL; None for a direct connection, which loopback addresses always get.

    Args:
        url: The URL to reach.
        environ: Environment variables.
        all_proxy: Whether ``ALL_PROXY`` counts; programs written in Go ignore it.

    Raises:
        ValueError: The proxy is not usable; the message names its variable.
    """
    parts = urlsplit(url)
    names = ["HTTPS_PROXY" if parts.scheme in _SECURE else "HTTP_PROXY", *(["ALL_PROXY"] if all_proxy else [])]
    found = next(((n, environ[n]) for name in names for n in (name, name.lower()) if environ.get(n)), None)
    if found is None or (found[0] == "HTTP_PROXY" and environ.get("REQUEST_METHOD")):
        return None  # in a CGI script HTTP_PROXY is a header of the request, not a setting
    if not _needs_proxy(parts, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
        return None
    return Proxy(url=_address(*found), variable=found[0])


def _address(variable: str, text: str) -> str:
    """The proxy's URL; a bare ``host:port`` is an HTTP proxy."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    check_proxy(url, variable)
    return url


def check_proxy(url: str, variable: str) -> None:
    """Raises ``ValueError`` for an unusable proxy, without quoting its address, which may contain a password."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{variable} is not a valid proxy address")
    if parts.scheme not in _SCHEMES:
        raise InvalidValueError(
            f"{variable} names a proxy of an unknown kind ({parts.scheme})", remedy=f"known: {', '.join(_SCHEMES)}"
        )
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise InvalidValueError(
            f"{variable} names a SOCKS proxy, which needs one more package", remedy="pip install socksio"
        )


def _needs_proxy(parts: SplitResult, no_proxy: str) -> bool:
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    address = _ip(host)
    if not host or host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(_matches(entry, host, port, address) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _matches(entry: str, host: str, port: int, address: Address | None) -> bool:
    """Whether an entry of ``NO_PROXY`` matches a host."""
    if entry == "*":
        return True
    network = _network(entry) if "/" in entry else None
    if network is not None:
        return address is not None and address in network
    name, wanted_port = _split(entry)
    if not name or wanted_port not in (None, port):
        return False
    listed = _ip(name)
    if listed is not None:
        return listed == address
    suffix = name.removeprefix("*")
    if suffix.startswith("."):
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def _split(entry: str) -> tuple[str, int | None]:
    """Name and port of ``host``, ``host:80``, ``1.2.3.4:80``, ``::1``, ``[::1]`` and ``[::1]:80``."""
    match = re.fullmatch(r"\[([^]]*)\](?::(\d+))?|([^:]*):(\d+)", entry)
    if match is None:
        return entry, None
    name, port = (match[1], match[2]) if match[1] is not None else (match[3], match[4])
    return name, int(port) if port else None


def _ip(text: str) -> Address | None:
    """The address; an IPv4-mapped IPv6 address counts as IPv4."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
