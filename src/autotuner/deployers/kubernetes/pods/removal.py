"""Removal of an object and its pods, with the reason if it does not finish."""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind
from autotuner.deployers.kubernetes.watch import ResourceWatch
from autotuner.manifests.labels import GROUP
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

logger = logging.getLogger(__name__)

_NODE_LOOK_S = 5.0
_POLL_S = 0.1
_REMOVAL_S = 120.0
"""How long a server's pods may take to end, in addition to their grace period."""
_LATECOMERS_S = 1.0
"""How long after the removal of an object its controllers may still create a pod."""


async def remove(
    cluster: Cluster,
    path: str,
    uid: str | None,
    pods: ResourceWatch,
    limit_s: float,
    *,
    on_deleting: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Deletes an object and returns once it and the watched pods are gone. Raises ``TrialFailedError``.

    Calls ``on_deleting`` once the API server has accepted the deletion.
    """
    try:
        may_come = not pods.objects
        await cluster.delete(path, uid=uid)
        if on_deleting is not None:
            await on_deleting()
        until = time.monotonic() + limit_s
        await _without_pods(cluster, path, pods, until)
        while await cluster.find(path) is not None:
            if time.monotonic() > until and (why := await _stuck(cluster, path, pods, late=True)):
                raise TrialFailedError(why)
            await anyio.sleep(_POLL_S)
        if may_come:
            # A controller that has just seen the object may create its pod while the object is being deleted.
            await anyio.sleep(_LATECOMERS_S)
        await _without_pods(cluster, path, pods, until)
    except RefusedError as error:
        message = f"{path.rpartition('/')[2]} cannot be removed: {error.message}"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message) from error


async def _without_pods(cluster: Cluster, path: str, pods: ResourceWatch, until: float) -> None:
    while True:
        with anyio.move_on_after(_NODE_LOOK_S):
            await pods.until(lambda: None if pods.objects else True)
            return
        if why := await _stuck(cluster, path, pods, late=time.monotonic() > until):
            raise TrialFailedError(why)


async def _stuck(cluster: Cluster, path: str, pods: ResourceWatch, *, late: bool) -> Failure | None:
    """Returns why waiting is pointless; None if it is not.

    A lost node never ends its pods. After the limit (``late``), any object that still exists is a reason.
    """
    name = path.rpartition("/")[2]
    for pod in list(pods.objects.values()):  # the watch may change the pods during the calls
        node = (pod.get("spec") or {}).get("nodeName")
        try:
            found = await cluster.find(f"/api/v1/nodes/{node}") if node else None
        except RefusedError:
            found = None  # without the permission to read nodes, only the limit ends the wait
        if found and not pod_status.is_ready_node(found):
            message = f"{name} is being deleted, and its node {node} does not respond"
            return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=f"kubectl describe node {node}")
    if not late:
        return None
    found = await cluster.find(path)
    return _still_there(name, [o for o in (found, *pods.objects.values()) if o])


def _still_there(name: str, objects: list[Json]) -> Failure:
    holders = dict.fromkeys(f for one in objects for f in one["metadata"].get("finalizers") or ())
    message = f"{name} is still being deleted (finalizers: {', '.join(holders) or 'none'})"
    remedy = "check that the cluster's controllers are running; kubectl describe shows which one holds it"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)


async def remove_server(cluster: Cluster, kind: ObjectKind, name: str, uid: str | None, grace_s: float) -> None:
    """Deletes the object of a server, and returns once it and all pods of server and load generator are gone.

    Raises ``TrialFailedError`` for what cannot be removed; the object's lease is released in any case.
    """
    # Before the wait: a run that is killed during it leaves no lease whose object is gone soon after.
    release = partial(release_lease, cluster, kind, name)
    limit_s = grace_s + _REMOVAL_S
    try:
        async with ResourceWatch(cluster, cluster.path("pods"), labels=f"{GROUP}={name}") as pods:
            await remove(cluster, kind.path(cluster, name), uid, pods, limit_s, on_deleting=release)
            logger.info("%s %s removed", kind.singular, name)
    finally:
        await release()


async def release_lease(cluster: Cluster, kind: ObjectKind, name: str) -> None:
    """Removes the lease Job of an object, if it has one. It would end by its deadline anyway."""
    if kind.has_lease_job:
        with suppress(RefusedError, TrialFailedError):
            await cluster.delete(kind.lease_path(cluster, name), policy="Background")
