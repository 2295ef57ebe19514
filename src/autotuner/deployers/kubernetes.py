"""Servers in pods of a Kubernetes cluster, without any operator: one Job a trial.

The promises: the pod that answers is the one we made; its end, that of its node and of the API server are noticed as
news; nothing is left on any path, and what an API server that went away kept is removed before the next launch.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import ClassVar

import anyio
from pydantic import BaseModel

from autotuner.deployers import _kube_gpus, _kube_manifests, _kube_models, _kube_preflight
from autotuner.deployers._failures import UnusableTargetError, failed
from autotuner.deployers._kube_client import Cluster, Json, RefusedError, connected
from autotuner.deployers._kube_jobs import JobRunner
from autotuner.deployers._kube_manifests import (
    BATCH,
    GROUP,
    INSTANCE,
    MANAGED_BY,
    OWNER,
    ROLE,
    SERVER,
    STUDY,
    TRIAL,
    Launch,
)
from autotuner.deployers._kube_run import Limits, refusal, remove
from autotuner.deployers._kube_server import PodEndpoint, PodServer
from autotuner.deployers._kube_settings import KubernetesSettings
from autotuner.deployers._kube_watch import Watched
from autotuner.deployers._server_log import Log
from autotuner.seams.deployer import DeployContext, Deployer, Endpoint
from autotuner.study.errors import Check
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Hardware, LaunchPlan
from autotuner.study.spec import Model
from autotuner.study.trial import Phase

_QUICK_S = 5.0
"""Patience before a study has begun: a person waits."""
_REMOVAL_S = 120.0
_FRESH_S = 5.0
"""How long a look at the nodes counts: trials that wait for GPUs ask twice a second."""
_ACTIVE: set[str] = set()
"""Names of the Jobs that deployments of this process hold now; an owner lives in one process."""


class KubernetesDeployer(Deployer):
    """Starts each server in a pod of its own."""

    kind: ClassVar[str] = "kubernetes"
    Settings: ClassVar[type[BaseModel]] = KubernetesSettings

    settings: KubernetesSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._places: tuple[float, Sequence[Gpu]] | None = None

    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """A ready pod; see :meth:`autotuner.seams.deployer.Deployer.deploy`."""
        return self._deploy(plan, context)

    @asynccontextmanager
    async def _deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        log = Log(context.folder)
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            launch = self._launch(plan, context)
            cluster = await stack.enter_async_context(connected(self.settings))
            await self._sweep(cluster, context.labels.owner)
            context.on_phase(Phase.LAUNCHING)
            trial = _Trial(cluster, launch, self.settings, context, log)
            _ACTIVE.add(launch.name)
            try:
                yield await trial.started()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._release(trial, context)

    async def _release(self, trial: "_Trial", context: DeployContext) -> None:
        """Removes everything. Where that fails, it is removed before the next launch."""
        try:
            await trial.remove()
        except TrialFailedError as error:
            context.note(f"{error.failure.message}; it is removed before the next launch")
        finally:
            _ACTIVE.discard(trial.launch.name)

    async def _sweep(self, cluster: Cluster, owner: str) -> None:
        """Removes what this run left with an API server that went away. Raises when it cannot be asked."""
        try:
            for left in await _labelled(cluster, f"{OWNER}={_kube_manifests.label_value(owner)}"):
                if left["metadata"]["name"] not in _ACTIVE:
                    await cluster.delete(_path(cluster, left), uid=left["metadata"]["uid"])
        except RefusedError as error:
            raise TrialFailedError(refusal(error, "a look at our own Jobs")) from error

    def _launch(self, plan: LaunchPlan, context: DeployContext) -> Launch:
        image = self.image(plan)
        if image is None:
            raise failed(FailureCause.IMAGE_MISSING, "the engine names no image", "set deploy.image")
        for file in plan.needs_files:
            if why := _kube_models.missing(file, self.settings):
                raise failed(
                    FailureCause.MODEL_MISSING, f"{file} {why}", "list a folder above it in deploy.model_roots"
                )
        name = _kube_manifests.unique_name(context.labels.study, context.labels.trial)
        return Launch(plan, self.settings, image, name, context.labels)

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """API server, rights, namespace, nodes, volumes, quotas, and what admission says; nothing is made."""
        try:
            async with connected(self._impatient()) as cluster:
                return await _kube_preflight.checks(cluster, list(plans), self.settings)
        except TrialFailedError as error:
            return [_kube_preflight.unreachable(error.failure)]

    def _impatient(self) -> KubernetesSettings:
        patience = min(self.settings.api_patience, _QUICK_S)
        return self.settings.model_copy(update={"api_patience": patience})

    async def hardware(self) -> Hardware:
        """The largest node's. Raises :class:`UnusableTargetError`."""
        try:
            async with connected(self._impatient()) as cluster:
                try:
                    nodes = await _kube_gpus.look(cluster, self.settings, gpus=False)
                except TrialFailedError:
                    if self.settings.gpus is None:
                        raise
                    nodes = _kube_gpus.Nodes()
        except TrialFailedError as error:
            raise UnusableTargetError(error.failure) from error
        return _kube_gpus.hardware(nodes, self.settings)

    async def locate(self, model: Model) -> Model:
        """The model as pods find it: in the volume, under a root, or a hub's name."""
        return _kube_models.locate(model, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image, else the engine's, with its tag."""
        return self.settings.image_name(plan.image)

    async def gpus(self) -> Sequence[Gpu]:
        """A place for each GPU of the usable nodes; see ``_kube_gpus``."""
        now = time.monotonic()
        if self._places is None or now - self._places[0] > _FRESH_S:
            async with connected(self.settings) as cluster:
                nodes = await _kube_gpus.look(cluster, self.settings, gpus=True)
            self._places = now, _kube_gpus.places(nodes, self.settings)
        return self._places[1]

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the Jobs of dead owners, and what belongs to them. Without a cluster there is nothing to be found."""
        lines: list[str] = []
        with suppress(TrialFailedError, RefusedError):
            async with connected(self._impatient()) as cluster:
                for left in await _labelled(cluster, OWNER):
                    metadata = left["metadata"]
                    told = metadata.get("annotations") or {}
                    owner, of_study = told.get(OWNER, metadata["labels"][OWNER]), told.get(STUDY, "?")
                    if study in {None, of_study} and is_dead(owner):
                        trial = metadata["labels"].get(TRIAL, "?")
                        what = f"job {metadata['name']} of study {of_study} trial {trial} (owner {owner})"
                        lines.append(await _reaped(cluster, left, what, self.settings.stop_grace))
        return lines


class _Trial:
    """One trial's objects in the cluster."""

    def __init__(
        self, cluster: Cluster, launch: Launch, settings: KubernetesSettings, context: DeployContext, log: Log
    ) -> None:
        self._cluster, self.launch, self._settings, self._context, self._log = cluster, launch, settings, context, log
        self._made: Json | None = None
        self._asked = False
        self._server: PodServer | None = None
        self._stack = AsyncExitStack()

    async def started(self) -> Endpoint:
        """Makes the Job and returns when its server is ready. Raises ``TrialFailedError``."""
        made = await self._make()
        settings = self._settings
        limits = Limits(
            schedule_s=settings.schedule_timeout,
            pull_s=settings.pull_timeout,
            held=settings.kueue_queue is not None,
        )
        server = PodServer(
            self._cluster,
            settings,
            self.launch.plan,
            self._context,
            self._log,
            selector=f"{INSTANCE}={self.launch.name}",
            container=SERVER,
            made_by=made["metadata"]["uid"],
            limits=limits,
            hopeless=self._hopeless,
        )
        await self._stack.enter_async_context(server.run)
        self._server = server
        await server.ready()
        owner = _kube_manifests.owner_of(made)

        def job() -> JobRunner:
            return JobRunner(self._cluster, settings, owner)

        return await PodEndpoint.of(server, self._stack, settings.container_port, job)

    async def _make(self) -> Json:
        """Shielded: what a call that was cut off makes, nobody would remove."""
        with anyio.CancelScope(shield=True):
            self._asked = True
            try:
                path = self._cluster.path("jobs", group=BATCH)
                made = self._made = await self._cluster.create(path, self.launch.job())
            except RefusedError as error:
                self._asked = False
                raise TrialFailedError(refusal(error, f"job {self.launch.name}")) from error
        return made

    async def _hopeless(self, why: str) -> str:
        """Why waiting for a node is of no use."""
        if "persistentvolumeclaim" in why and "not found" in why:
            return why
        if self._settings.gpus:
            return ""
        try:
            nodes = await _kube_gpus.look(self._cluster, self._settings, gpus=False)
        except TrialFailedError:
            return ""
        return _kube_gpus.never_fits(nodes, self.launch.resources()["requests"])

    async def remove(self) -> None:
        """Removes everything; to be called shielded. Raises ``TrialFailedError`` with what stays."""
        path = self._cluster.path("jobs", self.launch.name, group=BATCH)
        uid = self._made["metadata"]["uid"] if self._made else None
        try:
            if self._asked:
                await _removed(self._cluster, path, uid, self._settings.stop_grace)
            if self._server:
                await self._server.drained()
        finally:
            if self._server:
                await self._server.unfollowed()
            await self._stack.aclose()


async def _labelled(cluster: Cluster, selector: str) -> list[Json]:
    """The servers' Jobs that are ours and fit the selector."""
    labels = f"{MANAGED_BY}=autotuner,{ROLE}={SERVER},{selector}"
    found: list[Json] = (await cluster.get(cluster.path("jobs", group=BATCH), labelSelector=labels))["items"]
    return found


def _path(cluster: Cluster, job: Json) -> str:
    return cluster.path("jobs", job["metadata"]["name"], group=BATCH)


async def _removed(cluster: Cluster, path: str, uid: str | None, grace_s: float) -> None:
    """Deletes a server's Job, and returns when it and all pods of server and load are gone."""
    selector = f"{GROUP}={path.rpartition('/')[2]}"
    async with Watched(cluster, cluster.path("pods"), labels=selector) as pods:
        await remove(cluster, path, uid, pods, grace_s + _REMOVAL_S)


async def _reaped(cluster: Cluster, job: Json, what: str, grace_s: float) -> str:
    try:
        with anyio.CancelScope(shield=True):
            await _removed(cluster, _path(cluster, job), job["metadata"]["uid"], grace_s)
    except TrialFailedError as error:
        return f"{what} could not be removed: {error.failure.message}"
    return f"removed {what}"
