"""GETs of a server's metrics on one kept-alive connection, by the same way as the load: TLS, keys, queries, proxies.

Blocking, on the standard library: the sampler has nothing else to do meanwhile.
"""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from autotuner.benchmarks.loadgen.http.tunnel import check_usable, proxy_address, proxy_headers
from autotuner.net.faults import exception_fault, message_line, without_secrets
from autotuner.net.target import Access, credentials_in
from autotuner.net.tls import tls_context

LARGEST = 4 * 1024 * 1024
"""Bytes of a text. The largest ones seen, of servers with 16 replicas, have some hundred KiB."""
_CHUNK = 64 * 1024

REFUSED = "refused"
"""Asking again cannot help."""
FAILED = "failed"
_LASTING = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 405, 406, 410, 501})
"""Statuses that say that there are no metrics for us; llama.cpp answers 501 without ``--metrics``."""


class ScrapeError(Exception):
    """There is no text. ``kind`` is :data:`REFUSED` or :data:`FAILED`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Scraper:
    """One server."""

    def __init__(self, url: str, headers: Mapping[str, str], access: Access) -> None:
        self._url = urlsplit(url)
        self._access = access
        self._headers = {"Accept": "text/plain", "Accept-Encoding": "identity", **headers}
        self._secrets = credentials_in(headers, access)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> str:
        """The text at a path below the base URL. Raises :class:`ScrapeError`; the caller bounds the time."""
        try:
            return self._read(path)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            told = exception_fault(error).message
            raise ScrapeError(FAILED, f"{path}: {without_secrets(message_line(told), self._secrets)}") from None
        except BaseException:
            self.close()  # the rest of an answer may still be on its way
            raise

    def close(self) -> None:
        """Ends the connection; the next :meth:`get` opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, path: str) -> str:
        connection = self._connection = self._connection or self._connected()
        connection.request("GET", self._target(path), headers={**self._headers, **self._for_proxy()})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            self.close()
            raise ScrapeError(REFUSED if answer.status in _LASTING else FAILED, f"{path}: HTTP {answer.status}")
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            self.close()
            raise ScrapeError(REFUSED, f"{path}: the answer is compressed ({message_line(encoding)[:40]})")
        body = bytearray()
        while chunk := answer.read(_CHUNK):  # unlike read1, it notices the end by itself and frees the connection
            body += chunk
            if len(body) > LARGEST:
                self.close()
                raise ScrapeError(FAILED, f"{path}: more than {LARGEST >> 20} MiB")
        if answer.length:
            raise http.client.IncompleteRead(bytes(body), answer.length)  # read() with a size does not tell
        if answer.will_close:
            self.close()
        return body.decode(errors="replace")

    def _connected(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        secure = self._url.scheme == "https"
        port = self._url.port or (443 if secure else 80)
        proxy = self._access.proxy
        if proxy is not None:
            check_usable(proxy)
        if not secure:
            return http.client.HTTPConnection(*(proxy_address(proxy) if proxy else (host, port)))
        context = tls_context(self._access.ca_file, insecure=self._access.insecure)
        if proxy is None:
            return http.client.HTTPSConnection(host, port, context=context)
        tunneled = http.client.HTTPSConnection(*proxy_address(proxy), context=context)
        tunneled.set_tunnel(host, port, headers=proxy_headers(proxy))
        return tunneled

    def _target(self, path: str) -> str:
        line = self._url.path.rstrip("/") + self._access.path(path)
        if self._plain_proxy:
            return f"http://{self._url.netloc.rpartition('@')[2]}{line}"
        return line

    def _for_proxy(self) -> dict[str, str]:
        proxy = self._access.proxy
        own = {"Host": self._url.netloc.rpartition("@")[2]}
        return {**own, **proxy_headers(proxy)} if proxy is not None and self._plain_proxy else own

    @property
    def _plain_proxy(self) -> bool:
        """Whether a proxy gets the whole URL; through a tunnel, the server gets the path alone."""
        return self._access.proxy is not None and self._url.scheme != "https"
