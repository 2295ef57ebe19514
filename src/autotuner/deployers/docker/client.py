"""Client for the Docker engine's API: version, images, networks, and the containers of this deployer."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiodocker
import aiohttp
import anyio
from aiodocker.exceptions import DockerError
from anyio.to_thread import run_sync
from yarl import URL

from autotuner.deployers.docker import failures
from autotuner.deployers.docker.credentials import auth_header, registry_of
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels

STUDY = "autotuner.study"
TRIAL = "autotuner.trial"
OWNER = "autotuner.owner"
RUNNER = "autotuner.runner"
"""Identifies the runner's process, so that a run with another store can tell whether it still runs."""
_QUICK_S = 30.0
"""Timeout of calls that cost the engine no work; after that it counts as unreachable."""
_CALL_S = 180.0
"""Timeout of a container start, which GPUs, volumes and a busy disk slow down."""
_POLL_S = 0.2
_CONNECT_S = 5.0
_NO_SUCH = 404
_CONFLICT = 409
_STEPS = 10
"""Number of progress lines for a pull."""
logger = logging.getLogger(__name__)


def labels_of(labels: Labels) -> dict[str, str]:
    """Returns the labels of a trial as Docker labels."""
    runner = ProcessIdentity.of_this_process().text
    return {STUDY: labels.study, TRIAL: str(labels.trial), OWNER: labels.owner, RUNNER: runner}


class LabeledContainer(NamedTuple):
    """A container with this deployer's labels."""

    id: str
    name: str
    labels: dict[str, str]
    state: str

    @property
    def runner_ended(self) -> bool:
        """Whether the process that created it has ended; False also if it ran on another machine, where unknown."""
        runner = ProcessIdentity.parse(self.labels.get(RUNNER, ""))
        return runner is not None and runner.is_running() is False


