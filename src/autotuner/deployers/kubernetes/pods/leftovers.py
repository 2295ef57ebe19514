"""Objects that earlier runs left behind in a cluster, found by their labels."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError, connected
from autotuner.deployers.kubernetes.pods.removal import release_lease, remove_server
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.kubernetes.trial_objects import LEASE
from autotuner.deployers.shared import leftovers
from autotuner.deployers.shared.leftovers import Held, IsDead, Leftover
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import MANAGED_BY, OWNER, ROLE, STUDY, TRIAL, label_value
from autotuner.manifests.pod import SERVER
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchedObject


class PodLeftovers:
    """Leftover objects of one kind."""

    def __init__(self, settings: ServerSettings, kind: ObjectKind) -> None:
        self._settings = settings
        self._kind = kind

    async def sweep(self, cluster: Cluster, owner: str, held: Held) -> None:
        """Removes what this run could not remove while the API server was down.

        Raises ``TrialFailedError`` if the API server does not respond.
        """
        try:
            found = await self._labeled(cluster, f"{OWNER}={label_value(owner)}", self._begin_removal)
            await leftovers.sweep(found, held)
        except RefusedError as error:
            raise TrialFailedError(refusal(error, f"listing {self._kind.plural} of this run")) from error

    async def reap(self, is_dead: IsDead, study: str | None) -> list[str]:
        """Removes the objects of dead owners, with everything that they own; nothing if the cluster is down."""
        with suppress(TrialFailedError, RefusedError):
            async with connected(self._settings.impatient()) as cluster:
                return await leftovers.reap(await self._all(cluster), is_dead, study)
        return []

    async def listed(self) -> list[LaunchedObject]:
        """The objects of all owners. Raises ``TrialFailedError`` if the API server does not list them."""
        try:
            async with connected(self._settings.impatient()) as cluster:
                return [one.found for one in await self._all(cluster)]
        except RefusedError as error:
            raise TrialFailedError(refusal(error, f"listing {self._kind.plural}")) from error

    async def _all(self, cluster: Cluster) -> list[Leftover]:
        leases = await self._leases(cluster)
        found = await self._labeled(cluster, OWNER, self._remove)
        served = {one.found.name for one in found}
        return [*found, *(one for one in leases if one.found.name not in served)]

    async def _labeled(
        self, cluster: Cluster, selector: str, remove: Callable[[Cluster, Json], Awaitable[None]]
    ) -> list[Leftover]:
        labels = f"{MANAGED_BY}=autotuner,{ROLE}={SERVER},{selector}"
        found = (await cluster.get(self._kind.path(cluster), labelSelector=labels))["items"]
        return [_leftover(self._kind.singular, one, partial(remove, cluster, one)) for one in found]

    async def _leases(self, cluster: Cluster) -> list[Leftover]:
        """Lists the lease Jobs: a run may have been killed before it created the object, or after that was deleted."""
        if self._kind.has_lease_job:
            labels = f"{MANAGED_BY}=autotuner,{ROLE}={LEASE},{OWNER}"
            with suppress(RefusedError):  # without the permission to list them, they expire
                found = (await cluster.get(cluster.path("jobs", group=BATCH), labelSelector=labels))["items"]
                names = [(one, one["metadata"]["name"]) for one in found]
                return [_leftover("job", one, partial(release_lease, cluster, self._kind, name)) for one, name in names]
        return []

    async def _begin_removal(self, cluster: Cluster, left: Json) -> None:
        """Does not wait: the next server has another name, and the scheduler waits for free resources."""
        metadata = left["metadata"]
        await cluster.delete(self._kind.path(cluster, metadata["name"]), uid=metadata["uid"])
        await release_lease(cluster, self._kind, metadata["name"])

    async def _remove(self, cluster: Cluster, left: Json) -> None:
        metadata = left["metadata"]
        await remove_server(cluster, self._kind, metadata["name"], metadata["uid"], self._settings.stop_grace)


def _leftover(kind: str, made: Json, remove: Callable[[], Awaitable[None]]) -> Leftover:
    metadata = made["metadata"]
    # Labels may be shortened; the exact texts are in the annotations.
    exact = metadata.get("annotations") or {}
    found = LaunchedObject(
        kind=kind,
        name=metadata["name"],
        study=exact.get(STUDY, "?"),
        trial=leftovers.trial_number(metadata["labels"].get(TRIAL)),
        owner=exact.get(OWNER, metadata["labels"][OWNER]),
    )
    return Leftover(found, remove)
