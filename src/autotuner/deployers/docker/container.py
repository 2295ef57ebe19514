"""Lifecycle of a trial's container: create, start, follow its log, wait for its end, remove.

The name is chosen before the container exists, so that it can be removed whatever the engine did in between.
"""

import asyncio
import logging
import struct
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import anyio
from aiodocker.exceptions import DockerError

from autotuner.concurrency import first_of
from autotuner.deployers.docker import failures
from autotuner.deployers.docker.client import Engine
from autotuner.deployers.docker.container_spec import LOOPBACK, ContainerSpec
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared.background import Background
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_DRAIN_S = 1.0
"""Longest wait for the end of the log after the container has ended."""
_SECOND_LOOK_S = 0.1
"""Delay before inspecting a killed container again: the engine records an OOM kill or a removal a little later."""
_REMOVED = frozenset({"removing", "dead"})
_KILLED = 137
_FRAME = struct.Struct(">4xI")
"""Frame header of the log stream: stdout or stderr, 3 bytes of padding, and the frame's size in bytes."""
logger = logging.getLogger(__name__)


class Container:
    """A container, identified by its name. One of ``tasks`` copies its log; call :meth:`remove` on every path."""

    def __init__(
        self, engine: Engine, launch: ContainerSpec, log: Log, context: DeployContext, tasks: Background
    ) -> None:
        self.engine = engine
        self.launch = launch
        self.name = launch.name
        self.log = log
        self._context = context
        self._api = engine.client.containers.container(launch.name)
        self._tasks = tasks
        self._copying = False
        self._copied = anyio.Event()
        self.id = ""

    async def start(self) -> dict[str, Any]:
        """Creates and starts the container; returns the output of ``docker inspect``. Raises ``TrialFailedError``.

        Shielded from cancellation: the engine would complete an abandoned call, and the container would be left over.
        """
        what = f"a container of {self.launch.image}"
        try:
            with anyio.CancelScope(shield=True), failures.translated():
                made = await self.engine.client.containers.create(self.launch.config(), name=self.name)
                self.id = made.id
                await self._api.start()
            logger.info("container %s started from %s", self.name, self.launch.image)
        except DockerError as error:
            failure = failures.not_started(error, what)
            logger.info("container %s did not start: %s", self.name, failure.message)
            raise TrialFailedError(failure.model_copy(update={"log_tail": self.log.tail()})) from error
        self._copying = True
        self._tasks.start(self._copy_log)
        return await self.state()

    async def _copy_log(self) -> None:
        """Copies stdout and stderr from the first line, until the container ends or the engine goes away."""
        path = f"containers/{self.name}/logs"
        try:
            with suppress(TrialFailedError, DockerError, asyncio.IncompleteReadError):
                async with self.engine.stream("GET", path, stdout="1", stderr="1", follow="1") as response:
                    while True:  # https://docs.docker.com/reference/api/engine/ "Stream format" of ContainerAttach
                        header = await response.content.readexactly(_FRAME.size)
                        self.log.write(await response.content.readexactly(*_FRAME.unpack(header)))
        finally:
            self._copied.set()

    async def state(self) -> dict[str, Any]:
        """Returns the output of ``docker inspect``; empty if the container is gone."""
        return await self.engine.inspect(self.name) or {}

    async def wait_for_end(self, *, was_ready: bool) -> Failure:
        """Waits until the container ends, the engine goes away, or the log cannot be written; returns why."""
        return await first_of(partial(self._wait, was_ready), self.log.fails, result_outranks_error=True)

    async def _wait(self, was_ready: bool) -> Failure:
        try:
            async with self.engine.stream("POST", f"containers/{self.name}/wait") as response:
                await response.read()
            state = (await self.state()).get("State", {})
            if state.get("ExitCode") == _KILLED and not state.get("OOMKilled"):
                await anyio.sleep(_SECOND_LOOK_S)
                state = (await self.state()).get("State", {})
            await self.engine.check_new_connection()
        except TrialFailedError as error:
            return error.failure.model_copy(update={"log_tail": self.log.tail()})
        except DockerError:
            state = {}
        await self.drain_log()
        logger.info(
            "container %s ended: %s", self.name, {k: state.get(k) for k in ("Status", "ExitCode", "OOMKilled", "Error")}
        )
        if state.get("Status", "removing") in _REMOVED:
            message = "the container was removed by someone else"
            remedy = "do not remove containers named autotuner-..."
            tail = self.log.tail()
            return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy, log_tail=tail)
        return failures.ended(state, self._context, self.log.tail(), was_ready=was_ready)

    async def drain_log(self) -> None:
        """Waits until the last output of an ended container is in the log."""
        if self._copying:
            with anyio.move_on_after(_DRAIN_S):
                await self._copied.wait()

    async def remove(self, grace_s: float) -> None:
        """Stops and removes the container, and returns when it is gone. Raises ``TrialFailedError``.

        Call it shielded from cancellation.
        """
        await self.engine.remove(self.name, grace_s)
        await self.drain_log()
        logger.info("container %s removed", self.name)


def started_at(state: dict[str, Any]) -> float:
    """Returns the time of the container's last start, in seconds since the epoch; 0 if it never started."""
    text = str(state.get("StartedAt", ""))
    return datetime.fromisoformat(text).timestamp() if text and not text.startswith("0001") else 0.0


def published_port(inspected: dict[str, Any], inside: int) -> int | None:
    """Returns the loopback port at which the engine publishes a container port; None if it is not published."""
    ports = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    for binding in ports.get(f"{inside}/tcp") or ():
        if binding.get("HostIp") == LOOPBACK:
            return int(binding["HostPort"])
    return None
