"""What every deployer does whose servers run in pods of a cluster, whatever makes the pods.

The promises: the pod that answers is the one we made; its end, that of its node and of the API server are noticed as
news; nothing is left on any path, and what an API server that went away kept is removed before the next launch.
"""

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

import anyio

from autotuner.deployers.kubernetes import deadline, manifests
from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError, connected
from autotuner.deployers.kubernetes.deadline import Heartbeat
from autotuner.deployers.kubernetes.load.job import JobRunner
from autotuner.deployers.kubernetes.pod_lifecycle import ControllerWatch, Limits, is_quota, refusal, remove
from autotuner.deployers.kubernetes.pod_server import PodEndpoint, PodServer
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared.failures import UnusableTargetError
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import GROUP, MANAGED_BY, OWNER, ROLE, STUDY, TRIAL, label_value
from autotuner.manifests.pod import SERVER
from autotuner.plugins.deployer import DeployContext, Deployer, Endpoint
from autotuner.study.failure import Failure, TrialFailedError
from autotuner.study.launch import Gpu, Hardware, LaunchPlan
from autotuner.study.trial import Phase

_REMOVAL_S = 120.0
_AGAIN_S = 1.0
_FRESH_S = 5.0
"""How long a look at the nodes counts: trials that wait for GPUs ask twice a second."""


@dataclass(frozen=True)
class Request:
    """One server as a cluster is asked for it."""

    plan: LaunchPlan
    name: str
    """Of the object, never used before."""
    body: Json
    selector: str
    """Labels of the server's pod, and of no other."""
    container: str
    port: int
    requests: Mapping[str, str]
    """What the pod asks of a node."""
    lease_s: float | None
    """How long the cluster keeps the server without a heartbeat; None: no heartbeat is wanted."""


