"""The end of a server whose tuner was killed: a deadline in the cluster that a living tuner keeps moving.

A Job's ``activeDeadlineSeconds`` counts from its start by the cluster's own clock. Here only elapsed time is measured,
by the monotonic clock, so the two clocks need not agree.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import httpx

from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.study.failure import TrialFailedError

LEASE_S = 600.0
"""How long the cluster keeps a server that nobody answers for. Longer than any outage that a run survives."""
_SHARE = 4
"""Beats in a lease."""
_PATCH_JOBS = {"verb": "patch", "group": "batch", "resource": "jobs"}


def lease_s(settings: PodSettings, least_s: float = LEASE_S) -> float:
    """The lease of one server: an API server that is away for as long as the settings are patient must not cost it."""
    return max(least_s, 2 * settings.api_patience)


async def may_move(cluster: Cluster) -> bool:
    """Whether this account may move deadlines."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**_PATCH_JOBS, "namespace": cluster.namespace}},
    }
    try:
        answer = await cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    except RefusedError:
        return False
    return bool(answer["status"].get("allowed"))


class Heartbeat:
    """Moves a Job's deadline for the time of the block. ``has_begun`` says whether the Job's time counts yet: that of
    one that a queue holds back does not."""

    def __init__(self, cluster: Cluster, path: str, length_s: float, has_begun: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._path = path
        self._length_s = length_s
        self._has_begun = has_begun

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._task])

    async def _beat(self) -> None:
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
                    return  # whoever watches its pod knows
            except TrialFailedError:
                continue  # the API server is away; whoever watches the pod decides
