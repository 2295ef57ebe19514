"""Job that makes a server's pod."""

from autotuner.deployers.kubernetes import trial_objects
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.controller_watch import ControllerWatch, EventWatch
from autotuner.deployers.kubernetes.pods.lifecycle import Limits, PodQuery
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind, ServerRequest
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.kubernetes.settings import KubernetesSettings, ServerSettings
from autotuner.deployers.kubernetes.trial_objects import LONGEST_S, ServerJob
from autotuner.deployers.kubernetes.watch import ChangeSignal
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import INSTANCE
from autotuner.manifests.pod import SERVER
from autotuner.study.failure import Failure
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.trial import Phase

JOBS = ObjectKind("jobs", BATCH)


def limits_of(settings: ServerSettings) -> Limits:
    """Returns how long to wait for a server's pod."""
    return Limits(
        settings.schedule_timeout,
        settings.pull_timeout,
        settings.queue_timeout,
        held=settings.kueue_queue is not None,
    )


class JobServer:
    """The Job of one trial. It has a deadline of its own, and makes its pod without an operator."""

    kind: ObjectKind = JOBS
    steps: tuple[Phase, ...] = (Phase.SCHEDULED, Phase.LOADING)

    def __init__(
        self,
        cluster: Cluster,
        settings: KubernetesSettings,
        plan: LaunchPlan,
        labels: Labels,
        *,
        image: str,
        lease_s: float | None,
    ) -> None:
        self._cluster = cluster
        self._made: Json | None = None
        name = trial_objects.unique_name(labels.study, labels.trial)
        job = ServerJob(plan, settings, image, name, labels, lease_s or LONGEST_S)
        self._body = job.job()
        self.request = ServerRequest(
            plan=plan,
            name=name,
            pod=PodQuery(f"{INSTANCE}={name}", SERVER, limits_of(settings)),
            port=settings.container_port,
            resources=job.resources()["requests"],
            lease_s=lease_s,
            settings=settings,
            nodes=settings,
            load=settings,
        )

    async def create(self) -> Json:
        """Creates the Job. Raises ``RefusedError``."""
        self._made = await self._cluster.create(self.kind.path(self._cluster), self._body)
        return self._made

    def refused(self, error: RefusedError) -> Failure:
        """Returns why the Job was not accepted."""
        return refusal(error, f"Job {self.request.name}")

    def watch(self, made: Json, signal: ChangeSignal) -> ControllerWatch:
        """Watches the Job's events."""
        return EventWatch(self._cluster, str(made["metadata"]["uid"]), signal)

    async def confirmed(self) -> None:
        """Returns at once: readiness is a property of the pod, not of the Job."""

    def owner(self) -> Json:
        """Returns the created Job."""
        if self._made is None:
            raise RuntimeError(f"Job {self.request.name} was not created")
        return self._made

    async def changed(self) -> str:
        """Returns an empty text: the pod template of a Job is immutable."""
        return ""

    async def explained(self, failure: Failure) -> Failure:
        """Returns the failure unchanged."""
        return failure
