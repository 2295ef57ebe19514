"""A server that already runs somewhere: measured as it is, never started, changed or stopped."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotuner.deployers._machine import hardware
from autotuner.deployers._readiness import answer, http_client
from autotuner.deployers.local_runner import LocalRunner
from autotuner.seams.deployer import CommandRunner, DeployContext, Deployer, Endpoint
from autotuner.study.errors import Check, CheckStatus
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Hardware, Identity, LaunchPlan
from autotuner.study.text import Duration
from autotuner.study.trial import Phase

_TIMEOUT_S = 10.0
_MISSED_CHECKS = 3
"""Health checks in a row without an answer, after which the server counts as gone."""


class ExternalSettings(BaseModel):
    """Settings of the deployer in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")
    """Base URL, with or without ``/v1``. Credentials do not belong in it."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the environment variable that holds the API key."""
    health_path: str = Field(default="/v1/models", pattern=r"^/")
    """GET of this path answers with 200 while the server is well."""
    health_interval: Duration = Field(default=5.0, gt=0)

    @field_validator("url")
    @classmethod
    def _base(cls, value: str) -> str:
        return value.rstrip("/").removesuffix("/v1")


class ExternalEndpoint(Endpoint):
    """A server that is not ours."""

    def __init__(self, settings: ExternalSettings, model: str) -> None:
        self._settings = settings
        self.url = settings.url
        self.model = model
        self.argv: tuple[str, ...] = ()
        self.client: CommandRunner = LocalRunner()

    @property
    def headers(self) -> Mapping[str, str]:
        """The API key, from its environment variable."""
        name = self._settings.api_key_env
        key = os.environ.get(name) if name else None
        return {"Authorization": f"Bearer {key}"} if key else {}

    def http(self) -> httpx.AsyncClient:
        """A client with the credentials."""
        return http_client(self.url, timeout_s=_TIMEOUT_S, headers=self.headers)

    async def identity(self) -> Identity:
        """What the server tells of itself: the models it serves and when it says they were made; a digest of that."""
        async with self.http() as client:
            try:
                models = (await client.get("/v1/models")).raise_for_status().json()["data"]
                told = sorted((str(m["id"]), str(m.get("root")), str(m.get("owned_by"))) for m in models)
            except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
                message = f"{self.url}/v1/models tells no models: {error}"
                raise TrialFailedError(Failure(cause=FailureCause.IDENTITY_CHANGED, message=message)) from error
        return Identity(kind="external", id=hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])

    async def died(self) -> Failure:
        """Waits until several health checks in a row have failed."""
        missed, last = 0, ""
        async with self.http() as client:
            while missed < _MISSED_CHECKS:
                status, last = await answer(client, self._settings.health_path)
                missed = 0 if status == httpx.codes.OK else missed + 1
                await anyio.sleep(self._settings.health_interval if not missed else self._settings.health_interval / 5)
        message = f"{self.url}{self._settings.health_path} no longer answers: {last}"
        return Failure(cause=FailureCause.NOT_ANSWERING, message=message, remedy="look at the server's own log")

    async def log_tail(self, lines: int = 40) -> str:
        """Unknown."""
        return ""

    def pids(self) -> frozenset[int]:
        """Unknown."""
        return frozenset()


class ExternalDeployer(Deployer):
    """Hands out the server that already runs."""

    kind: ClassVar[str] = "external"
    Settings: ClassVar[type[BaseModel]] = ExternalSettings
    launches: ClassVar[bool] = False

    settings: ExternalSettings

    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """The server, once it has answered a health check within the plan's start time-out."""
        return self._deploy(plan, context)

    @asynccontextmanager
    async def _deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        context.on_phase(Phase.LOADING)
        endpoint = ExternalEndpoint(self.settings, plan.model)
        last = "nothing"
        with anyio.move_on_after(plan.readiness.timeout_s) as patience:
            async with endpoint.http() as client:
                status = None
                while status != httpx.codes.OK:
                    status, last = await answer(client, self.settings.health_path)
                    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                        raise TrialFailedError(self._refused(last))
                    if status != httpx.codes.OK:
                        await anyio.sleep(0.5)
        if patience.cancelled_caught:
            message = f"{self.settings.url}{self.settings.health_path} did not answer in time: {last}"
            remedy = "start the server, or correct deploy.url"
            raise TrialFailedError(Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy))
        yield endpoint

    def _refused(self, last: str) -> Failure:
        remedy = "set deploy.api_key_env to the name of the variable that holds the key"
        return Failure(cause=FailureCause.ENVIRONMENT, message=f"{self.settings.url} refuses us: {last}", remedy=remedy)

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Whether the server answers now, and whether the key's variable is set."""
        checks = []
        name = self.settings.api_key_env
        if name and not os.environ.get(name):
            remedy = f"export {name}=..."
            checks.append(Check(name="api key", status=CheckStatus.FAIL, detail=f"{name} is not set", remedy=remedy))
        async with ExternalEndpoint(self.settings, "").http() as client:
            status, last = await answer(client, self.settings.health_path)
        where = f"{self.settings.url}{self.settings.health_path}: {last}"
        if status == httpx.codes.OK:
            return [*checks, Check(name="server", status=CheckStatus.OK, detail=where)]
        remedy = "start the server, or correct deploy.url"
        return [*checks, Check(name="server", status=CheckStatus.FAIL, detail=where, remedy=remedy)]

    async def hardware(self) -> Hardware:
        """This machine's, since the server's is unknown."""
        return hardware()

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Nothing: nothing is ever started."""
        return []
