"""One trial's InferenceService: made, followed until OME and its pod say that it is ready, and removed.

What OME says of a service is late, and often not what one thinks: a healthy one emits warnings in its first second, an
unhealthy one may say nothing at all. So it counts what is there: a Deployment that belongs to the service, a pod that
is ready, and in the end the service's own word.
"""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import ClassVar

import anyio
import httpx

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.load.job import JobRunner
from autotuner.deployers.kubernetes.manifests import lease_job
from autotuner.deployers.kubernetes.pod_deployer import PodDeployer, PodTrial, Request
from autotuner.deployers.kubernetes.pod_lifecycle import ControllerWatch
from autotuner.deployers.kubernetes.pod_server import PodEndpoint, PodServer
from autotuner.deployers.kubernetes.pod_status import StartFailure, condition, not_made, one_line
from autotuner.deployers.kubernetes.settings import OmeSettings, ServerSettings
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.ome.resources import (
    SERVICE_LABEL,
    SERVICES,
    OmeResource,
    ServiceEndpoint,
    find_model,
    find_runtime,
)
from autotuner.deployers.ome.scheduling import placing
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.ome_command_line import CONTAINER, OME
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Identity
from autotuner.study.trial import Phase

APPS = "apps/v1"
_FATAL_EVENTS = frozenset(
    {
        "RuntimeValidationError", "ModelReconcileError", "RuntimeSelectionError", "RuntimeFetchError",
        "MergeSpecsError", "DeploymentModeError", "AcceleratorClassError", "ServerlessModeRejected",
    }
)  # fmt: skip
"""OME stops at these; but right after a model or runtime was made its cache lags, so that they count after a while."""
_OF_THE_MODEL = "ModelReconcileError"
_EVENT_COUNTS_S = 15.0
_SAYS_SO_S = 60.0
"""How long after its pod a service has to call itself ready."""
_LOOK_S = 1.0
_DENIED = "denied the request"


class ServiceWatch(ControllerWatch):
    """Watches a service, its Deployment and its events until its pod exists."""

    def __init__(self, cluster: Cluster, made: Json, settings: OmeSettings, news: ChangeSignal) -> None:
        self.uid = str(made["metadata"]["uid"])
        name = str(made["metadata"]["name"])
        super().__init__(cluster, self.uid, news)
        self._accept_s = settings.accept_timeout
        self.service = ResourceWatch(
            cluster, cluster.path(SERVICES, group=OME), fields=f"metadata.name={name}", news=news
        )
        self.deployments = ResourceWatch(
            cluster, cluster.path("deployments", group=APPS), labels=f"{SERVICE_LABEL}={name}", news=news
        )
        self._since = time.monotonic()
        self.lag_hint = f"see the log of ome-controller-manager in namespace {settings.ome_namespace}"

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """Events, service, Deployment."""
        return (*super().watches, self.service, self.deployments)

    @property
    def deployment(self) -> Json | None:
        """The one that OME made of this very service."""
        for found in self.deployments.objects.values():
            if any(owner.get("uid") == self.uid for owner in found["metadata"].get("ownerReferences") or ()):
                return found
        return None

    @property
    def accepted(self) -> bool:
        """Whether OME made a Deployment of it."""
        return self.deployment is not None

    def trouble(self) -> StartFailure | None:
        """Why there is no pod."""
        waited_s = time.monotonic() - self._since
        deployment = self.deployment
        if deployment is not None:
            failure = condition(deployment.get("status") or {}, "ReplicaFailure")
            if failure.get("status") == "True":
                return not_made(one_line(failure.get("message")), CONTAINER)
            return None
        if told := self._told():
            return StartFailure(told, passing=waited_s < _EVENT_COUNTS_S)
        if waited_s < self._accept_s:
            return None
        message = f"OME made nothing of InferenceService in {self._accept_s:g} s, and gave no reason"
        remedy = f"its controller is down, or could not build the pod: {self.lag_hint}"
        return StartFailure(Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy))

    def _told(self) -> Failure | None:
        """OME's own reason."""
        for event in self.events:
            reason = str(event.get("reason"))
            why = one_line(event.get("message"))
            if reason in _FATAL_EVENTS:
                cause = FailureCause.MODEL_MISSING if reason == _OF_THE_MODEL else FailureCause.NOT_ACCEPTED
                remedy = "correct model, deploy.runtime or deploy.namespace; autotuner doctor tells more"
                return Failure(cause=cause, message=f"OME refuses the service ({reason}): {why}", remedy=remedy)
        return None

    def unready(self) -> str:
        """Why the service as a whole is not ready, though its pod may be; empty where it is."""
        service = next(iter(self.service.objects.values()), None)
        if service is None:
            return "it is gone"
        deployment = self.deployment
        if deployment is None:
            return "it has no Deployment"
        status = deployment.get("status") or {}
        wanted = int(deployment["spec"].get("replicas", 1))
        if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
            return "its Deployment is being changed"
        if not wanted == int(status.get("updatedReplicas", 0)) == int(status.get("availableReplicas", 0)):
            return f"its Deployment has {status.get('availableReplicas', 0)} of {wanted} replicas available"
        for kind in ("EngineReady", "Ready"):
            found = condition(service.get("status") or {}, kind)
            if found.get("status") != "True":
                why = found.get("message") or found.get("reason") or "no word of it"
                return f"{kind} is {found.get('status', 'missing')} ({why})"
        return ""


