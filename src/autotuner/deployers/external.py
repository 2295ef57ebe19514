"""Servers that are already running: measured as they are, never started, changed or stopped."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar, Self
from urllib.parse import urlsplit

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.local.machine import hardware
from autotuner.errors import Problem
from autotuner.invalid_value import InvalidValueError
from autotuner.net.client import fetch_object, health_of, target_client
from autotuner.net.faults import HTML, NO_ANSWER, TLS, Fault
from autotuner.net.remedies import remedy_for
from autotuner.net.target import Target, check_header, expanded, parse_target, variables_of
from autotuner.net.tls import tls_context
from autotuner.plugins.deployer import BoundDeployer, CommandRunner, DeployContext, Endpoint
from autotuner.secrets import has_secret_form, looks_secret
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Hardware, Identity, LaunchPlan
from autotuner.study.text.forms import Duration
from autotuner.study.trial import Phase

_TIMEOUT_S = 10.0
_MISSED_CHECKS = 3
"""Consecutive failed health checks after which the server counts as gone."""
_FINAL = frozenset({TLS, HTML, "http_301", "http_302", "http_307", "http_308", "http_401", "http_403"})
"""Faults that do not go away by waiting."""


class ExternalSettings(BaseModel):
    """Settings of the deployer ``external`` in a study file. ``${NAME}`` in ``url`` and ``headers`` stands for an
    environment variable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """Base URL, with or without ``/v1``, or the whole URL of the chat endpoint; a query is sent with every request."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the API key."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Additional headers of every request."""
    ca_file: str | None = Field(default=None, min_length=1)
    """File with certificates to trust instead of the system's."""
    insecure: bool = False
    """Do not check the server's certificate."""
    health_path: str = Field(default="/v1/models", pattern=r"^/")
    """Path that answers GET with 200 while the server is healthy."""
    health_interval: Duration = Field(default=5.0, gt=0)

    @field_validator("url")
    @classmethod
    def _base(cls, value: str) -> str:
        try:
            target = parse_target(value)
        except ValueError as error:
            raise InvalidValueError(f"{error}", remedy="write the base URL of the server's API") from None
        parts = urlsplit(value)
        if has_secret_form(value):
            raise InvalidValueError(
                "contains a credential", remedy="write ${NAME} instead and export the variable NAME"
            )
        plain = target.access.api_path == "/v1" and not parts.query and parts.username is None
        return target.base if plain else value

    @field_validator("headers")
    @classmethod
    def _no_literal_secrets(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            check_header(name, text)
            if looks_secret(name) and not variables_of(text):
                raise InvalidValueError(
                    f"the header {name} contains a credential",
                    remedy="write ${NAME} instead and export the variable NAME",
                )
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.insecure and self.ca_file:
            raise InvalidValueError("insecure and ca_file are mutually exclusive", remedy="remove one of them")
        return self

    def target(self) -> Target:
        """The server, with variables and proxy taken from the environment. Raises ``ValueError`` for a missing
        variable."""
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        target = parse_target(
            expanded(self.url, os.environ),
            headers={name: expanded(text, os.environ) for name, text in self.headers.items()},
            key=key,
            ca_file=self.ca_file,
            insecure=self.insecure,
        )
        if target.base.startswith("https:"):
            tls_context(target.access.ca_file, insecure=target.access.insecure)
        return target.with_proxy(os.environ)


class ExternalEndpoint(Endpoint):
    """A server that autotuner did not start. Raises ``ValueError`` as :meth:`ExternalSettings.target`."""

    def __init__(self, settings: ExternalSettings, model: str) -> None:
        self._settings = settings
        self._target = settings.target()
        self.url = self._target.base
        self.access = self._target.access
        self.model = model
        self.argv: tuple[str, ...] = ()
        self.client: CommandRunner = LocalRunner()

    @property
    def headers(self) -> Mapping[str, str]:
        """Credentials and the study's own headers."""
        return self._target.headers

    def http(self) -> httpx.AsyncClient:
        """A client with the credentials."""
        return target_client(self._target, timeout_s=_TIMEOUT_S)

    async def health(self, client: httpx.AsyncClient) -> Fault | None:
        """The fault that a health check finds; None if the server is healthy."""
        return await health_of(client, self._target, self._settings.health_path)

    @property
    def shown(self) -> str:
        """URL of the health check and its proxy, for messages."""
        proxy = f" through {self.access.proxy.shown}" if self.access.proxy else ""
        return f"{self._target.base}{self._settings.health_path.partition('?')[0]}{proxy}"

    async def identity(self) -> Identity:
        """A digest of the models that the server lists, with their owners. A server without a list of models is
        identified by its address alone."""
        found = await fetch_object(self._target, "/v1/models", timeout_s=_TIMEOUT_S)
        unread = f"{self._target.shown}/models cannot be read"
        if isinstance(found, Fault):
            if found.kind != "http_404":
                raise TrialFailedError.because(FailureCause.IDENTITY_CHANGED, f"{unread}: {found.message}")
            return Identity(kind="external", id=_digest(self._target.shown))
        try:
            models = sorted((str(m["id"]), str(m.get("root")), str(m.get("owned_by"))) for m in found["data"])
        except (LookupError, TypeError, AttributeError):
            message = f"{unread}: the answer is not a list of models"
            raise TrialFailedError.because(FailureCause.IDENTITY_CHANGED, message) from None
        return Identity(kind="external", id=_digest(json.dumps(models)))

    async def died(self) -> Failure:
        """Waits until several health checks in a row have failed."""
        missed = 0
        last = Fault(NO_ANSWER, "")
        async with self.http() as client:
            while missed < _MISSED_CHECKS:
                fault = await self.health(client)
                missed = missed + 1 if fault else 0
                last = fault or last
                await anyio.sleep(self._settings.health_interval if not missed else self._settings.health_interval / 5)
        message = f"{self.shown} no longer answers: {last.message}"
        return Failure(cause=FailureCause.NOT_ANSWERING, message=message, remedy="look at the server's own log")

    async def log_tail(self, lines: int = 40) -> str:
        """Empty: the log is out of reach."""
        return ""

    def pids(self) -> frozenset[int]:
        """Empty: the processes are out of reach."""
        return frozenset()


class ExternalDeployer(BoundDeployer):
    """Provides the running server as an endpoint."""

    kind: ClassVar[str] = "external"
    Settings: ClassVar[type[BaseModel]] = ExternalSettings
    launches: ClassVar[bool] = False

    settings: ExternalSettings

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """The server, once a health check succeeds within the plan's start timeout."""
        context.on_phase(Phase.LOADING)
        try:
            endpoint = ExternalEndpoint(self.settings, plan.model)
        except ValueError as error:
            failure = Failure(cause=FailureCause.ENVIRONMENT, message=f"deploy: {error}")
            raise TrialFailedError(failure) from error
        fault: Fault | None = Fault(NO_ANSWER, "no answer")
        with anyio.move_on_after(plan.readiness.timeout_s) as patience:
            async with endpoint.http() as client:
                while fault is not None:
                    fault = await endpoint.health(client)
                    if fault is not None and fault.kind in _FINAL:
                        break
                    if fault is not None:
                        await anyio.sleep(0.5)
        if fault is not None:
            late = " in time" if patience.cancelled_caught else ""
            message = f"{endpoint.shown} is not ready{late}: {fault.message}"
            remedy = _remedy(fault, endpoint)
            raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
        yield endpoint

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Whether the server answers now, and whether the variables that the settings name are set."""
        checks = []
        name = self.settings.api_key_env
        if name and not os.environ.get(name):
            remedy = f"export {name}=..."
            checks.append(Check.fail("api key", f"{name} is not set", remedy=remedy))
        try:
            endpoint = ExternalEndpoint(self.settings, "")
        except ValueError as error:
            remedy = "correct the settings under deploy, or export the variable"
            problem = Problem.refused("deploy", error, remedy=remedy)
            return [*checks, Check.fail("server", problem.why, remedy=problem.remedy)]
        async with endpoint.http() as client:
            fault = await endpoint.health(client)
        if fault is not None:
            where = f"{endpoint.shown}: {fault.message}"
            remedy = _remedy(fault, endpoint)
            return [*checks, Check.fail("server", where, remedy=remedy)]
        checks.append(Check.ok("server", f"{endpoint.shown}: HTTP 200"))
        return checks + _warnings(endpoint)

    async def hardware(self) -> Hardware:
        """This machine's, since the server's is unknown."""
        return hardware()

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Nothing: this deployer starts no server."""
        return []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remedy(fault: Fault, endpoint: ExternalEndpoint) -> str:
    found = remedy_for(fault)
    proxied = endpoint.access.proxy is not None and not fault.kind.startswith("http_")
    return f"{found}; or add the server's host to NO_PROXY" if proxied and "NO_PROXY" not in found else found


def _warnings(endpoint: ExternalEndpoint) -> list[Check]:
    found = []
    if endpoint.access.proxy:
        detail = f"the load goes through {endpoint.access.proxy.shown}, which adds to every latency"
        remedy = "add the server's host to NO_PROXY if it can be reached directly"
        found.append(Check.warn("proxy", detail, remedy=remedy))
    if endpoint.access.insecure and endpoint.url.startswith("https:"):
        detail = "the server's certificate is not checked (deploy.insecure)"
        remedy = "name its certificate with deploy.ca_file"
        found.append(Check.warn("TLS", detail, remedy=remedy))
    return found
