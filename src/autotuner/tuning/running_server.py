"""A running server as the arguments of ``bench`` and ``capacity`` describe it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from autotuner.benchmarks.native import NativeSettings
from autotuner.errors import Problem, UsageError
from autotuner.net.client import fetch_object
from autotuner.net.faults import NOT_JSON, Fault
from autotuner.net.remedies import BENCH, remedy_for
from autotuner.net.target import Target, expanded, parse_header, parse_target
from autotuner.net.tls import tls_context
from autotuner.study.problems import problems_of

_TIMEOUT_S = 10.0
_NO_LIST = frozenset({NOT_JSON, "http_404", "http_405", "http_501"})
"""Responses of servers that do not list their models, or of another path."""
_NO_LIST_REMEDY = "correct the URL (the part before /v1), or name the model with --model"


@dataclass(frozen=True)
class RunningServer:
    """A server known by its URL, and how requests reach it."""

    url: str
    """Base URL; ``${NAME}`` in it and in header values stands for an environment variable."""
    model: str | None = None
    """Model name in requests; None: the first one that the server lists."""
    api_key_env: str | None = None
    """Environment variable that holds the API key."""
    headers: Mapping[str, str] | Sequence[str] = ()
    """Request headers, as a mapping or as ``Name: value`` strings."""
    ca_file: str | None = None
    """Certificates to trust (PEM) instead of the system's."""
    insecure: bool = False
    """Whether to skip the verification of the server's certificate."""
    max_tokens_field: str = "max_tokens"
    """Request field that limits the output length."""
    workers: str | int = "auto"
    """Processes that send the load; ``auto``: as many as it needs and the machine has cores for."""

    def target(self) -> Target:
        """Returns the server's address, with environment variables and proxy applied. Raises ``UsageError``."""
        if self.insecure and self.ca_file:
            raise UsageError(Problem(where="--insecure", why="excludes --ca-file", remedy="remove one of them"))
        try:
            target = parse_target(
                expanded(self.url, os.environ),
                headers=self._expanded_headers(),
                key=os.environ.get(self.api_key_env) if self.api_key_env else None,
                ca_file=self.ca_file,
                insecure=self.insecure,
            ).with_proxy(os.environ)
            if target.base.startswith("https:"):
                tls_context(self.ca_file, insecure=self.insecure)
        except ValueError as error:
            raise UsageError(Problem.refused("URL", error, value=shown_url(self.url))) from None
        return target

    def benchmark_settings(self) -> NativeSettings:
        """Returns the settings of the load generator. Raises ``UsageError``."""
        workers = self.workers
        given = {
            "api_key_env": self.api_key_env,
            "max_tokens_field": self.max_tokens_field,
            "workers": int(workers) if isinstance(workers, str) and workers.isdecimal() else workers,
        }
        try:
            return NativeSettings.model_validate(given)
        except ValidationError as error:
            raise UsageError(problems_of(error, NativeSettings, prefix="bench")) from None

    async def served_model(self, target: Target) -> str:
        """Returns the model name to send in requests. Raises ``UsageError`` if none is given and none is listed."""
        return self.model or await first_model(target)

    def _expanded_headers(self) -> dict[str, str]:
        given = self.headers
        try:
            pairs = given.items() if isinstance(given, Mapping) else [parse_header(text) for text in given]
        except ValueError as error:
            raise UsageError(Problem.refused("--header", error)) from None
        try:
            return {name: expanded(text, os.environ) for name, text in pairs}
        except ValueError as error:
            raise UsageError(Problem.refused("--header", error, remedy="export it")) from None


def shown_url(url: str) -> str:
    """Returns the URL without user, password and query, which may be credentials."""
    address = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.rpartition("@")[2]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


async def first_model(target: Target) -> str:
    """The first model that the server lists. Raises ``UsageError`` with the server's answer if there is none."""
    found = await fetch_object(target, "/v1/models", timeout_s=_TIMEOUT_S)
    address = f"{target.shown}/models" + (f" through {target.access.proxy.shown}" if target.access.proxy else "")
    if isinstance(found, Fault):
        remedy = _NO_LIST_REMEDY if found.kind in _NO_LIST else remedy_for(found, BENCH)
        raise UsageError.at("URL", found.message, value=address, remedy=remedy)
    try:
        return str(found["data"][0]["id"])
    except (LookupError, TypeError):
        why = "the server lists no model"
        raise UsageError.at("URL", why, value=address, remedy="name the model with --model") from None
