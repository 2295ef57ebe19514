"""Servers in containers, through the API of a Docker engine on this machine.

The promises: the container that answers is the one that was started; its end, and that of the engine, are noticed at
once; nothing is left on any path, and what an engine that went away has kept running is removed before the next launch.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import anyio
from pydantic import BaseModel

from autotuner.deployers.docker import model_mounts, processes, remove_orphan
from autotuner.deployers.docker import preflight as docker_preflight
from autotuner.deployers.docker.client import OWNER, STUDY, TRIAL, Engine, Labeled, connected
from autotuner.deployers.docker.container import Container
from autotuner.deployers.docker.container_spec import LOOPBACK, ContainerSpec, chosen_gpus
from autotuner.deployers.docker.endpoint import Address, DockerEndpoint
from autotuner.deployers.docker.orphan_cleanup import when_killed
from autotuner.deployers.docker.remove_orphan import Orphan
from autotuner.deployers.docker.settings import DockerSettings
from autotuner.deployers.local import gpu_selection, machine
from autotuner.deployers.local.nvml import Nvml
from autotuner.deployers.local.ports import TRIES, Ports
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared import failures, leftovers
from autotuner.deployers.shared.background import Background
from autotuner.deployers.shared.connection_failures import must_answer
from autotuner.deployers.shared.leftovers import Held, Leftover
from autotuner.deployers.shared.readiness import answer, http_client, until_ready
from autotuner.plugins.deployer import BoundDeployer, DeployContext, Endpoint
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, GpuSample, Hardware, Labels, LaunchPlan
from autotuner.study.spec import Model
from autotuner.study.trial import Phase

_PROBE_TIMEOUT_S = 2.0
_GIB = 2**30


class DockerDeployer(BoundDeployer):
    """Starts each server in a container of its own."""

    kind: ClassVar[str] = "docker"
    here: ClassVar[bool] = True
    Settings: ClassVar[type[BaseModel]] = DockerSettings

    settings: DockerSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._held = Held()
        self._pulled: set[str] = set()
        self._pulling = anyio.Lock()
        self._nvml = Nvml()

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """A running container; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        plan = plan.in_container()
        log = Log(context.folder)
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            engine = await stack.enter_async_context(connected(self.settings))
            await engine.awaited()
            own = await engine.labeled(f"{OWNER}={context.labels.owner}")
            await leftovers.sweep([_leftover(engine, one, grace_s=0.0) for one in own], self._held)
            image = await self._image(engine, plan, context, log)
            ports = Ports(LOOPBACK, self.settings.ports, context)
            for tries_left in reversed(range(TRIES)):
                async with AsyncExitStack() as leases:
                    leased = await ports.lease(leases) if self.settings.network == "host" else None
                    context.on_phase(Phase.LAUNCHING)
                    launch = self._launch(plan, context, image, leased, await self._entrypoint(engine, image))
                    leases.enter_context(self._held.holding(launch.name))
                    orphan = Orphan.of(launch.name, self.settings)
                    leases.enter_context(when_killed(remove_orphan.__name__, orphan.spec()))
                    tasks = await leases.enter_async_context(Background())
                    container = Container(engine, launch, log, context, tasks)
                    try:
                        address = await self._started(container, context, leased)
                        if isinstance(address, Address):
                            yield await DockerEndpoint.of(container, address, log, await container.state())
                            return
                        if not tries_left:
                            raise TrialFailedError(address)
                        ports.lost(leased, address)
                    finally:
                        with anyio.CancelScope(shield=True):
                            await self._release(container, context)

    async def _started(self, container: Container, context: DeployContext, leased: int | None) -> Address | Failure:
        """The address of the ready server; a failure when another process has taken its port."""
        try:
            inspected = await container.start()
        except TrialFailedError as error:
            if error.failure.cause is FailureCause.PORT_UNAVAILABLE:
                return error.failure
            raise
        context.on_phase(Phase.LOADING)
        address = Address.of(container.launch, inspected, leased)
        return await _Start(container, address, context, self.settings).ready_or_port_lost() or address

    async def _release(self, container: Container, context: DeployContext) -> None:
        """Removes the container. Where that fails, it is removed before the next launch."""
        try:
            await container.remove(self.settings.stop_grace)
        except TrialFailedError as error:
            context.note(f"{error.failure.message}; container {container.name} is removed before the next launch")

    async def _image(self, engine: Engine, plan: LaunchPlan, context: DeployContext, log: Log) -> str:
        """The image's name, once it is present. Trials that run in parallel pull it once."""
        name = self.image(plan)
        if name is None:
            raise TrialFailedError.because(
                FailureCause.IMAGE_MISSING, "the engine names no image", remedy="set deploy.image"
            )
        async with self._pulling:
            wanted = self.settings.pull == "always" and name not in self._pulled
            if not wanted and await engine.image(name) is not None:
                return name
            if self.settings.pull == "never":
                remedy = f"docker pull {name}, or set deploy.pull: missing"
                raise TrialFailedError.because(
                    FailureCause.IMAGE_MISSING, f"image {name} is not present, and deploy.pull is never", remedy=remedy
                )
            context.on_phase(Phase.PULLING)
            context.note(f"pulling {name}")
            log.say(f"pulling {name}")
            await engine.pull(name, log.say, context.note)
            self._pulled.add(name)
        return name

    async def _entrypoint(self, engine: Engine, image: str) -> tuple[str, ...] | None:
        """The image's own entrypoint where the settings keep it."""
        if self.settings.entrypoint != "image":
            return None
        config = (await engine.image(image) or {}).get("Config") or {}
        return tuple(config.get("Entrypoint") or ())

    def _launch(
        self,
        plan: LaunchPlan,
        context: DeployContext,
        image: str,
        leased: int | None,
        entrypoint: tuple[str, ...] | None,
    ) -> ContainerSpec:
        inside = ("0.0.0.0", self.settings.container_port) if leased is None else (LOOPBACK, leased)  # noqa: S104
        try:
            model_files = model_mounts.mounts(plan.needs_files, self.settings)
        except model_mounts.ModelFilesError as error:
            raise TrialFailedError.because(FailureCause.MODEL_MISSING, str(error), remedy=error.remedy) from error
        if plan.hub_models:
            _make_cache(self.settings.cache)
        labels = context.labels
        return ContainerSpec(
            plan=plan,
            settings=self.settings,
            image=image,
            argv=plan.argv(host=inside[0], port=inside[1]),
            name=f"autotuner-{labels.study}-{labels.trial}-{uuid4().hex[:8]}",
            labels=labels,
            gpus=context.gpus,
            entrypoint=entrypoint,
            model_files=tuple(model_files),
        )

    async def command(self, plan: LaunchPlan) -> tuple[str, ...]:
        """The ``docker run`` line with the first GPUs of those to use. The image is inspected where it is present."""
        plan = plan.in_container()
        port = self.settings.ports[0] if self.settings.network == "host" else self.settings.container_port
        host = LOOPBACK if self.settings.network == "host" else "0.0.0.0"  # noqa: S104 - inside the container
        image = self.image(plan) or "IMAGE"
        entrypoint = None
        with suppress(TrialFailedError):
            async with connected(self.settings) as engine:
                entrypoint = await self._entrypoint(engine, image)
        try:
            model_files = tuple(model_mounts.mounts(plan.needs_files, self.settings))
            gpus = tuple(await self.gpus())[: plan.gpus]
        except (model_mounts.ModelFilesError, TrialFailedError):
            model_files = gpus = ()  # a failed check says why
        return ContainerSpec(
            plan=plan,
            settings=self.settings,
            image=image,
            argv=plan.argv(host=host, port=port),
            name="",
            labels=Labels(study="", trial=0, owner=""),
            gpus=gpus,
            entrypoint=entrypoint,
            model_files=model_files,
        ).command()

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """Engine, image, GPUs, model files, shared memory and disk space; only ``check_flags`` runs anything."""
        try:
            async with connected(self.settings) as engine:
                return await docker_preflight.checks(engine, list(plans), self.settings, await self.gpus())
        except TrialFailedError as error:
            return [docker_preflight.unreachable(error.failure)]

    async def hardware(self) -> Hardware:
        """The engine's CPUs and memory within the container's limits, and the GPUs to use. Raises
        :class:`UnusableTargetError`."""
        with must_answer():
            async with connected(self.settings) as engine:
                info = await engine.info()
            gpus = await self.gpus()
        memory = min(int(info["MemTotal"]), self.settings.memory or int(info["MemTotal"]))
        cpus = max(1, int(min(int(info["NCPU"]), self.settings.cpus or int(info["NCPU"]))))
        return gpu_selection.with_gpus(Hardware(cpus=cpus, memory_gb=round(memory / _GIB, 2)), gpus)

    async def assumed_hardware(self) -> Hardware:
        """The hardware of this machine, for a plan while the engine does not answer."""
        try:
            gpus = await self.gpus()
        except TrialFailedError:  # a preflight check reports it
            gpus = ()
        return gpu_selection.with_gpus(await anyio.to_thread.run_sync(machine.hardware), gpus)

    async def locate(self, model: Model) -> Model:
        """A bare name that is a folder under ``model_roots`` becomes that folder; a path must lie under one."""
        return await anyio.to_thread.run_sync(model_mounts.locate, model, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image, else the engine's, with its tag."""
        return self.settings.image_name(plan.image)

    @property
    def hub_cache(self) -> Path:
        """The folder of models in the mounted cache."""
        return self.settings.cache / "hub"

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        """The id of the image that the name stands for now: a tag may have been moved."""
        name = self.image(plan)
        if name is None:
            return {}
        with suppress(TrialFailedError):  # an engine that is away says so at the launch
            async with connected(self.settings) as engine:
                if (found := await engine.image(name)) is not None:
                    return {"image": f"{name} ({found['Id']})"}
        return {}

    async def gpus(self) -> Sequence[Gpu]:
        """The machine's GPUs that the settings name, else those that were given to this process."""
        found = await self._nvml.gpus()
        if self.settings.gpu_ids is None:
            return gpu_selection.chosen(found, None, os.environ)
        return chosen_gpus(found, self.settings.gpu_ids)

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        """The sensors of these GPUs."""
        return await self._nvml.samples(gpus)

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the containers of dead owners. Without an engine there is nothing to find."""
        with suppress(TrialFailedError):
            async with connected(self.settings) as engine:
                found = await engine.labeled(OWNER)
                ours = [_leftover(engine, one, grace_s=self.settings.stop_grace) for one in found]
                return await leftovers.reap(ours, is_dead, study)
        return []


def _leftover(engine: Engine, left: Labeled, *, grace_s: float) -> Leftover:
    return Leftover(
        kind="container",
        name=left.name,
        study=left.labels.get(STUDY, "?"),
        trial=left.labels.get(TRIAL, "?"),
        owner=left.labels.get(OWNER, "?"),
        remove=partial(engine.remove, left.name, grace_s),
        runner_ended=left.runner_ended,
    )


class _Start:
    """One start, from a running container to a ready server."""

    def __init__(
        self, container: Container, address: Address, context: DeployContext, settings: DockerSettings
    ) -> None:
        self._container = container
        self._address = address
        self._context = context
        self._readiness = container.launch.plan.readiness
        self._timeout_s = settings.start_timeout or self._readiness.timeout_s
        self._last = "nothing"

    async def ready_or_port_lost(self) -> Failure | None:
        """None when the server is ready, a failure when another process has taken its port. Raises ``TrialFailedError``
        with the cause when the server cannot become ready any more."""
        try:
            failure = await until_ready(self._answers, self._ends, self._timeout_s)
        except TimeoutError:
            tail = self._container.log.tail()
            failure = failures.not_ready(self._timeout_s, self._readiness.path, self._last, tail)
        if failure and failure.cause is not FailureCause.PORT_UNAVAILABLE:
            raise TrialFailedError(failure)
        return failure

    async def _ends(self) -> Failure:
        return await self._container.ends(was_ready=False)

    async def _answers(self) -> Failure | None:
        """None once the server answers as ready. The engine's proxy takes connections before the server listens, and
        drops them, which does not count as an answer."""
        async with http_client(self._address.url, timeout_s=_PROBE_TIMEOUT_S) as client:
            while True:
                status, self._last = await answer(client, self._readiness.path)
                if status == self._readiness.status and self._is_ours():
                    return None
                await anyio.sleep(self._readiness.interval_s)

    def _is_ours(self) -> bool:
        """A published port is the engine's; on this machine's network the listener must be the container's."""
        if not self._container.launch.on_host:
            return True
        return processes.foreign(self._container.id, self._address.port) == ""


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrialFailedError(failures.not_written(f"the hub's cache {folder}", error)) from error
