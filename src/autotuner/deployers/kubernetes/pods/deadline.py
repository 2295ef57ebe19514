"""Deadline of a server in the cluster, which a running tuner keeps extending: a killed tuner's server expires.

A Job's ``activeDeadlineSeconds`` counts from its start by the cluster's own clock. Here only elapsed time is measured,
by the monotonic clock, so the two clocks need not agree.
"""

import time
from collections.abc import Callable

import anyio
import httpx

from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.study.failure import TrialFailedError

LEASE_S = 600.0
"""How long the cluster keeps a server without a heartbeat: longer than any outage that a run survives."""
_SHARE = 4
"""Heartbeats per lease."""
_PATCH_JOBS = {"verb": "patch", "group": "batch", "resource": "jobs"}


def lease_s(settings: PodSettings) -> float:
    """Returns the lease of one server in seconds: longer than the outage of the API server that the settings allow."""
    return max(LEASE_S, 2 * settings.api_patience)


async def may_move(cluster: Cluster) -> bool:
    """Returns whether this account may move deadlines."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**_PATCH_JOBS, "namespace": cluster.namespace}},
    }
    try:
        response = await cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    except RefusedError:
        return False
    return bool(response["status"].get("allowed"))


class Heartbeat:
    """Moves a Job's deadline.

    ``has_begun`` returns whether the deadline counts already: it does not while a queue holds the Job back.
    """

    def __init__(self, cluster: Cluster, path: str, length_s: float, has_begun: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._path = path
        self._length_s = length_s
        self._has_begun = has_begun

    async def run(self) -> None:
        """Moves the deadline until it is cancelled, or the Job is gone."""
        since: float | None = None
        while True:
            if since is None and self._has_begun():
                since = time.monotonic()
            await anyio.sleep(self._length_s / _SHARE)
            if since is None:
                continue
            deadline = int(time.monotonic() - since + self._length_s * (1 + 1 / _SHARE))
            try:
                await self._cluster.patch(self._path, {"spec": {"activeDeadlineSeconds": deadline}})
            except RefusedError as error:
                if error.code == httpx.codes.NOT_FOUND:
                    return  # the watch of its pod reports the end
            except TrialFailedError:
                continue  # the API server is down; the watch of the pod decides how long to wait
