"""Connection to a Kubernetes API server: calls that survive its restarts, streams and tunnels.

kr8s reads the kubeconfig with all kinds of credentials. The calls are plain HTTP, since a trial needs details of the
responses: which 403 it was, and that a body was validated strictly.
"""

import json
import logging
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import httpx_ws
from kr8s.asyncio import Api

from autotuner.deployers.kubernetes.credentials import (
    BearerToken,
    forget_key_files,
    namespace_of,
    proxy_of,
    read_credentials,
)
from autotuner.deployers.kubernetes.patience import Patience
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.net.proxies import Proxy
from autotuner.study.failure import FailureCause, TrialFailedError

_CALL_S = 30.0
_CONNECT_S = 5.0
_TOO_MANY = 429
_SERVER_ERROR = 500
_GONE = 410
_MESSAGE_BYTES = 1 << 20

Json = dict[str, Any]

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """An error response from the API server: status code, reason, message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = " ".join(message.split())

    @classmethod
    def of(cls, code: int, body: bytes) -> "RefusedError":
        """Parses a response, whose body is a Status or plain text."""
        try:
            status = json.loads(body)
            return cls(code, str(status.get("reason") or ""), str(status.get("message") or f"HTTP {code}"))
        except (ValueError, AttributeError):
            return cls(code, "", body.decode(errors="replace")[:500] or f"HTTP {code}")

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later: the server is starting or busy, or a webhook is down."""
        return self.code == _TOO_MANY or self.code >= _SERVER_ERROR

    @property
    def expired(self) -> bool:
        """Whether a watch must start over with a list."""
        return self.code == _GONE or self.reason == "Expired"


class _Handshake:
    """Closes a connection whose TLS handshake is cancelled; httpcore (1.0.9) closes those that fail by themselves."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Handles one trace event of httpcore."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.failed" and self._stream:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


class Cluster:
    """A connection to one namespace.

    Calls raise ``TrialFailedError`` (``deployer_lost``) if the API server does not respond within ``patience_s``, and
    :class:`RefusedError` if it refuses the call.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        sni: str | None,
        namespace: str,
        patience_s: float,
        proxy: Proxy | None = None,
    ) -> None:
        self._http = http
        self.namespace = namespace
        self.patience_s = patience_s
        self.proxy = proxy
        """The proxy that ``http`` uses."""
        self._sni = {"sni_hostname": sni} if sni else {}

    @property
    def _extensions(self) -> dict[str, Any]:
        return {**self._sni, "trace": _Handshake()}

    def path(self, kind: str, name: str = "", *, group: str = "") -> str:
        """Returns the path of a kind (``pods``) or of one object in the namespace; ``group`` as in ``batch/v1``."""
        base = f"/apis/{group}" if group else "/api/v1"
        return f"{base}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    async def get(self, path: str, **params: str) -> Json:
        """Reads one object or list."""
        return await self._call("GET", path, params)

    async def find(self, path: str) -> Json | None:
        """Reads one object; None if it does not exist."""
        try:
            return await self.get(path)
        except RefusedError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return None
            raise

    async def visible(self, path: str, **params: str) -> list[Json] | None:
        """Lists objects; None if listing is not allowed."""
        try:
            found: list[Json] = (await self.get(path, **params))["items"]
        except RefusedError:
            return None
        return found

    async def create(self, path: str, body: Json, *, dry_run: bool = False, warnings: list[str] | None = None) -> Json:
        """Creates an object and returns it as stored. Unknown and duplicate fields are errors.

        An object that already exists counts as created if an earlier attempt of this call got no response.
        ``warnings`` collects the warnings of the API server.
        """
        params = {"fieldValidation": "Strict", "fieldManager": "autotuner", **({"dryRun": "All"} if dry_run else {})}
        return await self._call("POST", path, params, body, warnings)

    async def patch(self, path: str, change: Json) -> Json:
        """Changes fields of an object (JSON merge patch, RFC 7386)."""
        return await self._call("PATCH", path, {"fieldManager": "autotuner"}, change)

    async def delete(self, path: str, *, uid: str | None = None, policy: str = "Foreground") -> None:
        """Starts to delete an object and its dependents. An object that is gone or was replaced is not an error."""
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", path, {}, body)
        except RefusedError as error:
            if error.code not in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
                raise

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Json | None = None,
        warnings: list[str] | None = None,
    ) -> Json:
        patience = Patience(self.patience_s, self.proxy)
        attempts = 0
        headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
        while True:
            attempts += 1
            retry_after_s = 0.0
            began = time.monotonic()
            try:
                response = await self._http.request(
                    method, path, params=dict(params), json=body, headers=headers, extensions=self._extensions
                )
            except (httpx.TransportError, ssl.SSLError) as error:
                why = str(error) or type(error).__name__
                logger.debug("%s %s: no response after %.3f s: %s", method, path, time.monotonic() - began, why)
            else:
                logger.debug(
                    "%s %s %s: %d in %.3f s",
                    method,
                    path,
                    dict(params) or "",
                    response.status_code,
                    time.monotonic() - began,
                )
                if response.is_success:
                    if warnings is not None:
                        warnings += map(_warning_text, response.headers.get_list("Warning"))
                    found: Json = response.json()
                    return found
                refused = RefusedError.of(response.status_code, response.content)
                logger.debug("%s %s refused: %s", method, path, refused)
                if method == "POST" and attempts > 1 and refused.reason == "AlreadyExists" and body:
                    return await self.get(f"{path}/{body['metadata']['name']}")
                if not refused.transient:
                    raise refused
                why = refused.message
                retry_after_s = _seconds(response.headers.get("Retry-After"))
            logger.info("API server: retrying %s %s, attempt %d failed: %s", method, path, attempts, why)
            await patience.after(why, retry_after_s=retry_after_s)

    @asynccontextmanager
    async def stream(self, path: str, *, idle_s: float, **params: str) -> AsyncGenerator[httpx.Response]:
        """Streams a response, without retries. Raises ``httpx.TransportError``, also after ``idle_s`` without data."""
        timeout = httpx.Timeout(_CALL_S, connect=_CONNECT_S, read=idle_s)
        async with self._http.stream(
            "GET", path, params=params, timeout=timeout, extensions=self._extensions
        ) as response:
            logger.debug("GET %s (stream) %s: %d", path, params, response.status_code)
            if not response.is_success:
                raise RefusedError.of(response.status_code, await response.aread())
            yield response

    @asynccontextmanager
    async def tunnel(
        self, path: str, params: Mapping[str, Any], protocol: str
    ) -> AsyncIterator[httpx_ws.AsyncWebSocketSession]:
        """Opens a websocket for ``exec`` or ``portforward``, without retries."""
        logger.debug("WEBSOCKET %s", path)
        async with httpx_ws.aconnect_ws(
            path,
            self._http,
            params=dict(params),
            subprotocols=[protocol],
            headers={"Accept": "*/*"},
            max_message_size_bytes=_MESSAGE_BYTES,
            session_class=httpx_ws.AsyncWebSocketSession,
            extensions=self._extensions,
        ) as session:
            yield session