class PodDeployer(Deployer):
    """Makes one object a trial, which makes one pod."""

    plural: ClassVar[str]
    group: ClassVar[str]
    """Of the object, as in a path: ``jobs`` and ``batch/v1``."""

    least_lease_s: ClassVar[float] = deadline.LEASE_S

    settings: ServerSettings

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(settings)
        self._held = set[str]()
        """Names of the objects that deployments hold now: a sweep leaves them alone."""
        self._leases: bool | None = None
        self._places: tuple[float, Sequence[Gpu]] | None = None

    @abstractmethod
    async def request(self, cluster: Cluster, plan: LaunchPlan, context: DeployContext) -> Request:
        """What to ask for. Raises ``TrialFailedError`` where that is known to be of no use."""

    def trial(self, cluster: Cluster, request: Request, context: DeployContext, log: Log) -> "PodTrial":
        """The trial that asks for it."""
        return PodTrial(self, cluster, request, context, log)

    async def placing(self, cluster: Cluster) -> ServerSettings:
        """The settings as they choose nodes, with what the cluster itself adds to them."""
        return self.settings

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """A ready pod; see :meth:`autotuner.plugins.deployer.Deployer.deploy`."""
        plan = plan.in_container()
        log = Log(context.folder)
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            cluster = await stack.enter_async_context(connected(self.settings))
            await self._sweep(cluster, context.labels.owner)
            request = await self.request(cluster, plan, context)
            context.on_phase(Phase.LAUNCHING)
            trial = self.trial(cluster, request, context, log)
            self._held.add(request.name)
            try:
                yield await trial.started()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._release(trial, context)

    async def _release(self, trial: "PodTrial", context: DeployContext) -> None:
        """Removes everything. Where that fails, it is removed before the next launch."""
        try:
            await trial.remove()
        except TrialFailedError as error:
            context.note(f"{error.failure.message}; it is removed before the next launch")
        finally:
            self._held.discard(trial.request.name)

    async def _sweep(self, cluster: Cluster, owner: str) -> None:
        """Removes what this run left with an API server that went away. Raises when it cannot be asked."""
        try:
            for left in await self._labeled(cluster, f"{OWNER}={label_value(owner)}"):
                if left["metadata"]["name"] not in self._held:
                    await cluster.delete(self.path(cluster, left), uid=left["metadata"]["uid"])
                    await self.released(cluster, left["metadata"]["name"])
        except RefusedError as error:
            raise TrialFailedError(refusal(error, f"a look at our own {self.plural}")) from error

    async def released(self, cluster: Cluster, name: str) -> None:
        """Removes what keeps an object alive beside itself; here it is the object's own deadline."""

    async def lease_s(self, cluster: Cluster) -> float | None:
        """How long the cluster keeps a server without a sign of this process; None where it cannot be told to."""
        if self._leases is None:
            self._leases = await deadline.may_move(cluster)
        return deadline.lease_s(self.settings, self.least_lease_s) if self._leases else None

    def path(self, cluster: Cluster, made: Json) -> str:
        """Of an object."""
        return cluster.path(self.plural, made["metadata"]["name"], group=self.group)

    async def _labeled(self, cluster: Cluster, selector: str) -> list[Json]:
        """The servers' objects that are ours and fit the selector."""
        labels = f"{MANAGED_BY}=autotuner,{ROLE}={SERVER},{selector}"
        found: list[Json] = (await cluster.get(cluster.path(self.plural, group=self.group), labelSelector=labels))[
            "items"
        ]
        return found

    async def hardware(self) -> Hardware:
        """The largest node's. Raises :class:`UnusableTargetError`."""
        try:
            async with connected(self.settings.impatient()) as cluster:
                settings = await self.placing(cluster)
                nodes = await kubernetes_nodes.seen(cluster, settings, gpus=False)
        except TrialFailedError as error:
            raise UnusableTargetError(error.failure, self.kind) from error
        return kubernetes_nodes.hardware(nodes, settings)

    async def gpus(self) -> Sequence[Gpu]:
        """A place for each GPU of the usable nodes; see ``_kube_gpus``."""
        now = time.monotonic()
        if self._places is None or now - self._places[0] > _FRESH_S:
            async with connected(self.settings) as cluster:
                settings = await self.placing(cluster)
                nodes = await kubernetes_nodes.seen(cluster, settings, gpus=True)
            self._places = now, kubernetes_nodes.places(nodes, settings)
        return self._places[1]

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the objects of dead owners, and what belongs to them. Without a cluster there is nothing to be
        found."""
        lines: list[str] = []
        with suppress(TrialFailedError, RefusedError):
            async with connected(self.settings.impatient()) as cluster:
                for left in await self._labeled(cluster, OWNER):
                    metadata = left["metadata"]
                    told = metadata.get("annotations") or {}
                    owner = told.get(OWNER, metadata["labels"][OWNER])
                    of_study = told.get(STUDY, "?")
                    if study in {None, of_study} and is_dead(owner):
                        trial = metadata["labels"].get(TRIAL, "?")
                        kind = self.plural.removesuffix("s")
                        what = f"{kind} {metadata['name']} of study {of_study} trial {trial} (owner {owner})"
                        lines.append(await self._reaped(cluster, left, what))
        return lines

    async def _reaped(self, cluster: Cluster, left: Json, what: str) -> str:
        try:
            with anyio.CancelScope(shield=True):
                path = self.path(cluster, left)
                uid = left["metadata"]["uid"]
                await removed(cluster, path, uid, self.settings.stop_grace)
                await self.released(cluster, left["metadata"]["name"])
        except TrialFailedError as error:
            return f"{what} could not be removed: {error.failure.message}"
        return f"removed {what}"


class PodTrial:
    """One trial's objects in the cluster."""

    steps: ClassVar[tuple[Phase, ...]] = (Phase.SCHEDULED, Phase.LOADING)
    """What every server goes through, in this order, after it was asked for."""

    def __init__(
        self, deployer: PodDeployer, cluster: Cluster, request: Request, context: DeployContext, log: Log
    ) -> None:
        self.cluster = cluster
        self.request = request
        self.settings = deployer.settings
        self._deployer = deployer
        self._context = context
        self._log = log
        self._made: Json | None = None
        self._asked = False
        self._server: PodServer | None = None
        self._stack = AsyncExitStack()

    async def started(self) -> Endpoint:
        """Makes the object and returns when its server is ready. Raises ``TrialFailedError``."""
        made = await self._make()
        settings = self.settings
        request = self.request
        server = PodServer(
            self.cluster,
            settings,
            request.plan,
            self._context,
            self._log,
            selector=request.selector,
            container=request.container,
            maker=lambda news: self.maker(made, news),
            limits=Limits(
                settings.schedule_timeout,
                settings.pull_timeout,
                settings.queue_timeout,
                held=settings.kueue_queue is not None,
            ),
            hopeless=self._hopeless,
            steps=self.steps,
        )
        await self._stack.enter_async_context(server.run)
        self._server = server
        if request.lease_s is not None:
            held = settings.kueue_queue is not None
            beat = Heartbeat(self.cluster, self.lease_path, request.lease_s, lambda: not held or bool(server.run.pod))
            await self._stack.enter_async_context(beat)
        await server.ready()
        await self.confirmed()
        owner = manifests.owner_of(self.owner(made))
        runner = self.load_settings()
        return await self.endpoint(server, self._stack, lambda: JobRunner(self.cluster, runner, owner))

    @property
    def lease_path(self) -> str:
        """Of the Job whose deadline ends the server."""
        return self.cluster.path("jobs", self.request.name, group=BATCH)

    def load_settings(self) -> ServerSettings:
        """The settings as they decide the load generator's pod."""
        return self.settings

    def owner(self, made: Json) -> Json:
        """What load generators belong to, once there is a pod."""
        return made

    def maker(self, made: Json, news: ChangeSignal) -> ControllerWatch:
        """Watches the object that was made until its pod exists."""
        return ControllerWatch(self.cluster, str(made["metadata"]["uid"]), news)

    async def confirmed(self) -> None:
        """Returns when whatever made the pod takes it for ready too. Raises ``TrialFailedError``."""

    async def endpoint(self, server: PodServer, stack: AsyncExitStack, job: Callable[[], JobRunner]) -> PodEndpoint:
        """The ready server."""
        return await PodEndpoint.of(server, stack, self.request.port, job)

    async def _make(self) -> Json:
        """The object; a quota of such objects that is used up is waited for."""
        until = time.monotonic() + self.settings.queue_timeout
        waits = False
        while True:
            try:
                made = await self._create()
            except RefusedError as error:
                failure = self.refused(error)
                if not is_quota(error) or time.monotonic() > until:
                    raise TrialFailedError(failure) from error
                if not waits:
                    self._context.on_phase(Phase.QUEUED)
                    self._context.note(f"waiting: {failure.message}")
                waits = True
                await anyio.sleep(_AGAIN_S)
                continue
            if waits:
                self._context.on_phase(Phase.LAUNCHING)
            return made

    async def _create(self) -> Json:
        """Shielded: what a call that was cut off makes, nobody would remove. Raises ``RefusedError``."""
        path = self.cluster.path(self._deployer.plural, group=self._deployer.group)
        with anyio.CancelScope(shield=True):
            self._asked = True
            try:
                made = self._made = await self.cluster.create(path, self.request.body)
            except RefusedError:
                self._asked = False
                raise
        return made

    def refused(self, error: RefusedError) -> Failure:
        """Why the object was not taken."""
        return refusal(error, f"{self.request.body['kind']} {self.request.name}")

    async def _hopeless(self, why: str) -> str:
        """Why waiting for a node is of no use."""
        if "persistentvolumeclaim" in why and "not found" in why:
            return why
        if self.settings.gpus:
            return ""
        try:
            settings = await self._deployer.placing(self.cluster)
            nodes = await kubernetes_nodes.look(self.cluster, settings, gpus=False)
        except TrialFailedError:
            return ""
        return kubernetes_nodes.never_fits(nodes, self.request.requests)

    async def remove(self) -> None:
        """Removes everything; to be called shielded. Raises ``TrialFailedError`` with what stays."""
        path = self.cluster.path(self._deployer.plural, self.request.name, group=self._deployer.group)
        uid = self._made["metadata"]["uid"] if self._made else None
        try:
            if self._asked:
                await self.removed(path, uid)
            if self._server:
                await self._server.drained()
        finally:
            if self._server:
                await self._server.unfollowed()
            await self._stack.aclose()

    async def removed(self, path: str, uid: str | None) -> None:
        """Removes the object with all that belongs to it. Raises ``TrialFailedError``."""
        await removed(self.cluster, path, uid, self.settings.stop_grace)


async def removed(cluster: Cluster, path: str, uid: str | None, grace_s: float) -> None:
    """Deletes what makes a server, and returns when it and all pods of server and load are gone."""
    selector = f"{GROUP}={path.rpartition('/')[2]}"
    async with ResourceWatch(cluster, cluster.path("pods"), labels=selector) as pods:
        await remove(cluster, path, uid, pods, grace_s + _REMOVAL_S)
