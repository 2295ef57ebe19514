"""A Job that makes a server's pod."""

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
    """How long a server's pod is waited for."""
    return Limits(
        settings.schedule_timeout,
        settings.pull_timeout,
        settings.queue_timeout,
        held=settings.kueue_queue is not None,
    )


class JobServer:
    """One trial's Job. It ends by its own deadline, and nothing stands between it and its pod."""

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
        """Why the Job was not accepted."""
        return refusal(error, f"Job {self.request.name}")

    def watch(self, made: Json, signal: ChangeSignal) -> ControllerWatch:
        """Watches the Job's events."""
        return EventWatch(self._cluster, str(made["metadata"]["uid"]), signal)

    async def confirmed(self) -> None:
        """At once: a Job is not ready, its pod is."""

    def owner(self) -> Json:
        """The Job."""
        if self._made is None:
            raise RuntimeError(f"Job {self.request.name} was not created")
        return self._made

    async def changed(self) -> str:
        """Empty: what a Job's pod runs cannot be changed."""
        return ""

    async def explained(self, failure: Failure) -> Failure:
        """The failure as it is."""
        return failure
