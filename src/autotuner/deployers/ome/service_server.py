"""InferenceService that makes a server's pod."""

import time
from contextlib import suppress

import anyio
import httpx

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.controller_watch import ControllerWatch
from autotuner.deployers.kubernetes.pods.job_server import limits_of
from autotuner.deployers.kubernetes.pods.lifecycle import PodQuery
from autotuner.deployers.kubernetes.pods.removal import release_lease
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind, ServerRequest
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.kubernetes.trial_objects import lease_job
from autotuner.deployers.kubernetes.watch import ChangeSignal
from autotuner.deployers.ome import scheduling
from autotuner.deployers.ome.resources import APPS, SERVICE_LABEL, SERVICES, find_model, find_runtime
from autotuner.deployers.ome.service_watch import ServiceWatch
from autotuner.deployers.ome.trial_service import ServiceLaunch
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.ome_command_line import CONTAINER, OME
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.trial import Phase

INFERENCE_SERVICES = ObjectKind(SERVICES, OME, has_lease_job=True)
_READY_S = 60.0
"""How long after its pod a service may take to become ready."""
_LOOK_S = 1.0


class ServiceServer:
    """The InferenceService of one trial."""

    kind: ObjectKind = INFERENCE_SERVICES
    steps: tuple[Phase, ...] = (Phase.ACCEPTED, Phase.SCHEDULED, Phase.LOADING)

    def __init__(self, cluster: Cluster, launch: ServiceLaunch, lease_s: float | None) -> None:
        settings = launch.settings
        self.cluster = cluster
        self._launch = launch
        self._body = launch.body()
        self._watch: ServiceWatch | None = None
        self._deployment: Json | None = None
        self.uid = ""
        """Uid of the service; empty until it is created."""
        self.request = ServerRequest(
            plan=launch.plan,
            name=launch.name,
            pod=PodQuery(f"{SERVICE_LABEL}={launch.name},component=engine", CONTAINER, limits_of(settings)),
            port=launch.port,
            resources=launch.resources()["requests"],
            lease_s=lease_s,
            settings=settings,
            nodes=scheduling.placing(settings, launch.runtime, launch.model),
            # The load generator tolerates what the runtime's servers tolerate, since those nodes are available to it.
            load=scheduling.placing(settings, launch.runtime, None),
        )

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.request.name

    async def create(self) -> Json:
        """Creates the service, owned by a Job that ends with this process, since OME's Deployments have no deadline.

        Raises ``RefusedError``.
        """
        body = self._body
        if (lease := await self._lease()) is not None:
            owner = {"apiVersion": BATCH, "kind": "Job", "name": self.name, "uid": lease["metadata"]["uid"]}
            body = {**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}}
        try:
            made = await self.cluster.create(self.kind.path(self.cluster), body)
        except RefusedError:
            await release_lease(self.cluster, self.kind, self.name)
            raise
        self.uid = str(made["metadata"]["uid"])
        return made

    async def _lease(self) -> Json | None:
        """Creates the lease Job; None if that is not allowed: the service then stays until it is removed."""
        if self.request.lease_s is None:
            return None
        with suppress(RefusedError):
            body = lease_job(self._launch.labels, self.name, self.request.lease_s)
            return await self.cluster.create(self.cluster.path("jobs", group=BATCH), body)
        return None

    def refused(self, error: RefusedError) -> Failure:
        """Returns why the service was not accepted: OME's webhook, the schema, or a missing permission."""
        message = f"InferenceService was refused: {error.message}"
        if error.code == httpx.codes.FORBIDDEN and failure_phrases.WEBHOOK_DENIED.found_in(error.message):
            missing = failure_phrases.MODEL_UNRESOLVED.found_in(error.message)
            cause = FailureCause.MODEL_MISSING if missing else FailureCause.NOT_ACCEPTED
            return Failure(cause=cause, message=message, remedy="correct model, deploy.runtime or deploy.namespace")
        if error.code in {httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST}:
            remedy = "correct the settings under deploy that it names"
            return Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy)
        return refusal(error, f"InferenceService {self.name}")

    def watch(self, made: Json, signal: ChangeSignal) -> ControllerWatch:
        """Watches the service, its Deployment and its events."""
        self._watch = ServiceWatch(self.cluster, made, self._launch.settings, signal)
        return self._watch

    async def confirmed(self) -> None:
        """Returns once the service reports that it is ready.

        Its pod is ready, so OME is at fault if the service does not become ready within a minute. Raises
        ``TrialFailedError``.
        """
        until = time.monotonic() + _READY_S
        watch = self._watch
        if watch is None:
            raise RuntimeError(f"InferenceService {self.name} is not watched")
        while True:
            seen = watch.signal.count
            why = watch.unready()
            if not why:
                self._deployment = watch.deployment
                return
            if lost := next((w.lost for w in watch.watches if w.lost), None):
                raise TrialFailedError(lost)
            if time.monotonic() > until:
                message = f"the pod is ready, but the InferenceService is not after {_READY_S:g} s: {why}"
                raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=watch.lag_hint)
            with anyio.move_on_after(_LOOK_S):
                await watch.signal.after(seen)

    @property
    def deployment(self) -> Json:
        """The service's Deployment at the time when the service became ready."""
        if self._deployment is None:
            raise RuntimeError(f"InferenceService {self.name} was not confirmed")
        return self._deployment

    def owner(self) -> Json:
        """Returns the Deployment: Kueue admits objects that it owns, but does not know the service."""
        return {**self.deployment, "apiVersion": APPS, "kind": "Deployment"}

    async def changed(self) -> str:
        """Returns what was changed, Deployment or runtime: OME rolls out any change at once. Empty if nothing was."""
        before = self.deployment["metadata"]
        path = self.cluster.path("deployments", before["name"], group=APPS)
        deployment = await self.cluster.find(path)
        if not deployment or deployment["metadata"].get("generation") != before.get("generation"):
            return "its Deployment was changed"
        runtime = await find_runtime(self.cluster, self._launch.runtime.name)
        if not runtime or runtime.version != self._launch.runtime.version:
            return f"runtime {self._launch.runtime.name} was changed"
        return ""

    async def explained(self, failure: Failure) -> Failure:
        """Adds the reason to a failed removal: OME's webhook refuses to remove the finalizer without the model."""
        name = self._launch.model.name
        try:
            model = await find_model(self.cluster, name)
        except (RefusedError, TrialFailedError):
            return failure
        if model is not None:
            return failure
        why = f"model {name} was deleted, and OME's webhook refuses to remove a service without its model"
        message = f"{failure.message}; {why}"
        remedy = "create the model again, and delete it once the service is gone"
        return failure.model_copy(update={"message": message, "remedy": remedy})
