"""Address of an OpenAI-compatible server and how to reach it: path, query, headers, TLS and proxy.

It does not use pydantic, because the load generator imports it.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from autotuner.net.proxies import Proxy, proxy_for

_ENDPOINTS = ("/chat/completions", "/completions")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})
"""Headers that describe the request itself; other values would break it."""


@dataclass(frozen=True)
class Access:
    """How requests reach a server, besides its address."""

    api_path: str = "/v1"
    """Path between the base URL and ``/chat/completions``."""
    query: str = field(default="", repr=False)
    """Query of every request, without the question mark; may contain a key."""
    ca_file: str | None = None
    """File of trusted certificates, instead of the system's."""
    insecure: bool = False
    """Whether the server's certificate is not verified."""
    proxy: Proxy | None = None

    def path(self, path: str) -> str:
        """The path and query to request for a path such as ``/v1/models``, in which ``/v1`` stands for the API."""
        if path == "/v1" or path.startswith("/v1/"):
            path = self.api_path + path.removeprefix("/v1")
        return f"{path}{'&' if '?' in path else '?'}{self.query}" if self.query else path


DIRECT = Access()
"""Access to a server that we started: plain paths, no proxy."""


@dataclass(frozen=True)
class Target:
    """A server that is already running."""

    base: str
    """``https://host:port/prefix``, without ``/v1``, user, password and query."""
    access: Access = DIRECT
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of every request. They may contain credentials, so they are never logged or stored."""

    def url(self, path: str) -> str:
        """The complete URL of a path such as ``/v1/models``."""
        return self.base + self.access.path(path)

    @property
    def shown(self) -> str:
        """Text for messages, without secrets."""
        return self.base + self.access.api_path

    def with_proxy(self, environ: Mapping[str, str]) -> "Target":
        """The same target, through the proxy that the environment sets for its host. Raises ``ValueError``."""
        return replace(self, access=replace(self.access, proxy=proxy_for(self.base, environ)))


def credentials_in(headers: Mapping[str, str], access: Access) -> set[str]:
    """Parts of headers, query and proxy that may be secret, to redact them in responses that echo them."""
    found = {part for value in headers.values() for part in value.split()}
    for value in headers.values():
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "basic":
            with suppress(ValueError):
                user, _, password = b64decode(rest).decode().partition(":")
                found |= {password, f"{user}:{password}"}
    found |= {value for _, value in parse_qsl(access.query)}
    if access.proxy is not None:
        found.add(unquote(urlsplit(access.proxy.url).password or ""))
    return found - {""}


def parse_target(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    ca_file: str | None = None,
    insecure: bool = False,
) -> Target:
    """Parses the address of a server.

    Args:
        url: Its base URL with or without ``/v1``, or the URL of its (chat) completions endpoint. User and password
            become basic authentication.
        headers: Further headers; ``Authorization`` takes precedence over user, password and key.
        key: Sent as a bearer token.
        ca_file: File of trusted certificates.
        insecure: Whether to skip the verification of the certificate.

    Raises:
        ValueError: An argument is invalid; the message quotes nothing that may be a secret.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError as error:
        raise ValueError(f"is not a URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must begin with http:// or https:// and a host")
    if parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("must not contain spaces, control characters or a fragment (#)")
    path = parts.path.rstrip("/")
    endpoint = next((end for end in _ENDPOINTS if path.endswith(end)), "")
    api = path.removesuffix(endpoint)
    base = api.removesuffix("/v1")
    api_path = api[len(base) :] if endpoint else "/v1"
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], base, "", ""))
    return Target(
        base=address,
        access=Access(api_path=api_path, query=parts.query, ca_file=ca_file, insecure=insecure),
        headers=_headers(headers or {}, key, parts.username, parts.password),
    )


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """Replaces ``${NAME}`` by environment variables. Raises ``ValueError`` that names one that is not set."""

    def value(match: re.Match[str]) -> str:
        found = environ.get(match[1])
        if not found:
            raise ValueError(f"the environment variable {match[1]} is not set")
        return found

    return _VARIABLE.sub(value, text)


def variables_of(text: str) -> list[str]:
    """The names of the environment variables that a text refers to."""
    return _VARIABLE.findall(text)


def check_header(name: str, value: str) -> None:
    """Raises ``ValueError`` for a header that cannot be sent, without quoting its value."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid header name")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is managed by autotuner and cannot be set")
    if not all(c == "\t" or c.isprintable() for c in value) or not _is_latin(value):
        raise ValueError(f"the value of the header {name} contains characters that are not allowed in headers")


def parse_header(text: str) -> tuple[str, str]:
    """Parses ``Name: value``. Raises ``ValueError``."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("write a header as 'Name: value'")
    check_header(name.strip(), value.strip())
    return name.strip(), value.strip()


def _is_latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _headers(given: Mapping[str, str], key: str | None, user: str | None, password: str | None) -> dict[str, str]:
    for name, value in given.items():
        check_header(name, value)
    found = dict(given)
    if not any(name.lower() == "authorization" for name in found):
        if key:
            found["Authorization"] = f"Bearer {key}"
        elif user is not None:
            pair = f"{unquote(user)}:{unquote(password or '')}"
            found["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return found
