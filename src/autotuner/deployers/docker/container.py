"""One container of ours: created, started, followed and removed.

Its name is known before it exists, so that it can be removed whatever the engine did meanwhile.
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
"""How long to wait for the end of the log after the end of the container."""
_SECOND_LOOK_S = 0.1
"""The engine learns a little after a kill whether it was caused by a lack of memory, or by a removal."""
_REMOVED = frozenset({"removing", "dead"})
_KILLED = 137
_FRAME = struct.Struct(">4xI")
"""Header of each piece of stdout or stderr: which of them it is, and its size in bytes."""


logger = logging.getLogger(__name__)


class Container:
    """A container under its name. Its log is copied by one of ``tasks``; :meth:`remove` is due on every path."""

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
        """Creates and starts it, and returns its description. Raises ``TrialFailedError``.

        Shielded: a call that is cut off would leave the engine making a container that nobody removes.
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
        """Copies what the container writes, from its first line on, until it ends or the engine goes away."""
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
        """The output of ``docker inspect``; empty when the container is gone."""
        return await self.engine.inspect(self.name) or {}

    async def ends(self, *, was_ready: bool) -> Failure:
        """Waits until the container ends, the engine goes away, or the log cannot be written; returns why."""
        return await first_of(partial(self._ended, was_ready), self.log.fails, result_outranks_error=True)

    async def _ended(self, was_ready: bool) -> Failure:
        try:
            async with self.engine.stream("POST", f"containers/{self.name}/wait") as response:
                await response.read()
            state = (await self.state()).get("State", {})
            if state.get("ExitCode") == _KILLED and not state.get("OOMKilled"):
                await anyio.sleep(_SECOND_LOOK_S)
                state = (await self.state()).get("State", {})
            await self.engine.takes_calls()
        except TrialFailedError as error:
            return error.failure.model_copy(update={"log_tail": self.log.tail()})
        except DockerError:
            state = {}
        await self.drained()
        logger.info(
            "container %s ended: %s", self.name, {k: state.get(k) for k in ("Status", "ExitCode", "OOMKilled", "Error")}
        )
        if state.get("Status", "removing") in _REMOVED:
            message = "the container was removed by someone else"
            remedy = "leave containers named autotuner-... alone"
            tail = self.log.tail()
            return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy, log_tail=tail)
        return failures.ended(state, self._context, self.log.tail(), was_ready=was_ready)

    async def drained(self) -> None:
        """Waits until the log has the last output of an ended container."""
        if self._copying:
            with anyio.move_on_after(_DRAIN_S):
                await self._copied.wait()

    async def remove(self, grace_s: float) -> None:
        """Stops and removes it, and returns when it is gone; to be called shielded. Raises ``TrialFailedError``."""
        await self.engine.remove(self.name, grace_s)
        await self.drained()
        logger.info("container %s removed", self.name)


def started_at(state: dict[str, Any]) -> float:
    """Seconds since the epoch of the container's last start; 0 where it never started."""
    text = str(state.get("StartedAt", ""))
    return datetime.fromisoformat(text).timestamp() if text and not text.startswith("0001") else 0.0


def published_port(inspected: dict[str, Any], inside: int) -> int | None:
    """The port of loopback that the engine gave to a port inside; None when it is not published now."""
    ports = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    for binding in ports.get(f"{inside}/tcp") or ():
        if binding.get("HostIp") == LOOPBACK:
            return int(binding["HostPort"])
    return None
