"""Servers as child processes of this machine.

It guarantees that the server that answers is the one it started (checked by the owner of the listening socket), that
the end of a server is noticed at once and not by a timeout, and that nothing is left running on any path.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from typing import Annotated, ClassVar, Self

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from autotuner.deployers.local import gpu_selection, oom, procfs
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.local.machine import hardware, launched_processes, preflight, reap
from autotuner.deployers.local.nvml import Nvml
from autotuner.deployers.local.owned_process import LogNotWrittenError, OwnedProcess, spawn
from autotuner.deployers.local.ports import TRIES, Ports
from autotuner.deployers.shared import failures
from autotuner.deployers.shared import log_tail as shared_log_tail
from autotuner.deployers.shared.readiness import answer, http_client, until_ready
from autotuner.errors import UsageError
from autotuner.plugins.deployer import BoundDeployer, CommandRunner, DeployContext, Endpoint
from autotuner.study.check import Check
from autotuner.study.failure import SEARCHED_LOG_LINES, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import SERVER_LOG, Gpu, GpuSample, Hardware, Identity, LaunchedObject, LaunchPlan
from autotuner.study.text.forms import Duration
from autotuner.study.trial import Phase

_PROBE_TIMEOUT_S = 2.0
_SECOND_LOOK_S = 0.1
"""A socket of a process that is just ending has no owner for a moment."""

GpuIndex = Annotated[int, Field(ge=0, strict=True)]
GpuUuid = Annotated[str, StringConstraints(pattern=r"^GPU-")]


class ProcessSettings(BaseModel):
    """Settings of the deployer ``process`` in a study file. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """IP address to listen on."""
    ports: tuple[int, int] = (24000, 24999)
    """First and last port to use."""
    stop_grace: Duration = Field(default=5.0, ge=0)
    """Time between SIGTERM and SIGKILL."""
    start_timeout: Duration | None = Field(default=None, gt=0)
    """Longest time from launch to ready; unset: the engine's."""
    cpus: tuple[int, ...] | None = Field(default=None, min_length=1)
    """CPUs that the server may use; unset: all that this process may use."""
    gpu_ids: tuple[GpuIndex | GpuUuid, ...] | None = None
    """GPUs that trials may lease, by NVML's index or uuid; unset: all that ``CUDA_VISIBLE_DEVICES`` leaves to this
    process."""

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            return str(ip_address(value))
        except ValueError:
            raise ValueError("must be an IP address, such as 127.0.0.1") from None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 1 <= self.ports[0] <= self.ports[1] <= 65535:
            raise ValueError("ports must be [first, last] with 1 <= first <= last <= 65535")
        return self


class ProcessEndpoint(Endpoint):
    """A server that runs as a child process."""

    def __init__(self, server: OwnedProcess, *, plan: LaunchPlan, context: DeployContext, host: str, port: int) -> None:
        self._server = server
        self._context = context
        self._address = (host, port)
        self._log = context.folder / SERVER_LOG
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.model = plan.model
        self.argv = procfs.cmdline(server.pid)
        self.client: CommandRunner = LocalRunner()

    async def identity(self) -> Identity:
        """Process id and start time, after checking that the server alone listens on its address."""
        if self._server.exit_code() is not None:
            raise TrialFailedError.identity_changed(self.url, "the server has exited")
        family = self._server.family()
        if not procfs.own_listener(*self._address, family):
            raise TrialFailedError.identity_changed(self.url, "the server no longer listens there")
        if procfs.foreign_listener(*self._address, family):
            raise TrialFailedError.identity_changed(self.url, "another process listens there too")
        return Identity(kind="process", id=str(self._server.pid), started=self._server.started)

    async def died(self) -> Failure:
        """Waits for the end of the server's process."""
        try:
            code = await self._server.exited()
        except LogNotWrittenError as error:
            return failures.not_written("the server's log", error)
        tail = await self.log_tail(SEARCHED_LOG_LINES)
        ran_out = oom.ran_out(self._server.oom_kills)
        return failures.ended(self._context, code, tail, was_ready=True, memory_ran_out=ran_out)

    async def log_tail(self, lines: int = 40) -> str:
        """The log's last lines."""
        return await anyio.to_thread.run_sync(shared_log_tail.tail, self._log, lines)

    async def environment(self) -> Mapping[str, str]:
        """The environment that the process was started with."""
        return self._server.environment

    def pids(self) -> frozenset[int]:
        """The server's process and all its descendants."""
        return frozenset(self._server.family())


