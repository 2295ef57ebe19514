"""Endpoint of a ready server in a container."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import anyio

from autotuner.deployers.docker import processes
from autotuner.deployers.docker.container import Container, published_port, started_at
from autotuner.deployers.docker.container_spec import LOOPBACK, ContainerSpec
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.local.server_log import Log
from autotuner.plugins.deployer import CommandRunner, Endpoint
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Identity

_TRANSPARENT = frozenset({None, "runc", "nvidia", "io.containerd.runc.v2"})
"""Runtimes whose processes run on this machine's kernel, where they are visible."""


@dataclass(frozen=True)
class Address:
    """The address of the server on this machine."""

    port: int

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{LOOPBACK}:{self.port}"

    @classmethod
    def of(cls, launch: ContainerSpec, inspected: dict[str, Any], leased: int | None) -> Self:
        """Returns the address with the leased port, or with the published one. Raises ``TrialFailedError``."""
        port = leased or published_port(inspected, launch.settings.container_port)
        if port is None and not (inspected.get("State") or {}).get("Running"):
            port = 0  # it has already ended; waiting for its end reports why
        if port is None:
            message = f"the engine published no port of container {launch.name}"
            remedy = "set deploy.network to a bridge network or to host"
            raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
        return cls(port)


class DockerEndpoint(Endpoint):
    """A ready server in a container."""

    def __init__(self, container: Container, address: Address, log: Log, argv: tuple[str, ...]) -> None:
        self._container = container
        self._address = address
        self._log = log
        self.url = address.url
        self.model = container.launch.plan.model
        self.argv = argv
        self._environment = dict[str, str]()
        self.command = container.launch.command()
        self.client: CommandRunner = LocalRunner()
        self._proxies = processes.proxies(address.port)

    @classmethod
    async def of(cls, container: Container, address: Address, log: Log, inspected: dict[str, Any]) -> Self:
        """Creates the endpoint of a ready container.

        Its ``argv`` is the command line of the server's process if that is visible, else that of ``inspected`` (the
        output of ``docker inspect``).
        """
        argv: tuple[str, ...] = (inspected.get("Path", ""), *(inspected.get("Args") or ()))
        settings = container.launch.settings
        if container.engine.socket and settings.runtime in _TRANSPARENT:
            first = int((inspected.get("State") or {}).get("Pid") or 0)
            argv = processes.server_argv(container.id, first, argv, behind_init=settings.init)
        endpoint = cls(container, address, log, argv)
        variables: list[str] = (inspected.get("Config") or {}).get("Env") or []
        pairs = (variable.partition("=") for variable in variables)
        requested = container.launch.env()
        endpoint._environment = {name: value for name, _, value in pairs if name in requested}
        return endpoint

    async def environment(self) -> Mapping[str, str]:
        """Returns the container's environment without the variables that its image sets."""
        return self._environment

    async def identity(self) -> Identity:
        """Returns the container's id, start time and restart count, after a check that the port is still its own."""
        inspected = await self._container.state()
        state = inspected.get("State") or {}
        if not state.get("Running") or state.get("Paused"):
            raise TrialFailedError.identity_changed(
                self.url, "its container is not running" if inspected else "its container was removed"
            )
        launch = self._container.launch
        if launch.on_host:
            why = processes.port_conflict(self._container.id, self._address.port)
        else:
            now = published_port(inspected, launch.settings.container_port)
            why = "" if now == self._address.port else f"its container is now published on port {now or 'none'}"
        if why:
            raise TrialFailedError.identity_changed(self.url, why)
        return Identity(
            kind="container",
            id=str(inspected["Id"]),
            started=started_at(state),
            restarts=int(inspected.get("RestartCount", 0)),
        )

    async def died(self) -> Failure:
        """Waits for the end of the container or of the engine, and returns why it ended."""
        return await self._container.wait_for_end(was_ready=True)

    async def log_tail(self, lines: int = 40) -> str:
        """Returns the last lines of the log."""
        return await anyio.to_thread.run_sync(self._log.tail, lines)

    def pids(self) -> frozenset[int]:
        """Returns the process ids of the container and of the engine's proxies for its port."""
        return processes.pids(self._container.id) | self._proxies
