"""Requests to a server, and its errors as those of this program."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from autotuner.api.remote import TOKEN_VARIABLE
from autotuner.errors import (
    AutotunerError,
    EnvironmentFaultError,
    NotFoundError,
    Problem,
    StudyBusyError,
    UsageError,
)
from autotuner.net.proxies import proxy_for, without_userinfo
from autotuner.net.tls import tls_context
from autotuner.secrets import remember

Model = TypeVar("Model", bound=BaseModel)

_TIMEOUT_S = 60.0
_ANSWER_S = 180.0
"""A target that does not answer takes the server's checks up to a minute, and a study can have several."""
_SILENT_S = 45.0
"""A stream of events has a comment every 15 s if there are no events."""
_REMEDIES = {
    "unauthorized": f"set {TOKEN_VARIABLE} to one of its tokens; create one there with: autotuner token create NAME",
    "forbidden": f"set {TOKEN_VARIABLE} to a token with that scope",
}


class ServerConnection:
    """One server, and the token to use it with."""

    def __init__(self, url: str, token: str = "") -> None:
        """Sends nothing yet.

        Args:
            url: Base URL of the server, such as ``https://tuner.example``.
            token: A token of the server.

        Raises:
            UsageError: If the URL is not one.
            EnvironmentFaultError: If the environment names a proxy or certificates that cannot be used.
        """
        self.url = _checked(url)
        remember({"token": token})
        try:
            proxy = proxy_for(self.url, os.environ)
            # Without TLS the context is not used, but loading the system's certificates takes 20 ms.
            verify = tls_context() if self.url.startswith("https:") else SSLContext(PROTOCOL_TLS_CLIENT)
        except ValueError as error:
            raise EnvironmentFaultError(str(error)) from None
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            # Proxies are those of the environment, under the rules that hold for all requests of this program.
            "proxy": proxy.url if proxy else None,
            "trust_env": False,
            "verify": verify,
        }

    def get(self, path: str, **query: object) -> Any:
        """The JSON of a GET. Raises ``AutotunerError``."""
        return self._answer("GET", path, params={name: value for name, value in query.items() if value is not None})

    def text(self, path: str, **query: str) -> str:
        """The text of a GET. Raises ``AutotunerError``."""
        return self._response("GET", path, params=query).text

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of a request with a body; None if the answer has none. Raises ``AutotunerError``."""
        return self._answer(method, path, json=body)

    def _answer(self, method: str, path: str, **more: Any) -> Any:
        response = self._response(method, path, **more)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise self._foreign() from None

    def _response(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            with httpx.Client(timeout=httpx.Timeout(_TIMEOUT_S, read=_ANSWER_S), **self._options) as client:
                response = client.request(method, f"/api/v1{path}", **more)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.is_error:
            raise self._refusal(response)
        return response

    @asynccontextmanager
    async def stream(self, path: str, last: int) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stream of events.

        Args:
            path: Path of the stream.
            last: Number of the last event that is known already.

        Raises:
            AutotunerError: If the server refuses it or cannot be reached.
        """
        timeout = httpx.Timeout(_TIMEOUT_S, read=_SILENT_S)
        headers = {"Last-Event-ID": str(last)}
        try:
            async with (
                httpx.AsyncClient(timeout=timeout, **self._options) as client,
                client.stream("GET", f"/api/v1{path}", headers=headers) as response,
            ):
                if response.is_error:
                    await response.aread()
                    raise self._refusal(response)
                yield response.aiter_lines()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def parsed(self, kind: type[Model], data: Any) -> Model:
        """A part of an answer. Raises ``AutotunerError`` if it has another form."""
        try:
            return kind.model_validate_json(data) if isinstance(data, str) else kind.model_validate(data)
        except ValidationError:
            raise self._foreign() from None

    def parsed_all(self, kind: type[Model], data: Any) -> list[Model]:
        """The entries of a list. Raises ``AutotunerError`` if it has another form."""
        if not isinstance(data, list):
            raise self._foreign()
        return [self.parsed(kind, entry) for entry in data]

    def _unreachable(self, error: httpx.HTTPError) -> EnvironmentFaultError:
        why = str(error) or type(error).__name__
        remedy = "check --server, and that autotuner serve is running there"
        return ServerUnreachableError(f"cannot reach {without_userinfo(self.url)}: {why}", remedy=remedy)

    def _foreign(self) -> EnvironmentFaultError:
        return EnvironmentFaultError(
            f"{without_userinfo(self.url)} did not answer as an autotuner server of this version does",
            remedy="check --server, and that both are of the same version",
        )

    def _refusal(self, response: httpx.Response) -> AutotunerError:
        """The error in the body of a response."""
        try:
            found = response.json()["error"]
            kind = str(found["kind"])
            message = str(found["message"])
            hint = str(found.get("hint", ""))
            problems = [Problem.model_validate(problem) for problem in found.get("problems", ())]
        except (ValueError, KeyError, TypeError, ValidationError):
            return self._foreign()
        if kind in {"usage", "not_found"}:
            if not problems:  # a path that this server does not have
                return self._foreign()
            return NotFoundError(problems) if kind == "not_found" else UsageError(problems)
        if kind == "conflict":
            return StudyBusyError(message, remedy=hint)
        if kind in {"environment", *_REMEDIES}:
            return EnvironmentFaultError(f"server: {message}", remedy=_REMEDIES.get(kind, hint))
        return AutotunerError(f"server: {message}", remedy=hint)


class ServerUnreachableError(EnvironmentFaultError):
    """The server did not answer, or the connection to it was lost."""


def _checked(url: str) -> str:
    """The URL without a slash at its end. Raises ``UsageError``."""
    try:
        urlsplit(url)
        found = httpx.URL(url)
        plain = not (found.query or found.userinfo or found.fragment) and not any(map(str.isspace, url))
        good = plain and found.scheme in {"http", "https"} and bool(found.host)
    except (httpx.InvalidURL, ValueError):
        good = False
    if not good:
        raise UsageError.at(
            "--server",
            "is not the URL of a server",
            value=re.sub(r"//.*@", "//", url),
            remedy="give one such as http://127.0.0.1:8321",
        )
    return url.rstrip("/")