def _warning_text(header: str) -> str:
    """Returns the text of a Warning header: ``299 - "text"`` (RFC 7234, 5.5)."""
    text = header.partition('"')[2].rpartition('"')[0] or header
    return " ".join(text.replace('\\"', '"').split())


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


@asynccontextmanager
async def connected(settings: PodSettings) -> AsyncIterator[Cluster]:
    """Opens a connection for the duration of the block, without making a call.

    Raises ``TrialFailedError`` if no cluster is configured or the credentials cannot be read.
    """
    kubeconfig = None
    if settings.kubeconfig:
        kubeconfig = str(await anyio.Path(settings.kubeconfig).expanduser())
    if kubeconfig and not await anyio.Path(kubeconfig).is_file():
        message = f"{kubeconfig} does not exist"
        remedy = "correct deploy.kubeconfig"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
    api = Api(bypass_factory=True, kubeconfig=kubeconfig, context=settings.context)
    await read_credentials(api)
    try:
        verify = await api.auth.ssl_context()  # type: ignore[no-untyped-call]
    except OSError as error:
        message = f"the kubeconfig's certificates cannot be used: {error}"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message) from error
    finally:
        forget_key_files(api)
    proxy = proxy_of(api)
    logger.debug(
        "Kubernetes API server %s, context %s, proxy %s",
        api.auth.server,
        api.auth.active_context,
        proxy.shown if proxy else "none",
    )
    async with httpx.AsyncClient(
        base_url=api.auth.server,
        auth=BearerToken(api),
        verify=verify,
        timeout=httpx.Timeout(_CALL_S, connect=_CONNECT_S),
        proxy=proxy.url if proxy else None,
        trust_env=False,
        headers={"User-Agent": "autotuner", "Accept": "application/json"},
    ) as http:
        yield Cluster(http, api.auth.tls_server_name, namespace_of(api, settings), settings.api_patience, proxy)
