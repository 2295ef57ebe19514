"""The object that makes a server's pod: the one thing that differs between ways to ask a cluster for a server."""

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
    """Such objects know no deadline: each belongs to a Job of the same name that has one."""

    @property
    def singular(self) -> str:
        """For messages."""
        return self.plural.removesuffix("s")

    def path(self, cluster: Cluster, name: str = "") -> str:
        """The path of one object, or of all."""
        return cluster.path(self.plural, name, group=self.group)

    def lease_path(self, cluster: Cluster, name: str) -> str:
        """The path of the Job whose deadline ends an object's server."""
        return cluster.path("jobs", name, group=BATCH)


@dataclass(frozen=True)
class ServerRequest:
    """One server to request from a cluster."""

    plan: LaunchPlan
    name: str
    """The object's, never used before."""
    pod: PodQuery
    port: int
    """Where the server listens in its pod."""
    resources: Mapping[str, str]
    """What the pod requests of a node."""
    lease_s: float | None
    """How long the cluster keeps the server without a heartbeat; None: without a limit that moves."""
    settings: ServerSettings
    nodes: ServerSettings
    """The settings as they choose the server's nodes, with what the platform adds to them."""
    load: ServerSettings
    """The settings as they decide the load generator's pod."""


class ServerObject(Protocol):
    """One trial's object."""

    @property
    def kind(self) -> ObjectKind:
        """What it is to the API."""

    @property
    def steps(self) -> tuple[Phase, ...]:
        """What each server goes through once the object exists, in this order."""

    @property
    def request(self) -> ServerRequest:
        """What to request."""

    async def create(self) -> Json:
        """Creates the object. Raises ``RefusedError``. Called shielded from cancellation."""

    def refused(self, error: RefusedError) -> Failure:
        """Why the object was not accepted."""

    def watch(self, made: Json, signal: ChangeSignal) -> ControllerWatch:
        """Watches the object that was created until its pod exists."""

    async def confirmed(self) -> None:
        """Returns when the platform calls the server ready too. Raises ``TrialFailedError``."""

    def owner(self) -> Json:
        """The object that load generators belong to, so that they go with the server."""

    async def changed(self) -> str:
        """Why the server is not the one that was started any more, though its pod is; empty where it is."""

    async def explained(self, failure: Failure) -> Failure:
        """A removal that failed, with the reason that only the platform knows."""
