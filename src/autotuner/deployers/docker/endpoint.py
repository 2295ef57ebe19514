"""A server in a container, once it is ready: its identity, its log and its end."""

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
"""Runtimes whose processes are this machine's own."""


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
        """The leased port, or the one that the engine published. Raises ``TrialFailedError``."""
        port = leased or published_port(inspected, launch.settings.container_port)
        if port is None and not (inspected.get("State") or {}).get("Running"):
            port = 0  # it has ended already: whoever waits for its end tells why
        if port is None:
            message = f"the engine published no port of {launch.name}"
            remedy = "give a bridge network in deploy.network, or host"
            raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
        return cls(port)


class DockerEndpoint(Endpoint):
    """A server that runs in a container."""

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
        """The endpoint of a ready container, with the command line of its process where that is visible."""
        told: tuple[str, ...] = (inspected.get("Path", ""), *(inspected.get("Args") or ()))
        settings = container.launch.settings
        if container.engine.socket and settings.runtime in _TRANSPARENT:
            first = int((inspected.get("State") or {}).get("Pid") or 0)
            told = processes.server_argv(container.id, first, told, behind_init=settings.init)
        found = cls(container, address, log, told)
        words: list[str] = (inspected.get("Config") or {}).get("Env") or []
        pairs = (word.partition("=") for word in words)
        ours = container.launch.env()
        found._environment = {name: value for name, _, value in pairs if name in ours}
        return found

    async def environment(self) -> Mapping[str, str]:
        """The container's variables without those of its image."""
        return self._environment

    async def identity(self) -> Identity:
        """The container's id, start time and restarts, after a check that the port is still its own."""
        inspected = await self._container.state()
        state = inspected.get("State") or {}
        if not state.get("Running") or state.get("Paused"):
            raise TrialFailedError.identity_changed(
                self.url, "its container does not run" if inspected else "its container was removed"
            )
        launch = self._container.launch
        if launch.on_host:
            why = processes.foreign(self._container.id, self._address.port)
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
        """Waits for the end of the container, or of the engine."""
        return await self._container.ends(was_ready=True)

    async def log_tail(self, lines: int = 40) -> str:
        """The log's last lines."""
        return await anyio.to_thread.run_sync(self._log.tail, lines)

    def pids(self) -> frozenset[int]:
        """The container's processes, and the proxies that copy to and from its port."""
        return processes.pids(self._container.id) | self._proxies