@dataclass(frozen=True)
class ServiceRequest(Request):
    """A service as OME is asked for it."""

    runtime: OmeResource
    model: OmeResource


class OmeTrial(PodTrial):
    """One trial's service."""

    steps: ClassVar[tuple[Phase, ...]] = (Phase.ACCEPTED, *PodTrial.steps)
    settings: OmeSettings
    request: ServiceRequest

    def __init__(
        self, deployer: PodDeployer, cluster: Cluster, request: ServiceRequest, context: DeployContext, log: Log
    ) -> None:
        super().__init__(deployer, cluster, request, context, log)
        self._maker: ServiceWatch | None = None

    def maker(self, made: Json, news: ChangeSignal) -> ControllerWatch:
        """Watches the service until its pod exists."""
        self._maker = ServiceWatch(self.cluster, made, self.settings, news)
        return self._maker

    @property
    def service(self) -> ServiceWatch:
        """The service that was made."""
        assert self._maker is not None  # noqa: S101 - made before anything is waited for
        return self._maker

    async def confirmed(self) -> None:
        """Returns when the service says that it is ready. Its pod is, so that a service that does not say so after a
        while is OME's trouble."""
        until = time.monotonic() + _SAYS_SO_S
        maker = self.service
        while why := maker.unready():
            if lost := next((w.lost for w in maker.watches if w.lost), None):
                raise TrialFailedError(lost)
            if time.monotonic() > until:
                message = f"the pod is ready, and the InferenceService is not after {_SAYS_SO_S:g} s: {why}"
                raise TrialFailedError(Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=maker.lag_hint))
            seen = maker.service.news.count
            with anyio.move_on_after(_LOOK_S):
                await maker.service.news.after(seen)

    async def _create(self) -> Json:
        """The service, owned by a Job that ends with this process: OME's Deployments know no deadline."""
        lease = await self._lease()
        if lease is not None:
            owner = {"apiVersion": BATCH, "kind": "Job", "name": self.request.name, "uid": lease["metadata"]["uid"]}
            self.request.body["metadata"]["ownerReferences"] = [owner]
        try:
            return await super()._create()
        except RefusedError:
            with anyio.CancelScope(shield=True):
                await self._deployer.released(self.cluster, self.request.name)
            raise

    async def _lease(self) -> Json | None:
        """The Job; None where it may not be made: the service then stays until it is removed."""
        if self.request.lease_s is None:
            return None
        body = lease_job(self._context.labels, self.request.name, self.request.lease_s)
        made: Json | None = None
        with anyio.CancelScope(shield=True), suppress(RefusedError):
            made = await self.cluster.create(self.cluster.path("jobs", group=BATCH), body)
        return made

    def load_settings(self) -> ServerSettings:
        """With the runtime's tolerations: the nodes are those that it was written for."""
        return placing(self.settings, self.request.runtime, None)

    def owner(self, made: Json) -> Json:
        """The Deployment: Kueue knows it, and takes what belongs to it with it, but does not know the service."""
        deployment = self.service.deployment
        assert deployment is not None  # noqa: S101 - the service is ready
        return {**deployment, "apiVersion": APPS, "kind": "Deployment"}

    async def endpoint(self, server: PodServer, stack: AsyncExitStack, job: Callable[[], JobRunner]) -> PodEndpoint:
        """The ready server, with what must not change while it is measured."""
        found = await OmeEndpoint.of(server, stack, self.request.port, job)
        deployment = self.service.deployment
        assert deployment is not None  # noqa: S101 - the service is ready
        found.watch(self.cluster, self.request.name, self.service.uid, deployment, self.request.runtime)
        return found

    def refused(self, error: RefusedError) -> Failure:
        """Why the service was not taken: OME's webhook, the schema, or a missing right."""
        message = f"InferenceService was refused: {error.message}"
        if error.code == httpx.codes.FORBIDDEN and _DENIED in error.message:
            missing = "not found" in error.message or "failed to resolve model" in error.message
            cause = FailureCause.MODEL_MISSING if missing else FailureCause.NOT_ACCEPTED
            return Failure(cause=cause, message=message, remedy="correct model, deploy.runtime or deploy.namespace")
        if error.code in {httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST}:
            return Failure(
                cause=FailureCause.NOT_ACCEPTED,
                message=message,
                remedy="correct the settings under deploy that it names",
            )
        return super().refused(error)

    async def removed(self, path: str, uid: str | None) -> None:
        """Removes the service. One that stays is said to stay, with why."""
        try:
            await super().removed(path, uid)
        except TrialFailedError as error:
            raise TrialFailedError(await self._with_reason(error.failure)) from error
        finally:
            await self._deployer.released(self.cluster, self.request.name)

    async def _with_reason(self, failure: Failure) -> Failure:
        """Its finalizer goes through OME's webhook, which refuses it without the model."""
        name = self.request.model.name
        try:
            model = await find_model(self.cluster, name)
        except (RefusedError, TrialFailedError):
            return failure
        if model is None:
            why = f"model {name} was deleted, and OME's webhook lets no service go without its model"
            message = f"{failure.message}; {why}"
            remedy = "make the model again, and delete it later"
            return failure.model_copy(update={"message": message, "remedy": remedy})
        return failure


class OmeEndpoint(PodEndpoint, ServiceEndpoint):
    """A ready server of an InferenceService."""

    def watch(self, cluster: Cluster, service: str, uid: str, deployment: Json, runtime: OmeResource) -> None:
        """What must stay as it is."""
        self.cluster = cluster
        self.service = service
        self.service_uid = uid
        self._deployment = str(deployment["metadata"]["name"])
        self._generation = deployment["metadata"].get("generation")
        self._runtime = runtime

    async def identity(self) -> Identity:
        """The pod's, if Deployment and runtime are as they were: OME rolls a change of either out at once."""
        found = await super().identity()
        try:
            deployment = await self.cluster.find(self.cluster.path("deployments", self._deployment, group=APPS))
            runtime = await find_runtime(self.cluster, self._runtime.name)
        except RefusedError as error:
            raise self._changed(error.message) from error
        if not deployment or deployment["metadata"].get("generation") != self._generation:
            raise self._changed("its Deployment was changed")
        if not runtime or runtime.version != self._runtime.version:
            raise self._changed(f"runtime {self._runtime.name} was changed")
        return found
