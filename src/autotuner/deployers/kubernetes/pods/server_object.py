"""Interface of the object that makes a server's pod, in which deployers to a cluster differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.controller_watch import ControllerWatch
from autotuner.deployers.kubernetes.pods.lifecycle import PodQuery
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.kubernetes.watch import ChangeSignal
from autotuner.manifests.kubernetes import BATCH
from autotuner.study.failure import Failure
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object that makes server pods, as the API names it."""

    plural: str
    """As in a path, e.g. ``jobs``."""
    group: str
    """API group and version, e.g. ``batch/v1``."""
    has_lease_job: bool = False
    """Whether each object is owned by a Job of the same name, because the kind has no deadline of its own."""

    @property
    def singular(self) -> str:
        """For messages."""
        return self.plural.removesuffix("s")

    def path(self, cluster: Cluster, name: str = "") -> str:
        """Returns the API path of one object, or of all."""
        return cluster.path(self.plural, name, group=self.group)

    def lease_path(self, cluster: Cluster, name: str) -> str:
        """Returns the API path of the Job whose deadline ends an object's server."""
        return cluster.path("jobs", name, group=BATCH)


@dataclass(frozen=True)
class ServerRequest:
    """One server to request from a cluster."""

    plan: LaunchPlan
    name: str
    """Unique name of the object."""
    pod: PodQuery
    port: int
    """Where the server listens in its pod."""
    resources: Mapping[str, str]
    """Resource requests of the pod."""
    lease_s: float | None
    """How long the cluster keeps the server without a heartbeat, in seconds; None: there is no heartbeat."""
    settings: ServerSettings
    nodes: ServerSettings
    """Settings that select the server's nodes, including what the platform adds."""
    load: ServerSettings
    """Settings of the load generator's pod."""


class ServerObject(Protocol):
    """The object that makes the server's pod of one trial."""

    @property
    def kind(self) -> ObjectKind:
        """Kind of the object."""

    @property
    def steps(self) -> tuple[Phase, ...]:
        """Phases that each server passes once the object exists, in this order."""

    @property
    def request(self) -> ServerRequest:
        """The server to request."""

    async def create(self) -> Json:
        """Creates the object. Raises ``RefusedError``. Called shielded from cancellation."""

    def refused(self, error: RefusedError) -> Failure:
        """Returns why the object was not accepted."""

    def watch(self, made: Json, signal: ChangeSignal) -> ControllerWatch:
        """Watches the object that was created until its pod exists."""

    async def confirmed(self) -> None:
        """Returns once the platform reports that the server is ready too. Raises ``TrialFailedError``."""

    def owner(self) -> Json:
        """Returns the object that owns load generators, so that they are removed with the server."""

    async def changed(self) -> str:
        """Returns why the server is no longer the one that was started, although its pod is; empty if it is."""

    async def explained(self, failure: Failure) -> Failure:
        """Adds the platform's own reason to a removal that failed."""