class ProcessDeployer(BoundDeployer):
    """Starts servers as child processes, each in its own session."""

    kind: ClassVar[str] = "process"
    here: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = ProcessSettings

    settings: ProcessSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._nvml = Nvml()

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """A running server; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        ports = Ports(self.settings.host, self.settings.ports, context)
        for tries_left in reversed(range(TRIES)):
            async with AsyncExitStack() as leases:
                port = await ports.lease(leases)
                context.on_phase(Phase.LAUNCHING)
                env = await self._environment(plan, context)
                server = await self._start(plan, context, port, env)
                try:
                    context.on_phase(Phase.LOADING)
                    lost = await _Start(server, plan, context, self.settings, port).ready_or_port_lost()
                    if lost is None:
                        yield ProcessEndpoint(server, plan=plan, context=context, host=self.settings.host, port=port)
                        return
                    if not tries_left:
                        raise TrialFailedError(lost)
                    ports.lost(port, lost)
                finally:
                    with anyio.CancelScope(shield=True):
                        await server.stop(self.settings.stop_grace)

    async def _environment(self, plan: LaunchPlan, context: DeployContext) -> Mapping[str, str]:
        """The plan's environment. A server that uses GPUs sees only the leased ones."""
        if not plan.gpus:
            return plan.env
        seen = await run_sync(self._nvml.look)
        return {**plan.env, **seen.cuda_environment(context.gpus)}

    async def _start(self, plan: LaunchPlan, context: DeployContext, port: int, env: Mapping[str, str]) -> OwnedProcess:
        argv = plan.argv(host=self.settings.host, port=port)
        log = context.folder / SERVER_LOG
        try:
            context.folder.mkdir(parents=True, exist_ok=True)
            log.unlink(missing_ok=True)
        except OSError as error:
            raise TrialFailedError(failures.not_written("the server's log", error)) from error
        try:
            return await spawn(
                argv,
                labels=context.labels,
                env=env,
                unset=plan.unset,
                log=log,
                cpus=self.settings.cpus,
                orphan_grace_s=self.settings.stop_grace,
            )
        except LogNotWrittenError as error:
            raise TrialFailedError(failures.not_written("the server's log", error)) from error
        except (OSError, ValueError) as error:
            fault = error if isinstance(error, OSError) else OSError(0, str(error))
            raise TrialFailedError(failures.not_started(argv[0], fault)) from error

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Programs, modules, files, CPUs, GPUs and ports; nothing is started."""
        settings = self.settings
        launches = list(plans)
        usable = await self.gpus()
        described = await run_sync(self._nvml.describe)
        found = await run_sync(preflight, launches, settings.host, settings.ports, settings.cpus)
        return [*found, *gpu_selection.checks(described, usable, launches)]

    async def hardware(self) -> Hardware:
        """CPUs and memory that this process may use, and the GPUs. Raises ``UsageError`` for unknown ``gpu_ids``."""
        problems = gpu_selection.unknown(await run_sync(self._nvml.look), self.settings.gpu_ids or ())
        if problems:
            raise UsageError(problems)
        return gpu_selection.with_gpus(hardware(self.settings.cpus), await self.gpus())

    async def gpus(self) -> Sequence[Gpu]:
        """The GPUs that trials may lease, with their foreign users."""
        return gpu_selection.chosen(await self._nvml.gpus(), self.settings.gpu_ids, os.environ)

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        """Their sensors, read through NVML."""
        return await self._nvml.samples(gpus)

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Ends all processes with the label of a dead owner, and their descendants."""
        return await reap(is_dead, study=study, grace_s=self.settings.stop_grace)

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """Servers and load generators of all runs on this machine."""
        return await run_sync(launched_processes)


class _Start:
    """One start of a server, from spawn to ready."""

    def __init__(
        self, server: OwnedProcess, plan: LaunchPlan, context: DeployContext, settings: ProcessSettings, port: int
    ) -> None:
        self._server = server
        self._plan = plan
        self._context = context
        self._host = settings.host
        self._port = port
        self._timeout_s = settings.start_timeout or plan.readiness.timeout_s
        self._last = "none"

    async def ready_or_port_lost(self) -> Failure | None:
        """Returns None when the server is ready, and the failure when another process has taken its port. Raises
        ``TrialFailedError`` for every other reason why it cannot become ready."""
        try:
            failure = await until_ready(self._answers, self._ends, self._timeout_s)
        except TimeoutError:
            failure = failures.not_ready(self._timeout_s, self._plan.readiness.path, self._last, self._tail())
        if failure and failure.cause is not FailureCause.PORT_UNAVAILABLE:
            raise TrialFailedError(failure)
        return failure

    async def _ends(self) -> Failure:
        try:
            return self._died(await self._server.exited())
        except LogNotWrittenError as error:
            return failures.not_written("the server's log", error)

    async def _answers(self) -> Failure | None:
        """Returns None once our server answers as ready; a failure if another process listens there."""
        readiness = self._plan.readiness
        host = f"[{self._host}]" if ":" in self._host else self._host
        async with http_client(f"http://{host}:{self._port}", timeout_s=_PROBE_TIMEOUT_S) as client:
            while True:
                status, self._last = await answer(client, readiness.path)
                if status is not None:
                    family = self._server.family()
                    if procfs.foreign_listener(self._host, self._port, family) and await self._stays_foreign():
                        return failures.port_taken(self._host, self._port, log_tail=self._tail())
                    if status == readiness.status and procfs.own_listener(self._host, self._port, family):
                        return None
                await anyio.sleep(readiness.interval_s)

    async def _stays_foreign(self) -> bool:
        """Looks again, to rule out a socket of our own server that is just ending."""
        await anyio.sleep(_SECOND_LOOK_S)
        return procfs.foreign_listener(self._host, self._port, self._server.family())

    def _died(self, code: int) -> Failure:
        ran_out = oom.ran_out(self._server.oom_kills)
        failure = failures.ended(self._context, code, self._tail(), was_ready=False, memory_ran_out=ran_out)
        taken = procfs.foreign_listener(self._host, self._port, self._server.family())
        if taken and failure.cause is FailureCause.CRASH_LOADING:
            return failures.port_taken(self._host, self._port, exit_code=code, log_tail=failure.log_tail)
        return failure

    def _tail(self) -> str:
        return shared_log_tail.tail(self._context.folder / SERVER_LOG, SEARCHED_LOG_LINES)
