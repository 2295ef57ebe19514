"""Deployer that starts servers in containers, through the API of a Docker engine on this machine.

It verifies that the container that answers is the one that it started, and notices the end of the container and of the
engine at once. It removes containers on every path; if the engine is unreachable then, before the next launch.
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
from autotuner.deployers.docker.client import OWNER, STUDY, TRIAL, Engine, LabeledContainer, connected
from autotuner.deployers.docker.container import Container
from autotuner.deployers.docker.container_spec import LOOPBACK, ContainerSpec, chosen_gpus
from autotuner.deployers.docker.endpoint import Address, DockerEndpoint
from autotuner.deployers.docker.image_identity import image_facts
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
from autotuner.study.launch import Gpu, GpuSample, Hardware, Labels, LaunchedObject, LaunchPlan
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
        """Starts a container; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        plan = plan.in_container()
        log = Log(context.folder)
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            engine = await stack.enter_async_context(connected(self.settings))
            await engine.wait_until_ready()
            # Containers of this owner that an earlier trial could not remove, because the engine was unreachable.
            own = await engine.list_labeled(f"{OWNER}={context.labels.owner}")
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
        """Waits until the server is ready; returns its address, or a failure if another process has taken its port."""
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
        """Removes the container; if that fails, the next launch removes it."""
        try:
            await container.remove(self.settings.stop_grace)
        except TrialFailedError as error:
            context.note(f"{error.failure.message}; container {container.name} is removed before the next launch")

    async def _image(self, engine: Engine, plan: LaunchPlan, context: DeployContext, log: Log) -> str:
        """Returns the image's name once it is present. Parallel trials pull it only once."""
        name = self.image(plan)
        if name is None:
            raise TrialFailedError.because(
                FailureCause.IMAGE_MISSING, "the engine has no default image", remedy="set deploy.image"
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
        """Returns the image's entrypoint if the settings keep it."""
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
            raise TrialFailedError.because(FailureCause.MODEL_MISSING, error.why, remedy=error.remedy) from error
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
        """Returns the ``docker run`` command, with the first GPUs to use; inspects the image if it is present."""
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
            model_files = gpus = ()  # a failed check reports it
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
        """Checks engine, image, GPUs, models, shared memory and disk space; only ``check_flags`` runs a container."""
        try:
            async with connected(self.settings) as engine:
                return await docker_preflight.checks(engine, list(plans), self.settings, await self.gpus())
        except TrialFailedError as error:
            return [docker_preflight.unreachable(error.failure)]

    async def hardware(self) -> Hardware:
        """Returns the engine's CPUs and memory (GiB) within the container's limits, and the GPUs to use.

        Raises:
            UnusableTargetError: If the engine does not answer.
        """
        with must_answer():
            async with connected(self.settings) as engine:
                info = await engine.info()
            gpus = await self.gpus()
        memory = min(int(info["MemTotal"]), self.settings.memory or int(info["MemTotal"]))
        cpus = max(1, int(min(int(info["NCPU"]), self.settings.cpus or int(info["NCPU"]))))
        return gpu_selection.with_gpus(Hardware(cpus=cpus, memory_gb=round(memory / _GIB, 2)), gpus)

    async def assumed_hardware(self) -> Hardware:
        """Returns the hardware of this machine, for plans made while the engine does not answer."""
        try:
            gpus = await self.gpus()
        except TrialFailedError:  # a preflight check reports it
            gpus = ()
        return gpu_selection.with_gpus(await anyio.to_thread.run_sync(machine.hardware), gpus)

    async def locate(self, model: Model) -> Model:
        """Resolves a bare name to its folder under ``model_roots``, and rejects a path outside of them."""
        return await anyio.to_thread.run_sync(model_mounts.locate, model, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """Returns the image to run, with its tag: that of the settings, else the engine's."""
        return self.settings.image_name(plan.image)

    @property
    def hub_cache(self) -> Path:
        """The folder of model repositories in the mounted cache."""
        return self.settings.cache / "hub"

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        """Returns the name and id of the image; see :mod:`autotuner.deployers.docker.image_identity`."""
        return await image_facts(self.image(plan), self.settings)

    async def gpus(self) -> Sequence[Gpu]:
        """Returns the GPUs that the settings list, else those visible to this process (``CUDA_VISIBLE_DEVICES``)."""
        found = await self._nvml.gpus()
        if self.settings.gpu_ids is None:
            return gpu_selection.chosen(found, None, os.environ)
        return chosen_gpus(found, self.settings.gpu_ids)

    async def gpu_samples(self, gpus: Sequence[Gpu]) -> Sequence[GpuSample]:
        """Reads the sensors of these GPUs."""
        return await self._nvml.samples(gpus)

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the containers of dead owners; does nothing if the engine is unreachable."""
        with suppress(TrialFailedError):
            async with connected(self.settings) as engine:
                containers = await engine.list_labeled(OWNER)
                found = [_leftover(engine, one, grace_s=self.settings.stop_grace) for one in containers]
                return await leftovers.reap(found, is_dead, study)
        return []

    async def launched_objects(self) -> Sequence[LaunchedObject]:
        """Returns the containers of all runs, also stopped ones."""
        async with connected(self.settings) as engine:
            return [_launched(one) for one in await engine.list_labeled(OWNER)]


def _leftover(engine: Engine, left: LabeledContainer, *, grace_s: float) -> Leftover:
    return Leftover(_launched(left), partial(engine.remove, left.name, grace_s))


def _launched(found: LabeledContainer) -> LaunchedObject:
    return LaunchedObject(
        kind="container",
        name=found.name,
        study=found.labels.get(STUDY, "?"),
        trial=leftovers.trial_number(found.labels.get(TRIAL)),
        owner=found.labels.get(OWNER, "?"),
        runner_ended=found.runner_ended,
    )


class _Start:
    """Startup of a server, from a running container until it is ready."""

    def __init__(
        self, container: Container, address: Address, context: DeployContext, settings: DockerSettings
    ) -> None:
        self._container = container
        self._address = address
        self._context = context
        self._readiness = container.launch.plan.readiness
        self._timeout_s = settings.start_timeout or self._readiness.timeout_s
        self._last_answer = "nothing"

    async def ready_or_port_lost(self) -> Failure | None:
        """Waits until the server is ready.

        Returns:
            None when it is ready; a failure if another process has taken its port.

        Raises:
            TrialFailedError: If the server cannot become ready anymore, with the cause.
        """
        try:
            failure = await until_ready(self._poll, self._wait_for_end, self._timeout_s)
        except TimeoutError:
            tail = self._container.log.tail()
            failure = failures.not_ready(self._timeout_s, self._readiness.path, self._last_answer, tail)
        if failure and failure.cause is not FailureCause.PORT_UNAVAILABLE:
            raise TrialFailedError(failure)
        return failure

    async def _wait_for_end(self) -> Failure:
        return await self._container.wait_for_end(was_ready=False)

    async def _poll(self) -> Failure | None:
        """Polls the readiness path; returns None once the server is ready.

        The engine's proxy accepts connections before the server listens, and drops them; that is not an answer.
        """
        async with http_client(self._address.url, timeout_s=_PROBE_TIMEOUT_S) as client:
            while True:
                status, self._last_answer = await answer(client, self._readiness.path)
                if status == self._readiness.status and self._is_ours():
                    return None
                await anyio.sleep(self._readiness.interval_s)

    def _is_ours(self) -> bool:
        """Whether the answer comes from this container."""
        if not self._container.launch.on_host:  # only the engine listens at a published port
            return True
        return processes.port_conflict(self._container.id, self._address.port) == ""


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrialFailedError(failures.not_written(f"the Hub cache {folder}", error)) from error
