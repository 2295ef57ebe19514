"""Addresses that messages may be sent to.

Whoever may add a webhook makes the server send requests, so these must not reach what only the server can reach: the
loopback interface, private networks, and the metadata service of a cloud. Names are checked where they lead when a
message is sent, and the connection goes to the address that was checked.
"""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import anyio
import httpx

from autotuner.errors import UsageError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_MOST_CHARACTERS = 2_000
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REMEDY = "allow its network in the server's site file: allow: {webhooks: [10.0.0.0/8]}"


class RefusedAddressError(Exception):
    """Nothing may be sent there, or the name leads nowhere; the message says which."""


def parsed_url(text: str, networks: Sequence[Network]) -> httpx.URL:
    """The URL, if it can be that of a webhook. Raises ``UsageError``, whose message does not repeat it."""
    try:
        url = httpx.URL(text.strip()) if len(text) <= _MOST_CHARACTERS else None
    except (httpx.InvalidURL, ValueError):
        url = None
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        raise UsageError.at("url", "is not a URL that begins with https:// or http://")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise UsageError.at("url", "has a port that does not exist")
    if url.userinfo or url.fragment:
        raise UsageError.at("url", "has a user, a password or a fragment", remedy="receivers check the signature")
    literal = _literal(url.host)
    if url.host == "localhost" or url.host.endswith(".localhost"):
        literal = ipaddress.IPv4Address("127.0.0.1")
    if literal is not None and not is_allowed(literal, networks):
        raise UsageError.at("url", "names an address of this machine or of a private network", remedy=_REMEDY)
    return url


def shown(url: httpx.URL) -> str:
    """The URL without what may be a secret: everything behind the host."""
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}/{'...' if url.raw_path != b'/' else ''}"


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether messages may be sent there: to the public Internet, and to networks that the site file names."""
    real = _embedded(address)
    if any(real in network for network in networks if network.version == real.version):
        return True
    return real.is_global and not real.is_multicast


async def checked_address(url: httpx.URL, networks: Sequence[Network]) -> str:
    """An address that the URL's host leads to. Raises :class:`RefusedAddressError`."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await anyio.getaddrinfo(url.host, port, proto=6)
    except (OSError, UnicodeError):
        raise RefusedAddressError("its host name is unknown") from None
    for *_, place in found:
        # A link-local address has its interface behind a percent sign.
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        if is_allowed(address, networks):
            return str(address)
    raise RefusedAddressError(f"its host name leads to this machine or a private network; {_REMEDY}")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only stands for it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