class Engine:
    """A connection to the Docker engine.

    Methods raise ``TrialFailedError`` (``deployer_lost``) if the engine does not answer, and ``DockerError`` if it
    refuses.
    """

    def __init__(self, client: aiodocker.Docker, settings: DockerSettings) -> None:
        self.client = client
        self._settings = settings
        self.socket = client.connector.path if type(client.connector) is aiohttp.UnixConnector else None
        """Path of the engine's Unix socket; None for a TCP connection."""

    async def info(self) -> Mapping[str, Any]:
        """Returns the output of ``docker info``."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            return await self.client.system.info()

    async def version(self) -> Mapping[str, Any]:
        """Returns the server part of ``docker version``."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            return await self.client.version()

    async def check_new_connection(self) -> None:
        """Raises if a new connection fails: an engine that is shutting down still serves existing ones."""
        async with connected(self._settings) as fresh:
            await fresh.version()

    async def wait_until_ready(self) -> None:
        """Waits until the engine answers, at most ``engine_patience``."""
        until = time.monotonic() + self._settings.engine_patience
        while True:
            try:
                await self.version()
                return
            except TrialFailedError as error:
                if time.monotonic() >= until:
                    raise
                logger.info("waiting for the Docker engine: %s", error.failure.message)
            await anyio.sleep(_POLL_S)

    async def list_labeled(self, *labels: str) -> list[LabeledContainer]:
        """Returns the containers with all of these labels (``name`` or ``name=value``), in any state."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            filters = json.dumps({"label": labels})
            containers = await self.client.containers.list(all=True, filters=filters)
        return [LabeledContainer(c.id, c["Names"][0].lstrip("/"), dict(c["Labels"]), c["State"]) for c in containers]

    async def inspect(self, name: str) -> dict[str, Any] | None:
        """Returns the output of ``docker inspect`` for a container; None if it does not exist."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            try:
                return await self.client.containers.container(name).show()
            except DockerError as error:
                if error.status == _NO_SUCH:
                    return None
                raise

    async def remove(self, name: str, grace_s: float) -> None:
        """Stops and removes a container, and returns when it is gone.

        Retries for ``engine_patience`` if the engine is unreachable or busy with the container.

        Args:
            name: Name or id of the container.
            grace_s: Seconds between SIGTERM and SIGKILL; 0 kills at once.

        Raises:
            TrialFailedError: If the container still exists after that.
        """
        until = time.monotonic() + self._settings.engine_patience
        stop = grace_s > 0
        while True:
            try:
                with failures.translated(), anyio.fail_after(_CALL_S + grace_s):
                    await self._remove(name, grace_s if stop else 0.0)
                if await self.inspect(name) is None:
                    return
                failure = Failure(cause=FailureCause.ENVIRONMENT, message=f"container {name} still exists")
            except TrialFailedError as error:
                failure = error.failure
            except DockerError as error:
                message = f"cannot remove container {name}: {error.message}"
                failure = Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=f"docker rm -f {name}")
            stop = False  # a retry kills at once: the grace period has passed
            if time.monotonic() >= until:
                raise TrialFailedError(failure)
            await anyio.sleep(_POLL_S)

    async def _remove(self, name: str, grace_s: float) -> None:
        container = self.client.containers.container(name)
        try:
            if grace_s:
                await container.stop(t=max(1, round(grace_s)))
            await container.delete(force=True, v=True)
        except DockerError as error:
            if error.status not in {_NO_SUCH, _CONFLICT}:
                raise

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **params: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Makes a call without a time limit, and closes the response on every path.

        The library's own streams stay open when the engine goes away or the call is cancelled.
        """
        url = f"{self.client.docker_host}/{self.client.api_version}/{path}"
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_S)
        with failures.translated():
            async with self.client.session.request(
                method, url, params=params, headers=headers, timeout=timeout
            ) as response:
                if not response.ok:
                    raise DockerError(response.status, await response.text())
                yield response

    async def image(self, name: str) -> dict[str, Any] | None:
        """Returns the output of ``docker image inspect``; None if the image is not present."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            try:
                return await self.client.images.inspect(name)
            except DockerError as error:
                if error.status == _NO_SUCH:
                    return None
                raise

    async def network(self, name: str) -> dict[str, Any] | None:
        """Returns the output of ``docker network inspect``; None if the network does not exist."""
        with failures.translated(), anyio.fail_after(_QUICK_S):
            try:
                return await (await self.client.networks.get(name)).show()
            except DockerError as error:
                if error.status == _NO_SUCH:
                    return None
                raise

    async def pull(self, name: str, say: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Pulls an image.

        Args:
            name: The image, with its tag.
            say: Receives a line for each step of each layer.
            note: Receives a summary in at most ten lines.

        Raises:
            TrialFailedError: With ``image_missing`` or ``disk_full``.
        """
        progress = _Progress(name, say, note)
        login = await run_sync(auth_header, name)
        headers = {"X-Registry-Auth": login} if login else None
        try:
            async with self.stream("POST", "images/create", headers=headers, fromImage=name) as response:
                async for line in response.content:
                    progress.step(json.loads(line))
        except DockerError as error:
            raise TrialFailedError(_not_pulled(name, error)) from error


def _not_pulled(name: str, error: DockerError) -> Failure:
    failure = failures.not_started(error, name)
    text = " ".join(error.message.split())
    if failure.cause is FailureCause.DISK_FULL:
        return failure.model_copy(update={"message": f"cannot pull image {name}: {text}"})
    message = f"image {name} is not present and cannot be pulled: {text}"
    remedy = f"correct deploy.image and deploy.image_tag, or pull it manually: docker pull {name}"
    if failure.cause is FailureCause.IMAGE_MISSING and "login" in failure.remedy:
        remedy = f"docker login {registry_of(name)}, or correct deploy.image and deploy.image_tag"
    return Failure(cause=FailureCause.IMAGE_MISSING, message=message, remedy=remedy)


class _Progress:
    """Progress of a pull, reduced to a few lines."""

    def __init__(self, name: str, say: Callable[[str], None], note: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._note = note
        self._status: dict[str, str] = {}
        self._bytes: dict[str, tuple[int, int]] = {}
        self._reported = 0

    def step(self, message: Mapping[str, Any]) -> None:
        """Processes one progress message; raises ``DockerError`` if it reports an error."""
        if "error" in message:
            raise DockerError(0, str(message["error"]))
        layer = str(message.get("id", ""))
        status = str(message.get("status", ""))
        if status and self._status.get(layer) != status:
            self._status[layer] = status
            self._say(f"{layer}: {status}" if layer else status)
        detail = message.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._bytes[layer] = (int(detail["current"]), int(detail["total"]))
            self._report_total()
        elif status == "Download complete" and layer in self._bytes:
            self._bytes[layer] = (self._bytes[layer][1],) * 2
            self._report_total()

    def _report_total(self) -> None:
        done, total = (sum(pair[i] for pair in self._bytes.values()) for i in (0, 1))
        reached = done * _STEPS // total
        if reached > self._reported:
            self._reported = reached
            line = f"{self._name}: {done / 1e9:.2f} of {total / 1e9:.2f} GB downloaded"
            self._say(line)
            self._note(f"pulling {line}")


@asynccontextmanager
async def connected(settings: DockerSettings) -> AsyncIterator[Engine]:
    """Opens a connection for the duration of the block, without a first call.

    Raises:
        TrialFailedError: If the engine's address is unknown or on another machine: servers are published on loopback,
            and load is generated on this machine.
    """
    timeout = aiohttp.ClientTimeout(total=_CALL_S, sock_connect=_CONNECT_S)
    try:
        client = aiodocker.Docker(url=settings.docker_host, timeout=timeout)
    except (AssertionError, ValueError, DockerError) as error:  # the library asserts that it found an address
        why = str(error) or "no socket at /var/run/docker.sock"
        raise TrialFailedError(failures.engine_unreachable(why)) from error
    client.session.trace_configs.append(_call_log())
    async with client:
        engine = Engine(client, settings)
        host = URL(client.docker_host).host
        if engine.socket is None and host not in {"localhost", "127.0.0.1", "::1"}:
            message = f"the Docker engine at {client.docker_host} is on another machine; load is generated on this one"
            remedy = "run autotuner on that machine"
            raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
        yield engine


def _call_log() -> aiohttp.TraceConfig:
    """Logs each API call with its status and duration, without bodies and headers."""

    async def began(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceRequestStartParams) -> None:
        context.began = time.monotonic()

    async def ended(_: aiohttp.ClientSession, context: Any, call: aiohttp.TraceRequestEndParams) -> None:
        spent_s = time.monotonic() - context.began
        logger.debug("%s %s: %d in %.3f s", call.method, call.url.path_qs, call.response.status, spent_s)

    async def failed(_: aiohttp.ClientSession, context: Any, call: aiohttp.TraceRequestExceptionParams) -> None:
        spent_s = time.monotonic() - context.began
        logger.debug("%s %s: no answer after %.3f s: %r", call.method, call.url.path_qs, spent_s, call.exception)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(began)
    config.on_request_end.append(ended)
    config.on_request_exception.append(failed)
    config.freeze()
    return config
